import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { createAuth, flaskJwt, simpleJwt } from '../../src/index.ts'
import { createBackend, type FakeTokensOptions, fakeTokens } from '../../src/testing/index.ts'
import { bench, claimsOf, start, startSeconds } from './support.ts'

const ask = async (options?: FakeTokensOptions, backend = createBackend()): Promise<number> => {
  const headers = { Authorization: `Bearer ${fakeTokens(options).accessToken}` }
  return (await backend.fetch('https://api.test/protected', { headers })).status
}

describe('what they say', () => {
  test('they have the claims of a login, and no two are alike', () => {
    const { accessToken, refreshToken } = fakeTokens({ now: start + 999 })
    expect(claimsOf(accessToken)).toMatchObject({
      sub: 'alice',
      type: 'access',
      fresh: true,
      iat: expect.closeTo(startSeconds + 0.999, 2),
      exp: expect.closeTo(startSeconds + 900.999, 2),
    })
    expect(claimsOf(refreshToken)).toMatchObject({
      type: 'refresh',
      fresh: false,
      exp: expect.closeTo(startSeconds + 2_592_000.999, 2),
    })
    expect(fakeTokens({ now: start }).accessToken).not.toBe(fakeTokens({ now: start }).accessToken)
  })

  test('claims of your own take the place of others, and undefined takes one away', () => {
    const { accessToken } = fakeTokens({ claims: { user_id: 7, sub: undefined }, expiresIn: null })
    expect(claimsOf(accessToken)).toMatchObject({ user_id: 7 })
    expect(Object.keys(claimsOf(accessToken))).not.toContain('sub')
    expect(Object.keys(claimsOf(accessToken))).not.toContain('exp')
  })

  test('the client reads who it is, whether it is fresh, and when it ends', async () => {
    const now = Date.now()
    for (const [backend, claims] of [
      [flaskJwt(), {}],
      [simpleJwt(), { user_id: 'carol', token_type: 'access' }],
    ] as const) {
      const initial = fakeTokens({ subject: 'carol', fresh: false, expiresIn: 600, claims })
      const auth = createAuth({ baseUrl: 'https://api.test/', backend, initial } as never)
      await auth.ready
      expect(auth.session).toMatchObject({ subject: 'carol', fresh: false, status: 'active' })
      expect((auth.session?.expiresAt ?? 0) - now).toBeGreaterThan(590_000)
    }
  })

  test.each([
    [{ subject: 7 }, 'fakeTokens: subject takes a string, got number'],
    [{ fresh: 'yes' }, 'fakeTokens: fresh takes a boolean, got string'],
    [{ expiresIn: '1' }, 'fakeTokens: expiresIn takes seconds, or null for no expiry, got string'],
    [{ refreshExpiresIn: Number.NaN }, 'fakeTokens: refreshExpiresIn takes seconds'],
    [{ claims: null }, 'fakeTokens: claims takes an object, got null'],
    [{ now: new Date() }, 'fakeTokens: now takes milliseconds'],
    [{ secret: '' }, 'fakeTokens: secret takes a string, not empty'],
  ])('a wrong option is named: %o', (options, message) => {
    expect(() => fakeTokens(options as never)).toThrow(message)
  })
})

