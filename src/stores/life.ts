/** How long what a record holds is worth anything: for stores that throw away what is not. */
import { isNumber, readToken } from '../token.ts'
import type { StoreRecord } from '../types.ts'

/** When a token was issued and ends, in seconds of the clock of whoever issued it (RFC 7519 section 4.1). */
export interface Life {
  readonly iat?: number | undefined
  readonly exp?: number | undefined
}

/** The life of the refresh token, or of the access token where there is none; `undefined` where nobody tells. */
export function lifeOf(record: StoreRecord): Life | undefined {
  // What is exchanged itself can be so long after its end (Laravel).
  if ('ended' in record || (record.refreshToken && record.refreshToken === record.access?.token))
    return undefined
  const token = record.refreshToken ?? record.access?.token
  // Of a sealed record, that tells of its tokens no more than this.
  if (token === undefined) return (record as { life?: Life }).life
  const { iat, exp } = readToken({ token }).claims
  return { iat: isNumber(iat) ? iat : undefined, exp: isNumber(exp) ? exp : undefined }
}
