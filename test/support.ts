/** What the tests of the client share: a user who is signed in, a wire that is watched, and time in hand. */
import { inspect } from 'node:util'
import { onTestFinished, vi } from 'vitest'
import { type Auth, type AuthOptions, createAuth, flaskJwt } from '../src/index.ts'
import { type Backend, type BackendOptions, createBackend, type SignedIn } from '../src/testing/index.ts'

export const base = 'https://api.test/'

export type Fetch = typeof globalThis.fetch

/** One call of the fetch beneath. */
export interface Sent {
  /** What it was given, as it was given. */
  readonly input: Parameters<Fetch>[0]
  readonly init: (RequestInit & Record<string, unknown>) | undefined
  /** What that makes on the wire; its body is spent. */
  readonly request: Request
  readonly path: string
  readonly headers: Headers
  /** The bytes of its body. */
  readonly bytes: Promise<Uint8Array>
}

/** A fetch that notes what it is given, before anything is waited for. */
export function recorder(next: Fetch): { fetch: Fetch; sent: Sent[] } {
  const sent: Sent[] = []
  return {
    sent,
    fetch(input, init) {
      const request = new Request(input, init)
      const bytes = request.clone().bytes()
      bytes.catch(() => {})
      const { pathname: path } = new URL(request.url)
      sent.push({
        input,
        init: init as Sent['init'],
        request,
        path,
        headers: new Headers(request.headers),
        bytes,
      })
      return next(request)
    },
  }
}

export interface Bench {
  auth: Auth
  backend: Backend
  tokens: SignedIn
  /** All that the fetch beneath was given. */
  sent: Sent[]
  /** Of that, what went to one path. */
  sentTo(path: string): Sent[]
}

export type BenchOptions = Partial<AuthOptions> & {
  server?: BackendOptions
  /** Comes between the recorder and the server. */
  beneath?: (next: Fetch) => Fetch
  /** `false`: nobody is signed in. */
  signedIn?: boolean
}

/** A client whose user is signed in, and the server that it speaks to. */
export async function bench(options: BenchOptions = {}): Promise<Bench> {
  const { server, beneath = (next) => next, signedIn = true, ...more } = options
  const backend = createBackend(server)
  const tokens = await backend.signIn('alice')
  const { fetch, sent } = recorder(beneath(backend.fetch))
  const auth = createAuth({
    baseUrl: base,
    backend: flaskJwt(),
    fetch,
    ...(signedIn && { initial: tokens }),
    ...more,
  }) as Auth
  return { auth, backend, tokens, sent, sentTo: (path) => sent.filter((one) => one.path === path) }
}

/** `flaskJwt` as the tutorial's server wants it. */
export const tutorial: ReturnType<typeof flaskJwt> = flaskJwt({
  refreshToken: 'single-use',
  logout: { method: 'POST', tokens: 'access' },
})

/** Moves the clock of client and server, past the life of an access token unless told otherwise. */
export function later(milliseconds: number = 901_000): void {
  if (!vi.isFakeTimers()) {
    vi.useFakeTimers({ toFake: ['Date'] })
    onTestFinished(() => void vi.useRealTimers())
  }
  vi.setSystemTime(Date.now() + milliseconds)
}

/** Timers and clocks stand still until the test moves them. */
export function virtualTime(): void {
  vi.useFakeTimers({ toFake: ['Date', 'performance', 'setTimeout', 'clearTimeout'] })
  onTestFinished(() => void vi.useRealTimers())
}

/** A door in the wire: requests to a path wait before it. */
export interface Door {
  beneath: (next: Fetch) => Fetch
  /** Resolves when the first one stands before it. */
  readonly reached: Promise<void>
  open(): void
}

export function door(path: string): Door {
  let arrive = (): void => {}
  let open = (): void => {}
  const reached = new Promise<void>((resolve) => {
    arrive = resolve
  })
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return {
    reached,
    open,
    beneath: (next) => async (input, init) => {
      const request = new Request(input, init)
      if (new URL(request.url).pathname === path) {
        arrive()
        await opened
      }
      return next(request)
    },
  }
}

/** The next event of a type. */
export function next<Type extends Parameters<Auth['on']>[0]>(auth: Auth, type: Type): Promise<unknown> {
  return new Promise((resolve) => {
    const stop = auth.on(type, (event) => {
      stop()
      resolve(event)
    })
  })
}

/** What a promise rejects with. */
export async function rejection(promise: Promise<unknown>): Promise<unknown> {
  const fulfilled = Symbol('fulfilled')
  const reason = await promise.then(
    () => fulfilled,
    (error: unknown) => error,
  )
  if (reason === fulfilled) throw new Error('It was fulfilled')
  return reason
}

/** What a function throws. */
export function thrown(run: () => unknown): unknown {
  try {
    run()
  } catch (error) {
    return error
  }
  throw new Error('It did not throw')
}

/** Where a secret can be read in a value by whoever logs it, sends it, or looks into it. */
export function leaks(value: unknown, ...secrets: string[]): string[] {
  const all = {
    depth: 10,
    maxArrayLength: null,
    maxStringLength: null,
    breakLength: Number.POSITIVE_INFINITY,
  }
  const seen: [string, string][] = [
    ['inspect', inspect(value, { ...all, showHidden: true })],
    ['inspect with getters', inspect(value, { ...all, getters: true })],
    ['JSON', JSON.stringify(value) ?? ''],
    ['String', String(value)],
  ]
  for (let error = value, at = ''; error instanceof Error; error = error.cause, at += 'cause.') {
    seen.push([`${at}message`, error.message], [`${at}stack`, error.stack ?? ''])
  }
  // A JWT is given away by its signature alone, too.
  const parts = secrets.flatMap((secret) => [secret, ...secret.split('.').slice(1)]).filter((part) => part)
  return seen.filter(([, text]) => parts.some((part) => text.includes(part))).map(([where]) => where)
}
