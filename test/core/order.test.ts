/** Every order: calls in whatever microtask of others. */
import { describe, expect, test } from 'vitest'
import { createAuthOn } from '../../src/auth.ts'
import { flaskJwt, type LiveRecord, type Store, type StoreRecord } from '../../src/index.ts'
import type { Platform } from '../../src/platform.ts'
import { handStore, mint, ok, refuse, serve } from './by-hand.ts'
import {
  alice,
  baseUrl,
  bob,
  type Client,
  pass,
  room,
  second,
  settle,
  start,
  times,
  virtualTime,
} from './support.ts'

virtualTime()

/**
 * A wall clock of whole milliseconds beside one of fractions, as browsers and Node have them, and a store on the same
 * machine. `step` goes by each time that one of them is read.
 */
function clocks(phase: number, step = 0): { platform: Platform; store: Store; pass(ms: number): void } {
  let time = phase
  let ids = 0
  let record: StoreRecord | null = null
  const now = (): number => start + Math.floor(time)
  return {
    pass: (ms) => {
      time += ms
    },
    platform: {
      now() {
        time += step
        return now()
      },
      monotonic() {
        time += step
        return time
      },
      timer(callback, ms) {
        const timer = setTimeout(callback, ms)
        return () => clearTimeout(timer)
      },
      random: () => 0.5,
      id: () => `id-${ids++}`,
    },
    store: {
      name: 'clockedStore',
      read: () => ({ record, now: now() }),
      commit(next, expected) {
        if ((record?.revision ?? null) === expected) record = next
        return { record, now: now() }
      },
    },
  }
}

describe('5: of two that are called one after the other the later one stands', () => {
  const login = (username: string) => (auth: Client) => auth.login({ username, password: '' })
  const setTokens = (sub: string) => (auth: Client) => auth.setTokens({ accessToken: mint(sub) })

  test.each<[string, typeof setTokens, typeof setTokens]>([
    ['login(), login()', login, login],
    ['setTokens(), setTokens()', setTokens, setTokens],
    ['setTokens(), login()', setTokens, login],
  ])('%s, whatever fractions of a millisecond lie between', async (_, first, then) => {
    const wrong: string[] = []
    for (const phase of [0, 0.4, 0.9]) {
      for (const between of [0, 0.3, 0.7, 1]) {
        for (const answered of [0, 0.2, 0.6, 1.1]) {
          const { platform, store, pass } = clocks(phase)
          const server = serve(({ username }) => {
            pass(answered)
            return ok({ access_token: mint(username) })
          })
          const options = { baseUrl, backend: flaskJwt(), fetch: server.fetch, store }
          const auth = createAuthOn(platform, options)
          await auth.setTokens({ accessToken: mint('zed') })
          pass(0.4)
          const one = first('bob')(auth)
          pass(between)
          const other = then('carol')(auth)
          const [, last] = await Promise.allSettled([one, other])
          await settle()
          const { subject } = auth.session ?? {}
          if (last.status === 'rejected' || subject !== 'carol') {
            wrong.push(`${phase} + ${between} + ${answered}: ${subject ?? 'nobody'}`)
          }
          auth.dispose()
        }
      }
    }
    expect(wrong).toEqual([])
  })

  test('login(), login(), though the store’s time is known only as well as its answers are quick', async () => {
    const store = handStore()
    const server = serve(async ({ username }) => {
      await new Promise<void>((resolve) => void setTimeout(resolve, username === 'alice' ? 10 : second))
      return ok({ access_token: mint(username) })
    })
    const { auth } = room({ client: { store, fetch: server.fetch } })
    store.trip = { there: 150, back: 0 }
    const before = auth.setTokens({ accessToken: mint('zed') })
    await pass(second)
    await before
    store.trip = { there: 0, back: 150 }
    const first = auth.login(alice)
    await pass(60)
    const then = auth.login(bob)
    await pass(5 * second)
    await Promise.all([first, then])
    expect(auth.session).toMatchObject({ subject: 'bob' })
    expect(store.record).toMatchObject({ subject: 'bob' })
  })
})

