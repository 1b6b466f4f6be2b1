/** Stores that answer late, fail, hang, or lose what they were given. */
import { describe, expect, test, vi } from 'vitest'
import { type Cell, type LiveRecord, memoryStore, type Store, type StoreRecord } from '../../src/index.ts'
import { type HandStore, handStore, mint, ok, serve } from './by-hand.ts'
import {
  alice,
  bob,
  failure,
  isPending,
  minute,
  pass,
  room,
  second,
  settle,
  statuses,
  summary,
  times,
  virtualTime,
} from './support.ts'

virtualTime()

interface Shaky extends Store {
  /** How it is just now. */
  how: 'well' | 'failing' | 'hanging'
  /** Applied only to commits, if set. */
  commits?: 'failing' | 'hanging'
  /** Its data is gone. */
  lose(): void
  /** What it holds. */
  peek(): StoreRecord | null
  put(record: unknown): void
  reads: number
  written: number
}

/** A store on something that may break. */
function shakyStore(options: { empty?: 'ended' | 'lost'; watch?: boolean; latency?: number } = {}): Shaky {
  let record: StoreRecord | null = null
  const listeners = new Set<() => void>()
  const answer = async (how: Shaky['how']): Promise<void> => {
    if (options.latency) await new Promise<void>((resolve) => void setTimeout(resolve, options.latency))
    if (how === 'failing') throw new Error('the disk is full')
    if (how === 'hanging') await new Promise(() => {})
  }
  const cell = (): Cell => ({ record, now: Date.now() })
  const store: Shaky = {
    name: 'shakyStore',
    how: 'well',
    reads: 0,
    written: 0,
    empty: options.empty,
    async read() {
      store.reads++
      await answer(store.how)
      return cell()
    },
    async commit(next, expected) {
      await answer(store.commits ?? store.how)
      if ((record?.revision ?? null) === expected) {
        record = next
        store.written++
        for (const listener of listeners) listener()
      }
      return cell()
    },
    lose() {
      record = null
      for (const listener of listeners) listener()
    },
    peek: () => record,
    put: (value) => {
      record = value as StoreRecord
    },
  }
  if (options.watch !== false) {
    store.watch = (listener) => {
      const call = (): void => listener()
      listeners.add(call)
      return () => void listeners.delete(call)
    }
  }
  return store
}

describe('a store that answers later', () => {
  test('the first request waits for it, and goes out as who is signed in', async () => {
    const store = shakyStore({ latency: 50 })
    const { auth, backend, another, tokens, inHand } = room({ client: { store: memoryStore() } })
    const { auth: writer } = another({ store })
    const login = writer.login(alice)
    await pass(second)
    await login
    backend.clearLog()
    const { auth: reader } = another({ store })
    expect(reader.session).toBeUndefined()
    const response = reader.fetch('protected')
    expect(backend.count()).toBe(0)
    await pass(second)
    expect((await response).status).toBe(200)
    const { access } = store.peek() as Extract<StoreRecord, { version: number }> & {
      access?: { token: string }
    }
    expect(tokens('protected')).toEqual([access?.token])
    expect([auth.session, inHand]).toEqual([null, expect.any(Function)])
  })

  test('everything works as with one in memory', async () => {
    const store = shakyStore()
    const { auth, backend, told } = room({
      client: { store },
      server: { refresh: 'rotating-reuse-detection' },
    })
    await auth.login(alice)
    for (const round of [1, 2, 3]) {
      await pass(16 * minute)
      expect(await statuses(times(10, () => auth.fetch('protected')))).toEqual(times(10, () => 200))
      expect(backend.count('refresh')).toBe(round)
    }
    await auth.logout()
    expect(store.peek()).toMatchObject({ ended: 'logout' })
    expect(backend.sessionAlive('alice')).toBe(false)
    expect(told.at(-1)).toMatchObject({ type: 'loggedOut' })
  })

  test('initial tokens are a session once it has answered', async () => {
    const given = room()
    const { accessToken, refreshToken } = await given.backend.signIn('alice')
    const { auth, told } = given.another({ store: shakyStore(), initial: { accessToken, refreshToken } })
    expect(auth.session).toBeUndefined()
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(auth.session).toMatchObject({ subject: 'alice' })
    expect(told).toMatchObject([{ type: 'loggedIn', reason: 'initial', origin: 'this context' }])
  })

  test('two contexts that share it without a watch find each other’s work, and exchange once', async () => {
    const store = shakyStore({ watch: false })
    const { auth, backend, another } = room({
      client: { store },
      server: { refresh: 'rotating-reuse-detection' },
    })
    await auth.login(alice)
    const { auth: other } = another()
    await other.ready
    for (const round of [1, 2, 3]) {
      await pass(16 * minute)
      const all = Promise.all(times(10, (index) => (index % 2 ? auth : other).fetch('protected')))
      await pass(second)
      expect((await all).map(({ status }) => status)).toEqual(times(10, () => 200))
      expect(backend.count('refresh')).toBe(round)
    }
    expect(backend.reuseDetected).toBe(0)
  })

  test('a hot call with a valid token does not touch it', async () => {
    const store = shakyStore()
    const { auth } = room({ client: { store } })
    await auth.login(alice)
    const { reads, written } = store
    for (const _ of times(20, () => 0)) await auth.fetch('protected')
    expect([store.reads, store.written]).toEqual([reads, written])
  })
})

