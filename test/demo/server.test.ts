/** What a client meets over a real port is what the backend says: lost, hanging and broken answers too. */
import { request } from 'node:http'
import type { Fault } from 'stayfresh/testing'
import { afterEach, expect, test } from 'vitest'
import {
  type DemoServer,
  type DemoServerOptions,
  type Exchange,
  startDemoServer,
} from '../../demo-server/server.ts'
import { deferred, occupy } from './support.ts'

let server: DemoServer
afterEach(() => server.close())

async function started(options: DemoServerOptions = {}): Promise<DemoServer> {
  server = await startDemoServer({ port: 0, ...options })
  return server
}

async function bearer({ backend }: DemoServer): Promise<{ authorization: string }> {
  const { accessToken } = await backend.signIn('alice')
  return { authorization: `Bearer ${accessToken}` }
}

test('it answers as the backend does, under its prefix, with tokens of five seconds', async () => {
  const { api, url, backend } = await started()
  const login = await fetch(`${api}login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ username: 'alice', password: 'wonderland' }),
  })
  expect([login.status, Object.keys((await login.json()) as object)]).toEqual([
    200,
    ['access_token', 'refresh_token'],
  ])
  const [access] = backend.issued
  expect((access?.exp ?? 0) - (access?.iat ?? 0)).toBe(5)
  expect(api).toBe(`${url}api/`)
  expect((await fetch(`${url}elsewhere`)).status).toBe(404)
  expect(backend.count()).toBe(1)
})

test('the backend can be given any options', async () => {
  const { url, api } = await started({ backend: { prefix: '/v2', dialect: 'tutorial' } })
  expect(api).toBe(`${url}v2/`)
  const refused = await fetch(`${api}protected`)
  expect([refused.status, await refused.json()]).toEqual([
    401,
    { description: 'Request does not contain an access token.', error: 'authorization_required' },
  ])
})

test('bytes go both ways unharmed', async () => {
  const { api } = await started()
  const bytes = crypto.getRandomValues(new Uint8Array(50_000))
  const echoed = await fetch(`${api}protected?raw`, {
    method: 'PUT',
    headers: await bearer(server),
    body: bytes,
  })
  expect(Buffer.from(await echoed.arrayBuffer()).equals(bytes)).toBe(true)
})

test.each(['drop', 'drop-after'] as const)(
  '%s ends the connection, and the next request works',
  async (fault) => {
    const { api, backend } = await started()
    backend.fault('protected', fault)
    await expect(fetch(`${api}protected`)).rejects.toThrow('fetch failed')
    expect((await fetch(`${api}protected`)).status).toBe(401)
    expect(backend.count('protected')).toBe(2)
  },
)

test('a hanging answer hangs until the client goes', async () => {
  const arrived = deferred()
  let over: Promise<number> | undefined
  const { api, backend } = await started({
    onExchange(exchange) {
      over = exchange.over
      arrived.resolve()
    },
  })
  backend.fault('protected', 'hang')
  const controller = new AbortController()
  const hanging = fetch(`${api}protected`, { signal: controller.signal })
  await arrived.promise
  controller.abort()
  await expect(hanging).rejects.toThrow('aborted')
  await over
  expect((await fetch(`${api}protected`)).status).toBe(401)
})

test('the backend hears that a client has gone while it was served', async () => {
  const taken = deferred()
  const goOn = deferred()
  let over: Promise<number> | undefined
  const { api, backend } = await started({
    backend: {
      latency: { protected: 1 },
      sleep: () => {
        taken.resolve()
        return goOn.promise
      },
    },
    onExchange(exchange) {
      over ??= exchange.over
    },
  })
  const leaving = request(`${api}protected`).on('error', () => {})
  leaving.end()
  await taken.promise
  leaving.destroy()
  await over
  goOn.resolve()
  await fetch(`${api}whoami`)
  expect(backend.log[0]).toMatchObject({ route: 'protected', status: 401, delivered: false })
})

test('a body that breaks off does so after its head and its first half', async () => {
  const { api, backend } = await started()
  // Whether the break falls together with the head is a matter of timing.
  for (let times = 0; times < 20; times++) {
    backend.fault('protected', 'cut-body')
    const response = await fetch(`${api}protected`)
    expect(response.status).toBe(401)
    await expect(response.text()).rejects.toThrow('terminated')
  }
})

test('a body that stalls has its head and first half delivered, and ends with the signal of the client', async () => {
  const { api, backend } = await started()
  backend.fault('protected', 'stall-body')
  const controller = new AbortController()
  const response = await fetch(`${api}protected`, { signal: controller.signal })
  const reader = response.body?.getReader()
  expect(new TextDecoder().decode((await reader?.read())?.value)).toMatch(/^\{"msg":/)
  const rest = reader?.read()
  controller.abort()
  await expect(rest).rejects.toThrow('aborted')
})

test.each<[string, Fault, number, string]>([
  ['a page where JSON was asked for', 'not-json', 200, 'text/html; charset=utf-8'],
  ['a 503', { status: 503, body: { msg: 'later' } }, 503, 'application/json'],
])('%s arrives as it is', async (_, fault, status, type) => {
  const { api, backend } = await started()
  backend.fault('protected', fault)
  const response = await fetch(`${api}protected`)
  expect([response.status, response.headers.get('content-type')]).toEqual([status, type])
})

test('an exchange is told when it arrives and when it is over', async () => {
  const seen: Exchange[] = []
  const { api } = await started({
    backend: { latency: { protected: 30 } },
    onExchange: (exchange) => void seen.push(exchange),
  })
  const before = performance.now()
  await fetch(`${api}protected`)
  const [exchange] = seen
  expect(exchange?.entry).toMatchObject({ route: 'protected', status: 401, delivered: true })
  expect(exchange?.arrivedAt).toBeGreaterThan(before)
  expect(((await exchange?.over) ?? 0) - (exchange?.arrivedAt ?? 0)).toBeGreaterThan(25)
})

test('a taken port is stepped over, and told', async () => {
  const other = await occupy()
  try {
    const { port, taken } = await started({ port: other.port })
    expect(port).toBeGreaterThan(other.port)
    expect(taken).toBe(other.port)
  } finally {
    await other.free()
  }
})

test('close() ends hanging connections too, and frees the port', async () => {
  const arrived = deferred()
  const { api, backend, port, close } = await started({ onExchange: () => arrived.resolve() })
  backend.fault('protected', 'hang')
  const hanging = fetch(`${api}protected`)
  const lost = expect(hanging).rejects.toThrow('fetch failed')
  await arrived.promise
  await close()
  await lost
  const again = await occupy(port)
  await again.free()
})

test("a client in the same process keeps Node's own Request and Response", async () => {
  const { Request: before, Response: alsoBefore } = globalThis
  const { api } = await started()
  await fetch(`${api}whoami`)
  expect([globalThis.Request, globalThis.Response]).toEqual([before, alsoBefore])
})
