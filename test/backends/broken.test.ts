/** A backend of one's own: in twenty lines, changed in one, and what happens when it is wrong. */
import { describe, expect, test, vi } from 'vitest'
import { type Backend, flaskJwt, isAuthError, type Tokens } from '../../src/index.ts'
import { virtualTime } from '../support.ts'
import { contract } from './contract.ts'
import { over, reported, respond } from './support.ts'

/** What the documentation shows: the whole of a backend. */
const mine: Backend<{ sub: string }, { pin: string }> = {
  name: 'mine',
  login: ({ pin }) => ({ path: 'session', body: pin }),
  refresh: (token) => ({ path: 'session', method: 'PATCH', headers: { 'x-refresh': token } }),
  logout: (token, kind) =>
    kind === 'refresh' ? { path: 'session', method: 'DELETE', headers: { 'x-refresh': token } } : undefined,
  tokens({ body }) {
    const { token, next } = Object(body) as { token?: string; next?: string }
    return token === undefined ? undefined : { accessToken: token, refreshToken: next, expiresIn: 300 }
  },
  classify: ({ status, body }) => {
    if (status !== 401) return 'other'
    return (Object(body) as { why?: string }).why === 'old' ? 'expired' : 'unknown'
  },
  refused: ({ status, body }) => status === 401 && (Object(body) as { why?: string }).why === 'gone',
}

contract({
  backend: mine as Backend<never, never>,
  credentials: { pin: '1234' },
  login: { path: 'session', body: '1234' },
  refresh: { path: 'session', method: 'PATCH', headers: { 'x-refresh': 'refresh-1' } },
  logout: { refresh: { path: 'session', method: 'DELETE', headers: { 'x-refresh': 'refresh-1' } } },
  answers: {
    'a session': {
      status: 201,
      body: { token: 'a.b', next: 'r' },
      brings: { accessToken: 'a.b', refreshToken: 'r', expiresIn: 300 },
    },
    old: { status: 401, body: { why: 'old' }, means: 'expired', refuses: false },
    gone: { status: 401, body: { why: 'gone' }, means: 'unknown', refuses: true },
  },
})

describe('one that is changed', () => {
  test('is changed by spreading it, or by its options', () => {
    const moved = flaskJwt({ refresh: { path: 'token/refresh' } })
    expect(moved.refresh('r-1').path).toBe('token/refresh')
    const polite: Backend = { ...(flaskJwt() as Backend), message: () => 'Please try again' }
    expect(polite.message?.({ status: 401, headers: new Headers(), body: {}, empty: true })).toBe(
      'Please try again',
    )
  })
})

/** A promise that is never settled, and one that fails and that nobody would catch. */
const never = (): Promise<never> => new Promise(() => {})
const fails = (): Promise<never> => Promise.reject(new Error('later'))
const throws = (): never => {
  throw new Error(
    'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln is not what I expected of def50200a9f4+c31/7e.2~41=',
  )
}
// What it does, how, and what is reported.
type Way = [string, () => unknown, string]
const ways: Way[] = [
  ['throws', throws, 'threw'],
  ['gives a promise that never settles', never, 'gave a promise'],
  ['gives a promise that fails', fails, 'gave a promise'],
]
const nonsense: Way[] = [
  ...ways,
  ['gives null', () => null, 'gave null'],
  ['gives a number', () => 17, 'gave number'],
  ['gives an empty object', () => ({}), 'gave object'],
]
const nothing: Way = ['gives nothing', () => undefined, 'gave undefined']

const expired = (): Response => respond({ status: 401, body: { msg: 'Token has expired' } })
const broken = (member: keyof Backend, how: () => unknown): Backend<never, never> =>
  ({ ...flaskJwt(), name: 'broken', [member]: how }) as never

/** What was reported names the backend and the function, quotes what was thrown, and holds no token. */
function named(errors: readonly Error[], member: string, did: string): void {
  expect(errors.length).toBeGreaterThan(0)
  for (const error of errors) {
    expect(isAuthError(error, 'invalid_option')).toBe(true)
    expect(error).toMatchObject({ option: 'backend', message: `broken: ${member}() ${did}` })
    const cause = error.cause as Error | undefined
    expect(cause?.message).toBe(did === 'threw' ? '[token] is not what I expected of [token]=' : undefined)
  }
}

