/** What the demo server has for a browser, and who may play tricks on it. */
import { request } from 'node:http'
import { afterEach, expect, test } from 'vitest'
import { type DemoServer, startDemoServer } from '../../demo-server/server.ts'
import { watchable } from '../../demo-server/site.ts'

let server: DemoServer
afterEach(() => server.close())

async function started(): Promise<DemoServer> {
  server = await startDemoServer({ port: 0, backend: watchable })
  return server
}

const post = (url: string, body: string, type = 'application/json'): Promise<Response> =>
  fetch(`${url}demo`, { method: 'POST', headers: { 'content-type': type }, body })

test('a browser gets the page, everybody else a list of the routes', async () => {
  const { url } = await started()
  const page = await fetch(url, { headers: { accept: 'text/html,application/xhtml+xml' } })
  expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8')
  expect(await page.text()).toContain('<h1>stayfresh</h1>')
  const list = await fetch(url)
  expect(list.headers.get('content-type')).toBe('text/plain; charset=utf-8')
  expect(await list.text()).toContain('POST   /api/login')
})

test('while the steps of the demo are under way a browser waits for the page', async () => {
  let ready = false
  server = await startDemoServer({ port: 0, ready: () => ready })
  const get = (): Promise<Response> => fetch(server.url, { headers: { accept: 'text/html' } })
  const waiting = await get()
  expect(waiting.headers.get('refresh')).toBe('1')
  expect(await waiting.text()).toContain('under way in the terminal')
  ready = true
  expect(await (await get()).text()).toContain('<h1>stayfresh</h1>')
})

test('the page may load from its own origin alone, and nothing inline', async () => {
  const { url } = await started()
  for (const [path, type] of [
    ['', 'text/html; charset=utf-8'],
    ['page.js', 'text/javascript; charset=utf-8'],
    ['style.css', 'text/css; charset=utf-8'],
    ['icon.svg', 'image/svg+xml'],
  ] as const) {
    const { status, headers } = await fetch(url + path, { headers: { accept: 'text/html' } })
    expect([status, headers.get('content-type')]).toEqual([200, type])
    const policy = headers.get('content-security-policy') ?? ''
    expect(policy).toContain("default-src 'none'")
    expect(policy).not.toMatch(/unsafe|https?:|\*/)
  }
})

test('tokens can be expired and sessions revoked by the page', async () => {
  const { url, backend } = await started()
  const { accessToken, refreshToken } = await backend.signIn('alice')
  expect((await post(url, '{"do":"expire"}')).status).toBe(200)
  expect([accessToken, refreshToken].map(backend.isHonoured)).toEqual([false, true])
  expect((await post(url, '{"do":"revoke"}')).status).toBe(200)
  expect(backend.isHonoured(refreshToken)).toBe(false)
})

test('refreshes, the pace and the life of tokens can be set, one at a time, and set back', async () => {
  const { url, api, backend } = await started()
  const state = async (): Promise<unknown> => (await fetch(`${url}demo`)).json()
  expect(await state()).toEqual({ accessLifetime: 25_000, pace: 'normal', refresh: 'works' })
  await post(url, '{"set":{"pace":"instant"}}')
  await post(url, '{"set":{"accessLifetime":10000}}')
  await post(url, '{"set":{"refresh":"busy-once"}}')
  expect(await state()).toEqual({ accessLifetime: 10_000, pace: 'instant', refresh: 'busy-once' })

  const { refreshToken } = await backend.signIn('alice')
  const refresh = async (): Promise<number> => {
    const headers = { authorization: `Bearer ${refreshToken}` }
    return (await fetch(`${api}refresh`, { method: 'POST', headers })).status
  }
  const busy = await fetch(`${api}refresh`, { method: 'POST' })
  expect([busy.status, busy.headers.get('retry-after')]).toEqual([503, '1'])
  expect(await state()).toMatchObject({ refresh: 'works' })
  await post(url, '{"set":{"refresh":"fails"}}')
  expect([await refresh(), await refresh()]).toEqual([503, 503])
  await post(url, '{"set":{"refresh":"works"}}')
  expect(await refresh()).toBe(200)
})

test('what can not be done or set is refused, and changes nothing', async () => {
  const { url, backend } = await started()
  const before = await (await fetch(`${url}demo`)).json()
  for (const body of [
    '',
    'null',
    '[]',
    '{"do":"restart"}',
    '{"set":{"pace":"toString"}}',
    '{"set":{"accessLifetime":1}}',
    '{"set":{"accessLifetime":"25000"}}',
    '{"set":{"refresh":"__proto__"}}',
  ]) {
    const response = await post(url, body)
    expect([body, response.status]).toEqual([body, 400])
    expect(await response.json()).toHaveProperty('error')
  }
  expect(await (await fetch(`${url}demo`)).json()).toEqual(before)
  expect(backend.count()).toBe(0)
})

test('another site can not play tricks: not by a form, not by a name that leads here', async () => {
  const { url, port, backend } = await started()
  const { accessToken } = await backend.signIn('alice')
  expect((await post(url, '{"do":"expire"}', 'text/plain')).status).toBe(415)
  expect((await fetch(`${url}demo`, { method: 'DELETE' })).status).toBe(405)
  const preflight = await fetch(`${url}demo`, {
    method: 'OPTIONS',
    headers: { origin: 'https://elsewhere.example', 'access-control-request-method': 'POST' },
  })
  expect(preflight.headers.has('access-control-allow-origin')).toBe(false)

  const status = await new Promise((resolve, reject) => {
    const headers = { host: `elsewhere.example:${port}`, 'content-type': 'application/json' }
    const sent = request({ host: '127.0.0.1', port, path: '/demo', method: 'POST', headers }, (answer) => {
      answer.resume()
      resolve(answer.statusCode)
    })
    sent.on('error', reject)
    sent.end('{"do":"expire"}')
  })
  expect(status).toBe(403)
  expect(backend.isHonoured(accessToken)).toBe(true)
})
