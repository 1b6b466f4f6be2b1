/** The test kit as a test in a browser has it, and the devtools' panel, in a real Chromium. */
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import type { Page } from 'playwright-core'
import type { Backend } from 'stayfresh/testing'
import { expect, onTestFinished, test } from 'vitest'
import { startDemoServer } from '../../demo-server/server.ts'
import type { Told } from '../../src/devtools/story.ts'
import type {} from './kit.ts'
import { profile, until, useBrowser } from './support.ts'

useBrowser()

let script: Promise<string> | undefined
let worker: Promise<string> | undefined

const html =
  '<!doctype html><meta charset="utf-8"><title>kit</title><link rel="icon" href="data:,"><script src="/kit.js"></script>'

async function bundle(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL('kit.ts', import.meta.url))],
    bundle: true,
    write: false,
    format: 'iife',
    target: 'es2022',
    platform: 'browser',
    conditions: ['browser'],
    logLevel: 'error',
  })
  return outputFiles[0]?.text ?? ''
}

async function open(): Promise<{ page: Page; backend: Backend }> {
  script ??= bundle()
  worker ??= readFile(fileURLToPath(import.meta.resolve('msw/mockServiceWorker.js')), 'utf8')
  const files: Record<string, { body: string; type: string }> = {
    '/': { body: html, type: 'text/html' },
    '/kit.js': { body: await script, type: 'text/javascript' },
    '/mockServiceWorker.js': { body: await worker, type: 'text/javascript' },
  }
  const { url, backend, close } = await startDemoServer({
    port: 0,
    backend: { refresh: 'rotating-reuse-detection', accessLifetime: 900_000 },
    serve(pathname) {
      const file = files[pathname]
      return file && new Response(file.body, { headers: { 'content-type': file.type } })
    },
  })
  onTestFinished(close)
  const page = await (await profile()).newPage()
  await page.goto(url)
  return { page, backend }
}

