import { type Backend, type BackendOptions, type Claims, createBackend } from '../../src/testing/index.ts'

/** A whole second, so that whole-second claims and the clock agree. */
export const start = 1_800_000_000_000
/** `start` in seconds. */
export const startSeconds = start / 1000

export interface Sent {
  method?: string
  token?: string
  cookie?: string
  csrf?: string
  headers?: Record<string, string>
  json?: unknown
  body?: BodyInit
  signal?: AbortSignal
}

export interface Bench {
  backend: Backend
  send(path: string, sent?: Sent): Promise<Response>
  /** Status and parsed body. */
  ask(path: string, sent?: Sent): Promise<{ status: number; body: unknown }>
  login(username?: string): Promise<{ access_token: string; refresh_token: string }>
}

/** A backend whose clock stands at `start`, and short ways to speak to it. */
export function bench(options: BackendOptions = {}): Bench {
  const backend = createBackend({ clock: { now: () => start }, ...options })
  const send: Bench['send'] = (path, { method, token, cookie, csrf, headers, json, body, signal } = {}) => {
    const all = new Headers(headers)
    if (token !== undefined) all.set('Authorization', `Bearer ${token}`)
    if (cookie !== undefined) all.set('Cookie', cookie)
    if (csrf !== undefined) all.set('X-CSRF-TOKEN', csrf)
    if (json !== undefined) all.set('Content-Type', 'application/json')
    const payload = json === undefined ? body : JSON.stringify(json)
    return backend.fetch(`https://api.test${path}`, {
      method: method ?? (payload === undefined ? 'GET' : 'POST'),
      headers: all,
      body: payload,
      signal,
    })
  }
  return {
    backend,
    send,
    async ask(path, sent) {
      const response = await send(path, sent)
      const text = await response.text()
      return { status: response.status, body: text === '' ? undefined : JSON.parse(text) }
    },
    async login(username = 'alice') {
      const passwords: Record<string, string> = { alice: 'wonderland', bob: 'builder' }
      const response = await send('/login', { json: { username, password: passwords[username] } })
      return (await response.json()) as { access_token: string; refresh_token: string }
    },
  }
}

/** The payload of an access token as the library writes it; `undefined` leaves a claim out. */
export function payload(changes: Claims = {}): Claims {
  return JSON.parse(
    JSON.stringify({
      fresh: true,
      iat: startSeconds,
      jti: 'a-jti',
      type: 'access',
      sub: 'alice',
      nbf: startSeconds,
      csrf: 'a-csrf-value',
      exp: startSeconds + 900,
      ...changes,
    }),
  )
}

/** A segment of a token. */
export function segment(text: string): string {
  return Buffer.from(text).toString('base64url')
}

/** The parsed payload of a token. */
export function claimsOf(token: string | undefined): Claims {
  return JSON.parse(Buffer.from(token?.split('.')[1] ?? '', 'base64url').toString())
}

/** `name` → value and attributes, of every cookie a response sets. */
export function cookiesOf(response: Response): Record<string, { value: string; attributes: string }> {
  return Object.fromEntries(
    response.headers.getSetCookie().map((line) => {
      const [, name = '', value = '', attributes = ''] = /^([^=]+)=([^;]*); (.*)$/.exec(line) ?? []
      return [name, { value, attributes }]
    }),
  )
}
