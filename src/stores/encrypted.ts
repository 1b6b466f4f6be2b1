/**
 * Any store, with what is secret in a record sealed before it is written. What the protocol and the stores look at
 * (revision, id, version, claim, cool-down) stays readable, and is of no use to a thief.
 */
import { type AuthError, badOption } from '../errors.ts'
import { describe } from '../token.ts'
import type { Cell, LiveRecord, Store, StoreRecord } from '../types.ts'
import { type Life, lifeOf } from './life.ts'
import { noMore } from './record.ts'

/**
 * A key by the name that is written beside what it seals.
 *
 * @example
 * ```ts
 * const key: EncryptionKey = { id: '2026-11', key: process.env.SESSION_KEY ?? '' } // openssl rand -base64 32
 * ```
 */
export interface EncryptionKey {
  /** Such as `2026-11`. Never given to another key. */
  id: string
  /** AES-GCM: 16, 24 or 32 random bytes, those in base64, or a `CryptoKey` that may encrypt and decrypt. */
  key: CryptoKey | Uint8Array | string
}

/**
 * Options of {@link encrypted}.
 *
 * @example
 * ```ts
 * encrypted(store, { keys: [newest, { id: '2026-05', key: olderKey }], context: `session:${id}` })
 * ```
 */
export interface EncryptedOptions {
  /**
   * Required. The first one seals, all of them open. To rotate: add the new one at the end everywhere, then move it to the
   * front, and take the old one away once every session has been written anew, or has ended.
   */
  keys: readonly EncryptionKey[]
  /**
   * What a sealed record is bound to beside its session, such as the store's key: so that whoever can write to the
   * storage can't put one user's record in another's place. Default: nothing.
   */
  context?: string | undefined
  /** Whether records that were written before there was encryption are taken. Default `false`: they count as empty. */
  plain?: boolean | undefined
}

/** The members that are sealed: tokens, and whose they are. */
const SECRET = ['access', 'fresh', 'refreshToken', 'former', 'subject'] as const

interface Sealed extends Omit<LiveRecord, (typeof SECRET)[number]> {
  /** The key's id, the nonce and what is sealed, in base64url. */
  readonly sealed: readonly [string, string, string]
  /** For stores that throw away what has run out. */
  readonly life?: Life | undefined
}

/**
 * Seals what a store keeps: tokens and their subject, with AES-GCM (NIST SP 800-38D) through WebCrypto. For every
 * store that others can read: files, Redis, IndexedDB.
 *
 * A record that can't be opened is an error, told as `storeUnavailable`, and is never overwritten by a refresh: a
 * process that lacks the new key must not take the session for lost.
 *
 * @throws {TypeError} an `AuthError` of code `invalid_option` for a bad option; keys are never quoted
 * @example
 * ```ts
 * const keys = [{ id: '2026-11', key: process.env.SESSION_KEY ?? '' }] // 32 bytes in base64
 * const store = encrypted(redisStore(client, { key }), { keys, context: key })
 * ```
 */
