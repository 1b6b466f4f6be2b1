/** docs/migrating.md: what it says to write is written into a file, and run against a server on a port. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { AxiosInstance } from 'axios'
import type { KyInstance } from 'ky'
import { type Auth, isAuthError } from 'stayfresh'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { startDemoServer } from '../../demo-server/server.ts'
import { examplesIn, root } from './program.ts'

type Api = (path: string, body?: object) => Promise<{ status: number; sub: unknown; sent: unknown }>

interface Written {
  auth: Auth
  api?: never
  apiFetch?: never
}

// In the repository, so that packages are found; not among what is kept.
const folder = join(root, '.tmp', `migrating-${process.pid}`)
beforeAll(() => mkdirSync(folder, { recursive: true }))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const [fromAuthRefresh, fromQueue, page, fromKy, fromWrapper, takeOver] = examplesIn('docs/migrating.md').map(
  ({ code }) => code,
)

async function run(code = '') {
  const {
    api: url,
    backend,
    close,
  } = await startDemoServer({ port: 0, backend: { accessLifetime: 900_000 } })
  onTestFinished(close)
  // There is no document here, to be relative to, and no IndexedDB.
  const here = code.replaceAll("'/api/'", `'${url}'`).replaceAll('browserStore()', 'undefined')
  const file = join(folder, `${Math.random().toString(36).slice(2)}.ts`)
  writeFileSync(file, here)
  const written = (await import(/* @vite-ignore */ pathToFileURL(file).href)) as Written
  onTestFinished(() => written.auth.dispose())
  return { url, backend, written }
}

const bodyOf = (data: { sub: unknown; body: string }): { sub: unknown; sent: unknown } => ({
  sub: data.sub,
  sent: data.body ? JSON.parse(data.body) : undefined,
})

const withAxios =
  (axios: AxiosInstance): Api =>
  async (path, body) => {
    const { status, data } = body ? await axios.post(path, body) : await axios.get(path)
    return { status, ...bodyOf(data) }
  }
const withKy =
  (ky: KyInstance): Api =>
  async (path, json) => {
    const response = await (json ? ky.post(path, { json }) : ky.get(path))
    return { status: response.status, ...bodyOf(await response.json()) }
  }
const withFetch =
  (fetch: Auth['fetch']): Api =>
  async (path, body) => {
    const response = await fetch(path, body && { method: 'POST', body: JSON.stringify(body) })
    return { status: response.status, ...bodyOf(await response.json()) }
  }

describe.each([
  ['axios-auth-refresh', fromAuthRefresh, ({ api }: Written) => withAxios(api as never)],
  ['axios interceptors with a queue', fromQueue, ({ api }: Written) => withAxios(api as never)],
  ['ky’s recipe', fromKy, ({ api }: Written) => withKy(api as never)],
  ['a fetch wrapper', fromWrapper, ({ apiFetch }: Written) => withFetch(apiFetch as never)],
])('what comes after %s', (_, code, client) => {
  test('refreshes once for a storm, and replays a POST with its body', async () => {
    const { backend, written } = await run(code)
    const api = client(written)
    await written.auth.login({ username: 'alice', password: 'wonderland' })
    backend.expireAccessTokens()
    const answers = await Promise.all([
      ...Array.from({ length: 10 }, () => api('protected')),
      api('protected', { name: 'Täglich' }),
    ])
    expect(answers.map(({ status, sub }) => [status, sub])).toEqual(new Array(11).fill([200, 'alice']))
    expect(answers.at(-1)?.sent).toEqual({ name: 'Täglich' })
    expect(backend.count('refresh')).toBe(1)
  })
})

test('the login page is opened when a session has ended by itself, and not by a network that is gone', async () => {
  const assign = vi.fn()
  vi.stubGlobal('location', { assign })
  const { backend, written } = await run(fromQueue)
  const api = withAxios(written.api as never)
  await written.auth.login({ username: 'alice', password: 'wonderland' })
  backend.expireAccessTokens()
  backend.fault('refresh', 'drop')
  const unreachable = await api('protected').catch((error) => error)
  expect(isAuthError(unreachable.cause, 'refresh_unavailable')).toBe(true)
  expect([written.auth.session?.subject, assign.mock.calls]).toEqual(['alice', []])

  backend.revoke({ sub: 'alice' })
  await expect(api('protected')).rejects.toMatchObject({ response: { status: 401 } })
  expect(assign.mock.calls).toEqual([['/login']])
})

test('the login page is opened for a visitor with no session, which the event does not tell, and for no other', async () => {
  const assign = vi.fn()
  vi.stubGlobal('location', { assign })
  await run(`${fromQueue}\nawait auth.login({ username: 'alice', password: 'wonderland' })\n${page}`)
  expect(assign.mock.calls).toEqual([])
  const { written } = await run(`${fromQueue}\n${page}`)
  expect(assign.mock.calls).toEqual([['/login']])
  await expect(withAxios(written.api as never)('protected')).rejects.toMatchObject({
    response: { status: 401 },
  })
  expect(assign.mock.calls).toHaveLength(1)
})

test.each([
  ['as they are', (token: string) => token],
  ['as JSON', (token: string) => JSON.stringify(token)],
  ['as a header', (token: string) => `Bearer ${token}`],
])(
  'tokens that another program has stored, %s, are taken over, and removed where they were',
  async (_, store) => {
    const stored = new Map<string, string>([['access_token', 'old']])
    vi.stubGlobal('localStorage', {
      getItem: (name: string) => stored.get(name) ?? null,
      removeItem: (name: string) => stored.delete(name),
    })
    const other = await startDemoServer({ port: 0 })
    onTestFinished(other.close)
    stored.set('refresh_token', store((await other.backend.signIn('alice')).refreshToken))
    const { written } = await run(takeOver?.replaceAll("'/api/'", `'${other.api}'`))
    expect([...stored]).toEqual([])
    const response = await written.auth.fetch('protected')
    expect([response.status, written.auth.session?.subject]).toEqual([200, 'alice'])
  },
)
