/** The fetch beneath: one of another realm, over XMLHttpRequest, with odd answers or errors. */

import { Readable } from 'node:stream'
import { describe, expect, test, vi } from 'vitest'
import { type LiveRecord, memoryStore } from '../../src/index.ts'
import { mint, ok, refuse, type Sent, serve } from './by-hand.ts'
import { alice, baseUrl, deferred, failure, isPending, pass, room, second, virtualTime } from './support.ts'

virtualTime()

/** A Response of another fetch's own class; `body`: what it shows in its body's place. */
function foreign(inner: Response, shown?: { body: unknown }): Response {
  return {
    status: inner.status,
    ok: inner.ok,
    headers: inner.headers,
    body: shown ? shown.body : inner.body,
    text: () => inner.text(),
    clone: () => foreign(inner.clone(), shown),
    [Symbol.toStringTag]: 'Response',
  } as unknown as Response
}

describe('a fetch beneath', () => {
  test('9: that heeds no signal frees its caller at an abort all the same', async () => {
    const never = deferred<Response>()
    const { auth } = room({ client: { initial: { accessToken: mint('alice') }, fetch: () => never.promise } })
    const controller = new AbortController()
    const call = failure(auth.fetch('items', { signal: controller.signal }))
    controller.abort()
    expect(await isPending(call)).toBe(false)
    expect(await call).toMatchObject({ name: 'AbortError' })
  })

  test('refuses what can be listened to and is no signal: its caller is told so', async () => {
    const { auth } = room({ client: { initial: { accessToken: mint('alice') }, fetch } })
    const signal = { aborted: false, addEventListener() {} } as unknown as AbortSignal
    const told = failure(auth.fetch('items', { signal }))
    expect(await isPending(told)).toBe(false)
    expect(await told).toBeInstanceOf(TypeError)
  })

  test('10: that fails with a cause which leads back to itself holds no claim, and fails in our words', async () => {
    const loop = new TypeError('outer')
    loop.cause = new Error('inner', { cause: loop })
    let down = false
    const server = serve(() => {
      if (down) throw loop
      return ok({ access_token: mint('alice'), refresh_token: 'refresh' })
    })
    const store = memoryStore()
    const { auth } = room({ client: { store, fetch: server.fetch } })
    await auth.login(alice)
    down = true
    expect(await failure(auth.refresh())).toMatchObject({
      code: 'refresh_unavailable',
      cause: { name: 'TypeError', message: 'outer' },
    })
    const { record } = store.read() as { record: LiveRecord }
    expect(record.claim).toBeUndefined()
    expect(await failure(auth.login(alice))).toMatchObject({ code: 'login_unavailable' })
  })

  test('whose Response is of another class may be what a flow gives', async () => {
    const server = serve(() => foreign(ok({ access_token: mint('alice') })))
    const { auth } = room({ client: { fetch: server.fetch } })
    expect(await auth.login(({ fetch }) => fetch('login'))).toMatchObject({ subject: 'alice' })
  })

  test.each([
    ['to be seen (React Native)', undefined],
    ['but a stream of Node’s own (node-fetch)', Readable.from([])],
  ])('whose Response has no body %s is read, refreshed and replayed as any other', async (_, body) => {
    let live = mint('alice')
    const answer = ({ path, token }: Sent): Response => {
      if (path === '/login') return ok({ access_token: live, refresh_token: 'refresh' })
      if (path === '/refresh') return ok({ access_token: live })
      return token === live ? ok({ hello: 'alice' }) : refuse('Token has expired')
    }
    const server = serve((sent) => foreign(answer(sent), { body }))
    const { auth } = room({ client: { fetch: server.fetch } })
    await auth.login(alice)
    live = mint('alice')
    const response = await auth.fetch('protected')
    expect([response.status, await response.text()]).toEqual([200, '{"hello":"alice"}'])
    expect(server.sent.map(({ path }) => path)).toEqual(['/login', '/protected', '/refresh', '/protected'])
    await auth.logout()
    expect(server.tokens('/logout')).toEqual(['refresh', live])
  })

  test('whose Response has no body to be seen is not looked into beyond what an error of an API takes', async () => {
    const long = Response.json({ msg: 'Token has expired', more: 'x'.repeat(70_000) }, { status: 401 })
    const server = serve(({ path }) =>
      path === '/login'
        ? ok({ access_token: mint('alice'), refresh_token: 'refresh' })
        : foreign(long, { body: undefined }),
    )
    const { auth } = room({ client: { fetch: server.fetch } })
    await auth.login(alice)
    expect((await auth.fetch('protected')).status).toBe(401)
    expect(server.sent.map(({ path }) => path)).toEqual(['/login', '/protected'])
  })
})