export function encrypted(store: Store, options: EncryptedOptions): Store {
  const { keys, context = '', plain = false, ...rest } = { ...options }
  noMore('encrypted', 'keys, context, plain', Object.keys(rest)[0])
  const given = checkOptions(store, keys, context, plain)
  const name = `encrypted ${store.name}`
  // Imported at first use, once.
  const imported = new Map<string, Promise<CryptoKey>>()
  // A plain record that counts as empty, should somebody commit into the empty cell.
  let ignored: string | undefined

  function keyOf(id: string): Promise<CryptoKey> {
    const known = imported.get(id)
    if (known) return known
    const found = given.get(id)
    if (!found)
      throw new Error(
        `${name}: the session was sealed with the key ${JSON.stringify(id)}, which is not given`,
      )
    const key = found instanceof Uint8Array ? importKey(found) : Promise.resolve(found)
    imported.set(id, key)
    return key
  }

  /** A record can't be taken for that of another session, nor an older version's tokens for those of a newer one. */
  const boundTo = ({ id, version, calledAt }: Sealed | LiveRecord, keyId: string): Uint8Array<ArrayBuffer> =>
    encode(JSON.stringify(['stayfresh', 1, context, keyId, id, version, calledAt]))

  async function seal(record: StoreRecord): Promise<StoreRecord> {
    if ('ended' in record) return record
    const keyId = [...given.keys()][0] as string
    const open: Record<string, unknown> = { ...record }
    const secret: Record<string, unknown> = {}
    for (const member of SECRET) {
      secret[member] = open[member]
      delete open[member]
    }
    const iv = crypto.getRandomValues(new Uint8Array(12))
    const additionalData = boundTo(record, keyId)
    const key = await keyOf(keyId)
    const text = await crypto.subtle.encrypt(
      { name: 'AES-GCM', iv, additionalData },
      key,
      encode(JSON.stringify(secret)),
    )
    return {
      ...open,
      life: lifeOf(record),
      sealed: [keyId, toBase64(iv), toBase64(new Uint8Array(text))],
    } as never
  }

  async function unseal(record: StoreRecord | null): Promise<StoreRecord | null> {
    if (!record || 'ended' in record) return record
    const { sealed, life: _, ...open } = record as unknown as Sealed
    if (sealed === undefined) {
      ignored = plain ? undefined : record.revision
      return plain ? record : null
    }
    // What stands beside it was put there by somebody without the key.
    for (const member of SECRET) delete (open as Partial<LiveRecord>)[member]
    const [keyId, iv, text] = Array.isArray(sealed) ? (sealed as string[]) : []
    if (typeof keyId !== 'string') throw new Error(`${name}: the session can't be opened: it was changed`)
    const key = await keyOf(keyId)
    try {
      const additionalData = boundTo(record, keyId)
      const bytes = await crypto.subtle.decrypt(
        { name: 'AES-GCM', iv: fromBase64(iv as string), additionalData },
        key,
        fromBase64(text as string),
      )
      return { ...open, ...(JSON.parse(new TextDecoder().decode(bytes)) as object) } as LiveRecord
    } catch {
      throw new Error(
        `${name}: the session can't be opened with the key ${JSON.stringify(keyId)}: it was sealed with another, in another context, or changed`,
      )
    }
  }

  // What a logout has replaced in its tick: to be told with the next answer, as nothing is opened in a tick.
  let replaced: StoreRecord | undefined
  const opened = async (cell: Cell): Promise<Cell> => {
    const ended = cell.ended ?? replaced
    replaced = undefined
    return { ...cell, record: await unseal(cell.record), ended: (await unseal(ended ?? null)) ?? undefined }
  }

  const { commit } = store
  return {
    name,
    read: async () => opened(await store.read()),
    ...(commit && {
      async commit(next: StoreRecord, expected: string | null): Promise<Cell> {
        const sealed = await seal(next)
        // What counts as empty has no revision to be expected.
        if (expected !== null && expected === ignored) return opened(await store.read())
        let cell = await commit.call(store, sealed, expected)
        const stands = cell.record
        if (expected === null && stands && stands.revision === ignored && !isSealed(stands)) {
          cell = await commit.call(store, sealed, stands.revision)
        }
        return cell.record?.revision === next.revision ? { ...cell, record: next } : opened(cell)
      },
    }),
    ...(store.watch && { watch: store.watch.bind(store) }),
    ...(store.end && {
      end(...given: Parameters<NonNullable<Store['end']>>): undefined {
        const found = store.end?.(...given)
        if (found && found.version > given[2]) replaced = found
      },
    }),
    ...(store.empty && { empty: store.empty }),
  }
}

const isSealed = (record: StoreRecord): boolean => 'ended' in record || 'sealed' in record

const encode = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text)

const toBase64 = (bytes: Uint8Array): string =>
  btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replace(/=+$/, '')

const fromBase64 = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (character) =>
    character.charCodeAt(0),
  )

const importKey = (bytes: Uint8Array): Promise<CryptoKey> =>
  crypto.subtle.importKey('raw', new Uint8Array(bytes), 'AES-GCM', false, ['encrypt', 'decrypt'])

function checkOptions(
  store: unknown,
  keys: unknown,
  context: unknown,
  plain: unknown,
): ReadonlyMap<string, CryptoKey | Uint8Array> {
  const wrong = (option: string, takes: string, value: unknown): AuthError =>
    badOption(option, `${option} takes ${takes}, got ${describe(value)}`)
  if (typeof (store as Store | null)?.read !== 'function') throw wrong('store', 'a store to wrap', store)
  if (!Array.isArray(keys) || !keys.length)
    throw wrong('keys', 'an array of keys, the first to seal with', keys)
  if (typeof context !== 'string') throw wrong('context', 'a string', context)
  if (typeof plain !== 'boolean') throw wrong('plain', 'true or false', plain)
  const given = new Map<string, CryptoKey | Uint8Array>()
  for (const [index, one] of keys.entries()) {
    const { id, key } = Object(one) as Partial<EncryptionKey>
    if (typeof id !== 'string' || !id) throw wrong(`keys[${index}].id`, 'a string that is not empty', id)
    if (given.has(id)) throw wrong(`keys[${index}].id`, 'an id of its own; another key has this one', id)
    given.set(id, checkKeyMaterial(key) ?? fail(index, key))
  }
  return given

  function fail(index: number, key: unknown): never {
    throw wrong(`keys[${index}].key`, '16, 24 or 32 bytes, those in base64, or a CryptoKey for AES-GCM', key)
  }
}

function checkKeyMaterial(key: unknown): CryptoKey | Uint8Array | undefined {
  if (typeof CryptoKey === 'function' && key instanceof CryptoKey) {
    const { algorithm, usages } = key
    const fits = algorithm.name === 'AES-GCM' && usages.includes('encrypt') && usages.includes('decrypt')
    return fits ? key : undefined
  }
  try {
    const bytes = typeof key === 'string' ? fromBase64(key.replace(/=+$/, '')) : key
    return bytes instanceof Uint8Array && [16, 24, 32].includes(bytes.length)
      ? Uint8Array.from(bytes)
      : undefined
  } catch {
    return undefined
  }
}
