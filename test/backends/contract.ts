/** What every backend keeps to, a user's own too: data and pure functions, and no session lost by a guess. */
import { describe, expect, test } from 'vitest'
import type { Answer } from '../../src/index.ts'
import type { Line, Table } from './recorded.ts'
import { over, type Recorded, read, respond, signalOf } from './support.ts'

// No server has ever refused a token with these, whatever it says beside.
const NEVER_REFUSED: readonly Recorded[] = [
  ...[301, 302, 307, 400, 403, 404, 405, 408, 409, 410, 413, 418, 422, 425, 429].map((status) => ({
    status,
  })),
  ...[500, 501, 502, 503, 504, 520, 599].map((status) => ({ status })),
  ...[400, 401, 403, 404, 429, 500, 503].map((status) => ({
    status,
    body: '<h1>Sign in to this network</h1>',
  })),
  ...[403, 404, 408, 429, 500, 502, 503].map((status) => ({ status, body: { message: 'No', error: 'no' } })),
  ...[400, 401, 403, 422].map((status) => ({
    status,
    headers: { 'content-type': 'application/json' },
    body: '{"error":"invalid_gra',
  })),
]

// JSON that no server would send, and that a backend must bear all the same.
export const NONSENSE: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  '',
  'a string',
  [],
  [[]],
  [null],
  {},
  { error: null, code: 17, msg: {}, message: [], detail: true, errors: {} },
  { error: { code: { code: [] } }, errors: [null], messages: [null], data: 'x' },
  { errors: [{ extensions: null }], messages: [{ message: 3 }], data: { access_token: {} } },
  { error: 'constructor', code: '__proto__', msg: 'toString', detail: 'hasOwnProperty', message: 'valueOf' },
  JSON.parse('{"__proto__":{"access_token":"polluted"}}'),
]

