/** Django REST Framework SimpleJWT as the stories' server: the real one, behind a front. */
import { simpleJwt } from '../../src/index.ts'
import type { Django } from '../servers/django.ts'
import { startFront, startStranger } from '../servers/front.ts'
import { life, type Role, type Scene, type SceneOptions, type Server } from './server.ts'

const PATHS: Record<string, Role> = {
  '/token/': 'login',
  '/token/refresh/': 'refresh',
  '/token/blacklist/': 'logout',
  '/plain/': 'plain',
  '/other/': 'fresh',
}

const jsonOf = (text: string): Record<string, string> => {
  try {
    return JSON.parse(text)
  } catch {
    return {}
  }
}

async function post(url: string, body: object): Promise<Response> {
  const headers = { 'content-type': 'application/json' }
  return fetch(url, { method: 'POST', headers, body: JSON.stringify(body) })
}

/** `django` is up before the first story is told. */
export function simpleJwtServer(django: () => Django): Server {
  return {
    name: 'Django REST Framework SimpleJWT',
    abilities: {
      rotations: ['rotating', 'reusable'],
      stepUp: false,
      revokes: 'refresh',
      tellsRevoked: false,
      tellsSubject: true,
      clock: true,
      faults: true,
    },
    open: (options) => open(django(), options),
  }
}

async function open(
  django: Django,
  { accessLifetime = life, rotation = 'rotating' }: SceneOptions = {},
): Promise<Scene> {
  const alice = { username: 'alice', password: 'wonderland' }
  // A token that has run out by its own `exp`: what the server says of it is what it says.
  await django.control({ offset: -2 * life, lifetime: life, rotate: rotation === 'rotating' })
  const { access: dead } = jsonOf(await (await post(`${django.origin}/token/`, alice)).text())
  await django.control({ offset: 0, lifetime: accessLifetime })
  const bearer = { headers: { authorization: `Bearer ${dead}` } }
  const expired = (await (await fetch(`${django.origin}/plain/`, bearer)).json()) as object

  let offset = 0
  const given = new Set<string>()
  const turnedDown = new Set<string>()
  const spent = new Set<string>()
  let reuses = 0
  const front = await startFront({
    target: django.origin,
    roleOf: (_, path) => PATHS[path.split('?')[0] ?? ''],
    tokenIn: (role, body) => (role === 'refresh' || role === 'logout' ? jsonOf(body).refresh : undefined),
    passing(passing) {
      const token = passing.headers.authorization?.slice('Bearer '.length)
      if (token && turnedDown.has(token)) passing.headers.authorization = `Bearer ${dead}`
      if (passing.role !== 'refresh') return
      const { refresh = '' } = jsonOf(passing.body.toString())
      if (spent.has(refresh)) reuses++
      if (rotation === 'rotating') spent.add(refresh)
    },
    answered(role, status, body) {
      if ((role === 'login' || role === 'refresh') && status === 200) given.add(jsonOf(body).access ?? '')
    },
  })
  const stranger = await startStranger(expired)
  const turnDown = (): void => {
    for (const token of given) turnedDown.add(token)
  }

  return {
    baseUrl: `${front.origin}/`,
    backend: simpleJwt(),
    paths: { plain: 'plain/', fresh: 'other/' },
    alice,
    bob: { username: 'bob', password: 'builder' },
    refusals: { expired, stale: {}, revoked: {} },
    seen: (role) =>
      front.seen.filter((one) => role === undefined || one.role === role).map((one) => ({ ...one })),
    clear: () => front.clear(),
    async pass(milliseconds) {
      offset += milliseconds
      await django.control({ offset })
    },
    expireEarly: turnDown,
    async revoke(username) {
      turnDown()
      await django.control({ revoke: username })
    },
    honours: async (token) => (await post(`${django.origin}/token/verify/`, { token })).ok,
    reuses: () => reuses,
    fault: front.fault,
    hold: front.hold,
    elsewhere: {
      redirect: `redirect?to=${encodeURIComponent(`${stranger.origin}/plain/`)}`,
      tokens: () => stranger.tokens,
    },
    async close() {
      await front.close()
      await stranger.close()
    },
  }
}
