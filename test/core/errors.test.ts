import { describe, expect, test } from 'vitest'
import { safeCause } from '../../src/errors.ts'
import { AuthError, isAuthError } from '../../src/index.ts'

const jwt = 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl'

describe('an AuthError', () => {
  test('has a cause only where one was given', () => {
    const cause = new Error('why')
    expect(new AuthError('disposed', 'gone', {})).not.toHaveProperty('cause')
    expect(new AuthError('disposed', 'gone', {}, cause)).toHaveProperty('cause', cause)
  })

  test('shows its details where it is logged, but for the response, which is there all the same', () => {
    const response = new Response()
    const error = new AuthError('login_incomplete', 'no token', { status: 200, response })
    expect(Object.keys(error)).toEqual(['code', 'status'])
    expect(error.response).toBe(response)
  })

  test('is known by its name and its code, from another copy of the package too', () => {
    const foreign = Object.assign(new TypeError(), { name: 'AuthError', code: 'disposed' })
    expect(isAuthError(foreign)).toBe(true)
    expect(isAuthError(foreign, 'disposed')).toBe(true)
    expect(isAuthError(foreign, 'invalid_input')).toBe(false)
    for (const other of [new TypeError('disposed'), { code: 'disposed' }, undefined, null, 'AuthError']) {
      expect(isAuthError(other)).toBe(false)
      expect(isAuthError(other, 'disposed')).toBe(false)
    }
  })
})

describe('8: the cause of an error', () => {
  test('keeps name, message and code, and nothing else', () => {
    const error = Object.assign(new RangeError('too far'), { code: 'ERANGE', request: { token: jwt } })
    const cause = safeCause(error)
    expect(cause).toMatchObject({ name: 'RangeError', message: 'too far', code: 'ERANGE' })
    expect(Object.keys(cause).sort()).toEqual(['code'])
  })

  test('has a code, and a cause of its own, only where there was one', () => {
    const cause = safeCause(new Error('x is undefined'))
    expect(cause).not.toHaveProperty('code')
    expect(cause).not.toHaveProperty('cause')
    expect(cause.message).toBe('x is undefined')
  })

  test('is an error, whatever was thrown', () => {
    for (const [thrown, message] of [
      ['no more', 'no more'],
      [undefined, 'undefined'],
      [404, '404'],
      [
        {
          get message() {
            throw new Error('mine')
          },
        },
        'unreadable',
      ],
    ])
      expect(safeCause(thrown)).toMatchObject({ name: 'Error', message })
  })

  test('has [token] where a JWT or the secret stood', () => {
    const cause = safeCause(new Error(`Bearer ${jwt}, then opaque-one and opaque-one`), 'opaque-one')
    expect(cause.message).toBe('Bearer [token], then [token] and [token]')
  })

  test('has it there where the secret stood as a URL has it', () => {
    const cause = safeCause(new Error('GET /login?token=opaque%2Fone%3D%3D: refused'), 'opaque/one==')
    expect(cause.message).toBe('GET /login?token=[token]: refused')
  })

  test('keeps a code that is a number', () => {
    expect(safeCause(new DOMException('gone', 'AbortError'))).toMatchObject({ name: 'AbortError', code: 20 })
  })

  test('is copied with the causes beneath it, six deep, and a chain that leads back to itself ends', () => {
    const error: Error = new Error(`of ${jwt}`)
    error.cause = error
    const messages: string[] = []
    for (let next: unknown = safeCause(error); next; next = (next as Error).cause) {
      expect(next).not.toBe(error)
      messages.push((next as Error).message)
    }
    expect(messages).toEqual(Array.from({ length: 6 }, () => 'of [token]'))
  })
})
