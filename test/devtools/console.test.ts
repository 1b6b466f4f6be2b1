/** The devtools in Node: over a real port, since only what goes out has resource timings. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { build } from 'esbuild'
import { expect, onTestFinished, test, vi } from 'vitest'
import { startDemoServer } from '../../demo-server/server.ts'
import { printTo } from '../../src/devtools/print.ts'
import type { Seen } from '../../src/devtools/requests.ts'
import { attachDevtools, type DevtoolsOptions } from '../../src/devtools.ts'
import { type Auth, createAuth, flaskJwt, type StandardClaims } from '../../src/index.ts'
import { type Backend, fakeTokens } from '../../src/testing/index.ts'

const alice = { username: 'alice', password: 'wonderland' }

async function world(): Promise<{ auth: Auth<StandardClaims, typeof alice>; backend: Backend }> {
  const { url, backend, close } = await startDemoServer({
    port: 0,
    backend: { refresh: 'rotating', latency: {} },
  })
  onTestFinished(close)
  const auth = createAuth({ baseUrl: `${url}api/`, backend: flaskJwt() })
  onTestFinished(() => void auth.dispose())
  return { auth, backend }
}

/** A console that keeps what it is told: a title and lines for each group. */
function attached(auth: Auth<StandardClaims, never>, options: DevtoolsOptions = {}) {
  const groups: { title: string; lines: string[] }[] = []
  const detach = attachDevtools(auth, {
    ...options,
    console: {
      groupCollapsed: (title: string) => void groups.push({ title, lines: [] }),
      log: (line: string) => void groups.at(-1)?.lines.push(line),
      groupEnd: () => {},
    },
  })
  onTestFinished(detach)
  return { groups, detach, titles: () => groups.map(({ title }) => title) }
}

test('each event is a group, with what was sent before it told by path, status and kind', async () => {
  const { auth, backend } = await world()
  const { groups, titles } = attached(auth)
  await auth.login(alice)
  backend.expireAccessTokens()
  const answer = await auth.fetch('protected?secret=1')
  // A platform tells of a request once its body was read.
  expect(await answer.json()).toMatchObject({ sub: 'alice' })
  await vi.waitFor(() => expect(titles()).toEqual(['stayfresh · Signed in', 'stayfresh · Refreshed to v2']))
  await auth.logout()
  await vi.waitFor(() => expect(titles().at(-1)).toBe('stayfresh · Signed out'))
  const told = groups.map(({ lines }) => lines.map((line) => line.replace(/[\d.]+ (?:ms|s)\b/g, '…')))
  expect(told[0]).toEqual([
    'The session is at version 1.',
    'loggedIn: login',
    'alice, version 1, fresh, active, for another …',
    'sign-in  login → 200 after …',
  ])
  expect(told[1]).toContain('alice, version 2, active, for another …')
  expect(told[1]).toContain('call     protected → 401 after …')
  expect(told[1]).toContain('refresh  refresh → 200 after …')
  expect([...(told[1] ?? []), ...(told[2] ?? [])]).toContain('replay   protected → 200 after …')
  expect(told[2]).toContain('Nobody is signed in')
  const all = JSON.stringify(groups)
  expect(all).not.toContain('secret')
  for (const { token } of backend.issued) expect(all).not.toContain(token)
})

test('what was before is told first, from the history, with the requests that the platform still has', async () => {
  const { auth } = await world()
  await auth.login(alice)
  await auth.refresh()
  const { groups, detach } = attached(auth)
  expect(groups).toHaveLength(1)
  expect(groups[0]?.title).toBe('stayfresh · 2 before')
  expect(groups[0]?.lines[0]).toMatch(/Signed in {2}loggedIn: login$/)
  expect(groups[0]?.lines[1]).toMatch(/Refreshed to v2 {2}tokenRefreshed: requested$/)
  // Nothing waits once it is detached.
  await auth.logout()
  detach()
  expect(groups.at(-1)?.title).toBe('stayfresh · Signed out')
  expect(groups.at(-1)?.lines.some((line) => line.startsWith('sign-in  login → 200'))).toBe(true)
  await auth.login(alice)
  await new Promise((resolve) => setTimeout(resolve, 120))
  expect(groups.filter(({ title }) => title === 'stayfresh · Signed in')).toHaveLength(0)
})

test('a refused refresh, which is no event, is told with the next one', async () => {
  const { auth, backend } = await world()
  const { groups } = attached(auth)
  await auth.login(alice)
  backend.revoke({ sub: 'alice' })
  await auth.refresh().catch(() => {})
  await (await auth.fetch('protected')).text()
  await vi.waitFor(() => expect(groups.at(-1)?.title).toBe('stayfresh · Signed out'))
  const lines = groups.flatMap((group) => group.lines)
  expect(lines.filter((line) => line.startsWith('Refresh refused: '))).toHaveLength(1)
})

test('refresh and requests say which paths and URLs are meant', async () => {
  const { auth, backend } = await world()
  const { groups } = attached(auth, {
    refresh: /protected/,
    requests: ({ pathname }) => !pathname.endsWith('login'),
  })
  await auth.login(alice)
  await (await auth.fetch('protected')).text()
  backend.revoke({ sub: 'alice' })
  await auth.fetch('whoami')
  await vi.waitFor(() => expect(groups.at(-1)?.title).toBe('stayfresh · Signed out'))
  const lines = groups.flatMap((group) => group.lines)
  expect(lines.filter((line) => line.startsWith('refresh  protected'))).toHaveLength(1)
  expect(lines.filter((line) => line.includes('login → '))).toEqual([])
})

