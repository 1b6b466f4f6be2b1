/** A database that is late, from its first reading on: what begins and ends here meanwhile. In pages: test/browser/slow.test.ts. */
import { expect, onTestFinished, test, vi } from 'vitest'
import { browserStore } from '../../src/browser.ts'
import { type Auth, type AuthOptions, createAuth, flaskJwt, type LiveRecord } from '../../src/index.ts'
import { createBackend } from '../../src/testing/index.ts'
import { virtualTime } from '../support.ts'

const bob = { username: 'bob', password: 'builder' }

/** A minimal IndexedDB; each of `late` is how long a transaction of a page takes until it is answered, in ms. */
function database(): { cells: Map<string, { record: LiveRecord }>; late: number[] } {
  const cells = new Map<string, { record: LiveRecord }>()
  const late: number[] = []
  const soon = (run: () => void, ms = 0): void => void setTimeout(run, ms)
  const transaction = (): object => {
    let write = (): void => {}
    const wait = late.shift()
    const made = {
      oncomplete: () => {},
      objectStore: () => ({
        get(key: string) {
          const request = { result: undefined as unknown, onsuccess: () => {} }
          soon(() => {
            request.result = structuredClone(cells.get(key))
            request.onsuccess()
            write()
            made.oncomplete()
          }, wait)
          return request
        },
        put(value: { record: LiveRecord }, key: string) {
          write = () => void cells.set(key, structuredClone(value))
        },
      }),
    }
    return made
  }
  const result = { objectStoreNames: { contains: () => true }, transaction, close: () => {} }
  const open = (): object => {
    const request = { result, onsuccess: () => {} }
    soon(() => request.onsuccess())
    return request
  }
  const marks = new Map<string, string>()
  vi.stubGlobal('indexedDB', { open })
  vi.stubGlobal('sessionStorage', undefined)
  vi.stubGlobal('localStorage', {
    getItem: (key: string) => marks.get(key) ?? null,
    setItem: (key: string, value: string) => void marks.set(key, value),
    removeItem: (key: string) => void marks.delete(key),
  })
  return { cells, late }
}

async function world() {
  virtualTime()
  const backend = createBackend({ signer: 'fast' })
  const { cells, late } = database()
  const page = (initial?: AuthOptions['initial']): Auth => {
    const { fetch } = backend
    const options = { baseUrl: 'https://api.test/', backend: flaskJwt(), store: browserStore() }
    const auth = createAuth({ ...options, fetch: fetch as typeof globalThis.fetch, initial })
    onTestFinished(() => void auth.dispose())
    return auth
  }
  const before = page()
  const pass = async (ms: number): Promise<void> => void (await vi.advanceTimersByTimeAsync(ms))
  const signing = before.setTokens(await backend.signIn('alice'))
  await pass(100)
  await signing
  void before.dispose()
  const stands = (): unknown => cells.get('session')?.record
  expect(stands()).toMatchObject({ subject: 'alice' })
  return { backend, page, late, pass, stands }
}

test('late twice, it is looked at until it has answered in time', async () => {
  const { page, late, pass } = await world()
  late.push(3500, 3500)
  const auth = page()
  await pass(3400)
  expect(auth.session).toBeNull()
  await pass(5000)
  expect(auth.session?.subject).toBe('alice')
})

test('5: a logout ends the session that is found, which is revoked at the server', async () => {
  const { backend, page, late, pass, stands } = await world()
  late.push(5000)
  const auth = page()
  await pass(3400)
  void auth.logout()
  await pass(8000)
  expect(stands()).toMatchObject({ ended: 'logout' })
  expect(backend.sessionAlive('alice')).toBe(false)
  const next = page()
  await pass(1000)
  expect(next.session).toBeNull()
})

test('5: so is it where somebody else has signed in after that logout', async () => {
  const { backend, page, late, pass, stands } = await world()
  late.push(9000)
  const auth = page()
  await pass(3400)
  void auth.logout()
  await pass(500)
  void auth.setTokens(await backend.signIn('bob'))
  await pass(9000)
  expect(stands()).toMatchObject({ subject: 'bob' })
  expect(backend.sessionAlive('alice')).toBe(false)
  expect(backend.sessionAlive('bob')).toBe(true)
})

test('5: a logout of who was only started with ends the session that is found, too', async () => {
  const { backend, page, late, pass, stands } = await world()
  late.push(7000)
  const auth = page(await backend.signIn('bob'))
  await pass(3400)
  expect(auth.session?.subject).toBe('bob')
  void auth.logout()
  await pass(9000)
  expect(stands()).toMatchObject({ ended: 'logout' })
  const next = page()
  await pass(1000)
  expect(next.session).toBeNull()
})

test('a password of who was only started with counts as a login: it takes the place of what is found', async () => {
  const { backend, page, late, pass, stands } = await world()
  late.push(7000)
  const auth = page(await backend.signIn('bob'))
  await pass(3400)
  void auth.reauthenticate(bob)
  await pass(9000)
  expect(auth.session?.subject).toBe('bob')
  expect(stands()).toMatchObject({ subject: 'bob', version: 2 })
})

test('what was only started with, refreshed or not, takes no place of what is found', async () => {
  const { backend, page, late, pass, stands } = await world()
  late.push(7000)
  const auth = page(await backend.signIn('bob'))
  await pass(3400)
  void auth.refresh()
  await pass(9000)
  expect(auth.session?.subject).toBe('alice')
  expect(stands()).toMatchObject({ subject: 'alice' })
})

test('nor does its end, if it was not the user who ended it', async () => {
  const { backend, page, late, pass, stands } = await world()
  late.push(7000)
  const auth = page(await backend.signIn('bob'))
  await pass(3400)
  backend.revoke({ sub: 'bob' })
  void auth.fetch('protected')
  await pass(1000)
  expect(auth.session).toBeNull()
  await pass(8000)
  expect(auth.session?.subject).toBe('alice')
  expect(stands()).toMatchObject({ subject: 'alice' })
})
