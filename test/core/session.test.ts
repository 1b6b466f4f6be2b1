import { inspect } from 'node:util'
import { describe, expect, test, vi } from 'vitest'
import { memoryStore, type Session, type Store } from '../../src/index.ts'
import { handStore } from './by-hand.ts'
import {
  alice,
  bob,
  deferred,
  failure,
  minute,
  pass,
  room,
  second,
  settle,
  start,
  summary,
  virtualTime,
} from './support.ts'

virtualTime()

/** A memory store that answers later, as stores on a disk or a network do. */
function asyncStore(inner: Store = memoryStore()): Store {
  return {
    name: 'asyncStore',
    read: async () => inner.read(),
    commit: async (next, expected) => inner.commit?.(next, expected) as never,
    watch: inner.watch,
  }
}

describe('the snapshot', () => {
  test('says who is signed in, how, and until when', async () => {
    const { auth, backend } = room({
      server: { users: { alice: { password: 'wonderland', claims: { role: 'queen' } } } },
    })
    const session = await auth.login(alice)
    const { iat, exp, jti } = backend.issued.find(({ kind }) => kind === 'access') ?? {}
    expect(session).toEqual({
      id: expect.any(String),
      version: 1,
      status: 'active',
      subject: 'alice',
      fresh: true,
      expiresAt: start + 15 * minute - second,
      claims: { sub: 'alice', fresh: true, type: 'access', role: 'queen', iat, nbf: iat, exp, jti },
    })
  })

  test('is null with nobody signed in, at once with a store in memory', async () => {
    const { auth } = room()
    expect(auth.session).toBeNull()
    await auth.login(alice)
    await auth.logout()
    expect(auth.session).toBeNull()
  })

  test('can not be changed', async () => {
    const { auth, signIn } = room()
    await signIn()
    const session = auth.session as { version: number; claims: { sub?: string } }
    expect(() => {
      session.version = 7
    }).toThrow(TypeError)
    expect(() => {
      session.claims.sub = 'mallory'
    }).toThrow(TypeError)
    expect(auth.session).toMatchObject({ version: 1, claims: { sub: 'alice' } })
  })

  test('of the past stays what it was', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    const before = auth.session
    await auth.refresh()
    expect(before).toMatchObject({ version: 1, fresh: true })
    expect(auth.session).toMatchObject({ id: before?.id, version: 2 })
    expect(backend.count('refresh')).toBe(1)
  })

  test('is the same object until something changes', async () => {
    const { auth, signIn } = room()
    await signIn()
    const before = auth.session
    await auth.fetch('protected')
    await pass(minute)
    expect(auth.session).toBe(before)
  })

  test('holds no token and no CSRF value, and neither does the client, however it is looked at', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    await auth.refresh()
    const looks = [auth.session, auth].map(
      (value) => inspect(value, { depth: null, showHidden: true }) + JSON.stringify(value),
    )
    expect(looks[0]).toContain('alice')
    for (const look of looks) {
      for (const { token, claims } of backend.issued) {
        expect(look).not.toContain(token)
        expect(look).not.toContain(String(claims.csrf))
      }
    }
    expect(auth.session?.claims).not.toHaveProperty('csrf')
  })

  test('tells a token that is fresh until a time from one that no longer is', async () => {
    const { auth, signIn } = room({ server: { fresh: 5 * minute } })
    await signIn()
    expect(auth.session).toMatchObject({ fresh: true, version: 1 })
    // A stamp of whole seconds was cut: up to one of them is over already.
    await pass(5 * minute - second - 1)
    expect(auth.session).toMatchObject({ fresh: true })
    await pass(1)
    expect(auth.session).toMatchObject({ fresh: false, version: 1 })
  })

  test('has a new id after each login, of letters and digits, and keeps it over refreshes', async () => {
    const { auth } = room()
    const ids = new Set<string>()
    for (const version of [1, 2, 3]) {
      const { id } = await auth.login(version === 2 ? bob : alice)
      expect(id).toMatch(/^[a-z0-9]+$/)
      ids.add(id)
      await auth.refresh()
      expect(auth.session).toMatchObject({ id, version: 2 })
    }
    expect(ids.size).toBe(3)
  })

  test('is undefined until the store was read', async () => {
    const { auth } = room({ client: { store: asyncStore() } })
    expect(auth.session).toBeUndefined()
    await auth.ready
    expect(auth.session).toBeNull()
  })

  test('is what the store holds, once it was read', async () => {
    const inner = memoryStore()
    const first = room({ client: { store: asyncStore(inner) } })
    const { id } = await first.auth.login(alice)
    const second = room({ client: { store: asyncStore(inner) } })
    expect(second.auth.session).toBeUndefined()
    await second.auth.ready
    expect(second.auth.session).toMatchObject({ id, subject: 'alice', version: 1 })
    // It was there before: nobody has just signed in.
    expect(second.told).toEqual([])
  })
})

