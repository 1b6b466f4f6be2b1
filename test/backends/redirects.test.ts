/**
 * Invariant 8 between two real servers: tokens go home only, whatever a redirect says, and what a stranger answers says
 * nothing of ours.
 */
import { createServer, type IncomingMessage } from 'node:http'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import {
  type Backend,
  bearer,
  createAuth,
  djRestAuth,
  flaskJwt,
  isAuthError,
  oauth2,
  simpleJwt,
} from '../../src/index.ts'
import { listen, stop } from '../servers/front.ts'

interface Came {
  readonly path: string
  readonly method: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

let home = ''
let away = ''
const atHome: Came[] = []
const atAway: Came[] = []

async function note(request: IncomingMessage, into: Came[]): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  const { url: path = '', method = '', headers } = request
  into.push({ path, method, headers, body: Buffer.concat(chunks).toString() })
  return path
}

/** Redirects `/<status>/<anything>` to the other origin; answers 401 to the rest, as every backend knows it. */
const homeServer = createServer(async (request, response) => {
  const path = await note(request, atHome)
  const [, status, rest] = /^\/(30\d)\/(.*)$/.exec(path) ?? []
  if (status)
    response.writeHead(Number(status), { location: `${rest === 'home' ? home : away}/landed` }).end()
  else refuse(response)
})
const awayServer = createServer(async (request, response) => {
  await note(request, atAway)
  // It would say yes to anything, but for a call.
  if (request.method === 'POST') {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ access_token: 'stolen', refresh_token: 'stolen', access: 'stolen' }))
  } else refuse(response)
})

function refuse(response: import('node:http').ServerResponse): void {
  response.writeHead(401, {
    'content-type': 'application/json',
    'www-authenticate': 'Bearer error="invalid_token"',
  })
  response.end(JSON.stringify({ msg: 'Token has expired', error: 'token_expired', code: 'token_not_valid' }))
}

beforeAll(async () => {
  home = await listen(homeServer)
  away = await listen(awayServer)
})
afterAll(async () => {
  await stop(homeServer)
  await stop(awayServer)
})
beforeEach(() => {
  atHome.length = 0
  atAway.length = 0
})

const secrets = ['access-secret', 'refresh-secret', 'the-password']
const leaked = (): string[] => secrets.filter((secret) => JSON.stringify(atAway).includes(secret))

/** Every preset, with the endpoint in question under a path that redirects. */
const presets: [string, (path: string) => Backend<never, never>][] = [
  ['flaskJwt', (path) => flaskJwt({ login: { path }, refresh: { path } })],
  ['simpleJwt', (path) => simpleJwt({ login: { path }, refresh: { path } })],
  ['djRestAuth', (path) => djRestAuth({ login: { path }, refresh: { path } })],
  ['oauth2', (path) => oauth2({ tokenEndpoint: path, clientId: 'web' }) as Backend<never, never>],
  ['bearer', (path) => bearer({ login: { path }, refresh: { path } })],
]
const statuses = [301, 302, 303, 307, 308]

function client(backend: Backend<never, never>): ReturnType<typeof createAuth> {
  const auth = createAuth({
    baseUrl: home,
    backend: backend as Backend,
    initial: { accessToken: 'access-secret', refreshToken: 'refresh-secret' },
    refreshTimeout: 2000,
  })
  onTestFinished(() => void auth.dispose())
  return auth
}

describe.each(presets)('8: %s', (_, preset) => {
  test.each(statuses)('a refresh that is redirected (%i) is an error: the session lives', async (status) => {
    const auth = client(preset(`${status}/refresh`))
    const error = await auth.fetch('items').catch((caught) => caught)
    expect(isAuthError(error, 'refresh_unavailable')).toBe(true)
    expect(error.cause).toMatchObject({ message: 'It was answered with a redirect' })
    expect(auth.session).toMatchObject({ version: 1, status: 'active' })
    expect(atHome.map(({ path }) => path)).toEqual(['/items', `/${status}/refresh`])
    expect(atAway).toEqual([])
  })

  test.each(statuses)(
    'a login that is redirected (%i) is an error: nobody is signed in by it',
    async (status) => {
      const auth = client(preset(`${status}/login`))
      const credentials = { grant_type: 'password', username: 'alice', password: 'the-password' }
      const error = await auth.login(credentials).catch((caught) => caught)
      expect(isAuthError(error, 'login_unavailable')).toBe(true)
      expect(error.cause).toMatchObject({ message: 'It was answered with a redirect' })
      expect(auth.session).toMatchObject({ version: 1 })
      expect(atAway).toEqual([])
    },
  )

  test('a redirect at home is one all the same: a token follows none', async () => {
    const auth = client(preset('302/home'))
    const error = await auth.fetch('items').catch((caught) => caught)
    expect(isAuthError(error, 'refresh_unavailable')).toBe(true)
    expect(atHome.map(({ path }) => path)).toEqual(['/items', '/302/home'])
  })

  test.each(statuses)(
    'a call that is redirected away (%i) is neither refreshed nor replayed, and its token stayed at home',
    async (status) => {
      const auth = client(preset('refresh'))
      const response = await auth.fetch(`${status}/call`)
      expect([response.status, response.redirected]).toEqual([401, true])
      expect(new URL(response.url).origin).toBe(away)
      expect(atHome.map(({ path }) => path)).toEqual([`/${status}/call`])
      expect(atHome[0]?.headers.authorization).toBe('Bearer access-secret')
      expect(atAway.map(({ path, headers }) => [path, headers.authorization])).toEqual([
        ['/landed', undefined],
      ])
      expect(leaked()).toEqual([])
      expect(auth.session).toMatchObject({ version: 1, status: 'active' })
    },
  )

  test('a revocation that is redirected takes no token along', async () => {
    const auth = client({
      ...preset('refresh'),
      logout: (token) => ({ path: '307/logout', headers: { authorization: `Bearer ${token}` }, body: token }),
    })
    await auth.ready
    await auth.logout()
    expect(atHome.map(({ path }) => path)).toEqual(['/307/logout', '/307/logout'])
    expect(atAway).toEqual([])
  })
})
