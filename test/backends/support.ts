/** Answers as they were recorded, and a client over a server that gives them. */
import { onTestFinished, vi } from 'vitest'
import { type Answer, type Auth, type Backend, createAuth, type Signal } from '../../src/index.ts'
import { readAnswer } from '../../src/wire.ts'

/** What a server answers. A body that is a string goes out as it is, anything else as JSON. */
export interface Recorded {
  status: number
  headers?: Record<string, string>
  body?: unknown
}

export function respond({ status, headers = {}, body }: Recorded): Response {
  if (body === undefined || status === 204) return new Response(null, { status, headers })
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  const type = typeof body === 'string' ? 'text/html; charset=utf-8' : 'application/json'
  return new Response(text, { status, headers: { 'content-type': type, ...headers } })
}

/** An answer as a backend is given it. `own`: of an endpoint of the backend's own. */
export const read = (recorded: Recorded, own?: boolean): Promise<Answer> =>
  readAnswer(respond(recorded), undefined, own)

/** A signal, however it was told. */
export function signalOf(backend: Backend<never, never>, answer: Answer): Signal {
  const found = backend.classify(answer)
  return typeof found === 'string' ? found : found.signal
}

/** What goes out, and to whom. */
export interface Sent {
  readonly url: string
  readonly method: string
  readonly headers: Headers
  readonly body: string
}

/** A client that holds `initial` tokens, over a server that answers as it is told. */
export function over(
  backend: Backend<never, never>,
  answer: (sent: Sent) => Response | Promise<Response>,
  options: object = {},
): { auth: Auth; sent: Sent[] } {
  const sent: Sent[] = []
  const auth = createAuth({
    baseUrl: 'https://api.test/',
    backend: backend as Backend,
    initial: { accessToken: 'access-1', refreshToken: 'refresh-1' },
    refreshTimeout: 1000,
    fetch: async (input, init) => {
      const request = new Request(input, init)
      const { url, method, headers } = request
      const one = { url, method, headers, body: await request.text() }
      sent.push(one)
      return answer(one)
    },
    ...options,
  }) as Auth
  onTestFinished(() => void auth.dispose())
  return { auth, sent }
}

/** What was reported where nobody could catch it. */
export function reported(): Error[] {
  const errors: Error[] = []
  vi.spyOn(console, 'error').mockImplementation((error) => void errors.push(error))
  return errors
}

/** A JWT that nobody signed. */
export function jwt(claims: object): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  return `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}.signature`
}