describe('ready', () => {
  test('resolves though the store fails', async () => {
    const store: Store = { ...asyncStore(), read: () => Promise.reject(new Error('no disk')) }
    const { auth } = room({ client: { store } })
    await expect(auth.ready).resolves.toBeUndefined()
  })

  test('resolves though the store throws at once', async () => {
    const store: Store = {
      ...asyncStore(),
      read: () => {
        throw new Error('no disk')
      },
    }
    const { auth } = room({ client: { store } })
    await expect(auth.ready).resolves.toBeUndefined()
  })

  test('resolves within refreshTimeout though the store never answers', async () => {
    const store: Store = { ...asyncStore(), read: () => new Promise(() => {}) }
    const { auth } = room({ client: { store, refreshTimeout: 3 * second } })
    let ready = false
    void auth.ready.then(() => {
      ready = true
    })
    await pass(2.9 * second)
    expect(ready).toBe(false)
    await pass(0.2 * second)
    expect(ready).toBe(true)
  })
})

describe('subscribe', () => {
  test('calls back at once, then at each change, and no more once unsubscribed', async () => {
    const { auth, backend } = room()
    const seen: (Session | null | undefined)[] = []
    const stop = auth.subscribe((session) => void seen.push(session))
    expect(seen).toEqual([null])
    await auth.login(alice)
    await auth.fetch('protected')
    await auth.refresh()
    await auth.logout()
    expect(seen.map((session) => session?.version ?? session)).toEqual([null, 1, 2, null])
    stop()
    await auth.login(bob)
    expect(seen).toHaveLength(4)
    expect(backend.count('login')).toBe(2)
  })

  test('calls back once at the start, though the token has run out since anybody looked', async () => {
    const { auth, signIn } = room()
    await signIn()
    await pass(16 * minute)
    const seen: unknown[] = []
    auth.subscribe((session) => void seen.push(session?.fresh))
    expect(seen).toEqual([false])
  })

  test('never shows two users at once, nor nobody between them', async () => {
    const { auth, signIn } = room()
    await signIn()
    const seen: unknown[] = []
    auth.subscribe((session) => void seen.push(session?.subject))
    await auth.login(bob)
    expect(seen).toEqual(['alice', 'bob'])
  })

  test('begins with undefined while the store is unread', async () => {
    const { auth } = room({ client: { store: asyncStore() } })
    const seen: unknown[] = []
    auth.subscribe((session) => void seen.push(session))
    await auth.ready
    expect(seen).toEqual([undefined, null])
  })

  test('what it shows and what auth.session shows is the same, at any time', async () => {
    const { auth } = room()
    const same: boolean[] = []
    auth.subscribe((session) => void same.push(session === auth.session))
    auth.on('loggedIn', ({ session }) => void same.push(session === auth.session))
    await auth.login(alice)
    await auth.refresh()
    await auth.logout()
    expect(same).toEqual([true, true, true, true, true])
  })

  test('a subscriber that throws is reported and holds nothing up', async () => {
    const { auth } = room()
    const gate = deferred<unknown>()
    const original = console.error
    console.error = gate.resolve
    try {
      auth.subscribe(() => {
        throw new Error('mine')
      })
      expect(await gate.promise).toEqual(new Error('mine'))
      await auth.login(alice)
      await settle()
    } finally {
      console.error = original
    }
    expect(auth.session).toMatchObject({ subject: 'alice' })
  })
})

