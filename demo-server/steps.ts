/** The life of a session in ten steps. Each builds on those before it. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { AuthRequestInit } from 'stayfresh'
import type { Backend, IssuedToken, TokenKind } from 'stayfresh/testing'
import { check, type Stage, type Step, signedIn, type Told } from './stage.ts'
import { type Sent, sentToken, tokenName } from './wire.ts'

const alice = { username: 'alice', password: 'wonderland' }

const login: Step = {
  title: 'Login',
  why: 'A password gives an access token, which is fresh, and a refresh token.',
  cost: { requests: 1, refreshes: 0 },
  async run({ auth, backend, told, asks }) {
    asks('auth.login({ username, password })')
    const { subject, fresh } = await auth.login(alice)
    const { issued } = backend
    return [
      check('alice is signed in, with a fresh token', { subject, fresh }, { subject: 'alice', fresh: true }),
      check('the server gave out one token of each kind', issued.map(({ kind }) => kind).sort(), [
        'access',
        'refresh',
      ]),
      check('loggedIn was announced once', count(told, 'loggedIn'), 1),
    ]
  },
}

const call: Step = {
  title: 'A call',
  why: 'A valid token is attached, and nothing else happens.',
  cost: { requests: 1, refreshes: 0 },
  async run({ auth, backend, asks, settled }) {
    asks("auth.fetch('protected')")
    const { status, body } = await get(auth, 'protected')
    const [sent] = await settled()
    return [
      check('the answer is for alice', { status, sub: body.sub }, { status: 200, sub: 'alice' }),
      check('it carried the token of the login', carried(backend, sent), newest(backend, 'access')),
    ]
  },
}

const expiry: Step = {
  title: 'Expiry',
  why: 'The access token has run out. The next call refreshes it first, so that nobody meets a 401.',
  cost: { requests: 2, refreshes: 1 },
  async run({ auth, backend, asks, expiry, settled }) {
    const before = signedIn(auth)
    const old = newestToken(backend, 'access')
    await expiry()
    const honoured = backend.isHonoured(old.token)
    asks("auth.fetch('protected')")
    const { status } = await get(auth, 'protected')
    const sent = await settled()
    const after = auth.session
    return [
      check('the server no longer honoured the old token', honoured, false),
      check('first the refresh, then the call', sent.map(routeAndStatus), ['refresh 200', 'protected 200']),
      check('the caller saw a 200', status, 200),
      check('the same session, one version on', after?.version, before.version + 1),
      check('its id is the same', after?.id === before.id, true),
    ]
  },
}

const storm: Step = {
  title: 'Fifty at once, on an expired token',
  why: 'Fifty calls in the same instant share one refresh, and each is sent once.',
  cost: { requests: 51, refreshes: 1 },
  async run({ auth, backend, told, asks, expiry, settled }) {
    await expiry()
    asks("50 × auth.fetch('protected')")
    const answers = await Promise.all(times(50, () => get(auth, 'protected')))
    const sent = await settled()
    const calls = sent.filter(({ entry }) => entry.route === 'protected')
    return [
      check('fifty callers saw a 200', statuses(answers), { 200: 50 }),
      check('all carried the refreshed token', tokens(backend, calls), [newest(backend, 'access')]),
      check('tokenRefreshed was announced once', count(told, 'tokenRefreshed'), 1),
    ]
  },
}

const early: Step = {
  title: 'Expired early, at the server',
  why: 'The token looks valid, but the server disagrees: fifty 401s, one refresh, fifty replays.',
  cost: { requests: 101, refreshes: 1 },
  async run({ auth, backend, asks, settled }) {
    const old = newest(backend, 'access')
    backend.expireAccessTokens()
    asks("50 × auth.fetch('protected')")
    const answers = await Promise.all(times(50, () => get(auth, 'protected')))
    const sent = await settled()
    const calls = sent.filter(({ entry }) => entry.route === 'protected')
    const refused = calls.filter(({ entry }) => entry.status === 401)
    const served = calls.filter(({ entry }) => entry.status === 200)
    return [
      check('fifty callers saw a 200', statuses(answers), { 200: 50 }),
      check('fifty 401s, on the old token', [refused.length, tokens(backend, refused)], [50, [old]]),
      check(
        'fifty replays, on the new one',
        [served.length, tokens(backend, served)],
        [50, [newest(backend, 'access')]],
      ),
    ]
  },
}

const late: Step = {
  title: 'A late 401',
  why: 'A slow call brings its 401 when the refresh is long over. It is replayed with the token in hand.',
  cost: { requests: 5, refreshes: 1 },
  async run({ auth, backend, asks, arrival, settled }) {
    const { latency } = backend.settings
    const old = newest(backend, 'access')
    latency.whoami = 1_000
    asks("auth.fetch('whoami'), which the server takes up a second later")
    const slow = get(auth, 'whoami')
    const quick = arrival('whoami').then(async () => {
      backend.expireAccessTokens()
      asks("auth.fetch('protected') meanwhile, with the tokens expired at the server")
      const answer = await get(auth, 'protected')
      // The slow call has arrived; its replay need not be slow.
      delete latency.whoami
      return answer
    })
    const answers = await Promise.all([slow, quick])
    const sent = await settled()
    const refresh = sent.find(({ entry }) => entry.route === 'refresh')
    const [first, replay] = sent.filter(({ entry }) => entry.route === 'whoami')
    const isLate = first && refresh && first.entry.status === 401 && first.overAt > refresh.overAt
    return [
      check('both callers saw a 200', statuses(answers), { 200: 2 }),
      check('the 401 came after the refresh was over', isLate, true),
      check('sent with the old token', carried(backend, first), old),
      check('replayed with the one in hand', carried(backend, replay), newest(backend, 'access')),
    ]
  },
}

const body: Step = {
  title: 'A body replayed',
  why: 'A POST meets a 401. The body goes out again, the same to the byte.',
  cost: { requests: 3, refreshes: 1 },
  async run({ auth, backend, asks, settled }) {
    const text = JSON.stringify({ note: 'Grüße, 漢字, 🌊', numbers: times(500, (n) => n * n) })
    const bytes = new TextEncoder().encode(text)
    backend.expireAccessTokens()
    asks(`auth.fetch('protected', { method: 'POST', body }), ${bytes.length.toLocaleString('en')} bytes`)
    const answer = await get(auth, 'protected', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: bytes,
    })
    const posts = (await settled()).filter(
      ({ entry }) => entry.method === 'POST' && entry.route === 'protected',
    )
    const length = String(bytes.length)
    return [
      check(
        'a 401, then a 200',
        posts.map(({ entry }) => entry.status),
        [401, 200],
      ),
      check(
        'the same text both times',
        posts.map(({ entry }) => entry.body === text),
        [true, true],
      ),
      check(
        'of the same length',
        posts.map(({ entry }) => entry.headers['content-length']),
        [length, length],
      ),
      check('the server echoes it', answer.body.base64 === Buffer.from(bytes).toString('base64'), true),
    ]
  },
}

const KY_TIMEOUT = 1_000
const PERSON = 1_500

const password: Step = {
  title: 'A fresh-only route, answered by a password',
  why:
    'A refreshed token is not fresh, and only a password helps. Three calls through ky wait for one dialog, ' +
    "longer than ky's own timeout.",
  cost: { requests: 7, refreshes: 0 },
  async run({ auth, api, backend, told, asks, settled }) {
    const before = signedIn(auth)
    const person = async (): Promise<void> => {
      asks(`reauthRequired: a person takes ${PERSON / 1000} s for the password`)
      await sleep(PERSON)
      asks('auth.reauthenticate({ username, password })')
      await auth.reauthenticate(alice)
    }
    const stop = auth.on('reauthRequired', (event) => event.waitUntil(person()))
    try {
      asks(`3 × api.delete('fresh', { timeout: ${KY_TIMEOUT} })`)
      const began = performance.now()
      const answers = await Promise.all(
        times(3, () => api.delete('fresh', { timeout: KY_TIMEOUT }).json<{ sub: string }>()),
      )
      const took = performance.now() - began
      const sent = await settled()
      const refused = sent.filter(({ entry }) => entry.error === 'stale')
      const served = sent.filter(({ entry }) => entry.route === 'fresh' && entry.status === 200)
      const after = auth.session
      return [
        check(
          'three answers for alice',
          answers.map(({ sub }) => sub),
          ['alice', 'alice', 'alice'],
        ),
        check("they outlived ky's timeout", took > KY_TIMEOUT, true),
        check('one dialog', reasons(told, 'reauthRequired'), ['fresh_token_required']),
        check('three refused as not fresh', refused.length, 3),
        check(
          'three replayed with a fresh token',
          [served.length, tokens(backend, served)],
          [3, [newest(backend, 'access')]],
        ),
        check(
          'the same session, fresh now',
          [after?.id === before.id, before.fresh, after?.fresh],
          [true, false, true],
        ),
      ]
    } finally {
      stop()
    }
  },
}

const refused: Step = {
  title: 'A refused refresh',
  why: 'The server has revoked the refresh token. The session ends once, and each caller gets the 401 of its own call.',
  cost: { requests: 11, refreshes: 1 },
  async run({ auth, backend, told, asks, settled }) {
    backend.revoke(newestToken(backend, 'refresh').jti)
    backend.expireAccessTokens()
    asks("10 × auth.fetch('protected')")
    const answers = await Promise.all(times(10, () => get(auth, 'protected')))
    const sent = await settled()
    const calls = sent.filter(({ entry }) => entry.route === 'protected')
    const words = [...new Set(answers.map(({ body }) => body.msg))]
    return [
      check('ten callers saw a 401', statuses(answers), { 401: 10 }),
      check("it was the server's own, its body unread", words, [
        ...new Set(calls.map(({ entry }) => entry.detail)),
      ]),
      check('the application was asked once', reasons(told, 'reauthRequired'), ['session_expired']),
      check('and told once that the session is over', reasons(told, 'loggedOut'), ['session_expired']),
      check('nobody is signed in', auth.session, null),
    ]
  },
}

const logout: Step = {
  title: 'A new login, and a logout that revokes both tokens',
  why: 'Signed out at once, here and at the server. What follows goes out with no token.',
  cost: { requests: 4, refreshes: 0 },
  async run({ auth, backend, told, asks, settled }) {
    asks('auth.login({ username, password })')
    await auth.login(alice)
    const pair = [newestToken(backend, 'access'), newestToken(backend, 'refresh')]
    const honoured = (): boolean[] => pair.map(({ token }) => backend.isHonoured(token))
    const before = honoured()
    asks('auth.logout()')
    const revoked = auth.logout()
    const at = auth.session
    await revoked
    asks("auth.fetch('protected')")
    const { status } = await get(auth, 'protected')
    const sent = await settled()
    const deleted = sent.filter(({ entry }) => entry.route === 'logout')
    return [
      check('the session is null before logout() returns', at, null),
      check('the server honoured both tokens', before, [true, true]),
      check('and honours neither any more', honoured(), [false, false]),
      check(
        'each was revoked by a request of its own',
        tokens(backend, deleted).sort(),
        pair.map((token) => tokenName(backend, token)).sort(),
      ),
      check('the next call went out with no token', [status, carried(backend, sent.at(-1))], [401, '–']),
      check('loggedOut was announced once', reasons(told, 'loggedOut'), ['logout']),
    ]
  },
}

export const steps: readonly Step[] = [
  login,
  call,
  expiry,
  storm,
  early,
  late,
  body,
  password,
  refused,
  logout,
]

// --- what the steps share ----------------------------------------------------------------------------------

interface Answer {
  status: number
  body: Record<string, unknown>
}

async function get(auth: Stage['auth'], input: string, init?: AuthRequestInit): Promise<Answer> {
  const response = await auth.fetch(input, init)
  return { status: response.status, body: (await response.json()) as Answer['body'] }
}

function times<T>(count: number, make: (index: number) => T): T[] {
  return Array.from({ length: count }, (_, index) => make(index))
}

/** How often each status came. */
function statuses(answers: readonly Answer[]): Record<number, number> {
  const counts: Record<number, number> = {}
  for (const { status } of answers) counts[status] = (counts[status] ?? 0) + 1
  return counts
}

function newestToken({ issued }: Backend, kind: TokenKind): IssuedToken {
  const token = issued.findLast((other) => other.kind === kind)
  if (!token) throw new Error(`the server has given out no ${kind} token`)
  return token
}

const newest = (backend: Backend, kind: TokenKind): string => tokenName(backend, newestToken(backend, kind))

const carried = (backend: Backend, sent: Sent | undefined): string =>
  tokenName(backend, sent && sentToken(backend, sent.entry))

/** The names of the tokens that these requests carried, each once. */
const tokens = (backend: Backend, sent: readonly Sent[]): string[] => [
  ...new Set(sent.map((one) => carried(backend, one))),
]

const routeAndStatus = ({ entry }: Sent): string => `${entry.route} ${entry.status}`

const reasons = (told: readonly Told[], type: Told['type']): string[] =>
  told.filter((one) => one.type === type).map(({ reason }) => reason)

const count = (told: readonly Told[], type: Told['type']): number => reasons(told, type).length
