/** Answers at random over every preset: what no server says, what it says half, what it says at the wrong moment. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Answer, type Backend, bearer, createAuth, flaskJwt, isAuthError } from '../../src/index.ts'
import { readAnswer } from '../../src/wire.ts'
import { type Table, tables } from './recorded.ts'
import { over, reported } from './support.ts'

/** An answer as it goes over the wire. */
interface Wire {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly text: string | undefined
}

const WORDS = [
  'Token has expired',
  'Token has been revoked',
  'Fresh token required',
  'Missing CSRF token',
  'Missing Authorization Header',
  'Error loading the user 7',
  'User claims verification failed',
  'Signature verification failed',
  'token_expired',
  'token_revoked',
  'token_not_valid',
  'user_inactive',
  'Token is blacklisted',
  'No active account found for the given token.',
  'invalid_grant',
  'invalid_client',
  'invalid_token',
  'refresh_token_not_found',
  'session_not_found',
  'INVALID_CREDENTIALS',
  'constructor',
  '__proto__',
  'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIiwiZXhwIjo5LCJpYXQiOjh9.c2ln',
  'opaque~token',
]
const MEMBERS = [
  ...['error', 'msg', 'message', 'detail', 'code', 'error_code', 'error_description', 'errors', 'messages'],
  ...['access_token', 'refresh_token', 'access', 'refresh', 'accessToken', 'refreshToken', 'jwt', 'data'],
  ...['expires_in', 'expiresIn', 'expires', 'token_type', 'extensions', '0', 'constructor', '__proto__'],
]

const statuses = fc.oneof(
  { arbitrary: fc.constantFrom(200, 400, 401, 403, 422), weight: 4 },
  { arbitrary: fc.integer({ min: 200, max: 599 }), weight: 1 },
)
const value = fc.letrec((tie) => ({
  any: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.constantFrom<unknown>(...WORDS),
    fc.constantFrom<unknown>(null, true, 0, -1, 300, 1e308, '', '3600', 'é'),
    fc.dictionary(fc.constantFrom(...MEMBERS), tie('any'), { maxKeys: 4 }),
    fc.array(tie('any'), { maxLength: 3 }),
  ),
})).any
const texts = fc.oneof(
  { arbitrary: fc.constant(undefined), weight: 1 },
  { arbitrary: value.map((one) => JSON.stringify(one)), weight: 5 },
  {
    // Cut off somewhere.
    arbitrary: fc
      .tuple(value, fc.double({ min: 0, max: 1, noNaN: true }))
      .map(([one, part]) => JSON.stringify(one).slice(0, Math.floor(JSON.stringify(one).length * part))),
    weight: 2,
  },
  {
    arbitrary: fc.constantFrom(
      '<h1>Hello</h1>',
      'Unauthorized',
      '\0\u{FFFD}',
      '[[[[',
      '{"msg":"Token has exp',
    ),
    weight: 1,
  },
)
const types = fc.constantFrom(
  'application/json',
  'application/problem+json; charset=utf-8',
  'text/html',
  'text/plain',
  'APPLICATION/JSON',
  'nonsense',
)
const parameter = fc
  .tuple(
    fc.constantFrom('error', 'acr_values', 'max_age', 'realm', 'x'),
    fc.constantFrom(...WORDS, '5', '-1', 'insufficient_scope', 'insufficient_user_authentication'),
  )
  .map(([name, text]) => `${name}="${text}"`)