describe('a store that fails', () => {
  test('to read: a request says that nobody knows who is signed in; later it is known', async () => {
    const store = shakyStore()
    const { auth, another, backend } = room({ client: { store } })
    await auth.login(alice)
    store.how = 'failing'
    backend.clearLog()
    const { auth: next, told } = another()
    await next.ready
    expect(next.session).toBeUndefined()
    expect(await failure(next.fetch('protected'))).toMatchObject({ code: 'refresh_unavailable' })
    expect(backend.count()).toBe(0)
    expect(told).toMatchObject([
      { type: 'storeUnavailable', reason: 'read', error: { message: 'the disk is full' } },
    ])
    store.how = 'well'
    expect((await next.fetch('protected')).status).toBe(200)
    expect(next.session).toMatchObject({ subject: 'alice' })
  })

  test('to read: an optional request goes out without a token', async () => {
    const store = shakyStore()
    store.how = 'failing'
    const { auth } = room({ client: { store } })
    expect((await auth.fetch('optional', { auth: 'optional' })).status).toBe(200)
  })

  test('to commit a login: the session goes on in memory, and is written when it can be', async () => {
    const store = shakyStore()
    const { auth, told } = room({ client: { store } })
    await auth.ready
    store.how = 'failing'
    const session = await auth.login(alice)
    expect(auth.session).toBe(session)
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(summary(told)).toEqual(expect.arrayContaining(['loggedIn: login']))
    expect(told.some(({ type }) => type === 'storeUnavailable')).toBe(true)
    expect(store.peek()).toBeNull()
    store.how = 'well'
    await pass(40 * second)
    expect(store.peek()).toMatchObject({ id: session.id, subject: 'alice' })
  })

  test('3: spends no refresh token that it can not claim, and the session lives', async () => {
    const store = shakyStore()
    const { auth, backend, told } = room({
      client: { store },
      server: { refresh: 'rotating-reuse-detection' },
    })
    await auth.login(alice)
    store.how = 'failing'
    await pass(16 * minute)
    expect(await failure(auth.fetch('protected'))).toMatchObject({ code: 'refresh_unavailable' })
    expect(backend.count('refresh')).toBe(0)
    expect(told).toEqual(
      expect.arrayContaining([expect.objectContaining({ type: 'refreshFailed', reason: 'store' })]),
    )
    expect(auth.session).toMatchObject({ status: 'active' })
    store.how = 'well'
    expect((await auth.fetch('protected')).status).toBe(200)
  })

  test('to commit what a refresh brought: nothing is lost, and it is written when it can be', async () => {
    const store = shakyStore()
    const { auth, backend, hold } = room({
      client: { store },
      server: { refresh: 'rotating-reuse-detection' },
    })
    const { id } = await auth.login(alice)
    await pass(16 * minute)
    const held = hold('refresh')
    const waiting = auth.fetch('protected')
    await settle()
    expect(held.held()).toBe(true)
    store.how = 'failing'
    held.release()
    expect((await waiting).status).toBe(200)
    expect(auth.session).toMatchObject({ id, version: 2 })
    store.how = 'well'
    await pass(40 * second)
    const record = store.peek() as { version: number; refreshToken: string }
    expect(record).toMatchObject({ id, version: 2 })
    expect(backend.isHonoured(record.refreshToken)).toBe(true)
    await pass(16 * minute)
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(backend.reuseDetected).toBe(0)
  })

  test('5: to commit a logout: nobody is signed in here, and nobody is once it can be written', async () => {
    const store = shakyStore()
    const { auth, another, backend } = room({ client: { store } })
    await auth.login(alice)
    const { auth: other } = another()
    await other.ready
    store.how = 'failing'
    await auth.logout()
    expect(auth.session).toBeNull()
    expect((await auth.fetch('protected')).status).toBe(401)
    expect(backend.sessionAlive('alice')).toBe(false)
    store.how = 'well'
    await pass(40 * second)
    expect(store.peek()).toMatchObject({ ended: 'logout' })
    expect([auth.session, other.session]).toEqual([null, null])
  })

  test('is told once each time it goes away', async () => {
    const store = shakyStore()
    const { auth, told } = room({ client: { store } })
    await auth.login(alice)
    store.how = 'failing'
    for (const _ of [1, 2, 3]) await failure(auth.refresh())
    expect(told.filter(({ type }) => type === 'storeUnavailable')).toHaveLength(1)
    store.how = 'well'
    await pass(40 * second)
    await auth.refresh()
    store.how = 'failing'
    await failure(auth.refresh())
    expect(told.filter(({ type }) => type === 'storeUnavailable')).toHaveLength(2)
  })

  test('is brought what it has not taken as soon as it answers anybody', async () => {
    const store = shakyStore()
    const { auth } = room({ client: { store } })
    await auth.ready
    store.how = 'failing'
    const { id } = await auth.login(alice)
    store.how = 'well'
    // As somebody else's notice makes us read it.
    store.lose()
    await settle()
    expect(store.peek()).toMatchObject({ id })
    expect(auth.session).toMatchObject({ id })
    expect(vi.getTimerCount()).toBe(0)
  })

  test('is brought what it has not taken before a refresh goes on', async () => {
    const store = shakyStore()
    const { auth, backend } = room({ client: { store } })
    await auth.ready
    store.how = 'failing'
    const { id } = await auth.login(alice)
    store.how = 'well'
    await auth.refresh()
    expect(backend.count('refresh')).toBe(1)
    expect(store.peek()).toMatchObject({ id, version: 2 })
  })

  test('is brought the last of two logins alone', async () => {
    const store = shakyStore()
    const { auth } = room({ client: { store } })
    await auth.ready
    store.how = 'failing'
    await auth.login(alice)
    const { id } = await auth.login(bob)
    store.how = 'well'
    await pass(second)
    expect(store.peek()).toMatchObject({ id, subject: 'bob' })
    expect(store.written).toBe(1)
  })

  test('5: is brought the end of a login that was signed out before it could be written, and no session', async () => {
    const store = shakyStore()
    const { auth } = room({ client: { store } })
    await auth.ready
    store.how = 'failing'
    const { id } = await auth.login(alice)
    await auth.logout()
    store.how = 'well'
    await pass(second)
    expect(store.peek()).toMatchObject({ id, ended: 'logout' })
    expect(store.written).toBe(1)
  })

  test('at once, with no promise, is as any other that fails', async () => {
    const inner = memoryStore()
    let denied = false
    const read = (): Cell => {
      if (denied) throw new Error('storage is denied')
      return inner.read() as Cell
    }
    const { auth, told } = room({ client: { store: { ...inner, read } } })
    denied = true
    const session = await auth.login(alice)
    expect(auth.session).toBe(session)
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(summary(told)).toEqual(['storeUnavailable: read', 'loggedIn: login'])
  })

  test('while a refresh is put off, has the pause counted from the server’s answer', async () => {
    const store = shakyStore()
    const { auth, backend, hold } = room({ client: { store } })
    await auth.login(alice)
    backend.fault('refresh', { status: 429, headers: { 'retry-after': '120' } })
    const held = hold('refresh', 'request')
    const refresh = failure(auth.refresh())
    await pass(5 * second)
    expect(held.held()).toBe(true)
    store.how = 'failing'
    held.release()
    expect(await refresh).toMatchObject({ retryAt: Date.now() + 120 * second })
  })

  test('does not fail a request whose token is valid', async () => {
    const store = shakyStore()
    const { auth } = room({ client: { store } })
    await auth.login(alice)
    store.how = 'failing'
    await pass(14.5 * minute)
    expect((await auth.fetch('protected')).status).toBe(200)
  })

  test('lets no token out in its errors', async () => {
    const given = room()
    const { accessToken, refreshToken } = await given.backend.signIn('alice')
    const { auth, told } = given.another({
      store: {
        ...shakyStore(),
        commit: (next) => Promise.reject(new Error(`can not write ${JSON.stringify(next)}`)),
      },
    })
    await auth.setTokens({ accessToken, refreshToken })
    await settle()
    const error = told.find((one) => one.type === 'storeUnavailable')
    expect(error).toBeDefined()
    expect(String((error as { error?: Error }).error?.message)).toContain('can not write')
    expect(String((error as { error?: Error }).error?.message)).not.toContain(accessToken)
    expect(String((error as { error?: Error }).error?.message)).not.toContain(refreshToken)
  })
})

