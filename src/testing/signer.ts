/** Whole tokens, signed and verified: HS256 by jose, or a stand-in that needs no waiting. */

import * as base64url from 'jose/base64url'
import { JOSEError } from 'jose/errors'
import { CompactSign } from 'jose/jws/compact/sign'
import { compactVerify } from 'jose/jws/compact/verify'
import { asciiJson, encodeText } from './encoding.ts'
import { algorithm } from './jwt.ts'
import type { Claims } from './types.ts'

/** What stands behind the signatures of a backend. */
export interface Signer {
  /** The token, as compact serialization. `header` is HS256's own if it is left out. */
  sign(payload: unknown, header?: Claims): string | Promise<string>
  /** Whether the signature is the token's. Only for a token whose structure and algorithm are good. */
  verify(token: string): boolean | Promise<boolean>
}

/** A {@link Signer} that answers at once. */
export interface FastSigner extends Signer {
  sign(payload: unknown, header?: Claims): string
  verify(token: string): boolean
}

/** The same for every backend that is given none. */
export const defaultSecret = 'a secret for tests, of the 32 bytes that HS256 asks for'

const ownHeader = { alg: algorithm, typ: 'JWT' }

/** HS256 (RFC 7518, section 3.2). */
export function joseSigner(secret: string): Signer {
  const key = encodeText(secret)
  return {
    async sign(payload, header = ownHeader) {
      const jws = new CompactSign(encodeText(asciiJson(payload)))
      if (header.alg === algorithm) return jws.setProtectedHeader({ ...header, alg: algorithm }).sign(key)
      // No signature fits, and none is looked at: such a token is refused for its algorithm.
      const signed = await jws.setProtectedHeader(ownHeader).sign(key)
      return encodeJson(header) + signed.slice(signed.indexOf('.'))
    },
    async verify(token) {
      try {
        await compactVerify(token, key, { algorithms: [algorithm] })
        return true
      } catch (error) {
        if (error instanceof JOSEError) return false
        throw error
      }
    },
  }
}

/**
 * No cryptography: eight mixed 32-bit words of a hash over secret and input, as long as a real signature.
 * It tells a tampered token from an untouched one, which is all that a simulation needs.
 */
export function fastSigner(secret: string): FastSigner {
  const checksum = (input: string): string => {
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
    return base64url.encode(new Uint8Array(words.buffer))
  }
  return {
    sign(payload, header = ownHeader) {
      const input = `${encodeJson(header)}.${encodeJson(payload)}`
      return `${input}.${checksum(input)}`
    },
    verify(token) {
      const last = token.lastIndexOf('.')
      return checksum(token.slice(0, last)) === token.slice(last + 1)
    },
  }
}

function encodeJson(value: unknown): string {
  return base64url.encode(asciiJson(value))
}