const challenges = fc.oneof(
  // By the grammar.
  fc
    .array(
      fc.tuple(fc.constantFrom('Bearer', 'bearer', 'DPoP', 'Basic'), fc.array(parameter, { maxLength: 3 })),
      { maxLength: 3 },
    )
    .map((all) => all.map(([scheme, params]) => `${scheme} ${params.join(', ')}`.trim()).join(', ')),
  // And by noise that a header may hold.
  fc.string({ unit: fc.constantFrom(...'Bearer error=",\\;\tinvalid_token é'), maxLength: 60 }),
)
const headers = fc.record(
  {
    'content-type': types,
    'www-authenticate': challenges,
    date: fc.constantFrom('Thu, 01 Jan 1970 00:00:00 GMT', 'yesterday', '', '-1'),
    'retry-after': fc.constantFrom('0', '99999999999', '-1', 'soon', 'Thu, 01 Jan 1970 00:00:00 GMT'),
    authorization: fc.constantFrom('Bearer opaque~token', 'Bearer', '', 'x y z'),
  },
  { requiredKeys: [] },
)
const wires: fc.Arbitrary<Wire> = fc.record({ status: statuses, headers, text: texts })

function respond({ status, headers, text }: Wire): Response {
  const bodyless = status === 204 || status === 205 || status === 304 || text === undefined
  // A header is bytes; what the runtime won't take as one no server can send.
  const clean = Object.entries(headers).map(([name, one]): [string, string] => [name, one.trim()])
  return new Response(bodyless ? null : text, { status, headers: clean })
}

const parsed = (text: string | undefined): unknown => {
  try {
    return JSON.parse(text ?? '')
  } catch {
    return undefined
  }
}

/**
 * What may end a session at all, told without a preset's help: that the server took the exchange up and said no. A 401,
 * a 422 of Flask's, or the words of a refusal.
 */
function mayEnd({ status, headers, text }: Wire, { backend }: Table): boolean {
  if (status === 401)
    return !text || !/html/i.test(headers['content-type'] ?? '') || parsed(text) !== undefined
  const body = parsed(text)
  if (typeof body !== 'string' && (typeof body !== 'object' || body === null)) return false
  const says = (...words: string[]): boolean => words.some((word) => (text as string).includes(word))
  if (backend.name.startsWith('flaskJwt')) return status === 422 || says('Jeton')
  if (backend.name === 'oauth2')
    return status < 500 && ![404, 405, 408, 425, 429].includes(status) && says('invalid_grant')
  if (backend.name === 'Supabase Auth')
    return status < 500 && says('refresh_token', 'session_', 'user_banned', 'invalid_grant')
  if (backend.name.startsWith('bearer, with'))
    return status < 500 && /invalid.refresh.token/i.test(text as string)
  return false
}

const runs = { numRuns: 150 }

