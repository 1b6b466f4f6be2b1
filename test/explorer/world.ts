/**
 * The world of the explorer: the client's own rooms over a store of one cell and the fake backend, where nothing
 * happens by itself. Whatever is under way (a request on its way to the store or the server, an answer on its way
 * back, a notice, a timer that is due) is a choice, and so is that time passes, that an answer gets lost, that
 * somebody asks for a refresh or logs out.
 *
 * What a context does follows from what has reached it, in its order, and from nothing else: so that two states are
 * the same if every context has lived through the same, the same stands in the store and at the server, and the
 * same is under way.
 */
import { createAuthOn } from '../../src/auth.ts'
import { flaskJwt } from '../../src/backends/flask-jwt.ts'
import type { Platform } from '../../src/platform.ts'
import { type Backend, createBackend } from '../../src/testing/index.ts'
import type { Auth, Cell, LiveRecord, Notice, Store, StoreRecord } from '../../src/types.ts'

export const REFRESH_TIMEOUT = 8_000
const START = 1_800_000_000_000
// Past the end of every claim, and of every bound that began before.
const PASSES = 10_001
const POLLS = 250
const ORIGIN = 'https://api.test'
// Marks that occur in nothing else, so that contexts can be renamed in a text.
const NAMES = ['①', '②', '③']

/** What is explored. */
export interface Bounds {
  readonly contexts: number
  /** How often somebody asks for a refresh; a context that waits for one does not ask for another. */
  readonly asks: number
  /** No refresh is asked for by who holds this version, or once it stands in the store. */
  readonly versions: number
  /** How many exchanges get lost, on the way there or back. */
  readonly losses: number
  /** How often more time passes than a claim lasts. */
  readonly passes: number
  readonly logouts: number
  /** Whether a read is answered some time after it has reached the store, as a commit is; else at once. */
  readonly slowReads: boolean
  /** Whether the store tells of changes, some time after; else it is asked again by whoever waits. */
  readonly watch: boolean
}

export interface Choice {
  /** What a person reads. */
  readonly label: string
  /** What it is: the same in states that are the same. */
  readonly id: string
  /**
   * What it changes, or `reads`: two choices of which neither changes what the other touches come to the same in
   * either order.
   */
  readonly touches: readonly string[]
  take(): void
}

/** An exchange, from outside. */
export interface Send {
  readonly label: string
  readonly context: Context
  readonly at: number
  readonly token: string
  /** What stood in the store when it was sent. */
  readonly standing: StoreRecord | null
  /** The sender hears nothing of it any more, or heard that nothing is known. */
  unknown: boolean
  /** What the sender heard. */
  status?: number
}

/** Something under way. */
interface Pending {
  /** What is under way in one channel keeps its order. */
  readonly channel: string
  readonly label: string
  /** What is sent, to the last detail. */
  readonly content: string
  readonly touches: readonly string[]
  take(): void
}

interface Timer {
  readonly at: number
  readonly callback: () => void
}

export interface Context {
  readonly name: string
  readonly auth: Auth
  /** What it lived through: all that its state follows from. */
  /** What it last heard to stand in the store. */
  heard: string
  /** What it went on from, and how often it was answered a read since. */
  since: string
  reads: number
  /** Whether it has called logout(), or was given notice of one. */
  ended: boolean
  /** Whether it waits for a refresh that it asked for. */
  open: number
}

/** Gives the contexts in an id the names that they have in the key. */
export type Naming = (id: string) => string

