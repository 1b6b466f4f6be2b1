/** Bytes and text: UTF-8, JSON as Python writes it, a checksum. Knows nothing of tokens. */

const utf8 = new TextEncoder()
const lenientUtf8 = new TextDecoder()
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * UTF-8 bytes of a text, in a `Uint8Array` of the global name: under jsdom that is another than the encoder's own, and
 * jose looks with `instanceof`.
 */
export function encodeText(text: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(utf8.encode(text))
}

/** The text of UTF-8 bytes, replacement characters for what is none. */
export function decodeText(bytes: Uint8Array): string {
  return lenientUtf8.decode(bytes)
}

/** Parses JSON in UTF-8, `undefined` if it is none. */
export function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(strictUtf8.decode(bytes)) as unknown
  } catch {
    return undefined
  }
}

/** JSON in ASCII alone, as Python's `json.dumps` writes it. */
export function asciiJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[\u0080-\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** Whether a value is an object with members, as opposed to a list or `null`. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * FNV-1a, 32 bits, eight hex digits: what `/upload` answers, so that a test can tell whether every byte
 * arrived. Unlike a digest of WebCrypto it is there at once.
 *
 * @example
 * ```ts
 * const response = await auth.fetch('upload', { method: 'POST', body: bytes })
 * const { checksum: received } = await response.json()
 * received === checksum(bytes)
 * ```
 */
export function checksum(bytes: Uint8Array): string {
  let hash = 0x811c9dc5
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193)
  return (hash >>> 0).toString(16).padStart(8, '0')
}
