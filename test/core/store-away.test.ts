/** A store that is away, slow or fails, and what is written late. */

import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import {
  type Cell,
  createAuth,
  flaskJwt,
  type LiveRecord,
  memoryStore,
  type Store,
  type StoreRecord,
} from '../../src/index.ts'
import { fakeTokens } from '../../src/testing/index.ts'
import { handStore, jwt, refuse, serve, stamps } from './by-hand.ts'
import {
  alice,
  baseUrl,
  bob,
  deferred,
  failure,
  hour,
  isPending,
  minute,
  opaque,
  outcome,
  pass,
  room,
  second,
  settle,
  summary,
  virtualTime,
} from './support.ts'

virtualTime()

describe('a store', () => {
  test('10: that is slower than the room a claim leaves is waited for, and the refresh comes through', async () => {
    const store = handStore()
    const { auth, backend } = room({
      client: { store, refreshTimeout: 400 },
      server: { accessLifetime: 3 * second },
    })
    await auth.login(alice)
    await pass(2.1 * second)
    store.trip = { there: 60, back: 60 }
    const call = auth.fetch('protected')
    await pass(5 * second)
    expect(await isPending(call)).toBe(false)
    expect((await call).status).toBe(200)
    expect(backend.count('refresh')).toBe(1)
  })

  test('10: that takes every commit and keeps none ends a refresh within a bound, and spends no token', async () => {
    let asked = 0
    const { auth, backend } = room({
      client: {
        store: {
          name: 'forgetfulStore',
          read() {
            // Where nothing bounds it, this does: an endless loop of microtasks would end no test.
            if (++asked > 5000) throw new Error('enough')
            return { record: null, now: Date.now() }
          },
          commit: (next) => ({ record: next, now: Date.now() }),
        },
      },
    })
    await auth.login(alice)
    expect(await failure(auth.refresh())).toMatchObject({ code: 'refresh_unavailable' })
    expect(asked).toBeLessThan(1000)
    expect(backend.count('refresh')).toBe(0)
  })

  test('11: that is asked for a request which needs a password holds up no other', async () => {
    const store = handStore()
    const { auth, backend, signInStale } = room({ client: { store } })
    await signInStale()
    const gate = store.gate('read')
    const stepUp = auth.fetch('fresh')
    await settle()
    expect(gate.reached()).toBe(true)
    const other = auth.fetch('protected')
    expect(backend.count('protected')).toBe(1)
    expect((await other).status).toBe(200)
    gate.open()
    expect((await stepUp).status).toBe(401)
  })

  test('5: that tells of a change without saying which is asked before a replay goes out', async () => {
    const store = handStore()
    const { auth, backend, hold, tokens } = room({ client: { store } })
    await auth.login(alice)
    backend.fault('protected', { status: 401, body: { msg: 'Token has expired' } })
    const answer = hold('protected')
    const call = auth.fetch('protected')
    await settle()
    // So that the 401 is late, and worth a replay at once.
    await auth.refresh()
    const { id, version } = store.record as LiveRecord
    store.record = { revision: 'theirs', id, version, calledAt: Date.now() + 1, ended: 'logout' }
    const gate = store.gate('read')
    store.notify()
    answer.release()
    await settle()
    expect(gate.reached()).toBe(true)
    expect(tokens('protected')).toHaveLength(1)
    gate.open()
    expect((await call).status).toBe(401)
    expect(tokens('protected')).toHaveLength(1)
  })

  test('that tells nobody of changes is asked after a 401, so that a login elsewhere is found', async () => {
    const { watch: _, ...blind } = handStore()
    const { auth, another } = room({ client: { store: blind } })
    const { auth: other } = another()
    await Promise.all([auth.ready, other.ready])
    await auth.login(alice)
    expect((await other.fetch('protected')).status).toBe(401)
    await settle()
    expect((await other.fetch('protected')).status).toBe(200)
    expect(other.session).toMatchObject({ subject: 'alice' })
  })

  test('that failed to take what a refresh brought holds the process up until it has', async () => {
    const script = fileURLToPath(new URL('last-commit.ts', import.meta.url))
    const { stdout } = await promisify(execFile)(process.execPath, [script])
    expect(stdout.trim()).toBe('refresh-1')
  })

  describe('that others have written to', () => {
    const record = (refreshToken: string): LiveRecord => {
      const { iat } = stamps()
      return {
        revision: 'theirs',
        id: 'session',
        version: 1,
        calledAt: Date.now(),
        reason: 'login',
        access: { token: jwt({ sub: 'alice', iat: iat - 900, exp: iat - 1 }) },
        refreshToken,
      }
    }
    /** What comes of a request in two hours, and of a logout and a login after it. */
    const use = async (patch: object): Promise<string[]> => {
      const store = handStore()
      const { backend, another } = room()
      const { refreshToken } = await backend.signIn('alice')
      store.record = { ...record(refreshToken), ...patch } as LiveRecord
      const { auth } = another({ store })
      let answer: number | undefined
      for (let waited = 0; waited < 2 * hour && !answer; waited += 20 * minute) {
        const call = auth.fetch('protected').catch(() => ({ status: undefined }))
        await pass(20 * minute)
        answer = (await call).status
      }
      const exchanges = backend.count('refresh')
      await auth.logout()
      const after = auth.session
      const session = await auth.login(alice)
      return [
        // As who it was, or as nobody.
        answer !== 200 && answer !== 401 && `answered: ${answer}`,
        exchanges > 1 && `refreshed ${exchanges} times`,
        after !== null && 'signed in after a logout',
        session.subject !== 'alice' && 'not signed in after a login',
      ].filter((one) => one !== false)
    }

    test('10: nothing in a record makes a session that can neither be used nor left', async () => {
      const nonsense: object[] = [
        { begun: null },
        { begun: 'abc' },
        { begun: [{}, 'x', Number.NaN] },
        { claim: { by: 'x', until: 1e300, span: 1e300 } },
        { claim: null },
        { retryAt: 1e300 },
        { retryAt: 'x' },
        { version: Number.MAX_SAFE_INTEGER },
        { version: 1e308 },
        { version: -1 },
        { failures: 1e9 },
        { failures: Number.NaN },
        { calledAt: undefined },
        { calledAt: 1e300 },
        { due: Number.NaN },
        { revision: 5 },
        { access: null },
        { fresh: null },
        { access: { token: 'opaque', life: 'x' } },
        { access: { token: jwt('{"__proto__":{"fresh":true},"sub":"alice","exp":1,"iat":0}') } },
      ]
      const wrong: [object, string[]][] = []
      for (const patch of nonsense) {
        const found = await use(patch)
        if (found.length) wrong.push([patch, found])
      }
      expect(wrong).toEqual([])
    })

    test('10: nor does a subject that is no text', async () => {
      expect(await use({ subject: {} })).toEqual([])
    })
  })
})