test('nor does a store that fails let out what passwords have replaced', async () => {
  let given = 0
  const server = serve(() => ok({ access_token: mint('alice'), refresh_token: `replaced-${++given}` }))
  const inner = handStore()
  const { auth, told } = room({ client: { store: inner, fetch: server.fetch } })
  await auth.login(alice)
  await auth.reauthenticate(alice)
  await auth.reauthenticate(alice)
  expect((inner.record as LiveRecord).former).toEqual(['replaced-1', 'replaced-2'])
  inner.commit = (next) => Promise.reject(new Error(`can not write ${JSON.stringify(next)}`))
  await auth.refresh().catch(() => {})
  const { error } = told.find((one) => one.type === 'storeUnavailable') as { error?: Error }
  expect(error?.message).toContain('can not write')
  expect(error?.message).not.toContain('replaced-')
})

describe('10: a store that hangs', () => {
  test('holds a first request up for a bounded time', async () => {
    const store = shakyStore()
    store.how = 'hanging'
    const { auth } = room({ client: { store, refreshTimeout: 3 * second } })
    const outcome = failure(auth.fetch('protected'))
    await pass(10 * second)
    expect(await isPending(outcome)).toBe(false)
    expect(await outcome).toMatchObject({ code: 'refresh_unavailable' })
  })

  test('holds a login up for a bounded time; it comes through in memory', async () => {
    const store = shakyStore()
    const { auth } = room({ client: { store, refreshTimeout: 3 * second } })
    await auth.ready
    store.how = 'hanging'
    const login = auth.login(alice)
    await pass(10 * second)
    expect(await isPending(login)).toBe(false)
    expect(await login).toMatchObject({ subject: 'alice' })
    expect((await auth.fetch('protected')).status).toBe(200)
  })

  test('does not hold up who is signed in, while the token is good', async () => {
    const store = shakyStore()
    const { auth, backend } = room({ client: { store } })
    await auth.login(alice)
    store.how = 'hanging'
    const response = auth.fetch('protected')
    expect(backend.count('protected')).toBe(1)
    expect((await response).status).toBe(200)
  })

  test('a refresh ends within a bound, and the session lives', async () => {
    const store = shakyStore()
    const { auth } = room({ client: { store, refreshTimeout: 3 * second } })
    await auth.login(alice)
    await pass(16 * minute)
    store.how = 'hanging'
    const outcome = failure(auth.fetch('protected'))
    await pass(20 * second)
    expect(await isPending(outcome)).toBe(false)
    expect(await outcome).toMatchObject({ code: 'refresh_unavailable' })
    store.how = 'well'
    await pass(40 * second)
    expect((await auth.fetch('protected')).status).toBe(200)
  })

  test('a commit that hangs after the exchange loses nothing', async () => {
    const store = shakyStore()
    const { auth, backend, hold } = room({
      client: { store, refreshTimeout: 3 * second },
      server: { refresh: 'rotating-reuse-detection' },
    })
    await auth.login(alice)
    await pass(16 * minute)
    const held = hold('refresh')
    const waiting = auth.fetch('protected')
    await settle()
    store.commits = 'hanging'
    held.release()
    await pass(10 * second)
    expect(await isPending(waiting)).toBe(false)
    expect((await waiting).status).toBe(200)
    delete store.commits
    await pass(60 * second)
    expect(backend.isHonoured((store.peek() as { refreshToken: string }).refreshToken)).toBe(true)
    await pass(16 * minute)
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(backend.reuseDetected).toBe(0)
  })

  test('a logout resolves within its bound', async () => {
    const store = shakyStore()
    const { auth } = room({ client: { store, refreshTimeout: 3 * second } })
    await auth.login(alice)
    store.how = 'hanging'
    const done = auth.logout()
    expect(auth.session).toBeNull()
    await pass(20 * second)
    expect(await isPending(done)).toBe(false)
  })
})