test('the body of a refusal is handed on by a fetch whose Blob is its own', async () => {
  const foreign = Object.defineProperty({}, Symbol.toStringTag, { value: 'Blob' })
  const refusal = (): Response => {
    const response = refuse('Token has expired')
    const clone = response.clone.bind(response)
    return Object.assign(response, { clone: () => Object.assign(clone(), { blob: async () => foreign }) })
  }
  const fetch = (async () => refusal()) as never
  const { auth } = room({ client: { fetch, initial: { refreshToken: 'spare' } } })
  expect(await (await auth.fetch('protected')).json()).toEqual({ msg: 'Token has expired' })
})

test('a fetch that says nothing of redirects may tell a relative URL', async () => {
  const fetch = async (input: unknown) => {
    const r = Response.json({}, { status: 200 })
    return Object.defineProperties(r, {
      redirected: { value: undefined },
      url: { value: new URL(String(input)).pathname },
    })
  }
  const { auth } = room({ client: { fetch, initial: { accessToken: mint('alice') } } as never })
  expect((await auth.fetch('protected')).status).toBe(200)
})

describe('a fetch over XMLHttpRequest, that tells no redirect but where it was led,', () => {
  const led = (url: string) =>
    Object.defineProperties(refuse('Token has been revoked'), {
      redirected: { value: undefined },
      url: { value: url },
    })

  test.each([
    ['elsewhere', `${baseUrl}login?next=refresh`, 'refresh_unavailable'],
    ['to another origin', 'https://elsewhere.test/refresh', 'refresh_unavailable'],
    ['nowhere', `${baseUrl}refresh?_=1#top`, 401],
    ['nowhere, and says nothing', '', 401],
  ])('4: does not end a session by the refusal of a stranger: %s', async (_, url, outcome) => {
    const { auth } = room({ client: { initial: { refreshToken: 'spare' }, fetch: async () => led(url) } })
    const got = await auth.fetch('protected').then(
      ({ status }) => status,
      ({ code }) => code,
    )
    expect(got).toBe(outcome)
  })

  test('4: nor by that of another origin to a call', async () => {
    const { auth } = room({
      client: {
        initial: { accessToken: mint('alice') },
        fetch: async () => led('https://elsewhere.test/protected'),
      },
    })
    expect((await auth.fetch('protected')).status).toBe(401)
    expect(auth.session).toMatchObject({ status: 'active' })
  })
})

test('a refusal whose reason phrase is of another charset is handed back all the same', async () => {
  const { auth } = room({
    client: {
      initial: { refreshToken: 'spare' },
      fetch: async () =>
        Object.defineProperty(refuse('Token has expired'), 'statusText', { value: 'N\ufffdo\n autorizado' }),
    },
  })
  const answer = await auth.fetch('protected')
  expect(answer).toMatchObject({ status: 401, statusText: '' })
})

test('10: an error whose body stalls is handed back in time, and can be cancelled', async () => {
  const cancelled = vi.fn()
  const body = () =>
    new ReadableStream({
      start: (controller) => controller.enqueue(new TextEncoder().encode('{"msg":')),
      cancel: cancelled,
    })
  const headers = { 'content-type': 'application/json' }
  const { auth } = room({
    client: {
      initial: { accessToken: mint('alice') },
      fetch: async () => new Response(body(), { status: 500, headers }),
    },
  })
  const answer = auth.fetch('protected')
  await pass(8 * second)
  const { status, body: left } = await answer
  expect(status).toBe(500)
  await left?.cancel()
  expect(cancelled).toHaveBeenCalledOnce()
})

test('a fetch that fails with what can’t be read is a network that does, and the next call goes out at once', async () => {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  let down = true
  const server = serve(({ path }) => (path === '/refresh' ? ok({ access_token: mint('alice') }) : ok()))
  const { auth, told } = room({
    client: {
      initial: { refreshToken: 'spare' },
      fetch: (...given) => (down ? Promise.reject(proxy) : server.fetch(...given)),
    },
  })
  expect(await failure(auth.fetch('protected'))).toMatchObject({ code: 'refresh_unavailable' })
  expect(told.at(-1)).toMatchObject({ type: 'refreshFailed', reason: 'network' })
  down = false
  expect((await auth.fetch('protected')).status).toBe(200)
})
