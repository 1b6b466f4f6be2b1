/**
 * The world of the model: virtual time, a network and a store whose every step fast-check's scheduler orders, and
 * contexts that can be frozen between any two steps, or die there. Nothing here knows the client's rooms; what a
 * context did is taken down as it leaves the client (sends, events, outcomes), for the invariants to be judged by.
 */
import type fc from 'fast-check'
import type { Platform } from '../../src/platform.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { type Backend, createBackend, type RefreshMode } from '../../src/testing/index.ts'
import type { Cell, Notice, Store, StoreRecord } from '../../src/types.ts'
import { ACCESS, createJar, furnish, type Jar, REFRESH } from './browser.ts'

export const START = 1_800_000_000_000
export const ORIGIN = 'https://api.test'
export const ELSEWHERE = 'https://elsewhere.test'

export interface Send {
  readonly seq: number
  readonly at: number
  readonly context: Context
  readonly url: string
  readonly method: string
  readonly route: string
  /** The token that went along: with cookies, that of the cookie that counts there, once it has left. */
  token: string | undefined
  /** With cookies: whether they were to go along, and the CSRF value beside them. */
  readonly cookies: boolean
  readonly csrf: string | undefined
  /** The tag of the call it belongs to. */
  readonly call: number | undefined
  readonly body: string | undefined
  /** When its outcome reached the context, if it did. */
  known?: { at: number; seq: number; status: number | 'error' }
  /** When the sender aborted it, before it knew of an outcome. */
  abortedAt?: number
  /** When the browser took the cookies of its answer, if there were any. */
  tookAt?: number
  tookWhen?: number
  /** The tokens that the answer to a refresh brought. */
  brought?: { access: string; refresh: string | undefined }
  /** The fresh access tokens that the server honoured when it was sent. */
  readonly fresh: readonly string[]
}

export interface Told {
  readonly seq: number
  readonly at: number
  readonly type: string
  readonly reason: string
  readonly origin: string
  readonly session: { id: string; version: number } | undefined
  /** What the context could still have used at that moment, by the server: for endings. */
  readonly honoured: string[]
  /** The version that had ended by what stood in the store. */
  readonly ended: number | undefined
}

/** Where a context is frozen, or dies: its answer from there does not reach it. */
export type Trap = 'read' | 'claimed' | 'sent' | 'stored'

export type StoreFault = 'fail' | 'fail-after' | 'hang' | 'hang-after'

export interface Context {
  readonly name: string
  readonly platform: Platform
  readonly told: Told[]
  frozen: boolean
  dead: boolean
  diedAt: number | undefined
  /** Wall clock's offset from the true time, ms. */
  offset: number
  /** Whether its clock was moved while it lived. */
  jumped: boolean
  storeFaults: StoreFault[]
  /** Where it is to be frozen next, and for how long; or to die. */
  trap: { at: Trap; dies: boolean; ms: number } | undefined
  /** How many of its asks the store has not answered. */
  asking: number
  /** When it was last hindered: frozen, or a fault of its store. */
  hinderedAt: number
  /** Its clients' ends, for the run to call. */
  thaw(): void
  freeze(): void
  die(): void
}

export interface World {
  readonly backend: Backend
  readonly contexts: Context[]
  readonly sends: Send[]
  /** Every live record that stood in the store, by session id and version. */
  readonly records: StoreRecord[]
  /** When each of them was written, by its revision. */
  readonly writtenAt: Map<string, number>
  readonly covered: Map<string, number>
  /** The browser's, where tokens travel in cookies. */
  readonly jar: Jar | undefined
  /** Whether both tokens travel in cookies, so that nobody has the access token in his hands. */
  readonly both: boolean
  /** The token that a record's handle stands for, where tokens travel in cookies. */
  tokenOf(handle: string): string
  /** Runs `act` as that context: a timer of the global ones is its own. */
  as<T>(context: Context, act: () => T): T
  now(): number
  seq(): number
  cover(what: string): void
  addContext(offset: number): Context
  fetch(context: Context): typeof fetch
  store(context: Context): Store
  /** Whether more than a moment has passed while something was in the air: a network or a store that was slow. */
  readonly slow: boolean
  /** When its data was lost last, by `seq()`; 0 if it never was. */
  readonly lostAt: number
  /** What stands in the store now. */
  standing(): StoreRecord | null
  loseData(): void
  /** Runs up to `count` scheduled steps. */
  run(count: number): Promise<void>
  /** Lets time pass, firing timers in their order. */
  advance(ms: number): Promise<void>
  /** Runs everything there is to run: steps, and timers for up to `ms`. */
  drain(ms: number): Promise<void>
  flush(): Promise<void>
  end(): void
}