describe('a session that is encrypted, to who lacks the key,', () => {
  const sealed = { revision: 'r', id: 'i', version: 1, sealed: 'by who has it' }

  test('is a store that fails: nothing is written over it', async () => {
    const store = shakyStore()
    store.put(sealed)
    const { auth, told } = room({ client: { store } })
    await auth.ready
    expect(auth.session).toBeUndefined()
    expect(await auth.login(alice)).toMatchObject({ subject: 'alice' })
    await pass(minute)
    expect(store.peek()).toEqual(sealed)
    expect(told[0]).toMatchObject({
      type: 'storeUnavailable',
      error: { message: 'shakyStore: the session is encrypted()' },
    })
  })

  test('is nobody signed in where nobody else has a key, as in a browser', async () => {
    const store = shakyStore({ empty: 'ended' })
    store.put(sealed)
    const { auth } = room({ client: { store } })
    await auth.ready
    expect(auth.session).toBeNull()
    const { id } = await auth.login(alice)
    expect(store.peek()).toMatchObject({ id })
  })
})

describe('a store that loses its data', () => {
  test('has it written back by a context that holds it', async () => {
    const store = shakyStore()
    const { auth, backend, told } = room({ client: { store } })
    const { id } = await auth.login(alice)
    told.length = 0
    store.lose()
    await settle()
    expect(store.peek()).toMatchObject({ id, version: 1, subject: 'alice' })
    expect(auth.session).toMatchObject({ id })
    expect(told).toEqual([])
    await pass(16 * minute)
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(backend.count('refresh')).toBe(1)
  })

  test('without a word is found out at the next refresh, and the session goes on', async () => {
    const store = shakyStore({ watch: false })
    const { auth, backend, told } = room({ client: { store } })
    const { id } = await auth.login(alice)
    told.length = 0
    store.lose()
    await pass(16 * minute)
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(auth.session).toMatchObject({ id, version: 2 })
    expect(store.peek()).toMatchObject({ id, version: 2 })
    expect(summary(told)).toEqual(['tokenRefreshed: expired'])
    expect(backend.count('refresh')).toBe(1)
  })

  test('has it written back later, where it can not be written at once', async () => {
    const store = shakyStore()
    const { auth } = room({ client: { store } })
    const { id } = await auth.login(alice)
    store.commits = 'failing'
    store.lose()
    await settle()
    expect(store.peek()).toBeNull()
    delete store.commits
    await pass(second)
    expect(store.peek()).toMatchObject({ id, version: 1 })
  })

  test('has it written back once, however many hold it', async () => {
    const store = shakyStore()
    const { auth, another } = room({ client: { store } })
    const { id } = await auth.login(alice)
    const others = times(5, () => another().auth)
    for (const other of others) await other.ready
    store.written = 0
    store.lose()
    await settle()
    expect(store.peek()).toMatchObject({ id, version: 1 })
    expect(store.written).toBe(1)
  })

  test('and finds an old version again has the newest written back', async () => {
    const store = shakyStore()
    const { auth, backend } = room({ client: { store }, server: { refresh: 'rotating-reuse-detection' } })
    await auth.login(alice)
    const backup = store.peek()
    await auth.refresh()
    store.put(backup)
    await pass(16 * minute)
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(store.peek()).toMatchObject({ version: 3 })
    expect(backend.reuseDetected).toBe(0)
  })

  test('in the middle of an exchange keeps what the exchange brings', async () => {
    const store = shakyStore()
    const { auth, backend, hold } = room({
      client: { store },
      server: { refresh: 'rotating-reuse-detection' },
    })
    const { id } = await auth.login(alice)
    await pass(16 * minute)
    const held = hold('refresh')
    const waiting = auth.fetch('protected')
    await settle()
    store.lose()
    await settle()
    held.release()
    expect((await waiting).status).toBe(200)
    await pass(second)
    const record = store.peek() as { id: string; refreshToken: string }
    expect(record.id).toBe(id)
    expect(backend.isHonoured(record.refreshToken)).toBe(true)
  })

  test.each([true, false])('at the end of an exchange keeps what it brings (watched: %s)', async (watch) => {
    const store = shakyStore({ watch })
    const { auth, backend } = room({ client: { store }, server: { refresh: 'rotating-reuse-detection' } })
    const { id } = await auth.login(alice)
    await pass(16 * minute)
    auth.on('refreshFailed', () => {})
    backend.settings.latency.refresh = { after: second }
    const waiting = auth.fetch('protected')
    setTimeout(() => store.lose(), second)
    await pass(2 * second)
    expect((await waiting).status).toBe(200)
    const record = store.peek() as { id: string; refreshToken: string }
    expect(record.id).toBe(id)
    expect(backend.isHonoured(record.refreshToken)).toBe(true)
  })

  test('without a word while the password is proved: the session is made fresh all the same', async () => {
    const store = shakyStore({ watch: false })
    const { auth, hold } = room({ client: { store } })
    const { id } = await auth.login(alice)
    const held = hold('login')
    const outcome = auth.reauthenticate(alice)
    await settle()
    store.lose()
    held.release()
    expect(await outcome).toMatchObject({ id, version: 2, fresh: true })
    expect(store.peek()).toMatchObject({ id, version: 2 })
  })

  test('in the middle of an exchange, without a word, keeps what the exchange brings', async () => {
    const store = shakyStore({ watch: false })
    const { auth, backend, hold } = room({
      client: { store },
      server: { refresh: 'rotating-reuse-detection' },
    })
    const { id } = await auth.login(alice)
    await pass(16 * minute)
    const held = hold('refresh')
    const waiting = auth.fetch('protected')
    await settle()
    store.lose()
    held.release()
    expect((await waiting).status).toBe(200)
    await pass(second)
    const record = store.peek() as { id: string; refreshToken: string }
    expect(record.id).toBe(id)
    expect(backend.isHonoured(record.refreshToken)).toBe(true)
    expect(auth.session).toMatchObject({ id, version: 2 })
  })

  test('by the user’s own hand, where clearing it is his doing, signs out', async () => {
    const store = shakyStore({ empty: 'ended' })
    const { auth, told } = room({ client: { store } })
    await auth.login(alice)
    told.length = 0
    store.lose()
    await settle()
    expect(auth.session).toBeNull()
    expect(told).toMatchObject([{ type: 'loggedOut', reason: 'storage_cleared' }])
    await pass(40 * second)
    expect(store.peek()).toBeNull()
  })

  test('without a word while a dialog is open that is dismissed: the session is over, and not written back', async () => {
    const store = shakyStore({ watch: false })
    const { auth, backend, told } = room({ client: { store } })
    await auth.login(alice)
    await pass(16 * minute)
    backend.revoke({ sub: 'alice' })
    told.length = 0
    auth.on('reauthRequired', (event) => {
      event.waitUntil(
        new Promise<void>((resolve) => {
          setTimeout(() => {
            store.lose()
            resolve()
          }, second)
        }),
      )
    })
    const waiting = auth.fetch('protected')
    await pass(2 * second)
    expect((await waiting).status).toBe(401)
    await pass(40 * second)
    expect(auth.session).toBeNull()
    expect(summary(told)).toEqual(['reauthRequired: session_expired', 'loggedOut: session_expired'])
    expect(store.peek() === null || 'ended' in (store.peek() as object)).toBe(true)
  })

  test('5: without a word just as the user signs out: it stays ended', async () => {
    const store = shakyStore({ watch: false })
    const { auth, backend } = room({ client: { store } })
    await auth.login(alice)
    store.lose()
    await auth.logout()
    await pass(40 * second)
    expect(auth.session).toBeNull()
    expect(store.peek() === null || 'ended' in (store.peek() as object)).toBe(true)
    expect(backend.sessionAlive('alice')).toBe(false)
  })

  test('for good, after the session was ended, brings nothing back', async () => {
    const store = shakyStore()
    const { auth } = room({ client: { store } })
    await auth.login(alice)
    await auth.logout()
    store.lose()
    await pass(40 * second)
    expect(store.peek()).toBeNull()
    expect(auth.session).toBeNull()
  })

  test('5: after a logout elsewhere, the record of old is not believed', async () => {
    const store = shakyStore()
    const { auth } = room({ client: { store } })
    await auth.login(alice)
    const backup = store.peek()
    await auth.logout()
    store.put(backup)
    expect((await auth.fetch('protected')).status).toBe(401)
    await failure(auth.reauthenticate(alice))
    expect(auth.session).toBeNull()
  })
})