export function contract({ backend, credentials, login, refresh, logout, answers }: Table): void {
  const bare = ({ path, method = 'POST', headers, body }: Partial<typeof login>): object => ({
    path,
    method,
    headers,
    body,
  })
  const lines = Object.entries(answers)
  const having = (member: keyof Line): [string, Line][] => lines.filter(([, line]) => member in line)

  describe(backend.name, () => {
    describe('requests', () => {
      test('are those the server takes', () => {
        expect(bare(backend.login(credentials as never))).toEqual(bare(login))
        expect(bare(backend.refresh('refresh-1'))).toEqual(bare(refresh))
        const access = backend.logout?.('access-1', 'access')
        const other = backend.logout?.('refresh-1', 'refresh')
        expect(access && bare(access)).toEqual(logout.access && bare(logout.access))
        expect(other && bare(other)).toEqual(logout.refresh && bare(logout.refresh))
      })

      test('8: have no token in their URL, and each token goes once', () => {
        const given = [
          backend.refresh('secret-token'),
          backend.logout?.('secret-token', 'access'),
          backend.logout?.('secret-token', 'refresh'),
        ].filter((spec) => spec !== undefined)
        for (const { path, headers, body } of given) {
          expect(path).not.toContain('secret-token')
          expect(JSON.stringify([headers, body]).split('secret-token').length - 1).toBe(1)
        }
      })

      test('are made anew each time, and leave the credentials as they are', () => {
        const frozen = Object.freeze({ ...credentials })
        const one = backend.login(frozen as never)
        expect(backend.login(frozen as never)).toEqual(one)
        expect(backend.login(frozen as never)).not.toBe(one)
        expect(backend.refresh('refresh-1')).toEqual(backend.refresh('refresh-1'))
      })
    })

    describe('answers', () => {
      if (having('means').length) {
        test.each(having('means'))('%s: what it says of the access token', async (_, line) => {
          const given = backend.classify(await read(line))
          expect(typeof line.means === 'string' && typeof given === 'object' ? given.signal : given).toEqual(
            line.means,
          )
        })
      }
      if (having('refuses').length) {
        test.each(having('refuses'))('%s: whether it refuses the refresh token', async (_, line) => {
          expect(backend.refused(await read(line, true))).toBe(line.refuses)
        })
      }
      if (having('brings').length) {
        test.each(having('brings'))('%s: the tokens in it', async (_, line) => {
          expect(backend.tokens(await read(line, true))).toEqual(line.brings)
        })
      }

      test('4: that are no definite refusal are none', async () => {
        for (const recorded of NEVER_REFUSED) {
          expect([recorded, backend.refused(await read(recorded, true))]).toEqual([recorded, false])
        }
      })

      test('of success say nothing of the token, and bring none where there is none', async () => {
        for (const status of [200, 201, 204, 206, 304]) {
          for (const body of [undefined, '<h1>Hello</h1>', { msg: 'Hello' }]) {
            const recorded = { status, body: status === 304 ? undefined : body }
            expect(signalOf(backend, await read(recorded))).toBe('other')
            expect(backend.tokens(await read(recorded, true))).toBeUndefined()
          }
        }
      })

      test('that are nonsense are borne', async () => {
        for (const body of NONSENSE) {
          for (const status of [200, 400, 401, 403, 422, 500]) {
            const answer: Answer = { status, headers: new Headers(), body, empty: false }
            expect(backend.tokens(answer)?.accessToken).not.toBe('polluted')
            expect(signalOf(backend, answer)).toEqual(expect.any(String))
            expect(backend.refused(answer)).toEqual(expect.any(Boolean))
            const words = backend.message?.(answer)
            expect(words === undefined || typeof words === 'string').toBe(true)
          }
        }
      })

      test('are read without being changed, and the same way twice', async () => {
        for (const [, line] of lines) {
          const answer = Object.freeze(await read(line, true))
          const before = JSON.stringify([answer, [...answer.headers]])
          const once = [backend.tokens(answer), backend.classify(answer), backend.refused(answer)]
          expect([backend.tokens(answer), backend.classify(answer), backend.refused(answer)]).toEqual(once)
          expect(JSON.stringify([answer, [...answer.headers]])).toBe(before)
        }
      })
    })

    describe('in a client', () => {
      const cured = having('means').filter(([, { means }]) =>
        ['expired', 'invalid', 'unknown'].includes(means as string),
      )
      const [brought] = having('brings').find(([, { brings }]) => brings?.accessToken) ?? []
      const success = brought && answers[brought]
      if (success && cured.length) {
        test.each(cured)('%s: one refresh, and the call is replayed', async (_, line) => {
          const { accessToken } = success.brings as { accessToken: string }
          const { auth, sent } = over(backend, ({ url, headers }) => {
            if (!url.endsWith('/items')) return respond(success)
            const came = [headers.get('authorization'), headers.get('x-csrf-token')]
            return came.includes(`Bearer ${accessToken}`) || came.includes(accessToken)
              ? Response.json([])
              : respond(line)
          })
          expect((await auth.fetch('items', { method: 'POST' })).status).toBe(200)
          expect(sent.map(({ url }) => url.endsWith('/items'))).toEqual([true, false, true])
          expect(auth.session).toMatchObject({ version: 2, status: 'active' })
        })
      }

      const left = having('means').filter(([, { means }]) =>
        ['scope', 'csrf', 'account', 'other', ...(backend.cookies === 'both' ? [] : ['missing'])].includes(
          means as string,
        ),
      )
      if (left.length) {
        test.each(left)('%s: handed back untouched', async (_, line) => {
          const { auth, sent } = over(backend, () => respond(line))
          const response = await auth.fetch('items')
          expect([response.status, response.bodyUsed]).toEqual([line.status, false])
          expect(await response.text()).toBe(await respond(line).text())
          expect(sent.length).toBe(1)
          expect(auth.session).toMatchObject({ version: 1, status: 'active' })
        })
      }

      const refusals = having('refuses')
      if (refusals.length) {
        test.each(refusals)(
          '4: %s, from the refresh: the session ends only if it refuses',
          async (_, line) => {
            const { auth } = over(
              backend,
              ({ url }) => (url.endsWith('/items') ? new Response(null, { status: 401 }) : respond(line)),
              {
                initial: { accessToken: 'access-1', refreshToken: 'refresh-1', expiresIn: 0.001 },
                refreshTimeout: 300,
              },
            )
            await new Promise((resolve) => setTimeout(resolve, 5))
            const got = await auth.fetch('items').catch((error) => error)
            if (line.refuses) {
              expect(got.status).toBe(401)
              expect(auth.session).toBeNull()
            } else {
              expect(got).toMatchObject({ code: 'refresh_unavailable' })
              expect(auth.session).toMatchObject({ status: 'active' })
            }
          },
        )
      }
    })
  })
}
