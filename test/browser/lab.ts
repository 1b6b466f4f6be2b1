/**
 * What runs in the pages and workers of the browser tests: the package as a user has it, and hands to move it by.
 * Everything that comes back to the test is plain JSON.
 */
import {
  type Auth,
  type AuthEventType,
  type AuthOptions,
  createAuth,
  flaskJwt,
  isAuthError,
  memoryStore,
  type Notice,
  type StandardClaims,
  type Store,
  type StoreRecord,
  type UsernamePassword,
} from 'stayfresh'
import { browserStore, tabStore } from 'stayfresh/browser'

/** A cell as it can leave the page. */
export interface Seen {
  record: StoreRecord | null
  now: number
  problem: string | undefined
}

export type StoreName = 'browserStore' | 'tabStore'

export interface Told {
  type: AuthEventType
  reason: string
  origin: string
  at: number
}

export interface LabOptions
  extends Pick<AuthOptions, 'refreshAhead' | 'refreshTimeout' | 'refreshLimit' | 'reauthTimeout'> {
  store?: StoreName | 'memoryStore'
  key?: string
  /** Keeps every ask for a password open. */
  hold?: boolean
}

type Client = Auth<StandardClaims, UsernamePassword>

export interface Lab {
  auth: Client
  /** Every event since `start`. */
  told: Told[]
  /**
   * What callers got: how often each status, or code of an error. `overdue`: a 401 to a call of which a request was
   * sent with a valid token and took more than a second, in which the token ran out. No client can help that.
   */
  counts: Record<string, number>
  /** Counted up by a timer that a freeze starts: stands still while the page is frozen. */
  ticks: number
  /** How many exchanges this context has under way. */
  exchanging: number
  /** What the page was told of its own life. */
  life: string[]
  /** Errors that were reported to nobody in particular. */
  reported: string[]
  start(options?: LabOptions): Promise<void>
  signIn(username?: string): Promise<string>
  /** Asks once; gives the status, or the code of the error. */
  ask(path?: string): Promise<string>
  /** Asks again and again until `stop`, `every` ms after an answer or so. */
  askOn(every: number): void
  stop(): void
  who(): string | null | undefined
  logout(): Promise<void>
  /** `type reason`, and `elsewhere` for what another context did, of each event. */
  events(): string[]
  /** Writes into IndexedDB until there is no room for anything more. */
  fill(): Promise<void>
  /** A store alone, by its name and key. */
  open(name: StoreName, key?: string): number
  read(store: number): Promise<Seen>
  commit(store: number, next: StoreRecord, expected: string | null): Promise<Seen>
  watch(store: number): void
  unwatch(store: number): void
  notices(store: number): (Notice | null)[]
  /** Counts `version` up by compare-and-set until it has done so `rounds` times. How often it was refused. */
  contend(store: number, rounds: number): Promise<number>
  /** Makes a client and leaves it to the caller. */
  create(store?: StoreName): Client
}

declare global {
  var lab: Lab
}

const stores: Record<StoreName, (options?: { key?: string }) => Store> = { browserStore, tabStore }
const passwords: Record<string, string> = { alice: 'wonderland', bob: 'builder' }
const events: AuthEventType[] = [
  'loggedIn',
  'tokenRefreshed',
  'refreshFailed',
  'reauthRequired',
  'loggedOut',
  'clockSkew',
  'storeUnavailable',
]

interface Opened {
  store: Store
  notices: (Notice | null)[]
  unwatch?: (() => void) | undefined
}

const opened: Opened[] = []
const at = (index: number): Opened => {
  const one = opened[index]
  if (!one) throw new Error(`No store ${index}`)
  return one
}
const pause = (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms))
const seen = ({ record, now, problem }: Awaited<ReturnType<Store['read']>>): Seen => ({
  record,
  now,
  problem: problem === undefined ? undefined : String(problem),
})

let asking: object | undefined