test('10: a store that answers at once is not asked for ever because it failed once', async () => {
  const shared = memoryStore()
  let denied = true
  let reads = 0
  const read = (): Cell => {
    reads++
    if (denied) throw new Error('storage is denied')
    return shared.read() as Cell
  }
  const { auth } = room({ client: { store: { ...shared, read } } })
  await auth.ready
  denied = false
  await pass(minute)
  reads = 0
  await pass(60 * minute)
  expect(auth.session).toBeNull()
  expect(reads).toBe(0)
})

test('3: what a refresh wrote, and a store that was lost could not confirm, is not taken back once others have gone on from it', async () => {
  const shared = handStore()
  let away = false
  let commits = 0
  const store = {
    ...shared,
    async read() {
      if (away) throw new Error('out of order')
      return shared.read()
    },
    async commit(next: StoreRecord, expected: string | null) {
      if (away) throw new Error('out of order')
      const cell = await (shared.commit?.(next, expected) ?? shared.read())
      // The login, the claim, and what the refresh brought.
      away = ++commits === 3
      if (away) throw new Error('connection lost')
      return cell
    },
  }
  const { auth, another, tokens } = room({
    client: { store },
    server: { refresh: 'rotating-reuse-detection' },
  })
  await auth.login(alice)
  const { auth: there } = another({ store: shared })
  await there.ready
  await auth.refresh()
  expect(shared.record).toMatchObject({ version: 2 })
  shared.notify()
  await there.refresh()
  expect(shared.record).toMatchObject({ version: 3 })
  away = false
  await pass(10 * second)
  expect(auth.session).toMatchObject({ version: 3 })
  expect(tokens('logout')).toEqual([])
})