describe('a store that has fallen back to an old version', () => {
  /** Alice's second version is held; the store has fallen back to her first, and what is written back waits. */
  async function fallenBack(empty?: 'ended') {
    const store = Object.assign(handStore(), { empty })
    const { auth, backend } = room({ client: { store }, server: { refresh: 'rotating' } })
    await auth.login(alice)
    const first = { ...(store.record as LiveRecord), revision: 'fallen back' }
    await auth.refresh()
    const second = store.record as LiveRecord
    store.record = first
    const reading = store.gate('read')
    store.notify()
    const writing = store.gate('read')
    reading.open()
    await settle()
    expect(writing.reached()).toBe(true)
    return { auth, backend, store, writing, first, second }
  }

  test('has the newest written back, without the claim to the refresh token of old', async () => {
    const { store, writing, first, second: newest } = await fallenBack()
    const claim = { by: 'another', until: Date.now() + minute, span: 10 * second }
    store.record = { ...first, claim, revision: 'claimed' }
    writing.open()
    await settle()
    expect(store.record).toEqual({ ...newest, revision: expect.anything() })
  })

  test('and gets a newer one from elsewhere meanwhile is left alone', async () => {
    const { auth, store, writing, second: newest } = await fallenBack()
    const newer = { ...newest, version: 3, revision: 'newer' }
    store.record = newer
    writing.open()
    await settle()
    expect(store.record).toBe(newer)
    expect(auth.session).toMatchObject({ version: 3 })
  })

  test('and has the newest written back from elsewhere meanwhile is left alone', async () => {
    const { store, writing, second: newest } = await fallenBack()
    const same = { ...newest, revision: 'the same' }
    store.record = same
    writing.open()
    await settle()
    expect(store.record).toBe(same)
  })

  test('6: and gets another login meanwhile is left alone', async () => {
    const { auth, store, writing, first } = await fallenBack()
    const login = { ...first, id: 'of bob', subject: 'bob', revision: 'login' }
    store.record = login
    writing.open()
    await settle()
    expect(store.record).toBe(login)
    expect(auth.session).toMatchObject({ subject: 'bob' })
  })

  test('5: in which the session is ended meanwhile has nothing written back', async () => {
    const { auth, store, writing, first } = await fallenBack()
    const { id, version, calledAt } = first
    const tombstone = { id, version, calledAt, ended: 'logout' as const, revision: 'ended' }
    store.record = tombstone
    writing.open()
    await settle()
    expect(store.record).toBe(tombstone)
    expect(auth.session).toBeNull()
  })

  test('5: and is cleared meanwhile has nothing written back, where clearing it is the user’s doing', async () => {
    const { auth, store, writing } = await fallenBack('ended')
    store.record = null
    writing.open()
    await settle()
    expect(store.record).toBeNull()
    expect(auth.session).toBeNull()
  })

  test('5: and whose user signs out meanwhile has nothing written back', async () => {
    const { auth, backend, store, writing } = await fallenBack()
    const done = auth.logout()
    await settle()
    writing.open()
    await done
    expect(store.record).toMatchObject({ ended: 'logout' })
    expect(backend.sessionAlive('alice')).toBe(false)
  })
})

