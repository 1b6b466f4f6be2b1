/** Reading answers, for presets: members by their path, codes, lives. It knows no server. */
import { tagOf } from '../call.ts'
import { badOption } from '../errors.ts'
import { shape } from '../token.ts'
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

/** The first string with something in it at any of the paths. */
export function textAt(body: unknown, paths: readonly string[]): string | undefined {
  for (const path of paths) {
    const value = at(body, path)
    if (typeof value === 'string' && value) return value
  }
  return undefined
}

// Where servers put a code that programs are to read.
const CODE_AT = ['error', 'code', 'error.code', 'error_code', 'errors.0.extensions.code'] as const

/** All that an answer says in words: its codes, then the texts at `more`. */
export function wordsOf({ body }: Answer, more: readonly string[] = []): string[] {
  return [...CODE_AT, ...more]
    .map((path) => textAt(body, [path]))
    .filter((word): word is string => word !== undefined && word.length <= 200)
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

/** What an endpoint takes, in words. */
export const REQUEST = '{ path, method } of http(s)'

// A path may be relative to any base. What has userinfo the wire refuses, and what no fetch sends would fail at each call, as
// if the network were down.
const MEMBERS: Record<string, (member: string) => boolean> = {
  path: (path) => URL.canParse(path, 'http://a') && /^https?:..[^/@]+\//.test(new URL(path, 'http://a').href),
  method: (method) => /^(?!(CONNECT|TRACE|TRACK)$)[\w-]+$/i.test(method),
  tokens: (tokens) => /^(both|access|refresh)$/.test(tokens),
}

/** Where a request goes: `{ path, method }`, and for a logout `tokens`. */
export const isEndpoint = (value: unknown): boolean =>
  tagOf(value) === 'Object' &&
  Object.entries(value as object).every(
    ([name, member]) =>
      Object.hasOwn(MEMBERS, name) &&
      (member === undefined || (typeof member === 'string' && MEMBERS[name]?.(member))),
  )

// By their names, so that none is left out.
const SIGNALS: { readonly [S in Signal]: 0 } = {
  expired: 0,
  invalid: 0,
  revoked: 0,
  missing: 0,
  step_up: 0,
  scope: 0,
  csrf: 0,
  account: 0,
  other: 0,
  unknown: 0,
}

/** Texts, and what they mean. */
const isSignals = (value: unknown): boolean =>
  tagOf(value) === 'Object' && Object.values(value as object).every((word) => Object.hasOwn(SIGNALS, word))

/** Checks that options are an object of no other names than `takes` has. */
export function checkNames(of: string, options: object, takes: object): void {
  // Of a list, a Map or a promise no name would be found, and nobody would hear.
  if (typeof options !== 'object' || /^(Null|Array|Map|Set|Date|Promise)$/.test(tagOf(options))) {
    throw badOption('options', `${of} takes an object of options`)
  }
  for (const option of Object.keys(options)) {
    if (Object.hasOwn(takes, option)) continue
    const known = Object.keys(takes).join(', ')
    throw badOption(option, `${of} knows no option ${option}; it takes ${known}`)
  }
}

/** An endpoint as it was given, over what it is else: a member that is undefined was not given. */
export function over<E extends object>(defaults: E, ...given: (object | false | undefined)[]): E {
  const members = given.flatMap((endpoint) => Object.entries(endpoint || {}))
  return { ...defaults, ...Object.fromEntries(members.filter(([, value]) => value !== undefined)) }
}

/** The members of what was given as credentials, a form's, too. */
export const membersOf = (given: unknown): object =>
  /^(FormData|URLSearchParams)$/.test(tagOf(given)) ? Object.fromEntries(given as never) : (given as object)

/** Whether all of a list are strings. */
export const isTexts = (list: readonly unknown[]): boolean => list.every((one) => typeof one === 'string')

/** Refuses what a preset's `option` may not be, though it is of the right type. */
export function demand(preset: string, option: string, holds: boolean, takes: string): void {
  if (!holds) throw badOption(option, `${preset}: ${option} takes ${takes}`)
}

/**
 * Checks a preset's options: `takes` has what each may be, joined by `|`: a `typeof`, `array`, `endpoint`, `signals`, or a
 * value as it is written.
 */
export function checkOptions(preset: string, options: object, takes: Record<string, string>): void {
  checkNames(preset, options, takes)
  for (const [option, value] of Object.entries(options)) {
    const type = Array.isArray(value) ? 'array' : value === null ? 'null' : typeof value
    const taken = (takes[option] as string).split('|')
    const fits = (kind: string): boolean =>
      kind === type ||
      (kind === 'endpoint' && isEndpoint(value)) ||
      (kind === 'signals' && isSignals(value)) ||
      (kind === 'false' && value === false) ||
      (type === 'string' && kind === `'${value}'`)
    if (value !== undefined && !taken.some(fits)) {
      const words = taken
        .join(' or ')
        .replace('endpoint', REQUEST)
        .replace('signals', `{ text: ${Object.keys(SIGNALS).join(' | ')} }`)
      // Never the value: a token may have been given by mistake.
      throw badOption(option, `${preset}: ${option} takes ${words}, got ${shape(value)}`)
    }
  }
}