describe('5: in whatever microtask it falls', () => {
  /** Calls `act` in the k-th microtask from now. */
  const inMicrotask = (k: number, act: () => void): void => {
    if (k) queueMicrotask(() => inMicrotask(k - 1, act))
    else act()
  }
  const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve))

  test.each(['is attached', 'is replayed'])(
    'a logout keeps a refreshed token that %s from going out',
    async (how) => {
      const wrong: number[] = []
      for (const k of times(40, (index) => index)) {
        let over = false
        let turnedDown = 0
        const late: string[] = []
        const server = serve(({ path, token }) => {
          if (path === '/refresh') return ok({ access_token: mint('alice') })
          if (path === '/items' && over && token) late.push(path)
          return path === '/items' && how === 'is replayed' && !turnedDown++
            ? refuse('Token has expired')
            : ok()
        })
        const accessToken = how === 'is replayed' ? mint('alice') : undefined
        const { auth } = room({
          client: { fetch: server.fetch, initial: { accessToken, refreshToken: 'refresh' } },
        })
        auth.on('tokenRefreshed', () =>
          inMicrotask(k, () => {
            over = true
            void auth.logout()
          }),
        )
        await auth.fetch('items').catch(() => {})
        await turn()
        if (late.length) wrong.push(k)
      }
      expect(wrong).toEqual([])
    },
  )

  test.each(['is attached', 'is replayed'])(
    '6: another user who is signed in keeps a refreshed token that %s from going out',
    async (how) => {
      const wrong: number[] = []
      for (const k of times(40, (index) => index)) {
        let turnedDown = 0
        const late: string[] = []
        const server = serve(({ path }) => {
          if (path === '/refresh') return ok({ access_token: mint('alice') })
          if (path === '/items' && auth.session?.subject === 'bob') late.push(path)
          return path === '/items' && how === 'is replayed' && !turnedDown++
            ? refuse('Token has expired')
            : ok()
        })
        const accessToken = how === 'is replayed' ? mint('alice') : undefined
        const { auth } = room({
          client: { fetch: server.fetch, initial: { accessToken, refreshToken: 'refresh' } },
        })
        auth.on('tokenRefreshed', () =>
          inMicrotask(k, () => void auth.setTokens({ accessToken: mint('bob') }).catch(() => {})),
        )
        await auth.fetch('items').catch(() => {})
        await turn()
        if (late.length) wrong.push(k)
      }
      expect(wrong).toEqual([])
    },
  )

  // --- every call, against every end, at every moment ------------------------------------------------------

  type Token = { sub?: string; live: boolean }

  /** A server that rotates refresh tokens, knows which of them live, and what came as alice after `over`. */
  function rotating() {
    const refreshTokens = new Map<string | undefined, Token>()
    const state = { over: false, late: [] as string[], turnedDown: false }
    const give = (sub: string | undefined, fresh: boolean): Response => {
      const token = `refresh-${refreshTokens.size}`
      refreshTokens.set(token, { sub, live: true })
      return ok({ access_token: mint(sub, { fresh }), refresh_token: token })
    }
    const server = serve(({ path, token, username }) => {
      if (path === '/login') return give(username, true)
      if (path === '/logout' || path === '/refresh') {
        const known = refreshTokens.get(token)
        const { live = false } = known ?? {}
        if (known) known.live = false
        if (path === '/logout') return ok()
        return live ? give(known?.sub, false) : refuse('Token has been revoked')
      }
      const sub = token && JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()).sub
      if (state.over && sub === 'alice') state.late.push(path)
      if (path === '/fresh') return refuse('Fresh token required')
      if (state.turnedDown) return ok()
      state.turnedDown = true
      return refuse('Token has expired')
    })
    const livingOf = (...subs: string[]): number =>
      [...refreshTokens.values()].filter(({ sub, live }) => live && subs.includes(sub ?? '')).length
    return { server, state, livingOf }
  }

  /** A store whose answers take so many microtasks each way; it tells of each change at once. */
  function hoppingStore(hops: number, now: () => number): Store {
    let record: StoreRecord | null = null
    const listeners = new Set<Parameters<NonNullable<Store['watch']>>[0]>()
    const hop = async (): Promise<void> => {
      for (let i = 0; i < hops; i++) await null
    }
    const through = async (act: () => void): Promise<{ record: StoreRecord | null; now: number }> => {
      await hop()
      act()
      const cell = { record, now: now() }
      await hop()
      return cell
    }
    return {
      name: 'hoppingStore',
      read: () => through(() => {}),
      commit: (next, expected) =>
        through(() => {
          if ((record?.revision ?? null) !== expected) return
          record = next
          const { revision, id, version } = next
          const ended = 'ended' in next ? next.ended : undefined
          for (const listener of listeners) listener({ revision, id, version, ended })
        }),
      watch(listener) {
        listeners.add(listener)
        return () => void listeners.delete(listener)
      },
    }
  }

  const calls: Record<string, (auth: Client) => Promise<unknown>> = {
    'a request that is replayed': (auth) => auth.fetch('items'),
    'a POST that is replayed': (auth) =>
      auth.fetch(new Request(`${baseUrl}items`, { method: 'POST', body: 'body' })),
    'a request that needs a password': (auth) => auth.fetch('fresh'),
    'refresh()': (auth) => auth.refresh(),
    'getAccessToken()': (auth) => auth.getAccessToken({ minValidity: 1e9 }),
    'reauthenticate()': (auth) => auth.reauthenticate(alice),
    'login()': (auth) => auth.login(bob),
    'refresh() and login()': (auth) => Promise.all([auth.refresh(), auth.login(bob)]),
    'setTokens()': (auth) => auth.setTokens({ accessToken: mint('bob'), refreshToken: 'given' }),
  }

  type Seen = { auth: Client; record: StoreRecord | null; told: string[]; world: ReturnType<typeof rotating> }
  type End = {
    act(auth: Client): Promise<unknown> | undefined
    wrong(outcome: string, acted: string, seen: Seen): (string | false | null | undefined)[]
  }
  const interventions: Record<string, End> = {
    'a logout': {
      act: (auth) => auth.logout(),
      wrong: (_, acted, { auth, record, told, world: { state, livingOf } }) => [
        acted !== 'done' && acted,
        state.late.length > 0 && 'sent as alice afterwards',
        auth.session && `signed in as ${auth.session.subject}`,
        !(record && 'ended' in record) && 'the store holds a session',
        livingOf('bob') > 0 && 'tokens live on',
        !told.at(-1)?.startsWith('loggedOut') && `told at last: ${told.at(-1)}`,
      ],
    },
    'another login': {
      act: (auth) => auth.login({ username: 'carol', password: '' }),
      wrong: (outcome, acted, { auth, record, world: { livingOf } }) => [
        acted !== 'done' && acted,
        auth.session?.subject !== 'carol' && `signed in as ${auth.session?.subject}`,
        (record as LiveRecord | null)?.subject !== 'carol' && 'the store holds another',
        outcome === 'session_changed' && livingOf('bob') > 0 && 'tokens live on',
      ],
    },
    'dispose()': {
      act: (auth) => void auth.dispose(),
      wrong: (outcome, _, { record }) => [
        record && 'ended' in record && 'signed out',
        outcome !== 'done' && outcome !== 'disposed' && `it ended as ${outcome}`,
      ],
    },
  }

  const outcomeOf = (promise: Promise<unknown> | undefined): Promise<string> =>
    Promise.resolve(promise).then(
      () => 'done',
      (error) => error.code ?? String(error),
    )

  test.each(Object.entries(interventions))(
    '%s during any call, whatever came first, leaves what both callers expect',
    { timeout: 60_000 },
    async (_, { act, wrong }) => {
      const problems: string[] = []
      /** Goes once through it, with so many microtasks to the store and back, and so many until `act`. */
      const go = async (
        call: (auth: Client) => Promise<unknown>,
        hops: number,
        k: number,
      ): Promise<string[]> => {
        const world = rotating()
        const { platform, store: quick } = clocks(0, 0.03)
        const store = hops ? hoppingStore(hops, platform.now) : quick
        const options = { baseUrl, backend: flaskJwt(), fetch: world.server.fetch, store }
        const auth: Client = createAuthOn(platform, options)
        await auth.login(alice)
        await turn()
        const told: string[] = []
        for (const type of ['loggedIn', 'loggedOut', 'tokenRefreshed'] as const) {
          auth.on(type, () => void told.push(type))
        }
        auth.on('reauthRequired', ({ waitUntil }) => waitUntil(auth.reauthenticate(alice).catch(() => {})))
        let [outcome, acted] = ['never', 'never']
        void outcomeOf(call(auth)).then((how) => {
          outcome = how
        })
        for (let i = 0; i < k; i++) await null
        world.state.over = true
        void outcomeOf(act(auth)).then((how) => {
          acted = how
        })
        for (let i = 0; i < 10 && (outcome === 'never' || acted === 'never'); i++) await turn()
        await turn()
        const { record } = await store.read()
        auth.dispose()
        const seen = { auth, record, told, world }
        const found = [outcome === 'never' && 'no end', ...wrong(outcome, acted, seen)].filter((one) => !!one)
        return found.map((one) => `${hops}/${k}: ${one}; it ended as ${outcome}`)
      }
      for (const [name, call] of Object.entries(calls)) {
        for (const [hops, moments] of [
          [0, 45],
          [1, 75],
        ] as const) {
          for (const k of times(moments, (index) => index)) {
            problems.push(...(await go(call, hops, k)).map((one) => `${name} ${one}`))
          }
        }
      }
      expect(problems).toEqual([])
    },
  )
})
