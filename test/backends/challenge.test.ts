/** `WWW-Authenticate`: RFC 9110 section 11.6.1, RFC 6750 section 3, RFC 9470 section 3. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseChallenges, readChallenge } from '../../src/backends/challenge.ts'

const plain = (header: string | null): [string, Record<string, string>][] =>
  parseChallenges(header).map(({ scheme, params }) => [scheme, Object.fromEntries(params)])
const finding = (header: string): unknown => readChallenge(new Headers({ 'www-authenticate': header }))

describe('challenges', () => {
  test.each<[string, string | null, [string, Record<string, string>][]]>([
    ['none', null, []],
    ['nothing', '', []],
    ['a bare one', 'Bearer', [['bearer', {}]]],
    ['one with a parameter', 'Bearer realm="api"', [['bearer', { realm: 'api' }]]],
    [
      'several parameters, a token for a value, any case, spaces about =',
      'BEARER Realm = "a" ,  ERROR=invalid_token',
      [['bearer', { realm: 'a', error: 'invalid_token' }]],
    ],
    [
      'several challenges, as RFC 9110 has them',
      'Newauth realm="apps", type=1, title="Login to \\"apps\\"", Basic realm="simple"',
      [
        ['newauth', { realm: 'apps', type: '1', title: 'Login to "apps"' }],
        ['basic', { realm: 'simple' }],
      ],
    ],
    [
      'a challenge inside a quoted string is none',
      'Basic realm="x, Bearer error=\\"invalid_token\\"", Bearer',
      [
        ['basic', { realm: 'x, Bearer error="invalid_token"' }],
        ['bearer', {}],
      ],
    ],
    [
      'a token68 is no parameter',
      'Negotiate YWJj==, Bearer error="invalid_token"',
      [
        ['negotiate', {}],
        ['bearer', { error: 'invalid_token' }],
      ],
    ],
    [
      'a scheme alone, then another',
      'Negotiate, NTLM, Bearer error="x"',
      [
        ['negotiate', {}],
        ['ntlm', {}],
        ['bearer', { error: 'x' }],
      ],
    ],
    ['empty members of the list', ', ,Bearer , ,a=1, ,', [['bearer', { a: '1' }]]],
    [
      'a parameter that comes twice: the first counts',
      'Bearer error="a", error="b"',
      [['bearer', { error: 'a' }]],
    ],
    ['a string that never ends', 'Bearer error="invalid_token', [['bearer', {}]]],
    ['noise', '"a, Basic", ;;; Bearer é error=x', [['bearer', { error: 'x' }]]],
  ])('%s', (_, header, expected) => {
    expect(plain(header)).toEqual(expected)
  })

  const word = fc.stringMatching(/^[A-Za-z][A-Za-z\d_-]{0,8}$/)
  const text = fc.string({ unit: fc.constantFrom(...'ab "\\,=; é'), maxLength: 12 })
  const parameter = fc.record({ name: word, value: text, quoted: fc.boolean() })
  const challenge = fc.record({
    scheme: word,
    params: fc.uniqueArray(parameter, { maxLength: 4, selector: ({ name }) => name.toLowerCase() }),
  })

  test('any that are written by the grammar are read as they were written', () => {
    fc.assert(
      fc.property(fc.array(challenge, { maxLength: 5 }), (challenges) => {
        const written = challenges.map(({ scheme, params }) =>
          [
            scheme,
            params
              .map(({ name, value, quoted }) =>
                quoted || !/^[A-Za-z\d]+$/.test(value)
                  ? `${name}="${value.replace(/["\\]/g, '\\$&')}"`
                  : `${name}=${value}`,
              )
              .join(', '),
          ]
            .join(' ')
            .trim(),
        )
        expect(plain(written.join(', '))).toEqual(
          challenges.map(({ scheme, params }) => [
            scheme.toLowerCase(),
            Object.fromEntries(params.map(({ name, value }) => [name.toLowerCase(), value])),
          ]),
        )
      }),
    )
  })

  test('noise of any length is read in time that grows with it, and up to a bound', () => {
    const pieces = ['"', '\\', '\\"', 'a', '=', ' ', ',', 'a=', '"a', 'Bearer ', 'a="\\"', '==', '\t', 'é']
    for (const piece of pieces) {
      const began = performance.now()
      const found = parseChallenges(piece.repeat(1_000_000 / piece.length))
      expect(found.length).toBeLessThan(8192)
      expect(performance.now() - began).toBeLessThan(500)
    }
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...pieces), { maxLength: 200 }), (some) => {
        expect(Array.isArray(parseChallenges(some.join('')))).toBe(true)
      }),
    )
  })
})

describe('what they say of the token', () => {
  test.each<[string, unknown]>([
    ['Bearer error="invalid_token"', { signal: 'invalid' }],
    ['DPoP error="invalid_token", algs="ES256"', { signal: 'invalid' }],
    ['DPoP algs="ES256", Bearer error="invalid_token"', { signal: 'invalid' }],
    ['Bearer realm="a", Bearer error="insufficient_scope"', { signal: 'scope' }],
    ['Bearer', { signal: 'missing' }],
    ['Bearer realm="a", Basic realm="b"', { signal: 'missing' }],
    ['Basic realm="b"', { signal: 'other' }],
    ['Bearer error="out_of_coffee"', undefined],
    ['', undefined],
    [
      'Bearer error="insufficient_user_authentication", max_age="0"',
      { signal: 'step_up', acrValues: undefined, maxAge: 0 },
    ],
    [
      'Bearer error="insufficient_user_authentication", acr_values="a b", max_age=3600',
      { signal: 'step_up', acrValues: 'a b', maxAge: 3600 },
    ],
    [
      'Bearer error="insufficient_user_authentication", max_age="-1"',
      { signal: 'step_up', acrValues: undefined, maxAge: undefined },
    ],
    [
      'Bearer error="insufficient_user_authentication", max_age="1e99"',
      { signal: 'step_up', acrValues: undefined, maxAge: undefined },
    ],
  ])('%s', (header, expected) => {
    expect(finding(header)).toEqual(expected)
  })
})
