/** Flask-JWT-Extended as the stories' server: the real one, behind a front. */
import { createHmac } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { CookieJar } from 'tough-cookie'
import { flaskJwt } from '../../src/index.ts'
import { type Flask, type FlaskSetup, SECRET } from '../servers/flask.ts'
import { startFront, startStranger } from '../servers/front.ts'
import { abilitiesOf, type Dialect, inCookies, type Mode, modes, preset, refusals, routes } from './flask.ts'
import { life, type Role, type Scene, type SceneOptions, type Server } from './server.ts'

const tokensIn: Record<Mode, FlaskSetup['tokens']> = {
  headers: 'headers',
  cookies: 'cookies',
  implicit: 'cookies',
  hybrid: 'split',
}

/** `flask` is up before the first story is told. */
export function realFlask(flask: () => Flask, dialect: Dialect, mode: Mode = 'headers'): Server {
  return {
    name: `A real Flask-JWT-Extended, ${dialect} dialect${modes[mode]}`,
    abilities: abilitiesOf(dialect, mode),
    open: (options) => open(flask(), dialect, mode, options),
  }
}

type Claims = { jti: string; type: string; csrf: string }

const claimsOf = (token: string): Claims =>
  JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString())

/** The same token, but that it has run out: what the server says of it is what it says. */
function expired(token: string): string {
  const [header] = token.split('.')
  const payload = Buffer.from(JSON.stringify({ ...claimsOf(token), exp: 1 })).toString('base64url')
  const signature = createHmac('sha256', SECRET).update(`${header}.${payload}`).digest('base64url')
  return `${header}.${payload}.${signature}`
}

const jwts = /\beyJ[\w-]*\.[\w-]+\.[\w-]+/g

async function open(
  flask: Flask,
  dialect: Dialect,
  mode: Mode,
  { accessLifetime = life, rotation = 'reusable' }: SceneOptions = {},
): Promise<Scene> {
  if (rotation === 'rotating-reuse-detection') throw new Error('This application knows no families')
  const app = await flask.open({
    dialect,
    tokens: tokensIn[mode],
    rotation,
    lifetime: accessLifetime,
    ...(mode === 'implicit' && { implicit: accessLifetime / 2 }),
  })
  const { pathname: root } = new URL(app.url)
  const given = new Set<string>()
  const turnedDown = new Set<string>()
  const spent = new Set<string>()
  let reuses = 0
  let offset = 0

  /** The token that the server looks at. */
  const presented = (role: Role | undefined, headers: IncomingHttpHeaders): string | undefined => {
    const name = role === 'refresh' ? 'refresh_token_cookie' : 'access_token_cookie'
    const cookie = new RegExp(`(?:^|; )${name}=([^;]+)`).exec(headers.cookie ?? '')?.[1]
    return /^Bearer (.+)$/.exec(headers.authorization ?? '')?.[1] ?? cookie
  }

  const front = await startFront({
    target: flask.origin,
    roleOf(_, path) {
      const name = path.split('?')[0]?.slice(root.length)
      return (Object.keys(routes) as Role[]).find((role) => routes[role] === name)
    },
    // No script sees a token that is in a cookie: what the client has of it is its CSRF value.
    tokenIn(role, _, headers) {
      const token = headers.authorization ? undefined : presented(role, headers)
      return token && claimsOf(token).csrf
    },
    passing(passing) {
      for (const name of ['authorization', 'cookie'] as const) {
        const header = passing.headers[name]
        if (header === undefined) continue
        passing.headers[name] = header.replace(jwts, (jwt) => (turnedDown.has(jwt) ? expired(jwt) : jwt))
      }
      if (passing.role !== 'refresh') return
      const token = presented('refresh', passing.headers) ?? ''
      if (spent.has(token)) reuses++
      if (rotation !== 'reusable') spent.add(token)
    },
    answered(_, __, body, headers) {
      for (const [token] of `${body} ${headers['set-cookie']?.join(' ')}`.matchAll(jwts)) given.add(token)
    },
    refuse: async ({ role, headers }) => app.revoke({ jti: claimsOf(presented(role, headers) ?? '').jti }),
  })
  const stranger = await startStranger(refusals[dialect].expired)
  const jar = new CookieJar()

  return {
    baseUrl: `${front.origin}${root}`,
    backend: mode === 'headers' ? flaskJwt(preset(dialect, rotation)) : inCookies(mode, rotation, jar),
    paths: { plain: 'protected', fresh: 'fresh' },
    alice: { username: 'alice', password: 'wonderland' },
    bob: { username: 'bob', password: 'builder' },
    refusals: refusals[dialect],
    seen: (role) =>
      front.seen.filter((one) => role === undefined || one.role === role).map((one) => ({ ...one })),
    clear: () => front.clear(),
    async pass(milliseconds) {
      offset += milliseconds
      await app.setOffset(offset)
    },
    expireEarly() {
      for (const token of given) if (claimsOf(token).type === 'access') turnedDown.add(token)
    },
    revoke: (sub) => app.revoke({ sub }),
    async honours(handle) {
      const token = [...given].find((one) => one === handle || claimsOf(one).csrf === handle) ?? handle
      return !turnedDown.has(token) && (await app.honours(token))
    },
    reuses: () => reuses,
    fault: front.fault,
    hold: front.hold,
    elsewhere: {
      redirect: `/redirect?to=${encodeURIComponent(`${stranger.origin}/protected`)}`,
      tokens: () => stranger.tokens,
    },
    async close() {
      await front.close()
      await stranger.close()
    },
  }
}
