import { expect, test, vi } from 'vitest'
import { createAuth, flaskJwt } from '../../src/index.ts'
import { createBackend, fakeTokens } from '../../src/testing/index.ts'
import { bench, start } from './support.ts'

test('a story reads the same every time, and no token, query or password is in it', async () => {
  const tell = async (): Promise<string> => {
    const { backend, send, login } = bench({
      clock: { now: () => start },
      refresh: 'rotating-reuse-detection',
    })
    const { access_token: token, refresh_token: spent } = await login()
    await send('/protected?secret=1', { token })
    await send('/protected', { token })
    await send('/fresh', { token: await backend.sign({ sub: 'nobody', exp: 1 }) })
    backend.advance(1_500)
    backend.revoke(spent)
    await send('/refresh', { token: spent, method: 'POST' })
    backend.restart()
    await send('/refresh', { token: spent, method: 'POST' })
    backend.expireAccessTokens()
    backend.revoke({ sub: 'alice' })
    return backend.timeline()
  }
  const told = await tell()
  expect(told).toBe(await tell())
  expect(told).toMatchInlineSnapshot(`
    "POST /login         → 200 gives a1 (alice, fresh) r1
    GET /protected  a1  → 200  ×2
    GET /fresh      ?1  → 401 expired
    — the server's clock moves by +1.5 s
    — r1 is revoked
    POST /refresh   r1  → 401 revoked
    — the server starts anew
    POST /refresh   r1  → 200 gives a2 (alice) r2
    — every access token so far counts as expired
    — every session so far of alice is revoked"
  `)
})

test('what a fault did, and what nobody waited for, can be told from what the server answered', async () => {
  const { backend, send } = bench()
  const token = fakeTokens({ now: start }).accessToken
  for (const fault of ['drop', 'drop-after', 'not-json'] as const) {
    backend.fault('protected', fault)
    await send('/protected', { token }).catch(() => {})
  }
  backend.fault('protected', { status: 503 })
  await send('/protected', { token })
  backend.settings.latency = { protected: { before: 5, after: 5 } }
  const controller = new AbortController()
  const given = send('/protected', { token, signal: controller.signal })
  controller.abort()
  await expect(given).rejects.toThrow()
  expect(backend.timeline()).toContain('no answer yet')
  await vi.waitFor(() => expect(backend.log.at(-1)?.status).toBe(200))
  await vi.waitFor(() =>
    expect(backend.timeline()).toBe(
      [
        'GET /protected  a1  → drop',
        'GET /protected  a1  → drop-after after 200',
        'GET /protected  a1  → not-json',
        'GET /protected  a1  → 503 (fault)',
        'GET /protected  a1  → 200 (not delivered)',
      ].join('\n'),
    ),
  )
})

test('times are the server’s, since the first line', async () => {
  const { backend, send } = bench()
  await send('/protected')
  backend.advance(61_000)
  await send('/protected')
  expect(backend.timeline({ times: true }).split('\n')).toEqual([
    '   +0.000 s  GET /protected  → 401 missing',
    "  +61.000 s  — the server's clock moves by +61 s",
    '  +61.000 s  GET /protected  → 401 missing',
  ])
  backend.clearLog()
  expect(backend.timeline()).toBe('')
})

test('a path that is no route is told from a 404 of the application’s own', async () => {
  const { backend, send } = bench({
    prefix: '/api/',
    api: { gone: { token: false, answer: () => new Response(null, { status: 404 }) } },
  })
  await send('/protected')
  await send('/api/gone')
  expect(backend.timeline()).toBe('GET /protected  → 404 no such route\nGET /api/gone   → 404')
})

test('expectRefreshes counts what came to the refresh route, and shows the timeline when it fails', async () => {
  const backend = createBackend()
  const auth = createAuth({
    baseUrl: 'https://api.test/',
    backend: flaskJwt(),
    fetch: backend.fetch,
    initial: fakeTokens({ expiresIn: -1 }),
  })
  expect(() => backend.expectRefreshes(1)).toThrow(/but the backend saw 0:\n\n\(no request at all\)/)
  await auth.fetch('protected')
  backend.expectRefreshes(1)
  const failure = await Promise.resolve(2)
    .then(backend.expectRefreshes)
    .catch((error: unknown) => error as Error)
  expect(failure).toMatchObject({ name: 'AssertionError', actual: 1, expected: 2 })
  expect((failure as Error).message).toContain('Expected 2 refreshes, but the backend saw 1:')
  expect((failure as Error).message).toContain('POST /refresh   r1  → 200 gives a1 (alice)')
  expect((failure as Error).message).not.toContain('eyJ')
})

test('of an outage without end a story reads the same every time where Math.random does', async () => {
  const tell = async (): Promise<string> => {
    vi.useFakeTimers()
    const backend = createBackend({ signer: 'fast' })
    const auth = createAuth({
      baseUrl: 'https://api.test/',
      backend: flaskJwt(),
      fetch: backend.fetch,
      initial: fakeTokens({ expiresIn: -1 }),
    })
    backend.fault('refresh', { status: 503 }, { times: Number.POSITIVE_INFINITY })
    const answer = auth.fetch('protected').catch(({ code }: { code: string }) => code)
    await vi.advanceTimersByTimeAsync(20_000)
    expect(await answer).toBe('refresh_unavailable')
    vi.useRealTimers()
    return backend.timeline()
  }
  vi.spyOn(Math, 'random').mockReturnValue(0.5)
  const told = await tell()
  for (const _ of [1, 2, 3]) expect(await tell()).toBe(told)
  // What is drawn is the pauses, and so how many tries fit in.
  vi.mocked(Math.random).mockReturnValue(0.9)
  expect(await tell()).not.toBe(told)
})
