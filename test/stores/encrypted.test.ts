/** Encryption at rest, over the memory store: what others can read there, and what they can't put there. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type EncryptedOptions, encrypted } from '../../src/encrypted.ts'
import {
  createAuth,
  flaskJwt,
  type LiveRecord,
  memoryStore,
  type Store,
  type StoreRecord,
} from '../../src/index.ts'
import { fileStore } from '../../src/node.ts'
import { createBackend } from '../../src/testing/index.ts'
import type { Cell } from '../../src/types.ts'
import { pause } from '../common.ts'
import { leaks, rejection } from '../support.ts'
import { live, tombstone } from './contract.ts'

const bytes = (fill: number, length = 32): Uint8Array => new Uint8Array(length).fill(fill)
const old = { id: 'old', key: bytes(1) }
const now = { id: 'now', key: bytes(2) }

const record = live('1', {
  subject: 'alice',
  refreshToken: 'refresh-token',
  fresh: { token: 'fresh.token.of-alice' },
})
const secrets = ['signature', 'refresh-token', 'of-alice', 'alice']

interface Open {
  read(): Promise<Cell>
  commit(next: StoreRecord, expected: string | null): Promise<Cell>
}

const over = (below: Store, ...keys: EncryptedOptions['keys']): Open => encrypted(below, { keys }) as Open
/** Puts what `change` makes of what stands there in its place. */
async function plant(below: Store, change: (record: LiveRecord) => object): Promise<void> {
  const { record } = await below.read()
  await below.commit?.(
    { ...record, ...change(record as LiveRecord) } as StoreRecord,
    record?.revision ?? null,
  )
}

