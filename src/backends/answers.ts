/** Reading answers, for presets: members by their path, codes, lives, and which may be a refusal. It knows no server. */
import type { Answer, Signal } from '../types.ts'

/** The member at a dotted path, such as `data.access_token`. */
export function at(body: unknown, path: string): unknown {
  let value = body
  for (const name of path.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined
    value = value[name as never]
  }
  return value
}

/** What is at the first of the paths that leads to something. */
export function atAny(body: unknown, paths: string | readonly string[]): unknown {
  for (const path of [paths].flat()) {
    const value = at(body, path)
    if (value) return value
  }
  return undefined
}

/** The first string with something in it at any of the paths. */
export function textAt(body: unknown, paths: readonly string[]): string | undefined {
  for (const path of paths) {
    const value = at(body, path)
    if (typeof value === 'string' && value) return value
  }
  return undefined
}

// Where servers put a code that programs are to read.
const CODE_AT = [
  'error',
  'code',
  'error.code',
  'error_code',
  'errors.0.extensions.code',
  'errors.0.code',
] as const

/** All that an answer says in words: its codes, then the texts at `more`, a body that is but a text; last its status. */
export function wordsOf({ status, body }: Answer, more: readonly string[] = []): string[] {
  return [...[...CODE_AT, ...more].map((path) => at(body, path)), body, status]
    .map((word) => (typeof word === 'number' ? `${word}` : word))
    .filter((word): word is string => typeof word === 'string' && word !== '' && word.length <= 200)
}

/** `TOKEN_EXPIRED`, `tokenExpired` and `Token expired` are one and the same code; a text of another script is itself. */
export function snake(word: string): string {
  if (/[^ -~]/.test(word)) return word
  return word
    .replace(/([a-z\d])([A-Z])/g, '$1_$2')
    .replace(/[^A-Za-z\d]+/g, '_')
    .replace(/^_|_$/g, '')
    .toLowerCase()
}

/** A life in seconds, or `undefined` where it is none: a server's slip there costs no session. */
export function secondsOf(value: unknown, unit: 'seconds' | 'milliseconds' = 'seconds'): number | undefined {
  const number = typeof value === 'string' && /^\d+(\.\d+)?$/.test(value) ? Number(value) : value
  if (typeof number !== 'number' || !Number.isFinite(number) || number < 0) return undefined
  return unit === 'milliseconds' ? number / 1000 : number
}

/** Whether an answer is a page or is cut off: then it was no API that answered, and its status proves nothing. */
export function isGarbled({ body, empty, headers }: Answer): boolean {
  return body === undefined && !empty && /html|json/i.test(headers.get('content-type') ?? '')
}

/** Whether a status can be a refusal at all: not where the server was busy or too late (RFC 9110, RFC 6585). */
export function mayRefuse(status: number): boolean {
  return status >= 400 && status < 500 && ![404, 405, 408, 425, 429].includes(status)
}

/** What is said of a token that will not be taken again. */
export const DEAD: readonly (Signal | undefined)[] = ['expired', 'invalid', 'revoked', 'account']