describe('what could not be written yet', () => {
  /** A store that can be read, and takes nothing. */
  function full(store: HandStore = handStore()) {
    const { commit } = store
    store.commit = () => Promise.reject(new Error('the disk is full'))
    const mend = (): void => {
      store.commit = commit
    }
    return { store, mend }
  }

  /** Has the store read again. */
  async function look(store: HandStore): Promise<void> {
    store.notify()
    await settle()
  }

  test('is not over because the store is empty, where that means that the user cleared it', async () => {
    const { store, mend } = full(Object.assign(handStore(), { empty: 'ended' as const }))
    const { auth } = room({ client: { store } })
    const { id } = await auth.login(alice)
    await look(store)
    expect(auth.session).toMatchObject({ id })
    mend()
    await pass(second)
    expect(store.record).toMatchObject({ id })
  })

  test('is newer than the end of another session that stands there', async () => {
    const store = handStore()
    const { auth } = room({ client: { store } })
    await auth.login(alice)
    await auth.logout()
    const { mend } = full(store)
    const { id } = await auth.login(bob)
    await look(store)
    expect(auth.session).toMatchObject({ id })
    store.notify({ ...(store.record as StoreRecord), id: 'another', revision: 'theirs', ended: 'logout' })
    await settle()
    expect(auth.session).toMatchObject({ id })
    mend()
    await pass(second)
    expect(store.record).toMatchObject({ id })
  })

  test('is newer than the session that stands there', async () => {
    const store = handStore()
    const { auth, another } = room({ client: { store } })
    await auth.ready
    await another().auth.login(bob)
    const { mend } = full(store)
    const { id } = await auth.login(alice)
    await look(store)
    expect(auth.session).toMatchObject({ id, subject: 'alice' })
    mend()
    await pass(second)
    expect(store.record).toMatchObject({ id })
  })

  test('is brought to a store that has lost its data ever more seldom, and once, however often that is told', async () => {
    const store = handStore()
    const { auth } = room({ client: { store } })
    const { id } = await auth.login(alice)
    const { mend } = full(store)
    store.record = null
    for (const _ of times(10, () => 0)) await look(store)
    const tries = vi.spyOn(store, 'commit')
    await pass(minute)
    expect(tries.mock.calls.length).toBeLessThan(12)
    mend()
    const reads = vi.spyOn(store, 'read')
    await pass(minute)
    expect(store.record).toMatchObject({ id })
    // To write it: what stands there then is known.
    expect(reads).toHaveBeenCalledTimes(1)
  })

  test('if it is a logout, is older than a login that is called after it elsewhere', async () => {
    const store = handStore()
    const { auth, another } = room({ client: { store } })
    await auth.login(alice)
    const { auth: other } = another()
    await other.ready
    const { mend } = full(store)
    await auth.logout()
    const { commit } = store
    mend()
    await pass(1)
    const { id } = await other.login(bob)
    store.commit = commit
    await look(store)
    expect(auth.session).toMatchObject({ id })
    mend()
    await pass(minute)
    expect(store.record).toMatchObject({ id })
    expect([auth.session, other.session]).toMatchObject([{ id }, { id }])
  })
})

describe('a tombstone', () => {
  test('of another session ends what was held before it, without a word', async () => {
    const store = handStore()
    const { auth, told } = room({ client: { store } })
    await auth.login(alice)
    told.length = 0
    store.record = { id: 'later', version: 1, calledAt: Date.now(), ended: 'logout', revision: 'theirs' }
    store.notify()
    await settle()
    expect(auth.session).toBeNull()
    expect(summary(told)).toEqual(['loggedOut: logout (elsewhere)'])
  })

  test('5: is remembered, though it was there before anybody came: the record of old is not believed', async () => {
    const store = handStore()
    const { auth, another } = room({ client: { store } })
    await auth.login(alice)
    const backup = store.record
    await auth.logout()
    const { auth: next } = another()
    await next.ready
    store.record = backup
    store.notify()
    await settle()
    expect(next.session).toBeNull()
  })

  test('5: that is told of before the store was read is remembered: an older answer is not believed', async () => {
    const store = handStore()
    const { auth, another, tokens } = room({ client: { store } })
    const { id } = await auth.login(alice)
    const reading = store.gate('read')
    const { auth: next } = another()
    await settle()
    expect(reading.reached()).toBe(true)
    store.notify({ id, version: 1, revision: 'theirs', ended: 'logout' })
    reading.open()
    await next.ready
    expect((await next.fetch('protected')).status).toBe(401)
    expect([next.session, tokens('protected')]).toEqual([null, [undefined]])
  })

  test('5: of old that is gone again, and its session back, takes nothing from who has signed in since', async () => {
    const store = handStore()
    const { auth, told } = room({ client: { store } })
    await auth.login(alice)
    const backup = store.record
    await auth.logout()
    const { id } = await auth.login(bob)
    told.length = 0
    store.record = backup
    store.notify()
    await settle()
    expect(auth.session).toMatchObject({ id, subject: 'bob' })
    expect(told).toEqual([])
  })

  test('is no session, for nobody who comes', async () => {
    const store = shakyStore()
    const { auth, another, backend } = room({ client: { store } })
    await auth.login(alice)
    await auth.logout()
    backend.clearLog()
    const { auth: next, told } = another()
    await next.ready
    expect(next.session).toBeNull()
    expect(told).toEqual([])
    expect((await next.fetch('protected')).status).toBe(401)
    expect(backend.log.map(({ token }) => token)).toEqual([undefined])
  })

  test('is stepped over by the next login', async () => {
    const store = shakyStore()
    const { auth, another } = room({ client: { store } })
    await auth.login(alice)
    await auth.logout()
    await pass(1)
    const { auth: next } = another()
    const { id } = await next.login(bob)
    expect(store.peek()).toMatchObject({ id, subject: 'bob' })
    await settle()
    expect(auth.session).toMatchObject({ id })
  })

  test('holds no token', async () => {
    const store = shakyStore()
    const { auth, backend } = room({ client: { store } })
    await auth.login(alice)
    await auth.logout()
    const text = JSON.stringify(store.peek())
    for (const { token } of backend.issued) expect(text).not.toContain(token)
  })
})

