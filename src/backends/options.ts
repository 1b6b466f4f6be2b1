/**
 * What the application gives: options, endpoints, credentials. Each is checked when it is given, by name, so that a slip
 * is told there and not by a server. It knows no preset.
 */
import { tagOf } from '../call.ts'
import { badOption } from '../errors.ts'
import { shape } from '../token.ts'
import type { Signal } from '../types.ts'

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
