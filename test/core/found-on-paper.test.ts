/** Found by reading: each failed before its mend. */
import { describe, expect, test, vi } from 'vitest'
import {
  type LiveRecord,
  memoryStore,
  type Store,
  type StoreRecord,
  type Tombstone,
} from '../../src/index.ts'
import { handStore, jwt, mint, ok, refuse, serve } from './by-hand.ts'
import { alice, bob, deferred, minute, pass, room, second, settle, summary, virtualTime } from './support.ts'

virtualTime()

describe('4: a store that falls back to the end of the session before', () => {
  test.each(['logout', 'session_expired'] as const)(
    '(%s) ends nothing, and is given again what it has lost',
    async (reason) => {
      const store = handStore()
      const { auth, told, backend } = room({ client: { store }, server: { refresh: 'rotating' } })
      await auth.login(alice)
      await pass(16 * minute)
      if (reason === 'logout') await auth.logout()
      else {
        backend.revoke({ sub: 'alice' })
        await auth.fetch('protected')
      }
      const tombstone = store.record as StoreRecord
      expect(tombstone).toMatchObject({ ended: reason })
      await pass(second)
      const { id } = await auth.login(alice)
      await pass(second)
      told.length = 0
      store.record = { ...tombstone }
      store.notify()
      await settle()
      expect((await auth.fetch('protected')).status).toBe(200)
      expect(summary(told)).toEqual([])
      expect(store.record).toMatchObject({ id, version: 1 })
    },
  )

  test('in the midst of a refresh takes nothing of it back', async () => {
    const store = handStore()
    const { auth, backend, hold } = room({ client: { store }, server: { refresh: 'rotating' } })
    await auth.login(alice)
    await pass(minute)
    await auth.logout()
    const tombstone = store.record as StoreRecord
    await pass(second)
    await auth.login(alice)
    await pass(16 * minute)
    const answer = hold('refresh')
    const call = auth.fetch('protected')
    await settle()
    store.record = { ...tombstone }
    answer.release()
    expect((await call).status).toBe(200)
    expect(backend.sessionAlive('alice')).toBe(true)
    expect(store.record).toMatchObject({ version: 2 })
  })

  test.each([true, false])(
    '5: but not one that is heard of here for the first time, though the store’s clock was set back (said by its notice: %s)',
    async (said) => {
      const store = handStore()
      const { auth, another } = room({ client: { store } })
      await auth.login(alice)
      const { auth: other } = another()
      await other.ready
      await pass(second)
      vi.setSystemTime(Date.now() - 60 * minute)
      await pass(second)
      await other.login(bob)
      await pass(second)
      await other.logout()
      const { id, version, calledAt, ended, revision } = store.record as Tombstone
      store.notify(said ? { id, version, calledAt, ended, revision } : undefined)
      await settle()
      expect(auth.session).toBeNull()
      expect(store.record).toMatchObject({ id, ended: 'logout' })
    },
  )

  test('5: but a logout that is called after the login ends it', async () => {
    const store = handStore()
    const { auth } = room({ client: { store } })
    await auth.login(alice)
    await auth.logout()
    const tombstone = store.record as StoreRecord
    await pass(second)
    await auth.login(alice)
    await pass(second)
    store.record = { ...tombstone, calledAt: Date.now(), revision: 'theirs' }
    store.notify()
    await settle()
    expect(auth.session).toBeNull()
  })
})

test.each([
  ['watches', true],
  ['does not watch', false],
])(
  '11: a refresh that was under way keeps the fresh token of a password elsewhere, over a store that %s',
  async (_, watches) => {
    const store = memoryStore()
    let gate: ReturnType<typeof deferred> | undefined
    let spent = 0
    const server = serve(async ({ path }) => {
      if (path === '/login') return ok({ access_token: mint('alice'), refresh_token: 'r0' })
      if (path === '/fresh-login') return ok({ access_token: mint('alice', { fresh: true }) })
      if (path !== '/refresh') return ok()
      await gate?.promise
      return ok({ access_token: mint('alice'), refresh_token: `r${++spent}` })
    })
    const shared: Store = watches ? store : { ...store, watch: undefined as never }
    const { auth, another } = room({
      client: { store: shared, fetch: server.fetch },
      preset: { reauth: { path: 'fresh-login' } },
    })
    await auth.login(alice)
    const { auth: other } = another()
    await other.ready
    await pass(16 * minute)
    gate = deferred()
    const call = other.fetch('items')
    await settle()
    await auth.reauthenticate(alice)
    gate.resolve(undefined)
    await call
    const { record } = store.read() as { record: LiveRecord }
    expect([record.version, record.refreshToken, record.fresh !== undefined]).toEqual([3, 'r1', true])
  },
)

test('an optional call does not wait for the password that others wait for: it goes without a token', async () => {
  const server = serve(({ path, token }) => {
    if (path === '/login') return ok({ access_token: mint('alice'), refresh_token: 'r0' })
    if (path === '/optional' && !token) return ok()
    return refuse(path === '/refresh' ? 'Token has been revoked' : 'Token has expired')
  })
  const { auth } = room({ client: { fetch: server.fetch } })
  await auth.login(alice)
  await pass(16 * minute)
  const dialog = deferred()
  auth.on('reauthRequired', (event) => event.waitUntil(dialog.promise))
  const first = auth.fetch('protected')
  await settle()
  expect(auth.session?.status).toBe('expired')
  expect((await auth.fetch('optional', { auth: 'optional' })).status).toBe(200)
  expect(server.tokens('/optional').map(Boolean)).toEqual([false])
  dialog.resolve()
  await first
})

test('11: an optional call that goes without leaves the token good for others, where the refresh is out of reach', async () => {
  const server = serve(({ path, token }) => {
    if (path === '/login') return ok({ access_token: mint('alice'), refresh_token: 'r0' })
    if (path === '/refresh') return new Response(null, { status: 500 })
    return path === '/odd' && token ? new Response(null, { status: 401 }) : ok()
  })
  const { auth } = room({ client: { fetch: server.fetch } })
  await auth.login(alice)
  expect((await auth.fetch('odd', { auth: 'optional' })).status).toBe(200)
  expect((await auth.fetch('items')).status).toBe(200)
})

test('a call that waits goes out as nobody in no case, though the session is set anew with a refresh token alone', async () => {
  const refreshToken = jwt({ sub: 'alice', iat: 1_800_000_000, exp: 4_000_000_000 })
  const gate = deferred()
  let asked = 0
  const server = serve(async ({ path, token }) => {
    if (path !== '/refresh') return token ? ok() : refuse('Missing Authorization Header')
    if (!asked++) await gate.promise
    return ok({ access_token: mint('alice') })
  })
  const { auth } = room({ client: { fetch: server.fetch } })
  await auth.setTokens({ refreshToken })
  const call = auth.fetch('items')
  await settle()
  await auth.setTokens({ refreshToken })
  gate.resolve()
  expect((await call).status).toBe(200)
  expect(server.tokens('/items').map(Boolean)).toEqual([true])
})