describe('a store that can not be written to', () => {
  test('gives who is signed in, and its refresh token is never spent', async () => {
    const inner = memoryStore()
    const { auth, another, backend } = room({ client: { store: inner } })
    await auth.login(alice)
    const { auth: reader } = another({ store: { name: 'cookies', read: () => inner.read() } })
    expect((await reader.fetch('protected')).status).toBe(200)
    await pass(16 * minute)
    backend.clearLog()
    const response = await reader.fetch('protected').catch((error: { code: string }) => error.code)
    expect(typeof response === 'string' ? response : response.status).toBeOneOf([401, 'refresh_unavailable'])
    expect(backend.count('refresh')).toBe(0)
    expect(inner.read()).toMatchObject({ record: { subject: 'alice' } })
    expect((await auth.fetch('protected')).status).toBe(200)
  })

  test('lets nobody sign in through it', async () => {
    const { auth } = room({ client: { store: { name: 'cookies', read: () => memoryStore().read() } } })
    expect(await failure(auth.login(alice))).toMatchObject({ code: 'store_read_only' })
  })
})

describe('a store that others write to', () => {
  test.each<[string, unknown]>([
    ['null', null],
    ['a string', 'record'],
    ['an empty object', {}],
    ['a record without a version', { revision: 'r', id: 'i', access: { token: 'abc' } }],
    [
      'a token that does not fit a header',
      { revision: 'r', id: 'i', version: 1, calledAt: 0, reason: 'login', access: { token: 'a\r\nb' } },
    ],
    [
      'a token that is no string',
      { revision: 'r', id: 'i', version: 1, calledAt: 0, reason: 'login', access: { token: 7 } },
    ],
    ...(
      [
        ['a good token beside a refresh token that is none', { refreshToken: 'a b' }],
        ['a good token beside a fresh one that is none', { fresh: { token: 'a b' } }],
        ['a subject that is no string', { subject: 7 }],
        ['a token whose life is no number', { access: { token: 'abc', life: 'x' } }],
        ['a fresh token that came at no time', { fresh: { token: 'abc', at: 'x' } }],
      ] as const
    ).map(([what, wrong]): [string, unknown] => [
      what,
      {
        revision: 'r',
        id: 'i',
        version: 1,
        calledAt: 0,
        reason: 'login',
        access: { token: 'abc' },
        ...wrong,
      },
    ]),
    [
      'null for a token',
      { revision: 'r', id: 'i', version: 1, calledAt: 0, reason: 'login', access: { token: null } },
    ],
    [
      'null for all of its tokens',
      { revision: 'r', id: 'i', version: 1, calledAt: 0, reason: 'login', access: null, refreshToken: null },
    ],
    ['no token at all', { revision: 'r', id: 'i', version: 1, calledAt: 0, reason: 'login' }],
  ])('%s in it is nobody signed in, and the next login stands', async (_, value) => {
    const store = shakyStore()
    store.put(value)
    const { auth, tokens } = room({ client: { store } })
    await auth.ready
    expect(auth.session).toBeNull()
    expect((await auth.fetch('protected')).status).toBe(401)
    expect(tokens('protected')).toEqual([undefined])
    // A store counts what is no record as empty itself.
    if (typeof (value as { revision?: unknown } | null)?.revision !== 'string') store.put(null)
    const { id } = await auth.login(alice)
    expect(store.peek()).toMatchObject({ id })
  })
})

test('10: commits that are neither done nor refused come to an end, and that is told as what it is', async () => {
  const store = shakyStore()
  const { auth, told } = room({ client: { store } })
  const { id } = await auth.login(alice)
  let commits = 0
  store.commit = async () => {
    commits++
    return store.read()
  }
  expect(await failure(auth.refresh())).toMatchObject({
    code: 'refresh_unavailable',
    cause: { message: 'shakyStore: commits are neither done nor refused' },
  })
  expect(commits).toBeLessThan(200)
  expect(auth.session).toMatchObject({ id })
  expect(summary(told)).toContain('refreshFailed: store')
})

test('a store that answers a commit with the revision alone has done it: the session is what was written', async () => {
  const inner = handStore()
  const commit = inner.commit as NonNullable<Store['commit']>
  const store: Store = {
    ...inner,
    async commit(next, expected) {
      const { record, now } = await commit(next, expected)
      return { record: { revision: record?.revision } as never, now }
    },
  }
  const { auth } = room({ client: { store } })
  const { id } = await auth.login(alice)
  await auth.refresh()
  expect(auth.session).toMatchObject({ id, version: 2, subject: 'alice' })
})

