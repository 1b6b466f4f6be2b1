/** The packed files in a real Chromium as they are: ES modules found by an import map, with no bundler between. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { startDemoServer } from '../../demo-server/server.ts'
import { installPacked, type Project } from '../package/install.ts'
import { profile, useBrowser } from './support.ts'

useBrowser()

let project: Project
beforeAll(async () => {
  project = await installPacked()
  project.link('ky')
})
afterAll(() => project?.remove())

/** Where `exports` says that a browser finds an entry. */
function entryOf(name: string, entry = '.'): string {
  const { exports } = JSON.parse(
    readFileSync(join(project.directory, 'node_modules', name, 'package.json'), 'utf8'),
  )
  let found = exports[entry] ?? exports
  while (typeof found === 'object') found = found.browser ?? found.import ?? found.default
  return `/node_modules/${join(name, found)}`
}

/** What a user would write into a page. */
const page = (imports: object): string => `<!doctype html><meta charset="utf-8"><title>package</title>
<script type="importmap">${JSON.stringify({ imports })}</script>
<script type="module">
  import { createAuth, flaskJwt, flaskJwtCookies } from 'stayfresh'
  import { browserStore, tabStore } from 'stayfresh/browser'
  import { encrypted } from 'stayfresh/encrypted'
  import { createKy } from 'stayfresh/ky'

  globalThis.play = async (which) => {
    const key = await crypto.subtle.generateKey({ name: 'AES-GCM', length: 256 }, false, ['encrypt', 'decrypt'])
    const keys = [{ id: 'one', key }]
    const store = { memory: undefined, browser: browserStore(), tab: tabStore(), sealed: encrypted(browserStore({ key: 'sealed' }), { keys }) }[which]
    const auth = createAuth({ baseUrl: '/api/', backend: flaskJwt(), store, refreshAhead: false })
    const events = []
    for (const type of ['loggedIn', 'tokenRefreshed', 'loggedOut']) auth.on(type, () => events.push(type))
    await auth.login({ username: 'alice', password: 'wonderland' })
    await fetch('/expire', { method: 'POST' })
    const storm = await Promise.all(Array.from({ length: 20 }, () => auth.fetch('protected')))
    const throughKy = await createKy(auth).get('protected').json()
    await auth.logout()
    const after = await auth.fetch('protected')
    const session = auth.session
    auth.dispose()
    return { storm: [...new Set(storm.map(({ status }) => status))], throughKy: typeof throughKy, after: after.status, session, events }
  }
  globalThis.loaded = typeof flaskJwtCookies
</script>`

test('a session lives through login, expiry, refresh and logout, in every store of a browser', async () => {
  const imports = {
    stayfresh: entryOf('stayfresh'),
    'stayfresh/browser': entryOf('stayfresh', './browser'),
    'stayfresh/encrypted': entryOf('stayfresh', './encrypted'),
    'stayfresh/ky': entryOf('stayfresh', './ky'),
    'jwt-decode': entryOf('jwt-decode'),
    ky: entryOf('ky'),
  }
  const html = page(imports)
  const { url, backend, close } = await startDemoServer({
    port: 0,
    backend: { accessLifetime: 900_000 },
    serve(pathname) {
      if (pathname === '/package') return new Response(html, { headers: { 'content-type': 'text/html' } })
      if (pathname === '/expire') {
        backend.expireAccessTokens()
        return new Response(null, { status: 204 })
      }
      const path = join(project.directory, pathname)
      if (!pathname.startsWith('/node_modules/') || !existsSync(path)) return undefined
      return new Response(readFileSync(path), { headers: { 'content-type': 'text/javascript' } })
    },
  })
  onTestFinished(close)
  const tab = await (await profile()).newPage()
  const problems: string[] = []
  tab.on('pageerror', (error) => problems.push(String(error)))
  await tab.goto(new URL('/package', url).href)
  await tab.waitForFunction('globalThis.loaded', undefined, { timeout: 20_000 }).catch(() => {})
  expect(problems).toEqual([])

  for (const store of ['memory', 'browser', 'tab', 'sealed']) {
    backend.clearLog()
    expect({ store, ...(await tab.evaluate<object>(`play('${store}')`)) }).toEqual({
      store,
      storm: [200],
      throughKy: 'object',
      after: 401,
      session: null,
      events: ['loggedIn', 'tokenRefreshed', 'loggedOut'],
    })
    expect(backend.count('refresh')).toBe(1)
    expect(backend.sessionAlive('alice')).toBe(false)
  }
})