globalThis.lab = {
  auth: undefined as never,
  told: [],
  counts: {},
  ticks: 0,
  exchanging: 0,
  life: [],
  reported: [],
  async start({ store = 'browserStore', key, hold, ...options } = {}) {
    lab.auth?.dispose()
    lab.told.length = 0
    lab.counts = {}
    const auth: Client = createAuth({
      baseUrl: `${location.origin}/api/`,
      backend: flaskJwt(),
      store: store === 'memoryStore' ? memoryStore() : stores[store](key === undefined ? {} : { key }),
      ...options,
    })
    lab.auth = auth
    for (const type of events) {
      auth.on(type, ({ reason, origin }) => void lab.told.push({ type, reason, origin, at: Date.now() }))
    }
    if (hold) auth.on('reauthRequired', (event) => event.waitUntil(new Promise(() => {})))
    await auth.ready
  },
  async signIn(username = 'alice') {
    const { id } = await lab.auth.login({ username, password: passwords[username] ?? '' })
    return id
  },
  async ask(path = 'protected') {
    let got: string
    const before = late
    try {
      // Who makes the call is written on it, for the server to compare.
      const response = await lab.auth.fetch(`${path}?as=${lab.who()}`)
      await response.arrayBuffer().catch(() => {})
      got = response.status === 401 && late > before ? 'overdue' : String(response.status)
    } catch (error) {
      got = isAuthError(error) ? error.code : String(error)
    }
    lab.counts[got] = (lab.counts[got] ?? 0) + 1
    return got
  },
  askOn(every) {
    const mine = {}
    asking = mine
    const again = async (): Promise<void> => {
      while (asking === mine) {
        await lab.ask()
        await pause(every * (0.5 + Math.random()))
      }
    }
    void again()
  },
  stop() {
    asking = undefined
  },
  who: () => (lab.auth.session ? lab.auth.session.subject : lab.auth.session),
  logout: () => lab.auth.logout(),
  events: () =>
    lab.told.map(
      ({ type, reason, origin }) => `${type} ${reason}${origin === 'other context' ? ' elsewhere' : ''}`,
    ),
  async fill() {
    const database = await new Promise<IDBDatabase>((resolve, reject) => {
      const request = indexedDB.open('of the application')
      request.onupgradeneeded = () => request.result.createObjectStore('files', { autoIncrement: true })
      request.onsuccess = () => resolve(request.result)
      request.onerror = () => reject(request.error)
    })
    const takes = (size: number): Promise<boolean> =>
      new Promise((resolve) => {
        const transaction = database.transaction('files', 'readwrite')
        // Nothing that could be packed.
        transaction.objectStore('files').put(crypto.getRandomValues(new Uint8Array(size)))
        transaction.oncomplete = () => resolve(true)
        transaction.onabort = () => resolve(false)
      })
    for (let size = 65_536; size >= 1; size = Math.floor(size / 2)) while (await takes(size)) {}
    database.close()
  },
  open(name, key) {
    const store = stores[name](key === undefined ? undefined : { key })
    return opened.push({ store, notices: [] }) - 1
  },
  read: async (index) => seen(await at(index).store.read()),
  async commit(index, next, expected) {
    const { store } = at(index)
    if (!store.commit) throw new Error('read-only')
    return seen(await store.commit(next, expected))
  },
  watch(index) {
    const one = at(index)
    one.unwatch = one.store.watch?.((notice) => void one.notices.push(notice ?? null))
  },
  unwatch(index) {
    at(index).unwatch?.()
  },
  notices: (index) => at(index).notices,
  async contend(index, rounds) {
    const { store } = at(index)
    let refused = 0
    let { record } = await store.read()
    for (let done = 0; done < rounds; ) {
      const next = {
        revision: `${index}-${Math.random()}`,
        id: 'contended',
        version: (record?.version ?? 0) + 1,
        calledAt: 1,
        ended: 'logout',
      } as const
      const cell = await store.commit?.(next, record?.revision ?? null)
      record = cell?.record ?? null
      if (record?.revision === next.revision) done++
      else refused++
      // Lets others in between.
      if (Math.random() < 0.3) await pause(1)
    }
    return refused
  },
  create: (store = 'browserStore') =>
    createAuth({ baseUrl: `${location.origin}/api/`, backend: flaskJwt(), store: stores[store]() }),
}

const { reportError: reportElsewhere, fetch: send } = globalThis
globalThis.reportError = (error) => {
  lab.reported.push(String(error))
  if (typeof document === 'undefined') reportElsewhere(error)
}

/** How many requests were on their way for longer than their token was valid, and for more than a second. */
let late = 0

/** For how long the token of a request is valid yet, in ms. */
function left(headers: HeadersInit | undefined): number {
  const payload = new Headers(headers).get('authorization')?.split('.')[1]
  if (!payload) return Infinity
  return JSON.parse(atob(payload.replaceAll('-', '+').replaceAll('_', '/'))).exp * 1000 - Date.now()
}

globalThis.fetch = async (input, init) => {
  const exchange = new URL(input instanceof Request ? input.url : input).pathname.endsWith('/refresh')
  const valid = left(init?.headers ?? (input instanceof Request ? input.headers : undefined))
  const start = performance.now()
  if (exchange) lab.exchanging++
  try {
    const response = await send(input, init)
    const took = performance.now() - start
    if (valid > 0 && took > valid && took > 1000) late++
    return response
  } finally {
    if (exchange) lab.exchanging--
  }
}

if (typeof document !== 'undefined') {
  for (const type of ['pagehide', 'pageshow'] as const) {
    addEventListener(type, ({ persisted }) => void lab.life.push(persisted ? `${type} persisted` : type))
  }
  for (const type of ['freeze', 'resume', 'visibilitychange']) {
    document.addEventListener(type, () => void lab.life.push(type))
  }
  document.addEventListener('freeze', () => void setInterval(() => lab.ticks++, 50))
}

/** In a worker: calls come as messages, through a port of their own. */
interface Call {
  method: keyof Lab
  args: never[]
}

async function answer({ data, ports }: MessageEvent<Call>): Promise<void> {
  const port = ports[0]
  if (!port) return
  try {
    const value = await (lab[data.method] as (...args: never[]) => unknown)(...data.args)
    port.postMessage({ value })
  } catch (error) {
    port.postMessage({ error: String(error) })
  }
}

addEventListener('message', (event) => void answer(event as MessageEvent<Call>))
addEventListener('connect', (event) => {
  const port = (event as MessageEvent).ports[0]
  if (port) port.onmessage = (message) => void answer(message)
})