test('the kit works in a page: its fetch takes the place of the network', async () => {
  const { page, backend: real } = await open()
  const told = await page.evaluate(async () => {
    const backend = kit.createBackend({
      prefix: '/api/',
      api: { 'POST items': ({ request }) => request.text() },
    })
    const auth = kit.createAuth({
      baseUrl: '/api/',
      backend: kit.flaskJwt(),
      fetch: backend.fetch,
      initial: kit.fakeTokens(),
    })
    backend.expireAccessTokens()
    const answer = await auth.fetch('items', { method: 'POST', body: new Blob(['tea']) })
    backend.expectRefreshes(1)
    backend.fault('whoami', 'hang')
    const controller = new AbortController()
    const hangs = auth.fetch('whoami', { signal: controller.signal }).catch((error: Error) => error.name)
    while (backend.count('whoami') === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    controller.abort()
    return [await answer.json(), await hangs, backend.timeline()]
  })
  expect(told).toEqual([
    'tea',
    'AbortError',
    [
      '— every access token so far counts as expired',
      'POST /api/items    a1  → 401 expired',
      'POST /api/refresh  r1  → 200 gives a2 (alice)',
      'POST /api/items    a2  → 200',
      'GET /api/whoami    a2  → hang',
    ].join('\n'),
  ])
  expect(real.count()).toBe(0)
})

test('the kit works in a page through MSW’s worker, for an application over the global fetch', async () => {
  const { page, backend: real } = await open()
  const told = await page.evaluate(async () => {
    const backend = kit.createBackend({ prefix: '/api/' })
    await kit.setupWorker(...kit.handlers(backend, '/api/')).start({ quiet: true })
    const auth = kit.createAuth({ baseUrl: '/api/', backend: kit.flaskJwt() })
    await auth.login({ username: 'alice', password: 'wonderland' })
    backend.expireAccessTokens()
    const answers = await Promise.all([1, 2, 3].map(() => auth.fetch('whoami')))
    backend.expectRefreshes(1)
    backend.fault('whoami', 'drop')
    const dropped = await auth.fetch('whoami').catch((error: Error) => error.name)
    return [answers.map(({ status }) => status), dropped]
  })
  expect(told).toEqual([[200, 200, 200], 'TypeError'])
  expect(real.count()).toBe(0)
})

test('the panel draws calls, refreshes, replays and logins, is led by the keyboard, and leaves with its detach', async () => {
  const { page, backend } = await open()
  await page.evaluate(async () => {
    const auth = kit.createAuth({ baseUrl: '/api/', backend: kit.flaskJwt() })
    await auth.login({ username: 'alice', password: 'wonderland' })
    // After the login: it is told from the history, and its request from what the browser still has.
    const detach = kit.attachDevtools(auth, { panel: true })
    Object.assign(globalThis, { auth, detach })
  })
  const panel = page.locator('stayfresh-timeline')
  const bars = (kind: string, state: string): Promise<number> =>
    panel.locator(`[data-kind="${kind}"][data-state="${state}"]`).count()
  await until('the login is there', async () => (await bars('mark', 'over')) === 1)
  await until('its request, too', async () => (await panel.locator('.send.own').count()) === 1)
  backend.expireAccessTokens()
  await page.evaluate(async () => {
    const { auth } = globalThis as unknown as { auth: ReturnType<typeof kit.createAuth> }
    await Promise.all([1, 2].map(async () => (await auth.fetch('whoami?secret=1')).text()))
    await Promise.all([1, 2].map(async () => (await auth.fetch('protected?secret=1')).text()))
    await auth.refresh()
  })
  await until('both refreshes are done', async () => (await bars('refresh', 'done')) === 2)
  await until('a replay is drawn', async () => (await panel.locator('.send.replay').count()) > 0)
  expect(await panel.locator('.who').textContent()).toMatch(/^alice · v3 · [\d.]+ s left$/)

  // By the keyboard alone.
  await panel.locator('.timeline').focus()
  await page.keyboard.press('End')
  await page.keyboard.press('Home')
  const tip = panel.locator('.tip')
  expect(await tip.textContent()).toMatch(/login → 200|Signed in/)
  for (let seen = 0; !(await tip.textContent())?.includes('Refresh: v1 → v2'); seen++) {
    expect(seen).toBeLessThan(20)
    await page.keyboard.press('ArrowRight')
  }
  expect(await tip.textContent()).toContain('The server turned the access token down')
  await page.keyboard.press('Escape')
  expect(await tip.isHidden()).toBe(true)
  await panel.getByRole('button', { name: 'Hide' }).press('Enter')
  expect(await panel.locator('.timeline').isHidden()).toBe(true)
  await panel.getByRole('button', { name: 'Show' }).press('Enter')
  expect(await panel.locator('.timeline').isVisible()).toBe(true)

  const drawn = await panel.evaluate((element) => element.shadowRoot?.innerHTML ?? '')
  expect(drawn).toContain('v3')
  expect(drawn).not.toContain('secret')
  for (const { token } of backend.issued) expect(drawn).not.toContain(token)
  await page.evaluate(() => (globalThis as unknown as { detach(): void }).detach())
  expect(await panel.count()).toBe(0)

  // Into an element of the page's own.
  const where = await page.evaluate(() => {
    const { auth } = globalThis as unknown as { auth: ReturnType<typeof kit.createAuth> }
    const place = document.body.appendChild(document.createElement('aside'))
    kit.attachDevtools(auth, { panel: place })
    const [inside] = place.children
    const who = inside?.shadowRoot?.querySelector('.who')?.textContent
    return [inside?.localName, inside?.hasAttribute('docked'), who]
  })
  expect(where).toEqual(['stayfresh-timeline', false, expect.stringMatching(/^alice · v3/)])
})

/** What the panel's tests reach into; and a page whose time can be moved. */
async function watched(): Promise<Page> {
  const { page } = await open()
  await page.evaluate(async () => {
    const auth = kit.createAuth({
      baseUrl: `${location.origin}/api/`,
      backend: kit.flaskJwt(),
      initial: kit.fakeTokens(),
    })
    const now = performance.now.bind(performance)
    const clock = { ahead: 0 }
    performance.now = () => now() + clock.ahead
    const place = document.body.appendChild(document.createElement('aside'))
    const detach = kit.attachDevtools(auth, { panel: place })
    const element = place.firstElementChild as HTMLElement & Pick<Panel, 'story'>
    const real = (): number => performance.timeOrigin + performance.now()
    globalThis.panel = {
      auth,
      clock,
      detach,
      element,
      story: element.story,
      call(path) {
        const [at, end] = [real() - 30, real() - 5]
        this.story.request({ path, at, end, status: 200, kind: 'call', replays: undefined })
      },
      drawn: () => element.shadowRoot?.querySelectorAll('[data-kind=call]').length ?? 0,
      frames: async () => {
        for (let left = 2; left > 0; left--) await new Promise((drawn) => requestAnimationFrame(drawn))
      },
    }
    await panel.frames()
  })
  return page
}

interface Panel {
  auth: ReturnType<typeof kit.createAuth>
  clock: { ahead: number }
  detach(): void
  element: HTMLElement
  story: Told
  /** A call that is over. */
  call(path: string): void
  /** How many calls are drawn. */
  drawn(): number
  frames(): Promise<void>
}
declare global {
  var panel: Panel
}

test('a panel that was in the background for long draws what is still kept, and lets go of it', async () => {
  const page = await watched()
  const told = await page.evaluate(async () => {
    const { clock, story } = panel
    const { requestAnimationFrame: frame } = globalThis
    const held: FrameRequestCallback[] = []
    // No frames come in the background.
    globalThis.requestAnimationFrame = (draw) => held.push(draw)
    for (let minutes = 0; minutes < 10; minutes++) {
      for (let count = 0; count < 20; count++) {
        clock.ahead += 3_000
        panel.call('poll')
      }
    }
    globalThis.requestAnimationFrame = frame
    for (const draw of held) frame(draw)
    await panel.frames()
    const drawn = panel.drawn()
    const kept = [...story.items()].filter(({ kind }) => kind === 'call').length
    clock.ahead += 600_000
    panel.call('poll')
    await panel.frames()
    return { drawn, kept, later: panel.drawn() }
  })
  // Two minutes of them.
  expect(told).toEqual({ drawn: told.kept, kept: expect.closeTo(40, -1), later: 1 })
})

test('a panel that is moved or taken out of the page listens once, or not at all', async () => {
  const page = await watched()
  const told = await page.evaluate(() => {
    const { element, story } = panel
    let listening = 0
    const counted =
      <Args extends unknown[]>(listen: (...args: Args) => () => void) =>
      (...args: Args) => {
        listening++
        const stop = listen(...args)
        return () => {
          listening--
          stop()
        }
      }
    element.remove()
    story.onItem = counted(story.onItem)
    story.onTabs = counted(story.onTabs)
    story.onGone = counted(story.onGone)
    const counts: number[] = []
    for (const _ of [1, 2, 3]) {
      document.body.append(element)
      counts.push(listening)
    }
    element.remove()
    return [...counts, listening]
  })
  expect(told).toEqual([4, 4, 4, 0])
})

test('a paused panel stands still, whatever comes and is forgotten, and catches up when it goes on', async () => {
  const page = await watched()
  const button = page.locator('stayfresh-timeline').getByRole('button', { name: 'Pause' })
  const later = (count: number): Promise<{ drawn: number; story: number }> =>
    page.evaluate(async (count) => {
      for (; count > 0; count--) {
        panel.clock.ahead += 1_500
        panel.call('later')
      }
      await panel.frames()
      const { length } = [...panel.story.items()].filter(({ kind }) => kind === 'call')
      return { drawn: panel.drawn(), story: length }
    }, count)
  expect(await later(5)).toEqual({ drawn: 5, story: 5 })
  await button.click()
  expect(await later(3)).toEqual({ drawn: 5, story: 8 })
  // Two minutes, and what was before them is forgotten.
  expect(await later(82)).toEqual({ drawn: 5, story: expect.closeTo(80, -1) })
  // The keyboard still leads through what is there to be seen.
  await page.locator('stayfresh-timeline .timeline').focus()
  await page.keyboard.press('End')
  const tip = page.locator('stayfresh-timeline .tip')
  expect(await tip.textContent()).toContain('later → 200')
  await page.locator('stayfresh-timeline').getByRole('button', { name: 'Go on' }).click()
  const { drawn, story } = await later(0)
  expect(drawn).toBe(story)
  expect(await tip.isHidden()).toBe(true)
})

test('a panel changes nothing of what the application is told: the end of a token’s freshness is found by who looks', async () => {
  const page = await watched()
  await page.evaluate(() => {
    const now = Date.now.bind(Date)
    Date.now = () => now() + panel.clock.ahead
    const told: unknown[] = []
    panel.auth.subscribe((session) => void told.push(session?.fresh))
    Object.assign(globalThis, { told })
    panel.clock.ahead += 20 * 60_000
  })
  const who = page.locator('stayfresh-timeline .who')
  // It looks twice a second.
  await until(
    'the panel has looked',
    async () => (await who.textContent()) === 'alice · v1 · fresh · run out',
  )
  const told = await page.evaluate(() => {
    const { told } = globalThis as unknown as { told: unknown[] }
    const before = [...told]
    return [before, panel.auth.session?.fresh, told]
  })
  expect(told).toEqual([[true], false, [true, false]])
})