describe.each(tables.map((table) => [table.backend.name, table] as const))('%s', (_, table) => {
  const { backend } = table

  test('reads whatever comes without a fault, and refuses by what the server said alone', async () => {
    await fc.assert(
      fc.asyncProperty(wires, fc.boolean(), async (wire, own) => {
        const answer: Answer = await readAnswer(respond(wire), undefined, own)
        const found = backend.classify(answer)
        expect(typeof found === 'string' ? found : found.signal).toMatch(
          /^(expired|invalid|revoked|missing|step_up|scope|csrf|account|other|unknown)$/,
        )
        const refused = backend.refused(answer)
        expect(refused === true || refused === false).toBe(true)
        if (refused) expect(mayEnd(wire, table)).toBe(true)
        const words = backend.message?.(answer)
        expect(words === undefined || typeof words === 'string').toBe(true)
        try {
          const tokens = backend.tokens(answer)
          const { expiresIn } = tokens ?? {}
          expect(expiresIn === undefined || (Number.isFinite(expiresIn) && expiresIn >= 0)).toBe(true)
        } catch (error) {
          // The one thing that a preset refuses to read.
          expect((error as Error).message).toContain('token_type')
        }
      }),
      runs,
    )
  })

  test('4: in a client nothing escapes, and no session is lost but by a definite refusal', async () => {
    const errors = reported()
    await fc.assert(
      fc.asyncProperty(fc.array(wires, { minLength: 2, maxLength: 6 }), async (script) => {
        const given: { wire: Wire; refresh: boolean }[] = []
        let next = 0
        const refreshPath = new URL(backend.refresh('x').path, 'https://api.test/').href
        const auth = createAuth({
          baseUrl: 'https://api.test/',
          backend: backend as Backend,
          initial: { accessToken: 'access-1', refreshToken: 'refresh-1' },
          // Shorter than the first pause, so that nothing is waited for.
          refreshTimeout: 100,
          fetch: async (input) => {
            const wire = script[next++ % script.length] as Wire
            given.push({ wire, refresh: String(input) === refreshPath })
            return respond(wire)
          },
        })
        try {
          for (const auths of [undefined, 'optional'] as const) {
            const response = await auth.fetch('items', { auth: auths }).catch((error: unknown) => error)
            if (response instanceof Response) {
              expect(response.bodyUsed).toBe(false)
              // The caller's body is the server's, to the byte.
              const texts = given.map(({ wire }) => (respond(wire).body === null ? '' : wire.text))
              expect(texts).toContain(await response.text())
            } else if (!isAuthError(response, 'refresh_unavailable')) throw response
          }
          if (auth.session) return
          const ended = given.some(({ wire, refresh }) =>
            refresh
              ? mayEnd(wire, table)
              : wire.status >= 400 && /revoked|session_|blacklisted/.test(wire.text ?? ''),
          )
          expect(ended).toBe(true)
        } finally {
          auth.dispose()
        }
      }),
      { numRuns: 60 },
    )
    // What is reported is a preset's fault, but for a type of token that it must not take.
    for (const error of errors) expect(String(error)).toMatch(/^AuthError: oauth2: tokens\(\) threw/)
  })

  test('a login comes to a session or to an AuthError', async () => {
    reported()
    await fc.assert(
      fc.asyncProperty(wires, async (wire) => {
        const auth = createAuth({
          baseUrl: 'https://api.test/',
          backend: backend as Backend,
          fetch: async () => respond(wire),
        })
        const came = await auth.login(table.credentials).catch((error: unknown) => error)
        if (!auth.session) expect(isAuthError(came)).toBe(true)
        auth.dispose()
      }),
      { numRuns: 60 },
    )
  })
})

describe('nothing is read without bound', () => {
  /** JSON that never ends, and how much of it was taken. */
  function endless(): { body: ReadableStream<Uint8Array>; taken(): number; cancelled(): boolean } {
    const chunk = new TextEncoder().encode(`["${'x'.repeat(16_381)}`)
    let taken = 0
    let cancelled = false
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        taken += chunk.byteLength
        controller.enqueue(chunk)
      },
      cancel() {
        cancelled = true
      },
    })
    return { body, taken: () => taken, cancelled: () => cancelled }
  }
  const headers = { 'content-type': 'application/json' }

  test.each([flaskJwt() as Backend<never, never>, bearer() as Backend<never, never>])(
    'an answer to a call: $name',
    async (backend) => {
      const stream = endless()
      let calls = 0
      const { auth } = over(backend, () => {
        calls++
        return calls === 1
          ? new Response(stream.body, { status: 403, headers })
          : new Response(null, { status: 500 })
      })
      const response = await auth.fetch('items')
      expect([response.status, response.bodyUsed]).toEqual([403, false])
      expect(stream.taken()).toBeLessThan(200_000)
      await response.body?.cancel()
    },
  )

  test.each(['application/json', 'text/plain'])(
    'an answer to a refresh, of %s: the session lives',
    async (type) => {
      const stream = endless()
      const { auth } = over(
        bearer() as Backend<never, never>,
        ({ url }) =>
          url.endsWith('items')
            ? new Response(null, { status: 401 })
            : new Response(stream.body, { status: 401, headers: { 'content-type': type } }),
        { refreshTimeout: 5000 },
      )
      const error = await auth.fetch('items').catch((caught) => caught)
      expect(isAuthError(error, 'refresh_unavailable')).toBe(true)
      expect(auth.session).toMatchObject({ status: 'active' })
      // 16 MiB: what the backend's own endpoints bring is never thrown away lightly.
      expect(stream.taken()).toBeLessThan(20_000_000)
      expect(stream.cancelled()).toBe(true)
    },
  )
})
