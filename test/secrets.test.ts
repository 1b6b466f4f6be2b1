/**
 * No token in any output: the model's random programs run again, and all that the client lets out (console, streams,
 * errors, events, snapshots, history, itself) is searched for every token that the backend ever issued.
 */
import { inspect } from 'node:util'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Backend } from '../src/testing/index.ts'
import type { Auth } from '../src/types.ts'
import { program } from './model/program.ts'
import { execute } from './model/run.ts'

const RUNS = 500

type Kind = 'console' | 'streams' | 'error' | 'event' | 'snapshot' | 'history' | 'auth'

/** What was let out in a run, as text, with where it came from. */
let seen: { kind: Kind; where: string; text: string }[] = []
let auths: Auth[] = []
let backends: Backend[] = []
let undo: (() => void)[] = []

// The model makes its clients and its server itself: each is noted, and what the clients give is listened in on.
vi.mock('../src/auth.ts', async (load) => {
  const real = await load<typeof import('../src/auth.ts')>()
  const createAuthOn = (...given: Parameters<typeof real.createAuthOn>): Auth => {
    const auth = real.createAuthOn(...given) as Auth
    listen(auth)
    return auth
  }
  return { ...real, createAuthOn }
})
vi.mock('../src/testing/index.ts', async (load) => {
  const real = await load<typeof import('../src/testing/index.ts')>()
  const createBackend: typeof real.createBackend = (options) => {
    const backend = real.createBackend(options)
    backends.push(backend)
    return backend
  }
  return { ...real, createBackend }
})

const hidden = { depth: 10, showHidden: true, maxArrayLength: null, maxStringLength: null }

function note(kind: Kind, where: string, value: unknown): void {
  const add = (how: string, text: string | undefined): void => {
    if (text) seen.push({ kind, where: `${where}, ${how}`, text })
  }
  add('inspected', inspect(value, hidden))
  add('inspected with getters', inspect(value, { ...hidden, getters: true }))
  add('as JSON', JSON.stringify(value))
  add('as a string', String(value))
  let at = ''
  for (let error = value; error instanceof Error; error = error.cause, at += 'cause.') {
    add(`${at}message`, error.message)
    add(`${at}stack`, error.stack)
  }
}

function listen(auth: Auth): void {
  auths.push(auth)
  auth.subscribe((session) => note('snapshot', 'subscribe()', session))
  const types = [
    'loggedIn',
    'tokenRefreshed',
    'refreshFailed',
    'reauthRequired',
    'loggedOut',
    'clockSkew',
    'storeUnavailable',
  ] as const
  for (const type of types) auth.on(type, (event) => note('event', type, event))
  // What a call resolves with is the caller's: a Response, or the very token that was asked for.
  for (const name of ['fetch', 'refresh', 'getAccessToken'] as const) {
    const call = auth[name] as (...given: unknown[]) => Promise<unknown>
    auth[name] = ((...given: unknown[]) => {
      const result = call(...given)
      result.catch((error) => note('error', `${name}()`, error))
      return result
    }) as never
  }
  for (const name of ['login', 'reauthenticate', 'setTokens', 'logout'] as const) {
    const call = auth[name] as (...given: unknown[]) => Promise<unknown>
    auth[name] = ((...given: unknown[]) => {
      const result = call(...given)
      result.then(
        (session) => note('snapshot', `${name}()`, session),
        (error) => note('error', `${name}()`, error),
      )
      return result
    }) as never
  }
}

beforeEach(() => {
  const methods = Object.keys(console).filter(
    (name) => typeof console[name as 'log'] === 'function',
  ) as 'log'[]
  for (const name of methods) {
    const real = Object.getOwnPropertyDescriptor(console, name) as PropertyDescriptor
    const take = (...given: unknown[]): void => {
      for (const value of given) note('console', `console.${name}`, value)
    }
    // The model puts a console.error of its own in its place, which would keep this from us.
    Object.defineProperty(console, name, { configurable: true, get: () => take, set: () => {} })
    undo.push(() => Object.defineProperty(console, name, real))
  }
  for (const stream of [process.stdout, process.stderr]) {
    const { write } = stream
    stream.write = ((chunk: string | Uint8Array, ...rest: never[]) => {
      note('streams', 'a stream', typeof chunk === 'string' ? chunk : new TextDecoder().decode(chunk))
      return write.call(stream, chunk, ...rest)
    }) as typeof write
    undo.push(() => {
      stream.write = write
    })
  }
})

afterEach(() => {
  for (const each of undo) each()
  undo = []
})

/** Where a token can be read: whole, or the part that makes it one. */
function findings(): string[] {
  const found: string[] = []
  const all = seen.map(({ text }) => text).join('\n')
  for (const { token, jti, kind } of backends.flatMap(({ issued }) => issued)) {
    for (const part of token.split('.').slice(1)) {
      if (!all.includes(part)) continue
      for (const { where, text } of seen)
        if (text.includes(part)) found.push(`${kind} token ${jti} in ${where}`)
    }
  }
  return found
}

test('8: no token is in anything that a client lets out', { timeout: 120_000 }, async () => {
  const counts = new Map<Kind, number>()
  let tokens = 0
  const property = fc.asyncProperty(fc.scheduler(), program, async (scheduler, drawn) => {
    seen = []
    auths = []
    backends = []
    // Whether an invariant holds is not asked here.
    await execute(scheduler, drawn).catch(() => {})
    for (const auth of auths) {
      note('auth', 'auth', auth)
      note('snapshot', 'auth.session', auth.session)
      note('history', 'auth.history', auth.history)
    }
    const found = findings()
    if (found.length) throw new Error(found.join('\n'))
    for (const { kind } of seen) counts.set(kind, (counts.get(kind) ?? 0) + 1)
    tokens += backends.flatMap(({ issued }) => issued).length
  })
  await fc.assert(property, { numRuns: RUNS, seed: 1 })
  // What was never let out was not searched. Nothing goes to a stream.
  for (const kind of ['console', 'error', 'event', 'snapshot', 'history', 'auth'] as const) {
    expect(counts.get(kind), kind).toBeGreaterThan(20)
  }
  expect(tokens).toBeGreaterThan(1_000)
})

test('a token is found wherever it is hidden', async () => {
  const { createBackend } = await import('../src/testing/index.ts')
  const { accessToken } = await createBackend({ signer: 'fast' }).signIn('alice')
  const signature = accessToken.split('.')[2]
  class Odd {
    readonly #token = accessToken
    get shown(): string {
      return this.#token
    }
  }
  const out: Record<string, unknown> = {
    'a cause': new Error('outer', { cause: new Error(`inner ${accessToken}`) }),
    'a member that does not enumerate': Object.defineProperty({}, 'kept', { value: { deep: [accessToken] } }),
    'a symbol': { [Symbol('kept')]: accessToken },
    'its signature alone': { header: `…${signature}` },
    'a getter': { inner: new Odd() },
    'a map': new Map([['bearer', accessToken]]),
  }
  for (const [name, value] of Object.entries(out)) {
    seen = []
    note('error', name, value)
    expect(findings(), name).not.toEqual([])
  }
  seen = []
  console.error('an error of a listener’s', accessToken)
  expect(findings()).not.toEqual([])
})