test('3: nor is it where a password was given here before the store was given up: others go on with it', async () => {
  const shared = handStore()
  const answer = deferred()
  let away = false
  let commits = 0
  const store = {
    ...shared,
    async read() {
      if (away) throw new Error('out of order')
      return shared.read()
    },
    async commit(next: StoreRecord, expected: string | null) {
      if (away) throw new Error('out of order')
      const cell = await (shared.commit?.(next, expected) ?? shared.read())
      away = ++commits === 3
      if (!away) return cell
      await answer.promise
      throw new Error('connection lost')
    },
  }
  const { auth, another, tokens } = room({ client: { store } })
  await auth.login(alice)
  const { auth: there, told } = another({ store: shared })
  await there.ready
  const refreshed = auth.refresh()
  await settle()
  await auth.reauthenticate(alice)
  answer.resolve()
  await refreshed
  await settle()
  shared.notify()
  await settle()
  expect(shared.record).toMatchObject({ version: 2, reason: 'requested' })
  expect((await there.fetch('protected')).status).toBe(200)
  expect([summary(told), tokens('logout')]).toEqual([['tokenRefreshed: requested (elsewhere)'], []])
  away = false
  await pass(10 * second)
  expect(auth.session).toMatchObject({ version: 3 })
})

test('5: a login that was revoked before a store that was away could take it still ends who was signed in there before', async () => {
  const store = handStore()
  const { auth, another, backend } = room({ client: { store } })
  await auth.login(alice)
  const { read, commit } = store
  store.read = () => Promise.reject(new Error('out of order'))
  store.commit = () => Promise.reject(new Error('out of order'))
  await auth.login(bob)
  backend.fault('protected', { status: 401, body: { msg: 'Token has been revoked' } })
  expect((await auth.fetch('protected')).status).toBe(401)
  expect(auth.session).toBeNull()
  store.read = read
  store.commit = commit
  await pass(minute)
  expect(store.record).toMatchObject({ ended: 'token_revoked' })
  const { auth: reloaded } = another()
  await reloaded.ready
  expect(reloaded.session).toBeNull()
})

test('5: a login that was given up for a later one elsewhere, while the store was away, is not written once it is back, its data lost', async () => {
  const store = handStore()
  const { auth, another, hold } = room({ client: { store } })
  const there = another().auth
  await Promise.all([auth.ready, there.ready])
  const held = hold('login')
  const login = failure(auth.login(alice))
  await pass(second)
  const { id } = await there.login(bob)
  store.notify()
  await settle()
  const { read } = store
  store.read = () => Promise.reject(new Error('out of order'))
  held.release()
  expect(await login).toMatchObject({ code: 'session_changed' })
  store.record = null
  store.read = read
  await pass(minute)
  expect(auth.session).toMatchObject({ id, subject: 'bob' })
  expect(store.record).toMatchObject({ id })
})

test('5: a logout elsewhere that a store which was away turns out to hold is believed, though it can not be asked again', async () => {
  const store = handStore()
  const { auth, told } = room({ client: { store } })
  const { id } = await auth.login(alice)
  const { read } = store
  store.read = () => Promise.reject(new Error('out of order'))
  expect(await auth.reauthenticate(alice)).toMatchObject({ id, version: 2 })
  store.record = { id: 'another', version: 1, calledAt: Date.now(), ended: 'logout', revision: 'theirs' }
  store.read = () => {
    store.read = () => Promise.reject(new Error('out of order again'))
    return read()
  }
  await pass(minute)
  expect(auth.session).toBeNull()
  expect(summary(told).at(-1)).toBe('loggedOut: logout (elsewhere)')
})

