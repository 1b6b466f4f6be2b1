import { describe, expect, test } from 'vitest'
import type { RefreshMode } from '../../src/testing/index.ts'
import { type Bench, bench } from './support.ts'

interface Answer {
  status: number
  access?: string
  refresh?: string
}

async function exchange({ ask }: Bench, token: string | undefined): Promise<Answer> {
  const { status, body } = await ask('/refresh', { method: 'POST', token })
  const { access_token: access, refresh_token: refresh } = body as Record<string, string>
  return { status, access, refresh }
}

test.each([
  ['default', 'reusable'],
  ['tutorial', 'single-use'],
] as const)('the dialect %s refreshes %s, unless told otherwise', (dialect, mode) => {
  expect(bench({ dialect }).backend.settings.refresh).toBe(mode)
  expect(bench({ dialect, refresh: undefined }).backend.settings.refresh).toBe(mode)
  expect(bench({ dialect, refresh: 'rotating' }).backend.settings.refresh).toBe('rotating')
})

test.each([
  ['reusable', [200, 200, 200], false],
  ['single-use', [200, 401, 401], false],
  ['rotating', [200, 401, 401], true],
  ['rotating-reuse-detection', [200, 401, 401], true],
] as [RefreshMode, number[], boolean][])(
  '%s: three uses of one token give %o',
  async (refresh, statuses, replaced) => {
    const b = bench({ refresh })
    const { refresh_token } = await b.login()
    const answers = [
      await exchange(b, refresh_token),
      await exchange(b, refresh_token),
      await exchange(b, refresh_token),
    ]
    expect(answers.map(({ status }) => status)).toEqual(statuses)
    expect(answers[0]?.refresh !== undefined).toBe(replaced)
    expect(b.backend.isHonoured(refresh_token)).toBe(refresh === 'reusable')
  },
)

test.each(['single-use', 'rotating', 'rotating-reuse-detection'] as const)(
  '%s: of many exchanges at once only one is granted',
  async (refresh) => {
    const b = bench({ refresh })
    const { refresh_token } = await b.login()
    const answers = await Promise.all(Array.from({ length: 20 }, () => exchange(b, refresh_token)))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
  },
)

test('rotating: a spent token is refused and the rest lives on', async () => {
  const b = bench({ refresh: 'rotating' })
  const { access_token, refresh_token } = await b.login()
  const { access, refresh } = await exchange(b, refresh_token)
  expect((await exchange(b, refresh_token)).status).toBe(401)
  for (const token of [access_token, access, refresh]) expect(b.backend.isHonoured(String(token))).toBe(true)
  expect(b.backend.reuseDetected).toBe(0)
  expect((await exchange(b, refresh)).status).toBe(200)
})

describe('rotating with reuse detection', () => {
  const refresh = 'rotating-reuse-detection'

  test('a spent token that comes back ends its whole family and no other', async () => {
    const b = bench({ refresh })
    const mine = await b.login()
    const other = await b.login()
    const next = await exchange(b, mine.refresh_token)
    expect((await exchange(b, mine.refresh_token)).status).toBe(401)
    expect(b.backend.reuseDetected).toBe(1)
    for (const token of [mine.access_token, next.access, next.refresh]) {
      expect(b.backend.isHonoured(String(token))).toBe(false)
    }
    expect(await b.ask('/protected', { token: next.access })).toEqual({
      status: 401,
      body: { msg: 'Token has been revoked' },
    })
    expect((await exchange(b, next.refresh)).status).toBe(401)
    expect(b.backend.isHonoured(other.refresh_token)).toBe(true)
    const [first, second] = b.backend.families()
    expect([first?.ended, second?.ended]).toEqual(['reuse', undefined])
    expect(b.backend.sessionAlive(first?.id ?? '')).toBe(false)
    expect(b.backend.sessionAlive('alice')).toBe(true)
  })

  test('one alarm per family, however often the token comes', async () => {
    const b = bench({ refresh })
    const { refresh_token } = await b.login()
    for (let use = 0; use < 4; use++) await exchange(b, refresh_token)
    expect(b.backend.reuseDetected).toBe(1)
  })

  test('an expired or logged out refresh token raises no alarm', async () => {
    const b = bench({ refresh })
    const { refresh_token } = await b.login()
    await b.ask('/logout', { method: 'DELETE', token: refresh_token })
    expect((await exchange(b, refresh_token)).status).toBe(401)
    expect(b.backend.reuseDetected).toBe(0)
  })

  test('within the grace a spent token gives a further pair of the same family, after it the alarm', async () => {
    const b = bench({ refresh, reuseGrace: 10_000 })
    const { refresh_token } = await b.login()
    const first = await exchange(b, refresh_token)
    b.backend.advance(9_999)
    expect(b.backend.isHonoured(refresh_token)).toBe(true)
    const second = await exchange(b, refresh_token)
    expect(second.status).toBe(200)
    expect(b.backend.families()).toHaveLength(1)
    expect(b.backend.families()[0]).toMatchObject({ generation: 2, ended: undefined })
    for (const token of [first.refresh, second.refresh])
      expect(b.backend.isHonoured(String(token))).toBe(true)
    b.backend.advance(1)
    expect(b.backend.isHonoured(refresh_token)).toBe(false)
    expect((await exchange(b, refresh_token)).status).toBe(401)
    expect([b.backend.reuseDetected, b.backend.isHonoured(String(second.refresh))]).toEqual([1, false])
  })
})

test('a family keeps account of its exchanges and tokens', async () => {
  const b = bench({ refresh: 'rotating' })
  const { refresh_token } = await b.login()
  b.backend.advance(5_000)
  const next = await exchange(b, refresh_token)
  await exchange(b, next.refresh)
  const [family] = b.backend.families()
  expect(family).toMatchObject({
    sub: 'alice',
    startedAt: b.backend.now() - 5_000,
    generation: 2,
    ended: undefined,
  })
  expect(family?.tokens.map(({ kind, generation }) => `${kind} ${generation}`)).toEqual([
    'access 0',
    'refresh 0',
    'access 1',
    'refresh 1',
    'access 2',
    'refresh 2',
  ])
  expect(family?.tokens.every((token) => token.family === family.id)).toBe(true)
})

test('a refresh token signed elsewhere with the server’s key founds a family', async () => {
  const b = bench({ refresh: 'rotating' })
  const token = await b.backend.sign({ sub: 'alice', type: 'refresh', jti: 'from-elsewhere' })
  expect((await exchange(b, token)).status).toBe(200)
  expect((await exchange(b, token)).status).toBe(401)
  expect(b.backend.families()).toHaveLength(1)
})
