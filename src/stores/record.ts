/** What all stores that keep records outside of this context's memory agree on: what counts as one, and what is told of it. */
import { badOption } from '../errors.ts'
import { report } from '../events.ts'
import type { Notice, StoreRecord } from '../types.ts'

/** What others are told of a record. */
export function noticeOf(record: StoreRecord): Notice {
  const { revision, id, version, calledAt } = record
  return { revision, id, version, calledAt, ended: 'ended' in record ? record.ended : undefined }
}

/** A notice, if it is one: a channel can be written to by others. */
export function asNotice(data: unknown): Notice | undefined {
  const { revision, id } = Object(data) as Partial<Notice>
  return typeof revision === 'string' && typeof id === 'string' ? (data as Notice) : undefined
}

/** What a cell holds: the record, and the format that it is written in. */
export interface Written {
  readonly format: number
  readonly record: StoreRecord
}

/** The format that is written now. An older one is dropped: its session is signed in anew. */
export const FORMAT = 1

/**
 * Of a fleet that is being updated, part writes a format that the rest does not know. To them that is no lost data: they
 * would write an older session back, with a refresh token that has been spent.
 */
export const newer = (store: string): Error =>
  new Error(`${store}: the session was written by a newer version of stayfresh, which this process lacks`)

/** Reads back what was written. What is none of ours counts as empty, and is reported once in a row. */
export function createDecoder(store: string): <T extends Written>(value: unknown) => T | null {
  let reported = false
  return <T extends Written>(value: unknown): T | null => {
    const { format, record } = Object(value) as Partial<Written>
    const ours = format === FORMAT && typeof record?.revision === 'string'
    if (!ours && value != null && !reported) {
      report(new Error(`${store}: what stands in the storage is no session of this format; it is ignored`))
    }
    reported = !ours && value != null
    return ours ? (value as T) : null
  }
}

/** Which exchange a record says is under way. */
export function claimOf(record: StoreRecord | null | undefined): string | undefined {
  return record && !('ended' in record) ? record.claim?.by : undefined
}

/** Whether `record` is what a commit counts on. */
export function isExpected(record: StoreRecord | null | undefined, expected: string | null): boolean {
  return (record?.revision ?? null) === expected
}

/** The key that a store was given: sessions are told apart by it, so that a slip of its name is none. */
export function keyIn(store: string, options: object | undefined): string {
  const { key = 'session', ...rest } = { ...options } as { key?: string }
  const slip = typeof (options ?? {}) === 'object' ? Object.keys(rest)[0] : typeof options
  noMore(store, 'key', slip)
  checkKey(key)
  return key
}

/** Refuses what a store does not know: of a slip nobody would hear, and what was meant would not be. */
export function noMore(store: string, takes: string, slip: string | undefined): void {
  if (slip !== undefined) throw badOption('options', `${store} takes { ${takes} }, got ${slip}`)
}

/** Sessions are told apart by their key. */
export function checkKey(key: unknown): void {
  if (typeof key === 'string' && key) return
  throw badOption('key', 'key takes a string that is not empty')
}