test('3: a password’s tokens, of which a store that was away at first didn’t say that it had them, are not written over what others have made of them', async () => {
  const store = handStore()
  const { auth, another, backend } = room({
    client: { store },
    server: { refresh: 'rotating-reuse-detection' },
  })
  await auth.login(alice)
  const { read, commit } = store
  store.read = () => Promise.reject(new Error('out of order'))
  expect(await auth.reauthenticate(alice)).toMatchObject({ version: 2 })
  store.read = read
  store.commit = async (next, expected) => {
    await commit?.(next, expected)
    throw new Error('connection lost')
  }
  await pass(100)
  expect(store.record).toMatchObject({ version: 2 })
  store.commit = commit
  await another().auth.refresh()
  await pass(second)
  expect(store.record).toMatchObject({ version: 3 })
  expect(auth.session).toMatchObject({ version: 3 })
  await auth.refresh()
  expect(backend.reuseDetected).toBe(0)
})

test('what a store has not taken is not given up where two bring it at once, and it fails again', async () => {
  const store = handStore()
  const { auth } = room({ client: { store } })
  await auth.login(alice)
  const { read, commit } = store
  const fail = (): Promise<never> => Promise.reject(new Error('out of order'))
  store.read = fail
  await auth.login(bob)
  const { id } = await auth.login(alice)
  store.read = read
  store.commit = fail
  const first = store.gate('read')
  await pass(100)
  expect(first.reached()).toBe(true)
  const looking = store.gate('read')
  const refresh = failure(auth.refresh())
  await settle()
  expect(looking.reached()).toBe(true)
  const other = store.gate('read')
  looking.open()
  await settle()
  expect(other.reached()).toBe(true)
  first.open()
  await settle()
  other.open()
  expect(await refresh).toMatchObject({ code: 'refresh_unavailable' })
  store.commit = commit
  await pass(minute)
  expect(store.record).toMatchObject({ id })
})

test('10: a store that hangs, and notices that go on coming, hold a call up for no longer than the bound', async () => {
  const store = handStore()
  const { auth } = room({ client: { store } })
  await auth.login(alice)
  store.read = () => new Promise(() => {})
  let over = 0
  const from = Date.now()
  store.notify()
  void auth
    .fetch('protected')
    .catch(() => {})
    .then(() => {
      over = Date.now() - from
    })
  for (let i = 0; i < 120; i++) {
    await pass(1000)
    store.notify()
  }
  expect(over).toBeGreaterThan(0)
  expect(over).toBeLessThanOrEqual(25_000)
})

test('10: notices that come faster than they can be read hold a call up for some readings, and not to the bound', async () => {
  const store = handStore()
  const { auth } = room({ client: { store } })
  await auth.login(alice)
  store.trip.back = 100
  store.notify()
  const call = auth.fetch('protected')
  let over = 0
  void call.then(() => {
    over ||= Date.now() - from
  })
  const from = Date.now()
  for (let i = 0; i < 100; i++) {
    await pass(60)
    store.notify()
  }
  expect((await call).status).toBe(200)
  expect(over).toBeLessThanOrEqual(20 * 100)
})

describe('3: of a refresh and a password at once, whichever commit fails,', () => {
  const all = [1, 2, 3, 4, 5].flatMap((failing) => [0, 1, 2, 3, 4, 6].map((slow) => [failing, slow] as const))
  test.each(all)(
    'what was given back is not written when the store is there again: number %i, %i ms',
    async (failing, slow) => {
      const store = handStore()
      const { auth, backend } = room({
        client: { store },
        server: { refresh: 'rotating', latency: { refresh: { after: 3 }, login: { after: slow } } },
      })
      const ready = auth.login(alice)
      await pass(second)
      await ready
      let count = 0
      const { commit } = store
      store.trip = { there: 1, back: 1 }
      store.commit = (next, expected) => {
        if (++count === failing) return Promise.reject(new Error('disk'))
        return commit?.(next, expected) ?? store.read()
      }
      const both = Promise.all([auth.refresh().catch(() => {}), auth.reauthenticate(alice)])
      await pass(minute)
      await both
      store.commit = commit
      // What stands there works.
      backend.expireAccessTokens()
      const call = auth.fetch('protected')
      await pass(minute)
      expect((await call).status).toBe(200)
    },
  )
})

