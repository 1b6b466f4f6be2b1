/** What a client is started with. */
import { expect, test } from 'vitest'
import type { Cell, StoreRecord } from '../../src/index.ts'
import { handStore } from './by-hand.ts'
import { bob, minute, pass, room, second, settle, virtualTime } from './support.ts'

virtualTime()

test('what a client is started with is its session, though a store that is empty can not be written, and is written when it can', async () => {
  const store = handStore()
  const { commit } = store
  store.commit = () => Promise.reject(new Error('read-only replica'))
  const { auth, backend } = room({ client: { store, initial: { refreshToken: 'spare' } } })
  await auth.ready
  expect(auth.session).toMatchObject({ version: 1 })
  expect(store.record).toBeNull()
  store.commit = commit
  await pass(minute)
  expect(store.record).toMatchObject({ version: 1, refreshToken: 'spare' })
  expect(backend.count()).toBe(0)
})

test('what a client is started with is asked for until the store can be read, and given up for what stands there then', async () => {
  for (const stands of [false, true]) {
    const store = handStore()
    if (stands) {
      const { auth } = room({ client: { store } })
      await auth.login(bob)
      auth.dispose()
    }
    const before = store.record
    const { read } = store
    store.read = () => Promise.reject(new Error('out of order'))
    const { auth } = room({ client: { store, initial: { refreshToken: 'spare' } } })
    await auth.ready
    expect(auth.session).toBeUndefined()
    store.read = read
    await pass(minute)
    expect(store.record).toMatchObject(before ?? { version: 1, refreshToken: 'spare' })
    expect(auth.session).toMatchObject({ id: store.record?.id })
  }
})

test('5: a logout before the store can be read ends what a client is started with, and revokes it at once', async () => {
  const store = handStore()
  const { read } = store
  store.read = () => Promise.reject(new Error('out of order'))
  const { auth, backend } = room({ client: { store, initial: { refreshToken: 'spare' } } })
  await auth.ready
  await pass(second)
  await auth.logout()
  await settle()
  expect(backend.count('logout')).toBe(1)
  store.read = read
  await pass(minute)
  expect(auth.session).toBeNull()
  expect(store.record).toMatchObject({ ended: 'logout' })
})

test('a client that is disposed of before the store has answered revokes nothing of what it was started with', async () => {
  const store = handStore()
  const gate = store.gate('read')
  const { auth, backend } = room({ client: { store, initial: { refreshToken: 'spare' } } })
  auth.dispose()
  gate.open()
  await pass(minute)
  expect(backend.count()).toBe(0)
})

test('5: nothing of what a client was started with is written after its logout, by whoever reads late', async () => {
  const store = handStore()
  const { commit } = store
  store.commit = () => Promise.reject(new Error('read-only replica'))
  const first = store.gate('read')
  const { auth } = room({ client: { store, initial: { refreshToken: 'spare' } } })
  const late = store.gate('read')
  store.notify()
  await settle()
  expect(late.reached()).toBe(true)
  first.open()
  await settle()
  expect(auth.session).toMatchObject({ version: 1 })
  const { id } = auth.session as { id: string }
  const out = auth.logout()
  const written: StoreRecord[] = []
  store.commit = async (next, expected) => {
    written.push(next)
    return (await commit?.(next, expected)) as Cell
  }
  late.open()
  await settle()
  await pass(minute)
  await out
  expect(written.filter((one) => one.id === id && !('ended' in one))).toEqual([])
})

test('5: what a client was started with, and a slow store takes after the logout, is no session', async () => {
  const store = handStore()
  const slow = store.gate('commit')
  const { auth, another } = room({ client: { store, initial: { refreshToken: 'spare' } } })
  await settle()
  expect(slow.reached()).toBe(true)
  const out = auth.logout()
  await pass(9 * second)
  await out
  slow.open()
  await pass(minute)
  expect(auth.session).toBeNull()
  const { auth: reloaded } = another({ initial: undefined })
  await reloaded.ready
  expect(reloaded.session).toBeNull()
})

test('5: nor is what it takes after the logout before it has timed out', async () => {
  const store = handStore()
  const slow = store.gate('commit')
  const { auth } = room({ client: { store, initial: { refreshToken: 'spare' } } })
  await settle()
  const out = auth.logout()
  await pass(second)
  await out
  slow.open()
  await pass(minute)
  expect(auth.session).toBeNull()
  expect(store.record === null || 'ended' in store.record).toBe(true)
})

for (const trip of [0, 1, 500, 3000])
  for (const gap of [0, 1, 100])
    test(`5: a login comes after what the client was started with, whatever the store takes for it: ${trip} ms, called after ${gap}`, async () => {
      const store = handStore()
      const { read } = store
      let fails = 1
      store.read = () => (fails-- > 0 ? Promise.reject(new Error('out of order')) : read())
      const { auth } = room({ client: { store, initial: { refreshToken: 'spare' } } })
      await pass(gap)
      const login = auth.login(bob).then(
        () => 'done',
        (error) => error.code,
      )
      store.notify()
      store.trip.back = trip
      await pass(minute)
      expect(await login).toBe('done')
      expect(auth.session).toMatchObject({ subject: 'bob' })
    })
