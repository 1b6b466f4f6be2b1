/**
 * A client that is disposed of in the midst of something: `node end.ts <what> [kept]`. Prints what still listens; the
 * process then ends by itself, if nothing keeps it (`kept`: without the dispose).
 */
import { getEventListeners } from 'node:events'
import {
  type AuthOptions,
  createAuth,
  flaskJwt,
  memoryStore,
  type Notice,
  type Store,
} from '../../src/index.ts'
import { createServer } from './server.ts'

export interface Ending {
  /** Milliseconds from the dispose to when nothing kept the process any more. */
  readonly took: number
  /** Listeners on whatever signals there still are. */
  readonly listeners: number
  readonly watchers: number
  /** What those got who were waiting. */
  readonly outcomes: readonly string[]
}

const [what, kept] = process.argv.slice(2)
const collect = globalThis.gc as () => void

// Every signal that anything listens to, as long as it is there.
const signals = new Set<WeakRef<AbortSignal>>()
const { addEventListener } = EventTarget.prototype
EventTarget.prototype.addEventListener = function (this: EventTarget, ...given) {
  if (this instanceof AbortSignal) signals.add(new WeakRef(this))
  return addEventListener.apply(this, given)
}

const server = createServer(Date.now, 60_000)
const memory = memoryStore()
let watchers = 0
const failing = (): Promise<never> => Promise.reject(new Error('The store is away'))
const hanging = (): Promise<never> => new Promise(() => {})
let store: Store = {
  ...memory,
  watch(listener: (notice?: Notice) => void) {
    watchers++
    const stop = memory.watch?.(listener)
    return () => {
      watchers--
      stop?.()
    }
  },
}
if (what === 'a failing store') store = { ...store, read: failing, commit: failing }
if (what === 'a hanging store') store = { ...store, read: hanging, commit: hanging }

const options: AuthOptions = {
  baseUrl: 'https://api.test',
  backend: flaskJwt() as AuthOptions['backend'],
  store,
  refreshTimeout: 1_000,
  fetch: (input, init) => {
    const hangs = what === 'an open exchange' && String(input).endsWith('/refresh')
    return hangs ? new Promise(() => {}) : server.fetch(input, init)
  },
}
const auth = createAuth(options)
const page = new AbortController()
const waiting: Promise<unknown>[] = []

async function begin(): Promise<void> {
  const login = auth.login({ username: 'alice', password: '' })
  if (what === 'a hanging store') {
    waiting.push(login)
    return
  }
  await login
  if (what === 'a waiting ask') {
    server.expireEarly()
    await auth.refresh()
    auth.on('reauthRequired', (event) => event.waitUntil(new Promise(() => {})))
    waiting.push(auth.fetch('fresh', { signal: page.signal }))
  }
  if (what === 'an open exchange') {
    server.expireEarly()
    waiting.push(
      auth.fetch('items', { signal: page.signal }),
      auth.refresh(),
      auth.getAccessToken({ minValidity: 1e9 }),
    )
  }
  if (what === 'a failing store') waiting.push(auth.fetch('items'), auth.refresh())
  auth.subscribe(() => {})
}

await begin()
const outcomes = waiting.map((each) =>
  each.then(
    () => 'done',
    (error) => error.code,
  ),
)
await new Promise((resolve) => setTimeout(resolve, 50))
if (!kept) auth.dispose()
const began = performance.now()

// Nothing keeps the process any more.
process.once('beforeExit', async () => {
  const took = Math.round(performance.now() - began)
  // What nobody holds is no leak, but for a while it is still there.
  for (let i = 0; i < 5; i++) {
    collect()
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  const left = [...signals].map((ref) => ref.deref()).filter((signal) => signal !== undefined)
  const listeners = left.flatMap((signal) => getEventListeners(signal, 'abort')).length
  console.log(
    JSON.stringify({ took, listeners, watchers, outcomes: await Promise.all(outcomes) } satisfies Ending),
  )
})