describe('encrypted', () => {
  test('what stands below has no token and nobody’s name, and reads back as it was', async () => {
    const below = memoryStore()
    const store = over(below, now)
    expect((await store.commit(record, null)).record).toEqual(record)
    const text = JSON.stringify((await below.read()).record)
    expect(leaks(text, ...secrets)).toEqual([])
    expect((await store.read()).record).toEqual(record)
    // What the protocol looks at stays readable, so that a claim can be ended by whoever finds its holder gone.
    expect((await below.read()).record).toMatchObject({ revision: '1', id: 'a', version: 1 })
    await plant(below, () => ({ revision: '2', claim: undefined }))
    expect((await store.read()).record).toEqual({ ...record, revision: '2' })
    await store.commit(tombstone('3'), '2')
    expect((await below.read()).record).toEqual(tombstone('3'))
  })

  test('the same record is never the same twice', async () => {
    const below = memoryStore()
    const store = over(below, now)
    const seen = new Set<string>()
    let expected: string | null = null
    for (let round = 0; round < 50; round++) {
      await store.commit({ ...record, revision: `${round}` }, expected)
      expected = `${round}`
      const { sealed } = (await below.read()).record as unknown as { sealed: string[] }
      for (const part of sealed.slice(1)) seen.add(part)
    }
    expect(seen.size).toBe(100)
  })

  test('keys are rotated without anybody being signed out', async () => {
    const below = memoryStore()
    await over(below, old).commit(record, null)
    // The new key is known everywhere before it is used.
    const both = over(below, old, now)
    expect((await both.read()).record).toEqual(record)
    const turned = over(below, now, old)
    await turned.commit({ ...record, revision: '2' }, '1')
    expect((await both.read()).record?.revision).toBe('2')
    expect((await over(below, now).read()).record?.revision).toBe('2')
  })

  test('a process that lacks the key takes nobody’s session for lost: nothing is overwritten', async () => {
    const below = memoryStore()
    await over(below, now).commit(record, null)
    const store = over(below, old)
    expect(String(await rejection(store.read()))).toContain('sealed with the key "now", which is not given')
    expect(String(await rejection(store.commit({ ...record, revision: '2' }, null)))).toContain('"now"')
    expect((await over(below, now).read()).record).toEqual(record)
  })

  test('a client whose key is missing keeps its session, and says that the store fails', async () => {
    const below = memoryStore()
    const backend = createBackend()
    const base = { baseUrl: 'https://api.test/', backend: flaskJwt(), fetch: backend.fetch as typeof fetch }
    const auth = createAuth({
      ...base,
      store: encrypted(below, { keys: [old] }),
      initial: await backend.signIn('alice'),
    })
    await auth.ready
    expect(auth.session?.subject).toBe('alice')
    const sealed = (await below.read()).record as StoreRecord
    await below.commit?.(
      { ...sealed, revision: 'x', sealed: ['now', 'AAAA', 'AAAA'] } as never,
      sealed.revision,
    )
    expect((await auth.fetch('whoami')).status).toBe(200)
    backend.expireAccessTokens()
    expect(await rejection(auth.fetch('whoami'))).toMatchObject({ code: 'refresh_unavailable' })
    expect(auth.history.map(({ type }) => type)).toContain('storeUnavailable')
    expect(backend.count('refresh')).toBe(0)
    expect((await below.read()).record?.revision).toBe('x')
  })

  test.each([true, false])(
    'a fleet that is being given keys: who has none writes nothing over, and says so (plain: %s)',
    async (plain) => {
      const path = mkdtempSync(join(tmpdir(), 'stayfresh-sealed-'))
      onTestFinished(() => rmSync(path, { recursive: true, force: true }))
      const backend = createBackend({ accessLifetime: 900_000, fresh: false })
      const base = {
        baseUrl: 'https://api.test/',
        backend: flaskJwt(),
        refreshAhead: false as const,
        fetch: backend.fetch as typeof fetch,
      }
      const before = createAuth({ ...base, store: fileStore(path), initial: await backend.signIn('alice') })
      await before.ready
      const after = createAuth({ ...base, store: encrypted(fileStore(path), { keys: [now], plain }) })
      onTestFinished(() => {
        before.dispose()
        after.dispose()
      })
      await after.ready
      expect(after.session?.subject).toBe(plain ? 'alice' : undefined)
      // The first who seals: the one who took it over, or who signs in.
      if (plain) await after.refresh()
      else await after.setTokens(await backend.signIn('alice'))
      while (!before.history.some(({ type }) => type === 'storeUnavailable')) await pause(5)
      const files = (): string[] => readdirSync(path).sort()
      const stands = files()
      // A token that is in hand is good; what is spent by others is not spent again.
      expect((await before.fetch('whoami')).status).toBe(200)
      expect(await rejection(before.refresh())).toMatchObject({ code: 'refresh_unavailable' })
      expect((await after.fetch('whoami')).status).toBe(200)
      expect(files()).toEqual(stands)
      expect(backend.reuseDetected).toBe(0)
    },
  )

  test('what was changed, or is another session’s, or another version’s, is not opened', async () => {
    const changes: Record<string, (sealed: [string, string, string]) => object> = {
      text: ([id, iv, text]) => ({ sealed: [id, iv, `${text.startsWith('A') ? 'B' : 'A'}${text.slice(1)}`] }),
      nonce: ([id, iv, text]) => ({ sealed: [id, `${iv.startsWith('A') ? 'B' : 'A'}${iv.slice(1)}`, text] }),
      session: () => ({ id: 'b' }),
      version: () => ({ version: 2 }),
      nonsense: () => ({ sealed: ['now', '*', '*'] }),
      'no list': () => ({ sealed: 5 }),
      nothing: () => ({ sealed: null }),
      'an empty list': () => ({ sealed: [] }),
      'a part': ([id, iv]) => ({ sealed: [id, iv] }),
      'another type': ([, iv, text]) => ({ sealed: [{}, iv, text] }),
    }
    for (const [what, change] of Object.entries(changes)) {
      const below = memoryStore()
      const store = over(below, now)
      await store.commit(record, null)
      await plant(below, (found) => ({
        ...change((found as never as { sealed: never }).sealed),
        revision: '2',
      }))
      const error = await rejection(store.read())
      expect(String(error), what).toContain("can't be opened")
      expect(leaks(error, ...secrets, Buffer.from(now.key).toString('base64'))).toEqual([])
    }
  })

  test('what was added beside what is sealed is none of the session', async () => {
    const below = memoryStore()
    const store = over(below, now)
    const bare: StoreRecord = {
      revision: '1',
      id: 'a',
      version: 1,
      calledAt: 1,
      reason: 'login',
      access: { token: 'mine' },
    }
    await store.commit(bare, null)
    const planted = { fresh: { token: 'theirs' }, refreshToken: 'theirs', subject: 'mallory' }
    await plant(below, () => ({ ...planted, revision: '2' }))
    expect((await store.read()).record).toEqual({ ...bare, revision: '2' })
  })

  test('what a server says of its user is sealed however long it is', async () => {
    const store = over(memoryStore(), now)
    const claims = { picture: 'x'.repeat(1_000_000) }
    const large: StoreRecord = { ...record, access: { token: 'mine', claims } }
    await store.commit(large, null)
    expect((await store.read()).record).toEqual(large)
  })

  test('a record can be bound to its place, so that it is not opened in another', async () => {
    const below = memoryStore()
    const mine = encrypted(below, { keys: [now], context: 'session:1' }) as Required<Store>
    await mine.commit(record, null)
    expect((await mine.read()).record).toEqual(record)
    await expect(encrypted(below, { keys: [now], context: 'session:2' }).read()).rejects.toThrow(
      /another context/,
    )
  })

  test('what was written before there was encryption counts as empty, or is taken where that is wanted', async () => {
    const below = memoryStore()
    await below.commit?.(record, null)
    const store = over(below, now)
    expect((await store.read()).record).toBeNull()
    const taking = encrypted(below, { keys: [now], plain: true })
    expect((await taking.read()).record).toEqual(record)
    expect((await store.commit({ ...record, revision: '2' }, '1')).record).toBeNull()
    expect((await store.commit({ ...record, revision: '3' }, null)).record?.revision).toBe('3')
    expect(JSON.stringify((await below.read()).record)).not.toContain('refresh-token')
  })

  test('a store that can’t be written, or watched, stays so', () => {
    const readOnly: Store = { name: 'mine', read: () => ({ record: null, now: 0 }), empty: 'ended' }
    const store = encrypted(readOnly, { keys: [now] })
    expect(store).toMatchObject({ name: 'encrypted mine', empty: 'ended' })
    expect(store.commit).toBeUndefined()
    expect(store.watch).toBeUndefined()
    expect(store.end).toBeUndefined()
  })

  test('a store that can keep a logout at once is told of it', () => {
    const told: unknown[] = []
    const below: Store = { ...memoryStore(), end: (...given) => void told.push(given) }
    encrypted(below, { keys: [now] }).end?.('i', 7, 2)
    expect(told).toEqual([['i', 7, 2]])
  })

  test('keys are bytes, base64 or a CryptoKey; what is none is said to be none, and never quoted', async () => {
    const crypt = await crypto.subtle.generateKey({ name: 'AES-GCM', length: 256 }, false, [
      'encrypt',
      'decrypt',
    ])
    for (const key of [
      bytes(1, 16),
      bytes(1, 24),
      bytes(1),
      Buffer.from(bytes(3)).toString('base64'),
      crypt,
    ]) {
      const store = over(memoryStore(), { id: 'k', key: key as CryptoKey })
      await store.commit(record, null)
      expect((await store.read()).record).toEqual(record)
    }
    const hmac = await crypto.subtle.generateKey({ name: 'HMAC', hash: 'SHA-256' }, false, ['sign'])
    for (const key of ['my-secret-passphrase', bytes(1, 15), hmac, undefined, 7]) {
      const error = await Promise.resolve()
        .then(() => encrypted(memoryStore(), { keys: [{ id: 'k', key: key as never }] }))
        .catch((error) => error)
      expect(error).toMatchObject({ code: 'invalid_option', option: 'keys[0].key' })
      expect(String(error)).not.toContain('passphrase')
    }
    const wrong: [object, string][] = [
      [{}, 'keys'],
      [{ keys: [] }, 'keys'],
      [{ keys: [{ key: bytes(1) }] }, 'keys[0].id'],
      [{ keys: [old, old] }, 'keys[1].id'],
      [{ keys: [old], context: 7 }, 'context'],
      [{ keys: [old], plain: 1 }, 'plain'],
    ]
    for (const [options, option] of wrong) {
      expect(() => encrypted(memoryStore(), options as EncryptedOptions)).toThrow(
        expect.objectContaining({ code: 'invalid_option', option }),
      )
    }
    expect(() => encrypted(memoryStore(), { keys: [old], contex: 'session:1' } as never)).toThrow(
      expect.objectContaining({
        code: 'invalid_option',
        message: 'encrypted takes { keys, context, plain }, got contex',
      }),
    )
    expect(() => encrypted(undefined as never, { keys: [old] })).toThrow(
      expect.objectContaining({ option: 'store' }),
    )
  })
})
