import { compactVerify, decodeProtectedHeader, jwtVerify, SignJWT } from 'jose'
import { describe, expect, test } from 'vitest'
import { bench, claimsOf, payload, startSeconds } from './support.ts'

const secret = 'another secret, which is long enough for HS256'
const key = new TextEncoder().encode(secret)
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

describe('the claims of a token', () => {
  test.each([
    ['access', { fresh: true, exp: startSeconds + 900 }],
    ['refresh', { fresh: false, exp: startSeconds + 2_592_000 }],
  ] as const)('an %s token carries the library’s claims in the library’s order', async (kind, own) => {
    const { login } = bench()
    const claims = claimsOf((await login())[`${kind}_token`])
    expect(Object.keys(claims)).toEqual(['fresh', 'iat', 'jti', 'type', 'sub', 'nbf', 'csrf', 'exp'])
    expect(claims).toEqual({
      iat: startSeconds,
      nbf: startSeconds,
      type: kind,
      sub: 'alice',
      jti: expect.stringMatching(uuid),
      csrf: expect.stringMatching(uuid),
      ...own,
    })
  })

  test('no two ids are the same', async () => {
    const { login } = bench()
    const { access_token, refresh_token } = await login()
    const ids = [claimsOf(access_token), claimsOf(refresh_token)].flatMap(({ jti, csrf }) => [jti, csrf])
    expect(new Set(ids).size).toBe(4)
  })

  test('audience and issuer stand before exp, extras last', async () => {
    const { login } = bench({
      audience: 'shop',
      issuer: 'bank',
      users: { alice: { password: 'wonderland', claims: { role: 'editor' } } },
    })
    const claims = claimsOf((await login()).access_token)
    expect(Object.keys(claims).slice(-4)).toEqual(['aud', 'iss', 'exp', 'role'])
    expect(claims).toMatchObject({ aud: 'shop', iss: 'bank', role: 'editor' })
  })

  test('extra claims override built-in ones, each token its own', async () => {
    const { backend, login } = bench({
      users: {
        alice: { password: 'wonderland', sub: '7', claims: { type: 'x' }, refreshClaims: { sub: 7 } },
      },
    })
    const { access_token, refresh_token } = await login()
    expect(claimsOf(access_token)).toMatchObject({ type: 'x', sub: '7' })
    expect(claimsOf(refresh_token)).toMatchObject({ type: 'x', sub: 7 })
    expect(backend.issued.map(({ sub }) => sub)).toEqual(['7', '7'])
  })

  test.each([
    ['nbf', { nbf: false }],
    ['csrf', { csrfProtect: false }],
    ['exp', { accessLifetime: null }],
    ['exp', { accessLifetime: 0 }],
  ] as const)('%s is left out with %o', async (claim, options) => {
    const { login } = bench(options)
    expect(claimsOf((await login()).access_token)).not.toHaveProperty(claim)
  })

  test('stamps are whole seconds, the fraction dropped', async () => {
    const { backend, login } = bench({ accessLifetime: 1_400 })
    backend.advance(700)
    expect(claimsOf((await login()).access_token)).toMatchObject({
      iat: startSeconds,
      nbf: startSeconds,
      exp: startSeconds + 2,
    })
  })

  test('freshness for a time is a number with fractional seconds', async () => {
    const { backend, login } = bench({ fresh: 60_250 })
    backend.advance(500)
    const { access_token, refresh_token } = await login()
    expect(claimsOf(access_token).fresh).toBe(startSeconds + 60.75)
    expect(claimsOf(refresh_token).fresh).toBe(false)
  })

  test('letters beyond ASCII are escaped, and come back as they were', async () => {
    const { backend, ask } = bench({ users: { jürgen: 'pässword' } })
    const { accessToken } = await backend.signIn('jürgen')
    expect(Buffer.from(accessToken.split('.')[1] ?? '', 'base64url').toString()).toContain('"j\\u00fcrgen"')
    expect((await ask('/whoami', { token: accessToken })).body).toMatchObject({ sub: 'jürgen' })
  })
})

describe('signatures', () => {
  test('jose verifies what the backend signs', async () => {
    const { login } = bench({ secret })
    const { access_token } = await login()
    expect(decodeProtectedHeader(access_token)).toEqual({ alg: 'HS256', typ: 'JWT' })
    expect(Buffer.from(access_token.split('.')[0] ?? '', 'base64url').toString()).toBe(
      '{"alg":"HS256","typ":"JWT"}',
    )
    const currentDate = new Date(startSeconds * 1000)
    await expect(jwtVerify(access_token, key, { currentDate })).resolves.toHaveProperty(
      'payload.sub',
      'alice',
    )
  })

  test('the backend verifies what jose signs, and only with its own key', async () => {
    const { ask } = bench({ secret })
    const mint = (signWith: Uint8Array): Promise<string> =>
      new SignJWT(payload()).setProtectedHeader({ alg: 'HS256' }).sign(signWith)
    expect(await ask('/whoami', { token: await mint(key) })).toMatchObject({
      status: 200,
      body: { sub: 'alice' },
    })
    const other = new TextEncoder().encode('a key that is not known to this backend')
    expect(await ask('/whoami', { token: await mint(other) })).toEqual({
      status: 422,
      body: { msg: 'Signature verification failed' },
    })
  })

  test('a header of the test’s own is signed as it is', async () => {
    const { ask, backend } = bench({ secret })
    const header = { kid: '7', alg: 'HS256' }
    const token = await backend.sign(payload(), header)
    expect(Object.entries(decodeProtectedHeader(token))).toEqual(Object.entries(header))
    await expect(compactVerify(token, key)).resolves.toHaveProperty('protectedHeader', header)
    expect((await ask('/whoami', { token })).status).toBe(200)
  })

  test.each(['webcrypto', 'fast'] as const)(
    'also one under which %s can sign nothing, and is refused',
    async (signer) => {
      const { ask, backend } = bench({ signer })
      for (const header of [{ alg: 'none' }, { alg: 'RS256', kid: '7' }]) {
        const token = await backend.sign(payload(), header)
        expect(decodeProtectedHeader(token)).toEqual(header)
        expect(claimsOf(token)).toEqual(payload())
        expect((await ask('/whoami', { token })).body).toEqual({
          msg: 'The specified alg value is not allowed',
        })
      }
      expect((await ask('/whoami', { token: await backend.sign(payload(), {}) })).body).toEqual({
        msg: 'Algorithm not specified',
      })
    },
  )

  test('an unknown signer is refused at once', () => {
    // @ts-expect-error: not one of the two
    expect(() => bench({ signer: 'none' })).toThrow(
      new TypeError('signer: "webcrypto" or "fast", not "none"'),
    )
  })
})
