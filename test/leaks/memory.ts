/**
 * 100,000 requests over many expiries in one process, in virtual time, with all that happens to a client in a long
 * life. Prints the heap after each part, and what still listens. Run with `--expose-gc`.
 */
import { getEventListeners } from 'node:events'
import { createAuthOn } from '../../src/auth.ts'
import { flaskJwt, memoryStore, type Notice } from '../../src/index.ts'
import { createServer } from './server.ts'

const REQUESTS = 100_000
const PARTS = 10
const LIFE = 60_000

export interface Figures {
  /** Bytes in use after each part. */
  readonly heap: number[]
  readonly requests: number
  readonly refreshes: number
  readonly logins: number
  /** Listeners on the signals that the caller gave, and of the store's watchers, at the end and after dispose(). */
  readonly listening: { signal: number; watchers: number; watchersAfter: number; timers: number }
}

const collect = globalThis.gc as () => void
let now = 1_800_000_000_000
let timers: { at: number; callback: () => void }[] = []

const server = createServer(() => now, LIFE)
const store = memoryStore()
let watchers = 0
let lastId = 0

const auth = createAuthOn(
  {
    now: () => now,
    monotonic: () => now,
    timer(callback, ms) {
      const timer = { at: now + ms, callback }
      timers.push(timer)
      return () => {
        timers = timers.filter((other) => other !== timer)
      }
    },
    random: Math.random,
    id: () => `id${++lastId}`,
  },
  {
    baseUrl: 'https://api.test',
    backend: flaskJwt(),
    fetch: server.fetch,
    store: {
      ...store,
      watch(listener: (notice?: Notice) => void) {
        watchers++
        const stop = store.watch?.(listener)
        return () => {
          watchers--
          stop?.()
        }
      },
    },
    refreshAhead: 10_000,
  },
)
auth.on('reauthRequired', (event) => {
  event.waitUntil(auth.reauthenticate({ username: 'alice', password: '' }).catch(() => {}))
})

/** Time goes by, and what was due in it happens. */
async function pass(milliseconds: number): Promise<void> {
  now += milliseconds
  const due = timers.filter(({ at }) => at <= now)
  timers = timers.filter(({ at }) => at > now)
  for (const { callback } of due) callback()
  await new Promise((resolve) => setImmediate(resolve))
}

// One signal for a whole life, as an application has it for a page.
const page = new AbortController()
const signIn = (username: string): Promise<unknown> => auth.login({ username, password: '' })
let sent = 0

async function get(path: string, init: RequestInit = {}): Promise<void> {
  sent++
  const response = await auth.fetch(path, init).catch(() => undefined)
  await response?.body?.cancel()
}

/** A hundred requests, and some of what may happen between them. */
async function round(turn: number): Promise<void> {
  for (let i = 0; i < 16; i++) await get('items', { signal: page.signal })
  for (let i = 0; i < 4; i++) await get('items', { method: 'POST', body: 'a body', signal: page.signal })
  await Promise.all(Array.from({ length: 40 }, () => get('items', { signal: page.signal })))
  await pass(LIFE + 1_000)
  await Promise.all(Array.from({ length: 20 }, () => get('items', { signal: page.signal })))
  server.expireEarly()
  await Promise.all(Array.from({ length: 10 }, () => get('items', { signal: page.signal })))
  await get(`items/${turn}`)
  await get('mute')
  await get('fresh')
  const controller = new AbortController()
  server.expireEarly()
  const aborted = get('items', { signal: controller.signal })
  controller.abort()
  await aborted
  server.failRefresh(500)
  for (let i = 0; i < 6; i++) await get('items', { signal: page.signal })
  await pass(2_000)
  if (turn % 10 === 0) await signIn(turn % 20 ? 'alice' : 'bob')
  if (turn % 50 === 0) {
    await auth.logout()
    await signIn('alice')
  }
}

await signIn('alice')
const heap: number[] = []
for (let part = 1, turn = 0; part <= PARTS; part++) {
  while (sent < (REQUESTS / PARTS) * part) await round(++turn)
  // What waits to be finalized takes a turn or two.
  for (let i = 0; i < 3; i++) {
    await new Promise((resolve) => setTimeout(resolve, 10))
    collect()
  }
  heap.push(process.memoryUsage().heapUsed)
}
const signal = getEventListeners(page.signal, 'abort').length
const before = watchers
auth.dispose()
await pass(0)
console.log(
  JSON.stringify({
    heap,
    requests: sent,
    refreshes: server.came.get('/refresh') ?? 0,
    logins: server.came.get('/login') ?? 0,
    listening: { signal, watchers: before, watchersAfter: watchers, timers: timers.length },
  } satisfies Figures),
)
