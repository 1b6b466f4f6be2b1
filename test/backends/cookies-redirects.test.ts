/**
 * Invariant 8 for tokens in cookies, between two real servers: a request that carries a CSRF value follows no redirect,
 * because fetch would take that header along to any origin.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { CookieJar } from 'tough-cookie'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { type Auth, createAuth, type FlaskJwtCookiesOptions, flaskJwtCookies } from '../../src/index.ts'
import { listen, stop } from '../servers/front.ts'
import { rejection } from '../support.ts'
import { hookOf } from './cookies-support.ts'

interface Came {
  readonly line: string
  readonly cookie: string | undefined
  readonly csrf: string | undefined
}

let home = ''
let away = ''
let count = 0
const atHome: Came[] = []
const atAway: Came[] = []

function note({ method, url, headers }: IncomingMessage, into: Came[]): void {
  const csrf = headers['x-csrf-token']
  into.push({
    line: `${method} ${url}`,
    cookie: headers.cookie,
    csrf: csrf === undefined ? undefined : String(csrf),
  })
}

const answer = (response: ServerResponse, status: number, body: object, cookies: string[] = []): void =>
  void response
    .writeHead(status, { 'content-type': 'application/json', 'set-cookie': cookies })
    .end(JSON.stringify(body))

/** Sets cookies on `/login`, redirects `/<status>/home` and `/<status>/away`, and says yes to the rest. */
const homeServer = createServer((request, response) => {
  request.resume()
  note(request, atHome)
  const [, status, where] = /^\/(30\d)\/(home|away)/.exec(request.url ?? '') ?? []
  if (status) {
    response.writeHead(Number(status), { location: `${where === 'home' ? home : away}/landed` }).end()
  } else if (request.url === '/login' || request.url === '/refresh') {
    count++
    const set = ['access', 'refresh'].flatMap((kind) => [
      `${kind}_token_cookie=secret-${count}; HttpOnly; Path=/`,
      `csrf_${kind}_token=csrf-${count}; Path=/`,
    ])
    answer(response, 200, { msg: 'Hello', sub: 'alice' }, set)
  } else answer(response, 200, { msg: 'At home' })
})
const awayServer = createServer((request, response) => {
  request.resume()
  note(request, atAway)
  answer(response, 401, { msg: 'CSRF double submit tokens do not match' })
})

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

const statuses = [301, 302, 303, 307, 308]

async function client(options: FlaskJwtCookiesOptions = {}): Promise<Auth> {
  const backend = flaskJwtCookies({ cookies: hookOf(new CookieJar()), ...options })
  const auth = createAuth({ baseUrl: home, backend, refreshTimeout: 2000 }) as Auth
  onTestFinished(() => void auth.dispose())
  await auth.login({ username: 'alice', password: 'the-password' }).catch(() => {})
  atHome.length = 0
  return auth
}

describe.each(['home', 'away'])('8: a redirect that leads %s', (where) => {
  test.each(statuses)(
    'is an error for a call that carries a CSRF value (%i): it goes nowhere',
    async (status) => {
      const auth = await client()
      for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
        expect(await rejection(auth.fetch(`${status}/${where}`, { method }))).toBeInstanceOf(TypeError)
      }
      const own = { headers: { 'x-csrf-token': 'my own' } }
      expect(await rejection(auth.fetch(`${status}/${where}`, own))).toBeInstanceOf(TypeError)
      expect(atHome.map(({ line }) => line.split(' ')[1])).toEqual(
        Array.from({ length: 5 }, () => `/${status}/${where}`),
      )
      expect(atAway).toEqual([])
      expect(auth.session).toMatchObject({ version: 1, status: 'active' })
    },
  )

  test.each(statuses)(
    'is followed by one that reads (%i), and takes neither cookie nor CSRF value away',
    async (status) => {
      const auth = await client()
      const response = await auth.fetch(`${status}/${where}`)
      const landed = (where === 'home' ? atHome : atAway).at(-1)
      expect([response.redirected, landed?.line]).toEqual([true, 'GET /landed'])
      expect(landed?.csrf).toBeUndefined()
      expect(landed?.cookie !== undefined).toBe(where === 'home')
      // What a stranger says of a CSRF value is no word about ours.
      expect([atHome.length, auth.session?.version]).toEqual([where === 'home' ? 2 : 1, 1])
    },
  )

  test('is an error for login, refresh and logout', async () => {
    const path = `307/${where}`
    const auth = await client({ refresh: { path }, logout: { path } })
    expect(await rejection(auth.refresh())).toMatchObject({ code: 'refresh_unavailable' })
    await auth.logout()
    const other = await client({ login: { path } })
    expect(other.session).toBeNull()
    expect([atHome.some(({ line }) => line.includes('landed')), atAway]).toEqual([false, []])
  })
})

test('8: manual stays manual, and an option lets redirects be followed', async () => {
  const auth = await client()
  expect((await auth.fetch('307/home', { method: 'POST', redirect: 'manual' })).status).toBe(307)
  const lax = await client({ followRedirects: true })
  const response = await lax.fetch('307/home', { method: 'POST', body: 'a form' })
  expect([response.status, atHome.at(-1)]).toMatchObject([
    200,
    { line: 'POST /landed', csrf: `csrf-${count}` },
  ])
})