export interface World {
  readonly bounds: Bounds
  readonly backend: Backend
  readonly contexts: readonly Context[]
  readonly sends: readonly Send[]
  /** All that stood in the store and were no tombstone. */
  readonly records: readonly LiveRecord[]
  readonly cell: StoreRecord | null
  readonly now: number
  readonly losses: number
  readonly passes: number
  readonly loggedOut: Context | undefined
  /** What was found broken on the way to this state. */
  readonly broken: string[]
  choices(): Choice[]
  /** The same for states from which the same can follow, whatever the contexts are called. */
  key(): { text: string; naming: Naming }
  /** Lets happen what needs no choice. */
  flush(): Promise<void>
  /** Lets everything come to its end, in the order in which it began. */
  settle(): Promise<void>
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

export async function createWorld(bounds: Bounds): Promise<World> {
  let now = START
  let ids = 0
  let cell: StoreRecord | null = null
  let asks = 0
  let losses = 0
  let passes = 0
  let loggedOut: Context | undefined
  const pending: Pending[] = []
  const timers = new Map<string, Timer[]>()
  const watchers = new Map<string, (notice?: Notice) => void>()
  const sends: Send[] = []
  const records: LiveRecord[] = []
  const broken: string[] = []
  const contexts: Context[] = []

  const backend = createBackend({
    signer: 'fast',
    refresh: 'rotating-reuse-detection',
    clock: { now: () => now },
    uuid: () => `u${++ids}`,
  })

  const texts = new WeakMap<StoreRecord, string>()
  /** Tokens by the order of their issue; they are long, and the same state may come about at another time. */
  const short = (text: string): string =>
    text.replace(
      /eyJ[\w-]+\.[\w.-]+/g,
      (token) => `t${backend.issued.findIndex((one) => one.token === token)}`,
    )
  function text(record: StoreRecord | null): string {
    if (!record) return 'empty'
    const known = texts.get(record) ?? short(JSON.stringify(record))
    texts.set(record, known)
    return known
  }

  /** A record as a person reads it. */
  function brief(record: StoreRecord | null): string {
    if (!record) return 'nothing'
    if ('ended' in record) return 'the end'
    return `v${record.version}${record.claim ? ` with the claim of ${record.claim.by}` : ''}`
  }

  function put(
    channel: string,
    label: string,
    content: string,
    touches: readonly string[],
    take: () => void,
  ): Pending {
    const one: Pending = {
      channel,
      label,
      content,
      touches,
      take() {
        pending.splice(pending.indexOf(one), 1)
        take()
      },
    }
    pending.push(one)
    return one
  }

  /** Something new came to a context; how far it has got since is told by how often it has asked the store. */
  function reach(context: Context, what: string): void {
    context.since = what
    context.reads = 0
  }

  // --- the store -------------------------------------------------------------------------------------------

  function storeOf(name: string): Store {
    const access = (what: 'read' | 'commit', content: string, act: () => void): Promise<Cell> =>
      new Promise((resolve) => {
        const atOnce = what === 'read' && !bounds.slowReads
        const touched = [what === 'read' ? 'reads the store' : 'the store', ...(atOnce ? [name] : [])]
        const label = `${name} ${what === 'read' ? 'asks the store' : `writes ${content.split('\n')[0]}`}`
        put(`${name} to the store`, label, content, touched, () => {
          act()
          const answer: Cell = { record: cell, now }
          const hear = (): void => {
            const context = byName(name)
            context.heard = text(answer.record)
            if (what === 'read') context.reads++
            else reach(context, 'commit')
            resolve(answer)
          }
          if (atOnce) hear()
          else
            put(
              `${name} from the store`,
              `${name} hears that ${brief(cell)} stands there`,
              text(cell),
              [name],
              hear,
            )
        })
      })
    return {
      name: 'cell',
      read: () => access('read', '', () => {}),
      commit(next, expected) {
        const context = byName(name)
        if (context.ended && !('ended' in next)) {
          broken.push(`5: ${name} writes v${next.version} of a session that it knows to be ended`)
        }
        return access('commit', `${brief(next)}\n${text(next)} over ${expected}`, () => {
          if ((cell?.revision ?? null) !== expected) return
          if (cell && 'ended' in cell) broken.push(`5: ${name} writes over a tombstone`)
          cell = next
          if (!('ended' in next)) records.push(next)
          const { revision, id, version } = next
          const notice: Notice = { revision, id, version, ended: 'ended' in next ? next.ended : undefined }
          for (const [other, listener] of watchers) {
            if (other === name) continue
            put(`${other} is told`, `${other} is told of ${brief(next)}`, text(next), [other], () => {
              const told = byName(other)
              told.heard = text(next)
              if (notice.ended) told.ended = true
              listener(notice)
            })
          }
        })
      },
      ...(bounds.watch && {
        watch(listener: (notice?: Notice) => void) {
          watchers.set(name, listener)
          return () => void watchers.delete(name)
        },
      }),
    }
  }

  // --- the network -----------------------------------------------------------------------------------------

  const fetchOf = (name: string): typeof fetch =>
    ((input: string, init: RequestInit) => {
      const { signal, ...rest } = init
      const request = new Request(input, rest)
      // Revocations arrive at once: what they find is what is explored, not how long they take.
      if (!request.url.endsWith('/refresh')) return backend.fetch(request)
      const context = byName(name)
      const token = request.headers.get('authorization')?.slice('Bearer '.length) ?? ''
      const label = `${name} exchange ${sends.filter((one) => one.context === context).length + 1}`
      const send: Send = { label, context, at: now, token, standing: cell, unknown: false }
      judgeSend(send)
      sends.push(send)
      return new Promise((resolve, reject) => {
        let way: Pending | undefined = put(
          label,
          `${label} reaches the server`,
          '',
          ['the server', label],
          () => {
            way = undefined
            void backend.fetch(request).then((response) => {
              // Nobody waits for it any more.
              if (send.unknown) return
              way = put(label, `${label} is answered: ${response.status}`, '', [name, label], () => {
                way = undefined
                send.status = response.status
                reach(context, `${label} ${response.status} t${backend.issued.length}`)
                resolve(response)
              })
            })
          },
        )
        lose.set(send, () => {
          losses++
          if (way) pending.splice(pending.indexOf(way), 1)
          send.unknown = true
          reach(context, `${label} lost`)
          reject(new TypeError('fetch failed'))
        })
        signal?.addEventListener('abort', () => {
          if (send.status !== undefined || send.unknown) return
          send.unknown = true
          if (way?.label.includes('answered')) pending.splice(pending.indexOf(way), 1)
          reject(signal.reason)
        })
      })
    }) as typeof fetch
  const lose = new Map<Send, () => void>()

  /** Invariants 1, 3 and 5, of each exchange as it leaves. */
  function judgeSend(send: Send): void {
    const { context, token, label } = send
    const name = short(token)
    if (context.ended)
      broken.push(`5: ${label} sends ${name} of a session that ${context.name} knows to be ended`)
    for (const before of sends) {
      if (before.token !== token || before.unknown) continue
      // Its holder slept through its claim: one further try is allowed.
      if (now - before.at > REFRESH_TIMEOUT) continue
      if (before.status === undefined) broken.push(`1: ${label} sends ${name} while ${before.label} does`)
      else {
        const what = before.status === 200 ? 'replaced' : 'refused'
        broken.push(`3: ${label} sends ${name}, which was ${what} by ${before.label}`)
      }
    }
    if (!cell || 'ended' in cell) return
    const { claim, refreshToken } = cell
    // A holder that slept through its claim may have written down what it got, over the claim of this one.
    const ranOut = sends.some((one) => one.token === token && now - one.at > REFRESH_TIMEOUT)
    if (ranOut) return
    if (refreshToken !== token) broken.push(`3: ${label} sends ${name}, which no longer stands in the store`)
    else if (!claim || claim.until - now < REFRESH_TIMEOUT)
      broken.push(`1: ${label} sends ${name} without a claim`)
  }

  // --- the contexts ----------------------------------------------------------------------------------------

  const byName = (name: string): Context => contexts.find((one) => one.name === name) as Context

  function platformOf(name: string): Platform {
    let own = 0
    const mine: Timer[] = []
    timers.set(name, mine)
    return {
      now: () => now,
      monotonic: () => now - START,
      timer(callback, ms) {
        const timer: Timer = { at: now + ms, callback }
        mine.push(timer)
        return () => {
          const at = mine.indexOf(timer)
          if (at >= 0) mine.splice(at, 1)
        }
      },
      random: () => 0.5,
      id: () => `${name}${++own}`,
    }
  }

  /** The timer of a context that is to fire first. */
  function firstTimer(name: string): Timer | undefined {
    let first: Timer | undefined
    for (const timer of timers.get(name) ?? []) if (!first || timer.at < first.at) first = timer
    return first
  }

  function fire(name: string, timer: Timer): void {
    const mine = timers.get(name) as Timer[]
    mine.splice(mine.indexOf(timer), 1)
    reach(byName(name), 'timer')
    timer.callback()
  }

  function ask(context: Context): void {
    asks++
    context.open++
    reach(context, 'asks')
    const over = (): void => void context.open--
    context.auth.refresh().then(over, over)
  }

  function logout(context: Context): void {
    loggedOut = context
    reach(context, 'logs out')
    void context.auth.logout()
    context.ended = true
  }

  // --- choices ---------------------------------------------------------------------------------------------

  function choices(): Choice[] {
    const found: Choice[] = []
    const add = (id: string, label: string, touches: readonly string[], take: () => void): void => {
      // What reaches a context after a logout may make it revoke tokens; in which order is all one.
      found.push({ id, label, touches: loggedOut ? [...touches, 'reads the server'] : touches, take })
    }
    const channels = new Set<string>()
    for (const { channel, label, touches, take } of pending) {
      if (!channels.has(channel)) add(channel, label, touches, take)
      channels.add(channel)
    }
    for (const context of contexts) {
      const { name } = context
      const timer = firstTimer(name)
      // How long a context waits before it asks again is not what is explored.
      if (timer && timer.at - now <= POLLS)
        add(`${name} timer`, `${name} timer`, [name], () => fire(name, timer))
      const newest = Math.max(context.auth.session?.version ?? Infinity, cell?.version ?? 0)
      if (asks < bounds.asks && !context.open && newest < bounds.versions && cell && !('ended' in cell)) {
        const label = `${name} asks for a refresh`
        add(label, label, [name, 'asks', 'reads the store'], () => ask(context))
      }
      if (!loggedOut && bounds.logouts && context.auth.session) {
        const label = `${name} logs out`
        add(label, label, [name, 'reads the server', 'logouts'], () => logout(context))
      }
    }
    for (const [send, take] of lose) {
      if (losses < bounds.losses && !send.unknown && send.status === undefined) {
        const label = `${send.label} gets lost`
        add(label, label, [send.context.name, send.label, 'losses'], take)
      }
    }
    const waiting = [...timers.values()].some((mine) => mine.some(({ at }) => at > now))
    // With no timer waiting it would be the same later.
    if (passes < bounds.passes && waiting) {
      add('time passes', 'time passes', ['everything'], () => {
        passes++
        now += PASSES
      })
    }
    return found
  }

  function key(): { text: string; naming: Naming } {
    const honoured = backend.issued.map(({ token }) => Number(backend.isHonoured(token))).join('')
    const spent = backend.families().map(({ generation, ended }) => `${generation}${ended}`)
    const head = `${now} ${asks} ${losses} ${loggedOut?.name} ${honoured} ${spent} ${text(cell)}`
    const parts = contexts.map(({ name, auth, open, ended, heard, since, reads }) => {
      const mine = pending
        .filter(({ channel }) => channel.startsWith(name))
        .map(({ label, content }) => label + content)
      const times = (timers.get(name) ?? []).map(({ at }) => at - now)
      const { version, status } = auth.session ?? {}
      const sent = sends
        .filter((send) => send.context.name === name)
        .map((send) => `${send.unknown}${send.status}`)
      return `${open} ${ended} ${mine.length || open ? since + reads : ''} ${version} ${status} ${times} ${heard}\n${sent}\n${mine.sort().join('\n')}`
    })
    let best = ''
    let naming: Naming = (given) => given
    for (const order of permutations(contexts.length)) {
      const renamed: Naming = (given) =>
        given.replace(/[①②③]/g, (name) => NAMES[order[NAMES.indexOf(name)] as number] as string)
      const sorted: string[] = []
      for (const [i, part] of parts.entries()) sorted[order[i] as number] = renamed(part)
      const names = new Map<string, number>()
      const text = `${renamed(head)}\n\n${sorted.join('\n\n')}`.replace(/[①②③]\d+/g, (id) => {
        if (!names.has(id)) names.set(id, names.size)
        return `${id[0]}#${names.get(id)}`
      })
      if (!best || text < best) {
        best = text
        naming = renamed
      }
    }
    return { text: best, naming }
  }

  const world: World = {
    bounds,
    backend,
    contexts,
    sends,
    records,
    get cell() {
      return cell
    },
    get now() {
      return now
    },
    get losses() {
      return losses
    },
    get passes() {
      return passes
    },
    get loggedOut() {
      return loggedOut
    },
    broken,
    choices,
    key,
    flush: turn,
    async settle() {
      await runOut()
      if (bounds.watch || !loggedOut) return
      // Who is not told learns of it when he next asks.
      for (const context of contexts) if (context.auth.session) ask(context)
      await runOut()
    },
  }

  async function runOut(): Promise<void> {
    await turn()
    for (;;) {
      const [first] = pending
      if (first) first.take()
      else {
        const due = contexts
          .map(({ name }) => ({ name, timer: firstTimer(name) }))
          .filter((one): one is { name: string; timer: Timer } => one.timer !== undefined)
          .sort((a, b) => a.timer.at - b.timer.at)[0]
        if (!due) return
        now = Math.max(now, due.timer.at)
        fire(due.name, due.timer)
      }
      await turn()
    }
  }

  // Everybody has heard of the session that stands in the store.
  const { accessToken, refreshToken } = await backend.signIn('alice')
  cell = {
    revision: 'r',
    id: 's',
    version: 1,
    calledAt: now,
    reason: 'login',
    subject: 'alice',
    access: { token: accessToken, at: now },
    refreshToken,
  } satisfies LiveRecord
  for (const name of NAMES.slice(0, bounds.contexts)) {
    const auth = createAuthOn(platformOf(name), {
      baseUrl: ORIGIN,
      backend: flaskJwt(),
      store: storeOf(name),
      fetch: fetchOf(name),
      refreshTimeout: REFRESH_TIMEOUT,
    }) as Auth
    contexts.push({ name, auth, heard: '', since: '', reads: 0, ended: false, open: 0 })
  }
  await runOut()
  return world
}

const orders = new Map<number, number[][]>()
function permutations(count: number): number[][] {
  const known = orders.get(count)
  if (known) return known
  const all =
    count === 0
      ? [[]]
      : permutations(count - 1).flatMap((rest) =>
          Array.from({ length: count }, (_, at) => [...rest.slice(0, at), count - 1, ...rest.slice(at)]),
        )
  orders.set(count, all)
  return all
}
