/** A process that opens stores for a test, and does with them what it is told to. */

import { encrypted } from '../../src/encrypted.ts'
import {
  type Auth,
  type Cell,
  createAuth,
  flaskJwt,
  type LiveRecord,
  memoryStore,
  type Notice,
  type Store,
} from '../../src/index.ts'
import { fileStore } from '../../src/node.ts'
import type { StoreSpec } from './processes.ts'
import { openRedis } from './redis-clients.ts'

interface Opened {
  store: Store
  told: (Notice | null)[]
  reported: number
  stop?: () => void
}

const opened: Opened[] = []
const auths: Auth[] = []
let reported = 0
const { error } = console
console.error = (...given) => {
  reported++
  if (process.env.DEBUG_AGENT) error(...given)
}

async function open(given: StoreSpec | null): Promise<Store> {
  if (!given) return memoryStore()
  const { seal, ...spec } = given
  let store: Store
  if (spec.kind === 'file') store = fileStore(spec.path)
  else store = await openRedis(spec)
  return seal ? encrypted(store, seal) : store
}

const at = (index: number): Opened => opened[index] as Opened
function commit(index: number, next: LiveRecord, expected: string | null) {
  const { store } = at(index)
  if (!store.commit) throw new Error('read-only')
  return store.commit(next, expected)
}
/** What a cell says, without what does not cross a wire. */
const plain = <T extends { problem?: unknown }>(cell: T) => ({
  ...cell,
  problem: cell.problem === undefined ? undefined : String(cell.problem),
})

function freezing(store: Store): Store {
  let frozen = false
  return {
    ...store,
    async commit(next, expected) {
      const cell = await store.commit?.(next, expected)
      if (!frozen && 'claim' in next && next.claim && cell?.record?.revision === next.revision) {
        frozen = true
        process.kill(process.pid, 'SIGSTOP')
      }
      return cell as Cell
    },
  }
}

const methods = {
  open: async (spec: StoreSpec) => opened.push({ store: await open(spec), told: [], reported: 0 }) - 1,
  read: async (index: number) => plain(await at(index).store.read()),
  commit: async (index: number, next: LiveRecord, expected: string | null) =>
    plain(await commit(index, next, expected)),
  watch(index: number) {
    const one = at(index)
    one.stop = one.store.watch?.((notice) => void one.told.push(notice ?? null))
  },
  unwatch: (index: number) => at(index).stop?.(),
  notices: (index: number) => at(index).told,
  reported: () => reported,
  async contend(index: number, rounds: number) {
    let refused = 0
    let { record } = await at(index).store.read()
    for (let done = 0; done < rounds; ) {
      const version = (record?.version ?? 0) + 1
      const revision = `${process.pid}-${index}-${version}-${Math.random()}`
      const next: LiveRecord = { revision, id: 'a', version, calledAt: 1, reason: 'login', refreshToken: 'r' }
      record = (await commit(index, next, record?.revision ?? null)).record
      if (record?.revision === revision) done++
      else refused++
    }
    return refused
  },
  /** A client over a store. `freeze`: this process stops itself as soon as its first claim is in the store. */
  async auth(spec: StoreSpec | null, options: { baseUrl: string }, freeze = false) {
    const store = await open(spec)
    return (
      auths.push(
        createAuth({ ...options, backend: flaskJwt(), store: freeze ? freezing(store) : store }) as Auth,
      ) - 1
    )
  },
  /** Calls that begin at once; what each was answered with. */
  burst: (index: number, path: string, calls: number) =>
    Promise.all(
      Array.from({ length: calls }, () =>
        (auths[index] as Auth).fetch(path).then(
          async (response) => {
            await response.arrayBuffer()
            return response.status
          },
          ({ code }) => code ?? 'error',
        ),
      ),
    ),
  async fetch(index: number, path: string, init?: RequestInit) {
    const response = await (auths[index] as Auth).fetch(path, init)
    return { status: response.status, text: await response.text() }
  },
  login: async (index: number) => {
    await auths[index]?.login({ username: 'alice', password: 'wonderland' } as never)
  },
  logout: (index: number) => auths[index]?.logout(),
  dispose: (index: number) => auths[index]?.dispose(),
  session: async (index: number) => {
    await auths[index]?.ready
    return auths[index]?.session ?? null
  },
  history: (index: number) => auths[index]?.history,
  refresh: async (index: number) => {
    await auths[index]?.refresh()
  },
  /** Sets this process's clock. */
  clock(ahead: number) {
    const { now } = Date
    Date.now = () => now() + ahead
  },
  /** What keeps this process awake. */
  resources: () => process.getActiveResourcesInfo(),
}

process.on(
  'message',
  async ({ id, method, args }: { id: number; method: keyof typeof methods; args: never[] }) => {
    try {
      const value = await (methods[method] as (...args: never[]) => unknown)(...args)
      process.send?.({ id, value })
    } catch (error) {
      const { message, code } = error as Error & { code?: unknown }
      process.send?.({ id, error: { message, code } })
    }
  },
)
process.on('disconnect', () => process.exit())
process.send?.({ id: -1 })