test('4: a session that was helped while its end was being written lives, though the store was away for both', async () => {
  const store = handStore()
  const { auth, backend } = room({ client: { store }, preset: { refreshToken: 'single-use' } })
  await auth.login(alice)
  await pass(20 * minute)
  const dialog = deferred()
  auth.on('reauthRequired', (event) => event.waitUntil(dialog.promise))
  backend.revoke({ sub: 'alice' })
  const call = auth.fetch('protected')
  await settle()
  const { read } = store
  const answer = deferred<never>()
  store.read = () => answer.promise
  const helped = auth.reauthenticate(alice)
  await settle()
  dialog.resolve()
  await settle()
  answer.reject(new Error('out of order'))
  await helped
  store.read = read
  await pass(minute)
  expect(auth.session).toMatchObject({ status: 'active', version: 2 })
  expect(store.record).toMatchObject({ version: 2, reason: 'reauthenticated' })
  expect((await call).status).toBe(200)
})

test('getAccessToken() ends over a store that can’t be written, where no token is to be had', async () => {
  const record = { id: 'i', version: 1, calledAt: 1, revision: 'r', refreshToken: opaque } as StoreRecord
  const store: Store = { name: 'mine', read: () => ({ record, now: Date.now() }) }
  const { auth } = room({ client: { store } })
  expect(await auth.getAccessToken()).toBeNull()
})

test.each([
  ['a logout', { ended: 'logout' }],
  ['a newer version', { version: 2, refreshToken: 'newer' }],
])(
  '5: the end of a session that has no access token is not written over %s that was not heard of',
  async (_, stands) => {
    const store = handStore()
    const server = serve(() => refuse('Token has expired'))
    const auth = createAuth({
      baseUrl,
      backend: flaskJwt(),
      fetch: server.fetch,
      store,
      initial: { refreshToken: 'spare' },
    })
    const dialog = deferred()
    auth.on('reauthRequired', (event) => event.waitUntil(dialog.promise))
    const call = outcome(auth.fetch('items'))
    await pass(second)
    store.record = { ...(store.record as LiveRecord), ...(stands as object), revision: 'theirs' }
    dialog.resolve()
    await settle()
    expect(store.record).toMatchObject({ ...stands, revision: 'theirs' })
    expect(await call).toBe(401)
  },
)

test('what happened here is told as from here, though a write that began later is heard of first', async () => {
  const store = handStore()
  const { auth, told } = room({ client: { store } })
  await auth.login(alice)
  told.length = 0
  const commit = store.commit?.bind(store)
  // As a store that watches does: its watchers hear of a commit before who made it has the answer.
  store.commit = async (next, expected) => {
    const cell = await (commit?.(next, expected) ?? store.read())
    const { revision, id, version } = next
    if (cell.record?.revision === revision) store.notify({ revision, id, version })
    return cell
  }
  const first = store.gate('commit')
  const login = auth.login(bob)
  await settle()
  const second = store.gate('commit')
  const refresh = auth.refresh().catch(() => {})
  await settle()
  first.open()
  await settle()
  second.open()
  await Promise.all([login, refresh])
  expect(summary(told).slice(0, 2)).toEqual(['loggedOut: replaced', 'loggedIn: login'])
})