describe('what a backend makes of them', () => {
  test.each(['webcrypto', 'fast'] as const)(
    'with the %s signer they are as good as its own',
    async (signer) => {
      const backend = createBackend({ signer, refresh: 'rotating-reuse-detection' })
      const { accessToken, refreshToken } = fakeTokens({ subject: 'carol' })
      expect([backend.isHonoured(accessToken), backend.isHonoured(refreshToken)]).toEqual([true, true])
      const refresh = async (): Promise<number> =>
        (
          await backend.fetch('https://api.test/refresh', {
            method: 'POST',
            headers: { Authorization: `Bearer ${refreshToken}` },
          })
        ).status
      expect(await refresh()).toBe(200)
      expect(backend.families()).toMatchObject([{ sub: 'carol', generation: 1 }])
      expect(await refresh()).toBe(401)
      expect(backend.reuseDetected).toBe(1)
      expect(backend.sessionAlive('carol')).toBe(false)
    },
  )

  test('they run out, unless they began before they were late', async () => {
    expect(await ask()).toBe(200)
    expect(await ask({ expiresIn: -1 })).toBe(401)
    expect(await ask({ expiresIn: null })).toBe(200)
    const later = createBackend()
    later.advance(16 * 60_000)
    expect(await ask({}, later)).toBe(401)
    expect(await ask({ now: later.now() }, later)).toBe(200)
  })

  test.each([0, 1, 499, 500, 999])(
    'a short life is as long as it says, for client and server, at %i ms of a second',
    async (ms) => {
      vi.useFakeTimers({ now: 1_700_000_000_000 + ms })
      onTestFinished(() => void vi.useRealTimers())
      const signedIn = (options: FakeTokensOptions) => {
        const backend = createBackend({ signer: 'fast' })
        const initial = fakeTokens(options)
        const auth = createAuth({
          baseUrl: 'https://api.test/',
          backend: flaskJwt(),
          fetch: backend.fetch,
          initial,
          refreshAhead: false,
        })
        return { auth, backend, initial }
      }
      for (const expiresIn of [1, 2, 900]) {
        const { auth, backend, initial } = signedIn({ expiresIn, fresh: false })
        expect(auth.session?.expiresAt).toBe(Date.now() + expiresIn * 1000)
        vi.advanceTimersByTime(expiresIn * 1000 - 1)
        await auth.fetch('protected')
        expect([backend.count('protected'), backend.count('refresh')]).toEqual([1, 0])
        vi.advanceTimersByTime(1)
        await auth.fetch('protected')
        expect([backend.count('protected'), backend.count('refresh')]).toEqual([2, 1])
        expect(backend.isHonoured(initial.accessToken)).toBe(false)
      }
      expect(createBackend().isHonoured(fakeTokens({ expiresIn: 0 }).accessToken)).toBe(false)
      const advanced = createBackend()
      const minute = fakeTokens({ expiresIn: 60 })
      advanced.advance(60_000)
      expect(advanced.isHonoured(minute.accessToken)).toBe(false)
      const { backend } = signedIn({ expiresIn: 2 })
      expect(backend.families()).toEqual([])
      expect(backend.isHonoured(fakeTokens({ expiresIn: -1 }).accessToken)).toBe(false)
      expect(backend.families()[0]?.startedAt).toBe(Date.now() - 901_000)
    },
  )

  test.each([0, 250, 999])(
    'one that was just given out is not due, however short its life, at %i ms of a second',
    async (ms) => {
      vi.useFakeTimers({ now: 1_700_000_000_000 + ms })
      onTestFinished(() => void vi.useRealTimers())
      for (let times = 0; times < 20; times++) {
        const backend = createBackend({ signer: 'fast' })
        const auth = createAuth({
          baseUrl: 'https://api.test/',
          backend: flaskJwt(),
          fetch: backend.fetch,
          initial: fakeTokens({ expiresIn: 2, fresh: false }),
        })
        await auth.fetch('protected')
        await vi.advanceTimersByTimeAsync(0)
        expect(backend.count('refresh')).toBe(0)
      }
    },
  )

  test('another secret is another server', async () => {
    const backend = createBackend({ secret: 'the key of somebody else, also long enough' })
    expect(await ask({}, backend)).toBe(422)
    expect(await ask({ secret: 'the key of somebody else, also long enough' }, backend)).toBe(200)
  })

  test('what befell all tokens before befell those that the server has not seen yet, and no later ones', async () => {
    const backend = createBackend()
    const headers = (token: string) => ({ headers: { Authorization: `Bearer ${token}` } })
    const before = fakeTokens()
    const bobs = fakeTokens({ subject: 'bob' })
    backend.expireAccessTokens()
    backend.revoke({ sub: 'bob' })
    const after = [fakeTokens(), fakeTokens({ subject: 'bob' })].map(({ accessToken }) => accessToken)
    const answers = await Promise.all(
      [before.accessToken, bobs.accessToken, ...after].map((token) =>
        backend.fetch('https://api.test/protected', headers(token)),
      ),
    )
    expect(answers.map(({ status }) => status)).toEqual([401, 401, 200, 200])
    expect(backend.isHonoured(before.refreshToken)).toBe(true)
    expect(backend.isHonoured(bobs.refreshToken)).toBe(false)
    backend.restart()
    expect(backend.isHonoured(bobs.refreshToken)).toBe(true)
  })

  test('one that was tampered with is none', async () => {
    const { backend, ask } = bench()
    const [header, , signature] = fakeTokens().accessToken.split('.')
    const [, payload] = fakeTokens({ subject: 'root' }).accessToken.split('.')
    const token = `${header}.${payload}.${signature}`
    expect(await ask('/protected', { token })).toEqual({
      status: 422,
      body: { msg: 'Signature verification failed' },
    })
    expect(backend.issued).toEqual([])
  })
})