test('5: a logout before the store was read is one at once', async () => {
  const { auth } = room({ client: { store: asyncStore() } })
  expect(auth.session).toBeUndefined()
  const done = auth.logout()
  expect(auth.session).toBeNull()
  await done
})

test('6: after a notice that somebody else may have signed in nothing goes out until the store was asked', async () => {
  const inner = memoryStore()
  let gate: Promise<void> = Promise.resolve()
  const store: Store = { ...asyncStore(inner), read: () => gate.then(() => inner.read()) }
  const { auth, backend, told, signIn, tokens } = room({ client: { store } })
  await signIn()
  const { promise, resolve } = deferred()
  gate = promise
  const other = room({ client: { store: inner, fetch: backend.fetch as typeof fetch } })
  await other.auth.login(bob)
  backend.clearLog()
  const waiting = [failure(auth.fetch('protected')), failure(auth.getAccessToken())]
  await settle()
  expect(backend.count()).toBe(0)
  resolve()
  for (const error of waiting) expect(await error).toMatchObject({ code: 'session_changed' })
  expect(tokens('protected')).toEqual([])
  expect(summary(told)).toEqual(['loggedOut: replaced (elsewhere)', 'loggedIn: login (elsewhere)'])
  expect((await auth.fetch('protected')).status).toBe(200)
})

test('6: after a second notice nothing goes out until the store was asked again', async () => {
  const store = handStore()
  const { auth, backend, signIn } = room({ client: { store } })
  await signIn()
  const [first, again] = [store.gate('read'), store.gate('read')]
  store.notify()
  store.notify()
  first.open()
  await settle()
  const response = auth.fetch('protected')
  await settle()
  expect(backend.count()).toBe(0)
  again.open()
  expect((await response).status).toBe(200)
})

test('a notice of what is known already asks the store for nothing', async () => {
  const store = handStore()
  const { auth, another } = room({ client: { store } })
  const { id } = await auth.login(alice)
  const { auth: other } = another()
  await other.ready
  const read = vi.spyOn(store, 'read')
  store.notify({ id, version: 1, revision: store.record?.revision ?? '' })
  await settle()
  expect(read).not.toHaveBeenCalled()
})

test('a login in the same millisecond as a logout before it is kept up with, when another refreshes it', async () => {
  const { auth, another } = room()
  await auth.login(alice)
  const { auth: other } = another()
  void auth.logout()
  const { id } = await auth.login(alice)
  await other.refresh()
  expect(auth.session).toMatchObject({ id, version: 2 })
})

test('a login of the same user takes the place of the session without a word that anybody signed out', async () => {
  const { auth, told } = room()
  await auth.login(alice)
  await auth.login(alice)
  expect(summary(told)).toEqual(['loggedIn: login', 'loggedIn: login'])
})

test('6: only after a change of user are answers of the cache passed by', async () => {
  const server = room()
  const caches: unknown[] = []
  const { auth } = room({
    client: {
      fetch: (input, init) => {
        if (String(input).endsWith('protected')) caches.push(init?.cache)
        return server.backend.fetch(input, init)
      },
    },
  })
  for (const user of [alice, alice, bob, bob]) {
    await auth.login(user)
    await auth.fetch('protected')
  }
  expect(caches).toEqual([undefined, undefined, 'reload', 'reload'])
  await auth.fetch('protected', { cache: 'force-cache' })
  await auth.fetch('protected', { auth: false })
  expect(caches.slice(4)).toEqual(['force-cache', undefined])
})

test('11: who takes a valid token waits for no store', async () => {
  const store = asyncStore()
  const read = vi.spyOn(store, 'read')
  const { auth, signIn } = room({ client: { store } })
  await signIn()
  read.mockClear()
  expect(await auth.getAccessToken()).toBeTypeOf('string')
  expect(read).not.toHaveBeenCalled()
})
