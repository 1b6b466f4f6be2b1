/** The React example in a browser: built, under its Content-Security-Policy, and as `npm run example:react` serves it. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { BrowserContext, Locator, Page, Request, Route } from 'playwright-core'
import type { Backend } from 'stayfresh/testing'
import { build, createServer, type PreviewServer, preview, type ViteDevServer } from 'vite'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { profile, until, useBrowser } from './support.ts'

useBrowser()

const root = fileURLToPath(new URL('../../examples/react', import.meta.url))
const quiet = { root, configFile: join(root, 'vite.config.ts'), logLevel: 'error' } as const

let url: string
let backend: Backend
// What pages complained of.
const troubles: string[] = []
afterEach(() => expect(troubles.splice(0)).toEqual([]))

function use({ config, resolvedUrls }: PreviewServer | ViteDevServer): void {
  url = resolvedUrls?.local[0] ?? ''
  backend = config.plugins.find(({ name }) => name === 'notes')?.api.backend
  // Nothing runs out but what a test lets run out.
  backend.settings.accessLifetime = 900_000
}

async function open(path: string, within?: BrowserContext): Promise<Page> {
  const page = await (within ?? (await profile())).newPage()
  page.setDefaultTimeout(10_000)
  page.on('pageerror', (error) => troubles.push(String(error)))
  page.on('console', (message) => {
    const expected = /the server responded with a status of 40[14]/.test(message.text())
    if (['error', 'warning'].includes(message.type()) && !expected) troubles.push(message.text())
  })
  await page.goto(url + path)
  return page
}

const heading = (page: Page, name: string): Promise<void> => page.getByRole('heading', { name }).waitFor()
const said = (page: Page | Locator, role: 'alert' | 'status', text: string): Promise<void> =>
  page.getByRole(role).filter({ hasText: text }).first().waitFor()
const button = (page: Page | Locator, name: string): Locator =>
  page.getByRole('button', { name, exact: true })

async function signIn(page: Page, password = 'wonderland'): Promise<void> {
  await page.getByLabel('User name').fill('alice')
  await page.getByLabel('Password').fill(password)
  await button(page, 'Sign in').click()
}

/** A page with the notes, whose user signed in some time ago. */
async function notes(within?: BrowserContext): Promise<Page> {
  const page = await open('', within)
  await signIn(page)
  await page.getByRole('listitem').first().waitFor()
  backend.expireAccessTokens()
  backend.clearLog()
  return page
}

/** What the server was asked, and answered. */
const exchanges = (): string[] =>
  backend.log.filter(({ delivered }) => delivered).map(({ route, status }) => `${route} ${status}`)

async function confirm(page: Page, password: string): Promise<void> {
  await page.getByRole('dialog').getByLabel('Password of alice').fill(password)
  await button(page, 'Confirm').click()
}