test('each change costs a store that answers later one read and one commit', async () => {
  const store = shakyStore({ watch: false })
  let commits = 0
  const commit = store.commit
  store.commit = (...given) => {
    commits++
    return commit?.(...given) as Promise<Cell>
  }
  const { auth } = room({ client: { store } })
  const cost = async (change: () => Promise<unknown>): Promise<string> => {
    const before = [store.reads, commits] as const
    await change()
    return `${store.reads - before[0]} and ${commits - before[1]}`
  }
  await auth.ready
  expect(await cost(() => auth.login(alice))).toBe('1 and 1')
  expect(await cost(() => auth.reauthenticate(alice))).toBe('1 and 1')
  // One more read at its beginning, then the claim and what came.
  expect(await cost(() => auth.refresh())).toBe('3 and 2')
  expect(await cost(() => auth.logout())).toBe('1 and 1')
})

test('a store that goes on in memory says why with each answer, and that is told once for each time', async () => {
  const inner = memoryStore()
  let problem: Error | undefined = new Error('storage is denied')
  const store: Store = {
    ...inner,
    read: async () => ({ ...(await inner.read()), problem }),
    commit: async (next, expected) => ({ ...((await inner.commit?.(next, expected)) as Cell), problem }),
  }
  const { auth, told, backend } = room({ client: { store } })
  await auth.login(alice)
  backend.expireAccessTokens()
  expect((await auth.fetch('protected')).status).toBe(200)
  const outages = (): string[] => summary(told).filter((line) => line.startsWith('store'))
  expect(outages()).toEqual(['storeUnavailable: read'])
  problem = undefined
  await auth.refresh()
  problem = new Error('there is no room')
  await auth.refresh()
  expect(outages()).toEqual(['storeUnavailable: read', 'storeUnavailable: read'])
})

test('5: a store that goes on in memory is told of a logout, though nobody is signed in there', async () => {
  let spare: StoreRecord | null = null
  const problem = new Error('the database is still opening')
  const store: Store = {
    name: 'mine',
    empty: 'ended',
    read: async () => ({ record: spare, now: Date.now(), problem }),
    async commit(next, expected) {
      if ((spare?.revision ?? null) === expected) spare = next
      return { record: spare, now: Date.now(), problem }
    },
  }
  const { auth, told } = room({ client: { store } })
  await auth.logout()
  expect(spare).toMatchObject({ ended: 'logout', calledAt: Date.now() - 1 })
  expect(summary(told)).toEqual(['storeUnavailable: read'])
})

test('5: a logout with nobody signed in wins over a login that was called before it elsewhere', async () => {
  for (const before of ['nothing', 'a logout']) {
    const store = memoryStore()
    const { auth, another, hold, backend, told } = room({ client: { store } })
    const { auth: other } = another()
    if (before !== 'nothing') {
      await auth.login(alice)
      await auth.logout()
    }
    const { release } = hold('login')
    const login = failure(auth.login(alice))
    await pass(second)
    await other.logout()
    release()
    expect(await login).toMatchObject({ code: 'session_changed' })
    await settle()
    expect([auth.session, other.session]).toEqual([null, null])
    expect(backend.sessionAlive('alice')).toBe(false)
    expect(summary(told).filter((one) => one.includes('logged')).length).toBe(before === 'nothing' ? 0 : 2)
    await pass(1)
    await auth.login(alice)
    expect(other.session).toMatchObject({ subject: 'alice' })
  }
})

test.each([
  ['read', 'how'],
  ['commit', 'commits'],
] as const)('10: a %s that hangs is told as what it is', async (reason, what) => {
  const store = shakyStore()
  const { auth, told } = room({ client: { store } })
  await auth.ready
  store[what] = 'hanging'
  const login = auth.login(alice)
  await pass(8.1 * second)
  await login
  expect(told.filter(({ type }) => type === 'storeUnavailable')).toMatchObject([
    {
      reason,
      error: { message: `shakyStore: no answer to ${reason} in 8000 ms` },
      origin: 'this context',
    },
  ])
})

test('what a store has not taken is brought to it ever more seldom: 0.1, 0.2, 0.4, … s, 30 s at the most', async () => {
  const store = shakyStore()
  const { auth } = room({ client: { store } })
  await auth.ready
  store.how = 'failing'
  await auth.login(alice)
  await auth.login(bob)
  const tries = async (milliseconds: number): Promise<number> => {
    const before = store.reads
    await pass(milliseconds)
    return store.reads - before
  }
  // At 0.1, 0.3, 0.7, 1.5, 3.1, 6.3, 12.7, 25.5 and 51.1 s; then each 30 s.
  expect([await tries(1_600), await tries(5_000), await tries(50_000)]).toEqual([4, 2, 3])
  expect(await tries(300_000)).toBe(10)
})

test('15: the first tries to bring it keep a process from its end, for 3 s; the later ones do not', async () => {
  const store = shakyStore()
  const { auth } = room({ client: { store } })
  await auth.ready
  store.how = 'failing'
  const begun = vi.spyOn(globalThis, 'setTimeout')
  await auth.login(alice)
  await pass(10 * second)
  const pauses = new Map(
    begun.mock.calls.map(([, ms = 0], index) => {
      const timer = begun.mock.results[index]?.value as NodeJS.Timeout
      return [ms, timer.hasRef()]
    }),
  )
  const kept = [100, 200, 400, 800, 1_600, 3_200, 6_400].map((ms) => pauses.get(ms))
  expect(kept).toEqual([true, true, true, true, true, false, false])
})

test('where a timer is a number, as in browsers, what a store has not taken is brought to it later just so', async () => {
  const store = shakyStore()
  const { auth } = room({ client: { store } })
  await auth.ready
  store.how = 'failing'
  const begin = globalThis.setTimeout
  vi.spyOn(globalThis, 'setTimeout').mockImplementation(((callback: () => void, ms: number) =>
    Number(begin(callback, ms))) as never)
  const { id } = await auth.login(alice)
  await pass(10 * second)
  store.how = 'well'
  await pass(30 * second)
  expect(store.peek()).toMatchObject({ id })
})