describe('one that is wrong is reported by its name', () => {
  test.each([...nonsense, nothing])(
    'classify() %s: the caller gets the server’s own answer',
    async (_, how, did) => {
      const errors = reported()
      const { auth, sent } = over(broken('classify', how), expired)
      const response = await auth.fetch('items')
      expect([response.status, response.bodyUsed]).toEqual([401, false])
      expect(await response.json()).toEqual({ msg: 'Token has expired' })
      expect(sent.length).toBe(1)
      expect(auth.session).toMatchObject({ status: 'active' })
      named(errors, 'classify', did)
    },
  )

  test('classify() throws of a token that has run out on the way: the caller gets the server’s own answer', async () => {
    const errors = reported()
    virtualTime()
    const { auth, sent } = over(
      broken('classify', throws),
      async () => {
        await vi.advanceTimersByTimeAsync(61_000)
        return expired()
      },
      { initial: undefined },
    )
    await auth.setTokens({ accessToken: 'access-1', expiresIn: 60 })
    expect((await auth.fetch('items')).status).toBe(401)
    expect(sent.length).toBe(1)
    named(errors, 'classify', 'threw')
  })

  test.each(ways)('inspect() %s: the caller gets the server’s own answer', async (_, how, did) => {
    const errors = reported()
    const { auth } = over(broken('inspect', how), expired)
    expect(await (await auth.fetch('items')).json()).toEqual({ msg: 'Token has expired' })
    named(errors, 'inspect', did)
  })

  test.each([...nonsense, nothing])(
    'refresh() %s: nothing is sent, and the session lives',
    async (_, how, did) => {
      const errors = reported()
      const { auth, sent } = over(broken('refresh', how), expired)
      const error = await auth.fetch('items').catch((caught) => caught)
      expect(isAuthError(error, 'refresh_unavailable')).toBe(true)
      expect((error.cause as Error).message).toContain('broken: refresh()')
      expect(sent.length).toBe(1)
      expect(auth.session).toMatchObject({ status: 'active' })
      named(errors, 'refresh', did)
    },
  )

  test.each([...ways, nothing])('refused() %s: the session lives', async (_, how, did) => {
    const errors = reported()
    const { auth } = over(broken('refused', how), expired)
    const error = await auth.fetch('items').catch((caught) => caught)
    expect(isAuthError(error, 'refresh_unavailable')).toBe(true)
    expect(auth.session).toMatchObject({ status: 'active' })
    if (how === nothing[1]) expect(errors).toEqual([])
    else named(errors, 'refused', did)
  })

  test.each(ways)('tokens() of a refresh %s: the session lives', async (_, how, did) => {
    const errors = reported()
    const { auth } = over(broken('tokens', how), ({ url }) =>
      url.endsWith('refresh') ? respond({ status: 200, body: { access_token: 'a.b.c' } }) : expired(),
    )
    const error = await auth.fetch('items').catch((caught) => caught)
    expect(isAuthError(error, 'refresh_unavailable')).toBe(true)
    expect(auth.session).toMatchObject({ status: 'active' })
    named(errors, 'tokens', did)
  })

  test.each(ways)(
    'tokens() of a login %s: the login is incomplete, and holds the server’s answer',
    async (_, how, did) => {
      const errors = reported()
      const { auth } = over(broken('tokens', how), () =>
        respond({ status: 200, body: { access_token: 'a.b.c' } }),
      )
      const error = await auth.login({} as never).catch((caught) => caught)
      expect(isAuthError(error, 'login_incomplete')).toBe(true)
      expect(await error.response.json()).toEqual({ access_token: 'a.b.c' })
      expect(auth.session).toMatchObject({ status: 'active' })
      named(errors, 'tokens', did)
    },
  )

  test.each([...nonsense, nothing])(
    'login() %s: the login says so, and nothing is sent',
    async (_, how, did) => {
      const errors = reported()
      const { auth, sent } = over(broken('login', how), expired)
      const error = await auth.login({} as never).catch((caught) => caught)
      expect(isAuthError(error, 'invalid_option')).toBe(true)
      expect(sent).toEqual([])
      named(errors, 'login', did)
    },
  )

  test.each(ways)('message() %s: the refusal is the server’s all the same', async (_, how, did) => {
    const errors = reported()
    const { auth } = over(broken('message', how), expired)
    const error = await auth.login({} as never).catch((caught) => caught)
    expect(error).toMatchObject({ code: 'login_refused', status: 401, serverMessage: undefined })
    named(errors, 'message', did)
  })

  test.each(nonsense)('logout() %s: the user is signed out', async (_, how, did) => {
    const errors = reported()
    const { auth, sent } = over(broken('logout', how), expired)
    await auth.logout()
    expect(auth.session).toBeNull()
    expect(sent).toEqual([])
    named(errors, 'logout', did)
  })

  test('logout() has nothing to send for a token: that is none of these', async () => {
    const errors = reported()
    const { auth, sent } = over(broken('logout', nothing[1]), expired)
    await auth.logout()
    expect([sent, errors]).toEqual([[], []])
  })

  test.each(ways)('subject() %s: nobody knows whose token it is', async (_, how, did) => {
    const errors = reported()
    const { auth } = over(broken('subject', how), () =>
      respond({ status: 200, body: { access_token: 'a.b.c' } as Tokens }),
    )
    expect(await auth.login({} as never)).toMatchObject({ subject: undefined, status: 'active' })
    named(errors, 'subject', did)
  })

  test('a signal that is none asks for nothing', async () => {
    const { auth, sent } = over(
      broken('classify', () => 'exipred'),
      expired,
    )
    expect((await auth.fetch('items')).status).toBe(401)
    expect(sent.length).toBe(1)
  })
})