test('4: what was refreshed here and could not be written ends nothing where a password made the same version elsewhere', async () => {
  const store = handStore()
  const { auth, another, backend, told } = room({
    client: { store },
    server: { refresh: 'single-use' },
    preset: { refreshToken: 'single-use' },
  })
  await auth.login(alice)
  const { auth: other } = another()
  await other.ready
  const { commit } = store
  store.commit = (next, expected) => {
    if (next.version === 2) return Promise.reject(new Error('out of order'))
    return commit?.(next, expected) ?? store.read()
  }
  await auth.refresh()
  expect(auth.session).toMatchObject({ version: 2 })
  store.commit = commit
  await other.reauthenticate(alice)
  expect(store.record).toMatchObject({ version: 2, reason: 'reauthenticated' })
  told.length = 0
  backend.fault('protected', { status: 401, body: { msg: 'Token has expired' } }, { times: 2 })
  await auth.fetch('protected')
  await settle()
  expect(summary(told)).toEqual(['reauthRequired: session_expired'])
  expect(auth.session).toMatchObject({ version: 2, status: 'active' })
  expect((await auth.fetch('protected')).status).toBe(200)
  expect((await other.fetch('protected')).status).toBe(200)
})

test('4: a session that ran out while the store was away is taken up again where another was helped meanwhile', async () => {
  const store = handStore()
  const { auth, another, backend, told } = room({ client: { store } })
  await auth.login(alice)
  const { auth: other } = another()
  await other.ready
  const dialog = deferred()
  auth.on('reauthRequired', ({ waitUntil }) => waitUntil(dialog.promise))
  backend.fault('protected', { status: 401, body: { msg: 'Token has expired' } })
  backend.fault('refresh', { status: 401, body: { msg: 'Token has been revoked' } })
  const call = auth.fetch('protected')
  await settle()
  const { read, commit } = store
  store.read = () => Promise.reject(new Error('out of order'))
  told.length = 0
  dialog.resolve()
  expect((await call).status).toBe(401)
  expect(auth.session).toBeNull()
  store.read = read
  store.commit = commit
  await other.reauthenticate(alice)
  await pass(minute)
  expect(summary(told)).toEqual([
    'storeUnavailable: read',
    'loggedOut: session_expired',
    'loggedIn: reauthenticated (elsewhere)',
  ])
  expect((await auth.fetch('protected')).status).toBe(200)
  expect(await auth.refresh()).toMatchObject({ version: 3 })
})

describe('a commit that was refused, others having gone on by two versions', () => {
  /** A store in which that happens to the commit of a second version. */
  const overtaking = (): ReturnType<typeof handStore> => {
    const store = handStore()
    const { commit } = store
    store.commit = async (next, expected) => {
      const { record } = store
      if (next.version === 2 && record && !('ended' in record)) {
        store.commit = commit
        const access = { token: fakeTokens().accessToken, at: Date.now() }
        store.record = { ...record, revision: 'theirs', version: 3, access, claim: undefined }
      }
      return commit?.(next, expected) ?? store.read()
    }
    return store
  }

  test('5: gives back what a refresh brought', async () => {
    const store = overtaking()
    const { auth, backend, tokens } = room({ client: { store } })
    await auth.login(alice)
    const issued = backend.count('refresh')
    await auth.refresh()
    expect(backend.count('refresh')).toBe(issued + 1)
    expect(auth.session).toMatchObject({ version: 3 })
    await settle()
    expect(tokens('logout')).toHaveLength(1)
  })

  test('loses no password', async () => {
    const store = overtaking()
    const { auth } = room({ client: { store } })
    await auth.login(alice)
    await pass(second)
    expect(await auth.reauthenticate(alice)).toMatchObject({ version: 4, fresh: true })
    expect(store.record).toMatchObject({ version: 4, reason: 'reauthenticated' })
  })
})

test('a password whose commit lands late, while it is tried again, is written once', async () => {
  const store = handStore()
  const { auth, backend } = room({ client: { store } })
  await auth.login(alice)
  const landing = store.gate('commit')
  const password = auth.reauthenticate(alice)
  await settle()
  expect(landing.reached()).toBe(true)
  const again = store.gate('commit')
  // Its answer is given up, and it is tried again.
  while (!again.reached()) await pass(second)
  await password
  landing.open()
  await settle()
  const written = store.record
  expect(written).toMatchObject({ version: 2, reason: 'reauthenticated' })
  again.open()
  await settle()
  expect(store.record).toBe(written)
  expect(backend.count('logout')).toBe(0)
})
