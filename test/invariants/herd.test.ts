/** Invariant 16 in one process under virtual time: a crowd over many lives of their tokens. */
import { expect, test, vi } from 'vitest'
import { minute, pass, room, times, virtualTime } from '../core/support.ts'

virtualTime()

test('invariant 16: clients that signed in together do not refresh together', async () => {
  // Chance, but the same one each time.
  let dice = 7
  vi.spyOn(Math, 'random').mockImplementation(() => {
    dice = (dice * 16807) % 2147483647
    return dice / 2147483647
  })
  const clients = 60
  const crowd = times(clients, () => room({ server: { accessLifetime: 10 * minute } }))
  for (const { signIn } of crowd) await signIn()
  const perMinute: number[] = []
  for (let passed = 0; passed < 50; passed++) {
    for (const { backend } of crowd) backend.clearLog()
    for (const { auth } of crowd) expect((await auth.fetch('protected')).status).toBe(200)
    await pass(minute)
    perMinute.push(crowd.reduce((sum, { backend }) => sum + backend.count('refresh'), 0))
  }
  // The first life is the fresh token's, which all of them got at once; from the second on they are spread.
  const settled = perMinute.slice(20)
  const mean = settled.reduce((sum, one) => sum + one, 0) / settled.length
  expect(mean).toBeGreaterThan(clients / 12)
  expect(Math.max(...settled) / mean).toBeLessThan(2.2)
}, 30_000)
