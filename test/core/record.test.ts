/** What stores that keep records outside of this context's memory agree on. */
import { describe, expect, test } from 'vitest'
import type { LiveRecord, StoreRecord } from '../../src/index.ts'
import { lifeOf } from '../../src/stores/life.ts'
import {
  asNotice,
  checkKey,
  claimOf,
  createDecoder,
  isExpected,
  newer,
  noticeOf,
} from '../../src/stores/record.ts'
import { live, tombstone } from '../stores/contract.ts'
import { jwt } from './by-hand.ts'
import { reported } from './support.ts'

describe('what is told of a record', () => {
  test('is which one it is and whether it ended, and no token', () => {
    expect(noticeOf(live('r', { version: 3 }))).toEqual({
      revision: 'r',
      id: 'a',
      version: 3,
      calledAt: 1,
      ended: undefined,
    })
    expect(noticeOf(tombstone('r'))).toEqual({
      revision: 'r',
      id: 'a',
      version: 1,
      calledAt: 2,
      ended: 'logout',
    })
  })

  test.each([
    undefined,
    null,
    'a',
    7,
    {},
    { revision: 'r' },
    { id: 'a' },
    { revision: 1, id: 'a' },
    { revision: 'r', id: 1 },
  ])('is not %j, which somebody else has written to the channel', (data) => {
    expect(asNotice(data)).toBeUndefined()
  })

  test('is taken from the channel as it is', () => {
    const notice = noticeOf(live('r'))
    expect(asNotice(notice)).toBe(notice)
  })
})

describe('what stands in the storage', () => {
  const ours = { format: 1, record: live('r') }

  test.each([
    {},
    'text',
    { format: 1 },
    { format: 2, record: live('r') },
    { format: 1, record: { revision: 7 } },
  ])('counts as empty where it is none of ours, and is reported once in a row: %j', (value) => {
    const errors = reported()
    const decode = createDecoder('tabStore()')
    expect([decode(value), decode(value), decode(value)]).toEqual([null, null, null])
    expect(errors.map(String)).toEqual([
      'Error: tabStore(): what stands in the storage is no session of this format; it is ignored',
    ])
    expect(decode(ours)).toBe(ours)
    expect(decode(value)).toBeNull()
    expect(errors).toHaveLength(2)
    // Emptied in between, what comes then is news as well.
    decode(null)
    decode(value)
    expect(errors).toHaveLength(3)
  })

  test.each([null, undefined])('is nothing to report where it is %s', (value) => {
    const errors = reported()
    expect([createDecoder('tabStore()')(value), errors]).toEqual([null, []])
  })

  test('of a version to come is said to be that, by the name of the store', () => {
    expect(newer('fileStore()').message).toBe(
      'fileStore(): the session was written by a newer version of stayfresh, which this process lacks',
    )
  })
})

test('a commit counts on the revision that it has seen, or on nothing', () => {
  expect([isExpected(live('r'), 'r'), isExpected(live('r'), 's'), isExpected(live('r'), null)]).toEqual([
    true,
    false,
    false,
  ])
  expect([isExpected(null, null), isExpected(undefined, null), isExpected(null, 'r')]).toEqual([
    true,
    true,
    false,
  ])
})

test('an exchange is under way where a live record bears a claim', () => {
  const claim = { by: 'me', until: 1, span: 1 }
  const records = [live('r', { claim }), live('r'), { ...tombstone('r'), claim }, null, undefined]
  expect(records.map((record) => claimOf(record))).toEqual(['me', undefined, undefined, undefined, undefined])
})

test('a key is a string that is not empty', () => {
  checkKey('mine')
  for (const key of ['', undefined, null, 7]) {
    expect(() => checkKey(key)).toThrow(
      expect.objectContaining({
        code: 'invalid_option',
        option: 'key',
        message: 'key takes a string that is not empty',
      }),
    )
  }
})

describe('how long a record is worth anything', () => {
  const refreshToken = jwt({ iat: 100, exp: 900 })
  const access = { token: jwt({ iat: 100, exp: 200 }) }
  test.each<[string, Partial<LiveRecord> | object, object | undefined]>([
    ['as long as its refresh token', { refreshToken, access }, { iat: 100, exp: 900 }],
    [
      'as long as its access token, where that is all',
      { refreshToken: undefined, access },
      { iat: 100, exp: 200 },
    ],
    ['nobody tells, of an opaque token', { refreshToken: 'opaque', access }, {}],
    ['nobody tells, of a token whose stamps are none', { refreshToken: jwt({ iat: '1', exp: null }) }, {}],
    [
      'what it says itself, where it is sealed',
      { refreshToken: undefined, access: undefined, life: { exp: 7 } },
      { exp: 7 },
    ],
    [
      'nobody tells, of a sealed one that says nothing',
      { refreshToken: undefined, access: undefined },
      undefined,
    ],
  ])('%s', (_, more, life) => {
    expect(lifeOf({ ...live('r'), ...more } as StoreRecord)).toEqual(life)
  })

  test('for ever, of a tombstone', () => {
    expect(lifeOf({ ...tombstone('r'), refreshToken } as StoreRecord)).toBeUndefined()
  })
})
