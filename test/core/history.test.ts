/** "Why was I signed out?" */
import { inspect } from 'node:util'
import { expect, test } from 'vitest'
import { alice, minute, pass, room, second, virtualTime } from './support.ts'

virtualTime()

test('the history tells why somebody was signed out, with status and version', async () => {
  const { auth, backend } = room({ server: { refresh: 'rotating' } })
  await auth.login(alice)
  await pass(16 * minute)
  await auth.fetch('protected')
  backend.revoke({ sub: 'alice' })
  await pass(16 * minute)
  expect((await auth.fetch('protected')).status).toBe(401)
  expect(auth.history.map(({ type, reason, status, version }) => [type, reason, status, version])).toEqual([
    ['loggedIn', 'login', undefined, 1],
    ['tokenRefreshed', 'expired', undefined, 2],
    ['refreshRefused', 'expired', 401, 2],
    ['reauthRequired', 'session_expired', undefined, 2],
    ['loggedOut', 'session_expired', undefined, undefined],
  ])
  expect(new Set(auth.history.map(({ origin }) => origin))).toEqual(new Set(['this context']))
  const times = auth.history.map(({ at }) => at)
  expect(times).toEqual([...times].sort())
})

test('the history tells of a refresh that failed, with its status', async () => {
  const { auth, backend } = room()
  await auth.login(alice)
  backend.fault('refresh', { status: 500 })
  await auth.refresh().catch(() => {})
  expect(auth.history.at(-1)).toMatchObject({
    type: 'refreshFailed',
    reason: 'status',
    status: 500,
    version: 1,
  })
})

test('the history is bounded, keeps the newest, and can not be written to from outside', async () => {
  const { auth } = room()
  await auth.login(alice)
  for (let i = 0; i < 150; i++) {
    await pass(second)
    await auth.login(alice)
  }
  expect(auth.history).toHaveLength(100)
  const { at } = auth.history.at(-1) ?? { at: 0 }
  expect(at).toBe(Date.now())
  ;(auth.history as unknown[]).push('forged')
  expect(auth.history).toHaveLength(100)
  expect(auth.history.every((entry) => Object.isFrozen(entry))).toBe(true)
})

test('the history holds no token', async () => {
  const { auth, backend } = room({ server: { refresh: 'rotating' } })
  await auth.login(alice)
  await auth.refresh()
  await auth.logout()
  const shown = inspect(auth.history, { depth: 10, showHidden: true })
  for (const { token } of backend.issued) expect(shown).not.toContain(token)
})