/**
 * How tokens travel; `implicit`: in cookies that the server replaces on any answer, towards their end; `hybrid`: the access
 * token in a header, the refresh token in a cookie.
 */
export type Mode = 'headers' | 'cookies' | 'implicit' | 'hybrid'

export interface WorldOptions {
  readonly mode: Mode
  /** With cookies: the page can't read the CSRF values, so that the answers tell them. */
  readonly told?: boolean
  readonly refresh: RefreshMode
  readonly reuseGrace: number
  readonly accessLifetime: number
  readonly store: 'memory' | 'cell' | 'polled'
  readonly empty: 'ended' | 'lost'
}

interface Timer {
  readonly at: number
  readonly order: number
  readonly context: Context | undefined
  readonly callback: () => void
  readonly idle: boolean
}

// One for each who waits: a shared one would keep all of them for ever.
const never = (): Promise<never> => new Promise(() => {})

export function createWorld(scheduler: fc.Scheduler, options: WorldOptions): World {
  let time = START
  let sequence = 0
  let ids = 0
  let dice = 1
  const realNow = Date.now
  Date.now = () => time
  const timers: Timer[] = []
  const contexts: Context[] = []
  const sends: Send[] = []
  const records: StoreRecord[] = []
  const writtenAt = new Map<string, number>()
  const covered = new Map<string, number>()
  const seq = (): number => ++sequence
  const cover = (what: string): void => void covered.set(what, (covered.get(what) ?? 0) + 1)

  const backend = createBackend({
    signer: 'fast',
    refresh: options.refresh,
    reuseGrace: options.reuseGrace,
    accessLifetime: options.accessLifetime,
    clock: { now: () => time },
    sleep: (ms) => new Promise((resolve) => void addTimer(undefined, () => resolve(undefined), ms, false)),
    uuid: () => `id-${++ids}`,
    ...(options.mode === 'headers'
      ? {}
      : {
          ...(options.mode === 'hybrid'
            ? ({ locations: ['headers', 'cookies'], deliver: 'split' } as const)
            : ({ locations: ['cookies'] } as const)),
          implicitRefresh: options.mode === 'implicit' ? options.accessLifetime / 2 : undefined,
          csrfInCookies: !options.told,
          csrfInBody: options.told,
        }),
  })

  const jar = options.mode === 'headers' ? undefined : createJar(seq, () => time)
  const both = jar !== undefined && options.mode !== 'hybrid'
  // Whose code is running, as far as it is known.
  let acting: Context | undefined
  const unfurnish = jar && furnish(jar, `${ORIGIN}/`, (callback, ms) => addTimer(acting, callback, ms, false))
  const tokenOf = (handle: string): string =>
    (jar && backend.issued.find(({ claims }) => claims.csrf === handle.replace('~~', ''))?.token) ?? handle

  function addTimer(
    context: Context | undefined,
    callback: () => void,
    ms: number,
    idle: boolean,
  ): () => void {
    const timer: Timer = { at: time + Math.max(ms, 0), order: seq(), context, callback, idle }
    timers.push(timer)
    return () => {
      const at = timers.indexOf(timer)
      if (at >= 0) timers.splice(at, 1)
    }
  }

  // A macrotask turn of the real loop: every microtask that can run has run by then.
  let turns = 0
  const flush = (): Promise<void> => {
    if (++turns > 20_000) throw new Error('Invariant 10 is broken: it never comes to rest')
    return new Promise((resolve) => setImmediate(resolve))
  }

  /** A step of the outer world: it happens whatever becomes of the context that caused it. */
  const step = (label: string): Promise<unknown> => scheduler.schedule(Promise.resolve(), label)

  /** A step that reaches a context: not while it is frozen, never once it is dead. */
  async function reach(context: Context, label: string): Promise<void> {
    await step(label)
    await awake(context)
  }

  let slow = false
  const parked = new Map<Context, (() => void)[]>()
  async function awake(context: Context): Promise<void> {
    while (context.frozen && !context.dead) {
      await new Promise<void>((resolve) => {
        parked.set(context, [...(parked.get(context) ?? []), resolve])
      })
    }
    if (context.dead) await never()
  }

  function spring(context: Context, at: Trap): void {
    const { trap } = context
    if (trap?.at !== at || context.frozen || context.dead) return
    context.trap = undefined
    const dies = trap.dies && contexts.filter(({ dead }) => !dead).length > 1
    cover(`trap ${at}${dies ? ', death' : ''}`)
    if (dies) {
      context.die()
      return
    }
    context.freeze()
    addTimer(undefined, () => void (context.frozen && context.thaw()), trap.ms, false)
  }

  // --- the store ---------------------------------------------------------------------------------------------

  const memory = memoryStore()
  let cell: StoreRecord | null = null
  let lostAt = 0
  const watchers = new Map<Context, Set<(notice?: Notice) => void>>()

  const keep = (record: StoreRecord | null): void => {
    if (!record || 'ended' in record) return
    const { access, refreshToken } = record
    if (!jar) records.push(record)
    else {
      records.push({
        ...record,
        access: access && { ...access, token: tokenOf(access.token) },
        refreshToken: refreshToken && tokenOf(refreshToken),
      })
    }
    writtenAt.set(record.revision, seq())
  }

  function store(context: Context): Store {
    if (options.store === 'memory') {
      return {
        ...memory,
        commit(next, expected) {
          const after = memory.commit?.(next, expected) as Cell
          if (after.record?.revision === next.revision) keep(next)
          return after
        },
      }
    }
    const access = async (what: string, act: () => Cell, trap: Trap = 'read'): Promise<Cell> => {
      const fault = context.storeFaults.shift()
      if (fault) {
        cover(`store ${fault}`)
        context.hinderedAt = time
      }
      context.asking++
      await step(`${context.name} ${what} → store`)
      if (fault === 'fail' || fault === 'hang') {
        await reach(context, `${context.name} ← store ${fault}`)
        if (fault === 'hang') await never()
        throw new Error('The store is away')
      }
      const answer = act()
      spring(context, trap)
      await reach(context, `${context.name} ← store ${what}`)
      context.asking--
      if (fault === 'hang-after') await never()
      if (fault === 'fail-after') throw new Error('The store went away')
      return answer
    }
    const now = (): Cell => ({ record: cell, now: time })
    return {
      name: 'modelStore',
      empty: options.empty,
      read: () => access('read', now),
      commit: (next, expected) =>
        access(
          'commit',
          () => {
            if ((cell?.revision ?? null) === expected) {
              cell = next
              keep(next)
              tell()
            }
            return now()
          },
          'claim' in next && next.claim ? 'claimed' : 'stored',
        ),
      ...(options.store === 'polled'
        ? {}
        : {
            watch(listener) {
              const set = watchers.get(context) ?? new Set()
              watchers.set(context, set.add(listener))
              return () => void set.delete(listener)
            },
          }),
    }
  }

  function tell(): void {
    for (const [context, set] of watchers) {
      const notice = cell && {
        revision: cell.revision,
        id: cell.id,
        version: cell.version,
        ended: 'ended' in cell ? cell.ended : undefined,
      }
      for (const listener of set) {
        void reach(context, `${context.name} is told of a change`).then(() => {
          if (set.has(listener)) listener(notice ?? undefined)
        })
      }
    }
  }

  // --- the network -------------------------------------------------------------------------------------------

  const fetchOf =
    (context: Context): typeof fetch =>
    (input, init) => {
      // A page that is frozen runs no code; whose timer a global one was is not always known.
      if (jar && (context.frozen || context.dead))
        return awake(context).then(() => fetchOf(context)(input, init))
      const request = new Request(input as Request, init)
      if (jar && request.signal.aborted) return Promise.reject(request.signal.reason)
      const url = new URL(request.url)
      const authorization = request.headers.get('authorization')
      const send: Send = {
        seq: seq(),
        at: time,
        context,
        url: request.url,
        method: request.method,
        route: url.pathname.slice(1),
        token: authorization?.replace(/^Bearer /, ''),
        cookies: jar !== undefined && request.credentials !== 'omit' && url.origin === ORIGIN,
        csrf: request.headers.get('x-csrf-token') ?? undefined,
        call: Number(request.headers.get('x-call')) || undefined,
        body: undefined,
        fresh: authorization
          ? backend.issued
              .filter(({ token, kind, fresh }) => kind === 'access' && fresh && backend.isHonoured(token))
              .map(({ token }) => token)
          : [],
      }
      sends.push(send)
      if (send.route === 'refresh') spring(context, 'sent')
      const label = `${context.name} ${send.method} ${send.route}#${send.seq}`
      const { signal } = request
      // The server gets what was sent, whatever becomes of the sender.
      const travel = async (): Promise<Response> => {
        let cookies: string | undefined
        if (jar && send.cookies) {
          // They are the browser's to add, when it leaves.
          await step(`${label} → browser`)
          if (both || send.route === 'refresh')
            send.token = jar.get(send.route === 'refresh' ? REFRESH : ACCESS)
          cookies = jar.header()
        }
        await step(`${label} → server`)
        if (url.origin !== ORIGIN) return new Response('elsewhere')
        const aborted = new Promise<never>((_, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason))
        })
        aborted.catch(() => {})
        const arriving = new Request(request, { signal: null })
        arriving.headers.set('x-send', String(send.seq))
        if (cookies) arriving.headers.set('cookie', cookies)
        const answer = backend.fetch(arriving)
        return Promise.race([jar ? answer.then(taken) : answer, aborted])
      }
      /** The answer's head is there: the browser takes its cookies before the page hears of it. */
      const taken = async (response: Response): Promise<Response> => {
        await step(`${label} → jar`)
        const setCookies = response.headers.getSetCookie()
        response.headers.delete('set-cookie')
        // What was given up is cancelled; but what has come by the time that the browser hears of it was taken.
        const left = send.abortedAt ?? (context.dead && !request.keepalive ? context.diedAt : undefined)
        if (!send.cookies || !setCookies.length || (left !== undefined && left !== time)) return response
        jar?.take(setCookies, label)
        send.tookAt = seq()
        send.tookWhen = time
        return response
      }
      const answered = travel().then(
        async (response) => {
          if (send.route === 'refresh' && response.ok) await lookInto(response.clone(), send)
          await reach(context, `${label} ← ${response.status}`)
          send.known ??= { at: time, seq: seq(), status: response.status }
          return response
        },
        async (error) => {
          await reach(context, `${label} ← error`)
          send.known ??= { at: time, seq: seq(), status: 'error' }
          throw error
        },
      )
      return new Promise((resolve, reject) => {
        const leave = (): void => {
          // No timer fires in a page that is frozen.
          if (jar && context.frozen) return void awake(context).then(leave)
          if (!send.known) send.abortedAt = time
          send.known ??= { at: time, seq: seq(), status: 'error' }
          reject(signal.reason)
        }
        if (signal.aborted) leave()
        signal.addEventListener('abort', leave)
        answered.then(resolve, reject)
      })
    }

  async function lookInto(response: Response, send: Send): Promise<void> {
    if (jar) {
      const issued = backend.log.find(({ headers }) => headers['x-send'] === String(send.seq))?.issued ?? []
      const [access, refresh] = ['access', 'refresh'].map(
        (kind) => issued.find((one) => one.kind === kind)?.token,
      )
      if (access) send.brought = { access, refresh }
      return
    }
    // A body that stalls or is none tells nothing, and holds nothing up.
    const reading = response.json().then(
      ({ access_token, refresh_token }) => {
        send.brought = { access: access_token, refresh: refresh_token }
      },
      () => {},
    )
    await Promise.race([reading, flush()])
  }

  // --- time --------------------------------------------------------------------------------------------------

  async function fire(until: number): Promise<boolean> {
    let next: Timer | undefined
    for (const timer of timers) {
      if (
        timer.at <= until &&
        (!next || timer.at < next.at || (timer.at === next.at && timer.order < next.order))
      ) {
        next = timer
      }
    }
    if (!next) return false
    timers.splice(timers.indexOf(next), 1)
    time = Math.max(time, next.at)
    const { context, callback } = next
    if (context?.frozen || context?.dead) void awake(context).then(callback)
    else callback()
    await flush()
    return true
  }

  const world: World = {
    backend,
    contexts,
    sends,
    records,
    writtenAt,
    get lostAt() {
      return lostAt
    },
    covered,
    jar,
    both,
    tokenOf,
    as(context, act) {
      const before = acting
      acting = context
      try {
        return act()
      } finally {
        acting = before
      }
    },
    now: () => time,
    seq,
    cover,
    addContext(offset) {
      const context: Context = {
        name: 'abc'[contexts.length] ?? '?',
        told: [],
        frozen: false,
        dead: false,
        diedAt: undefined,
        offset,
        jumped: false,
        storeFaults: [],
        trap: undefined,
        asking: 0,
        hinderedAt: Number.NEGATIVE_INFINITY,
        platform: {
          now: () => time + context.offset,
          monotonic: () => time - START,
          timer: (callback, ms, idle) => addTimer(context, callback, ms, idle === true),
          // Deterministic, and different at each call: what is drawn is not what is tested.
          random() {
            dice = (dice * 16807) % 2147483647
            return dice / 2147483647
          },
          id: () => `x${++ids}`,
        },
        freeze() {
          context.frozen = true
          context.hinderedAt = time
        },
        die() {
          context.dead = true
          context.diedAt = time
          context.hinderedAt = Number.POSITIVE_INFINITY
        },
        thaw() {
          context.frozen = false
          context.hinderedAt = time
          const waiting = parked.get(context) ?? []
          parked.delete(context)
          for (const wake of waiting) wake()
        },
      }
      contexts.push(context)
      return context
    },
    fetch: fetchOf,
    store,
    get slow() {
      return slow
    },
    standing: () => (options.store === 'memory' ? (memory.read() as Cell).record : cell),
    loseData() {
      if (options.store === 'memory') return
      cell = null
      lostAt = seq()
      cover('data lost')
      // A claim is lost with it: nobody can know of it.
      for (const context of contexts) context.hinderedAt = Math.max(context.hinderedAt, time)
      for (const [context, set] of watchers) {
        for (const listener of set) {
          void reach(context, `${context.name} is told of a change`).then(
            () => set.has(listener) && listener(),
          )
        }
      }
    },
    async run(count) {
      for (let left = count; left > 0 && scheduler.count() > 0; left--) {
        await scheduler.waitNext(1)
        await flush()
      }
    },
    async advance(ms) {
      const until = time + ms
      const tarry = (): void => {
        if (scheduler.count() > 0 && until - time > 1_000) slow = true
      }
      tarry()
      while (await fire(until)) tarry()
      time = until
      // Time that passes while the store owes an answer is a store that is slow.
      for (const context of contexts) if (context.asking > 0) context.hinderedAt = time
      await flush()
    },
    async drain(ms) {
      const until = time + ms
      for (;;) {
        while (scheduler.count() > 0) {
          await scheduler.waitNext(1)
          await flush()
        }
        if (!(await fire(until)) && scheduler.count() === 0) return
      }
    },
    flush,
    end() {
      Date.now = realNow
      unfurnish?.()
    },
  }
  return world
}
