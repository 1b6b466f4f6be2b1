import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { createAuth, type LiveRecord, memoryStore, simpleJwt } from '../../src/index.ts'
import { type Django, startDjango } from '../servers/django.ts'
import { life } from './server.ts'
import { simpleJwtServer } from './simple-jwt.ts'
import { stories } from './stories.ts'

let django: Django
beforeAll(async () => {
  django = await startDjango()
  console.log(`The stories run over ${django.title}, at ${django.origin}`)
}, 300_000)
afterAll(() => django?.stop())

stories(simpleJwtServer(() => django))

describe('Django REST Framework SimpleJWT, beside the stories', () => {
  const alice = { username: 'alice', password: 'wonderland' }
  beforeEach(() => django.control({ offset: 0, lifetime: life, rotate: true, active: true }))

  function client() {
    const store = memoryStore()
    const auth = createAuth({ baseUrl: django.origin, backend: simpleJwt(), store, refreshAhead: false })
    onTestFinished(() => void auth.dispose())
    const skews = (): number => auth.history.filter(({ type }) => type === 'clockSkew').length
    /** How long the token in hand lasts by what the client believes. */
    const left = (): number => (auth.session?.expiresAt ?? Number.NaN) - Date.now()
    const refreshToken = (): string | undefined =>
      (store.read() as { record: LiveRecord }).record.refreshToken
    return { auth, skews, left, refreshToken }
  }

  test('in real time, without rotation: a token that ran out is refreshed before the call, and its life is known', async () => {
    await django.control({ lifetime: 4000, rotate: false })
    const { auth, skews, left, refreshToken } = client()
    await auth.login(alice)
    const first = refreshToken()
    expect(left()).toBeLessThanOrEqual(4000)
    await sleep(left() + 50)
    const responses = await Promise.all([1, 2, 3].map(() => auth.fetch('plain/')))
    expect(responses.map(({ status }) => status)).toEqual([200, 200, 200])
    expect(auth.session).toMatchObject({ version: 2, subject: '1' })
    // Its `iat` is that of the login, four seconds ago.
    expect(left()).toBeGreaterThan(500)
    expect(left()).toBeLessThanOrEqual(4000)
    expect(skews()).toBe(0)
    expect(refreshToken()).toBe(first)
  })

  test('12: an hour into the session with rotation, a life is a life, and no clock is off', async () => {
    vi.useFakeTimers({ toFake: ['Date', 'performance'] })
    onTestFinished(() => void vi.useRealTimers())
    const { auth, skews, left } = client()
    await auth.login(alice)
    for (const hours of [1, 2, 3]) {
      vi.advanceTimersByTime(3_600_000)
      await django.control({ offset: hours * 3_600_000 })
      expect((await auth.fetch('plain/')).status).toBe(200)
      expect(auth.session).toMatchObject({ version: hours + 1 })
      expect(Math.abs(left() - life)).toBeLessThan(10_000)
    }
    expect(skews()).toBe(0)
  })

  test('an account that was shut out gets its own answers, and nobody loses a session by them', async () => {
    const { auth } = client()
    await auth.login(alice)
    await django.control({ active: false })
    const response = await auth.fetch('plain/')
    expect([response.status, await response.json()]).toEqual([
      401,
      { detail: 'User is inactive', code: 'user_inactive' },
    ])
    expect(auth.session).toMatchObject({ version: 1, status: 'active' })
    await django.control({ active: true })
    expect((await auth.fetch('plain/')).status).toBe(200)
  })
})