test('a client of the application’s own class, with private members, is shown', async () => {
  const { auth } = await world()
  class Wrapped {
    readonly #auth = auth
    get session() {
      return this.#auth.session
    }
    get history() {
      return this.#auth.history
    }
    get baseUrl() {
      return this.#auth.baseUrl
    }
    on(...given: Parameters<typeof auth.on>) {
      return this.#auth.on(...given)
    }
    subscribe(listener: Parameters<typeof auth.subscribe>[0]) {
      return this.#auth.subscribe(listener)
    }
  }
  const { titles } = attached(new Wrapped() as never)
  await auth.login(alice)
  await vi.waitFor(() => expect(titles()).toEqual([expect.stringContaining('Signed in')]))
})

test('a pattern with flags that remember finds every refresh', async () => {
  const { auth } = await world()
  const { groups, detach } = attached(auth, { refresh: /protected/gy })
  await auth.login(alice)
  for (const _ of [1, 2, 3]) await (await auth.fetch('protected')).text()
  await auth.logout()
  detach()
  const lines = groups.flatMap((group) => group.lines)
  expect(lines.filter((line) => line.startsWith('refresh  protected'))).toHaveLength(3)
})

test('of the requests before the next event, which may be hours away, some hundreds are kept', async () => {
  const { auth } = await world()
  const printer = printTo({ groupCollapsed() {}, log() {}, groupEnd() {} }, auth, () => {})
  onTestFinished(printer.end)
  const sent = Array.from({ length: 1000 }, (_, at): WeakRef<Seen> => {
    const seen: Seen = { path: 'poll', at, end: at, status: 200, kind: 'call', replays: undefined }
    printer.request(seen)
    return new WeakRef(seen)
  })
  // Whoever was made in this turn is kept until its end.
  await new Promise((resolve) => setImmediate(resolve))
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
  const left = sent.filter((seen) => seen.deref())
  expect([left.length > 100, left.length < 500, left.at(-1) === sent.at(-1)]).toEqual([true, true, true])
})

test('a client whose relative base nothing resolves is no trouble for others', async () => {
  const { auth } = await world()
  const relative = createAuth({ baseUrl: '/api/', backend: flaskJwt(), initial: fakeTokens() })
  const { groups } = attached(relative)
  await auth.login(alice)
  await relative.logout({ revoke: false })
  await vi.waitFor(() => expect(groups.at(-1)?.title).toBe('stayfresh · Signed out'))
  expect(groups.at(-1)?.lines.filter((line) => line.includes(' → '))).toEqual([])
})

test('a wrong option is named, and a panel wants a document', () => {
  const auth = createAuth({ baseUrl: 'https://api.test/', backend: flaskJwt(), initial: fakeTokens() })
  const attach = (options: unknown) => () => attachDevtools(auth, options as DevtoolsOptions)
  expect(() => attachDevtools({} as never)).toThrow('attachDevtools takes what createAuth gave')
  expect(attach({ refresh: 'refresh' })).toThrow('refresh takes a RegExp for paths, got string')
  expect(attach({ requests: true })).toThrow('requests takes a function of a URL, got boolean')
  expect(attach({ panel: 'foot' })).toThrow('panel takes true, false or an element, got string')
  expect(attach({ panel: true })).toThrow('panel needs a document')
})

test('a panel at the foot of a page that has no body yet is refused before anything is listened to', () => {
  const auth = createAuth({ baseUrl: 'https://api.test/', backend: flaskJwt(), initial: fakeTokens() })
  const [on, subscribe] = [vi.spyOn(auth, 'on'), vi.spyOn(auth, 'subscribe')]
  vi.stubGlobal('document', { body: null })
  expect(() => attachDevtools(auth, { panel: true })).toThrow(
    new TypeError('panel: true needs a body, and the document has none yet'),
  )
  expect([on.mock.calls, subscribe.mock.calls]).toEqual([[], []])
})

test('nothing waits for it: a process that has it ends by itself', () => {
  const script = `
    import { createAuth, flaskJwt } from 'stayfresh'
    import { attachDevtools } from 'stayfresh/devtools'
    const auth = createAuth({ baseUrl: 'http://127.0.0.1:9/', backend: flaskJwt() })
    attachDevtools(auth)
    await auth.setTokens({ refreshToken: 'r' })`
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    cwd: fileURLToPath(new URL('../..', import.meta.url)),
    timeout: 20_000,
    encoding: 'utf8',
  })
  expect([status, stderr]).toEqual([0, ''])
})

test('nobody who does not ask for it has it: no other entry leads to it, and a bundle splits it off', async () => {
  const bundle = async (contents: string) => {
    const { outputFiles } = await build({
      stdin: { contents, resolveDir: fileURLToPath(new URL('../..', import.meta.url)) },
      bundle: true,
      splitting: true,
      format: 'esm',
      outdir: 'out',
      write: false,
      platform: 'node',
      external: ['ky'],
      logLevel: 'error',
    })
    return outputFiles.map(({ text }) => text.includes('stayfresh-timeline'))
  }
  const rest = ['stayfresh', 'stayfresh/browser', 'stayfresh/ky', 'stayfresh/node', 'stayfresh/encrypted']
  expect(await bundle(rest.map((name, n) => `export * as e${n} from '${name}'`).join('\n'))).toEqual([false])
  const later = await bundle(
    "import { createAuth } from 'stayfresh'\nexport { createAuth }\nimport('stayfresh/devtools')",
  )
  expect([later[0], later.filter(Boolean).length]).toEqual([false, 1])
})