describe('built', () => {
  let server: PreviewServer
  let outDir: string
  beforeAll(async () => {
    outDir = await mkdtemp(join(tmpdir(), 'stayfresh-example-'))
    vi.stubEnv('NODE_ENV', 'production')
    await build({ ...quiet, build: { outDir } })
    vi.unstubAllEnvs()
    server = await preview({ ...quiet, build: { outDir }, preview: { port: 0 } })
    use(server)
  })
  afterAll(async () => {
    await server?.close()
    await rm(outDir, { recursive: true, force: true })
  })

  test('its guard leads to the login, which says what the server says, and then to where one wanted to go, on this site', async () => {
    const page = await open('account?tab=1')
    await heading(page, 'Sign in')
    await signIn(page, 'guess')
    await said(page, 'alert', 'Bad username or password')
    await signIn(page)
    await heading(page, 'Account')
    expect(page.url()).toBe(`${url}account?tab=1`)
    // Who does not see the page is told of the new one.
    await page.locator('h1:focus', { hasText: 'Account' }).waitFor()
    await page.goto(`${url}login?next=${encodeURIComponent('//elsewhere.example/')}`)
    await heading(page, 'Notes')
    expect(page.url()).toBe(url)
    await page.goto(`${url}login?next=${encodeURIComponent('/.//elsewhere.example/')}`)
    await heading(page, 'There is nothing here')
    expect(page.url()).toBe(`${url}/elsewhere.example/`)
  })

  test('an access token that has expired is not noticed; a deletion asks for the password in one dialog, says that a wrong one is wrong, and is done with the right one', async () => {
    const page = await notes()
    await page.evaluate(() => {
      const opened = new MutationObserver((records) => {
        const added = records.flatMap(({ addedNodes }) => [...addedNodes])
        const dialogs = added.filter((node) => (node as Element).tagName === 'DIALOG').length
        document.body.dataset.dialogs = String(Number(document.body.dataset.dialogs ?? 0) + dialogs)
      })
      opened.observe(document.body, { childList: true, subtree: true })
    })
    await button(page, 'Reload').click()
    await until('the notes came again', () => exchanges().length === 3)
    expect(exchanges()).toEqual(['protected 401', 'refresh 200', 'protected 200'])
    expect(await page.getByRole('alert').allTextContents()).toEqual([''])
    expect(await page.evaluate(() => document.body.dataset.dialogs)).toBeUndefined()

    // The fresh token of the login is as good as gone, which the client finds out by asking.
    backend.clearLog()
    await button(page, 'Delete “Buy milk”').click()
    const dialog = page.getByRole('dialog', { name: 'Please confirm that it is you' })
    await dialog.waitFor()
    expect(await page.evaluate(() => document.activeElement?.getAttribute('name'))).toBe('password')
    await confirm(page, 'guess')
    await said(dialog, 'alert', 'Bad username or password')
    await confirm(page, 'wonderland')
    await said(page, 'status', '“Buy milk” is deleted.')
    expect(await dialog.count()).toBe(0)
    expect(await page.getByRole('listitem').count()).toBe(2)
    expect(await page.evaluate(() => document.body.dataset.dialogs)).toBe('1')
    expect(exchanges()).toEqual(['login 401', 'login 200', 'fresh 200'])
  })

  test('a dialog that is dismissed, by its button or by Escape, leaves the 401 of the server and the focus where it was', async () => {
    const page = await notes()
    const remove = button(page, 'Delete “Call Bob”')
    for (const dismiss of [() => button(page, 'Cancel').click(), () => page.keyboard.press('Escape')]) {
      await remove.click()
      await page.getByRole('dialog').waitFor()
      await dismiss()
      await said(page, 'alert', '“Call Bob” was not deleted: Fresh token required')
      expect(await page.getByRole('dialog').count()).toBe(0)
      expect(await remove.evaluate((element) => element === document.activeElement)).toBe(true)
    }
  })

  test('a session that the server ends asks for the password, and gives way to the login if none is given; a reload keeps the next one, and a sign-out in one tab ends it in all', async () => {
    const context = await profile()
    const page = await notes(context)
    backend.revoke({ sub: 'alice' })
    await button(page, 'Reload').click()
    await page.getByRole('dialog', { name: 'Your session has expired' }).waitFor()
    expect(await page.locator('.banner').textContent()).toContain('Your password is needed')
    await button(page, 'Cancel').click()
    await heading(page, 'Sign in')
    expect(await page.locator('.banner').textContent()).toContain('Please sign in again')
    await signIn(page)
    await heading(page, 'Notes')
    expect(await page.locator('.banner').textContent()).toBe('')

    await page.reload()
    await heading(page, 'Notes')
    const other = await open('account', context)
    await heading(other, 'Account')
    await button(other, 'Sign out').click()
    await heading(other, 'Sign in')
    await heading(page, 'Sign in')
  })

  test('a reload that failed is told in words for a person, until the next', async () => {
    const page = await notes()
    await page.route('**/api/notes', (route) => route.fulfill({ status: 404 }), { times: 1 })
    await button(page, 'Reload').click()
    await said(page, 'alert', 'The server could not do that.')
    await button(page, 'Reload').click()
    await until('nothing is amiss', async () => (await page.getByRole('alert').textContent()) === '')
    await until('the notes came again', () => exchanges().at(-1) === 'protected 200')
    expect(await page.getByRole('alert').allTextContents()).toEqual([''])
  })

  test('a list that answers after a deletion does not bring the note back', async () => {
    const page = await open('')
    await signIn(page)
    await page.getByRole('listitem').first().waitFor()
    let release = (): void => {}
    const held = new Promise<void>((go) => {
      release = go
    })
    const answered = new Promise<void>((came) => {
      const hold = async (route: Route): Promise<void> => {
        const response = await route.fetch()
        came()
        await held
        // Nobody may wait for it any more.
        await route.fulfill({ response }).catch(() => {})
      }
      void page.route('**/api/notes', hold, { times: 1 })
    })
    const isList = (request: Request): boolean => request.url().endsWith('/api/notes')
    const over = Promise.race([
      page.waitForEvent('requestfinished', { predicate: isList }),
      page.waitForEvent('requestfailed', { predicate: isList }),
    ])
    await button(page, 'Reload').click()
    await answered
    await button(page, 'Delete “Water the plants”').click()
    await said(page, 'status', '“Water the plants” is deleted.')
    release()
    await over
    await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => setTimeout(drawn))))
    expect(await button(page, 'Delete “Water the plants”').count()).toBe(0)
  })
})

describe('in development, with StrictMode', () => {
  let server: ViteDevServer
  beforeAll(async () => {
    server = await createServer({ ...quiet, mode: 'development', server: { port: 0 } })
    await server.listen()
    use(server)
  })
  afterAll(() => server?.close())

  test('it asks exactly once', async () => {
    const page = await notes()
    await button(page, 'Delete “Buy milk”').click()
    await page.getByRole('dialog').waitFor()
    await confirm(page, 'guess')
    await said(page.getByRole('dialog'), 'alert', 'Bad username or password')
    await confirm(page, 'wonderland')
    await said(page, 'status', '“Buy milk” is deleted.')
    // As text: Vite would make an import of its own of it.
    const told: string[] = await page.evaluate(
      "import('/src/auth.ts').then(({ auth }) => auth.history.map(({ type }) => type))",
    )
    expect(told.filter((type) => type === 'reauthRequired')).toHaveLength(1)
  })

  test('what was loaded for one user is not there for the next', async () => {
    const page = await notes()
    await button(page, 'Delete “Call Bob”').click()
    await page.getByRole('dialog').waitFor()
    await button(page, 'Cancel').click()
    await said(page, 'alert', '“Call Bob” was not deleted')
    await page.evaluate(
      "import('/src/auth.ts').then(({ auth }) => auth.login({ username: 'bob', password: 'builder' }))",
    )
    await page.getByText('Signed in as bob').waitFor()
    await page.getByRole('listitem').first().waitFor()
    expect(await page.getByRole('alert').allTextContents()).toEqual([''])
  })
})
