/** The last segment of a token: HS256 by WebCrypto, or a stand-in that needs no waiting. */

import { encodeText, fromBase64url, toBase64url } from './encoding.ts'

/** Signs and verifies `header.payload`; signatures are base64url. */
export interface Signer {
  sign(input: string): string | Promise<string>
  verify(input: string, signature: string): boolean | Promise<boolean>
}

const keys = new Map<string, Promise<CryptoKey>>()

/** HS256 (RFC 7518, section 3.2). */
export function hmacSigner(secret: string): Signer {
  return {
    async sign(input) {
      return toBase64url(
        new Uint8Array(await crypto.subtle.sign('HMAC', await importKey(secret), encodeText(input))),
      )
    },
    async verify(input, signature) {
      const bytes = fromBase64url(signature)
      if (!bytes) return false
      return crypto.subtle.verify('HMAC', await importKey(secret), bytes, encodeText(input))
    },
  }
}

/**
 * No cryptography: eight mixed 32-bit words of a hash over secret and input, as long as a real signature.
 * It tells a tampered token from an untouched one, which is all that a simulation needs.
 */
export function fastSigner(secret: string): Signer {
  const sign = (input: string): string => {
    let a = 0x9e3779b9
    let b = 0x243f6a88
    for (const text of [secret, input]) {
      for (let at = 0; at < text.length; at++) {
        const unit = text.charCodeAt(at)
        a = Math.imul(a ^ unit, 0x85ebca6b)
        b = Math.imul(b ^ unit, 0xc2b2ae35)
        a ^= a >>> 15
        b ^= b >>> 13
      }
    }
    const words = new Uint32Array(8)
    for (let at = 0; at < words.length; at++) {
      a = Math.imul(a ^ (b >>> 16), 0x27d4eb2d)
      b = Math.imul(b ^ (a >>> 15), 0x165667b1)
      words[at] = a ^ b
    }
    return toBase64url(new Uint8Array(words.buffer))
  }
  return { sign, verify: (input, signature) => sign(input) === signature }
}

function importKey(secret: string): Promise<CryptoKey> {
  let key = keys.get(secret)
  if (!key) {
    const algorithm = { name: 'HMAC', hash: 'SHA-256' }
    key = crypto.subtle.importKey('raw', encodeText(secret), algorithm, false, ['sign', 'verify'])
    keys.set(secret, key)
  }
  return key
}
