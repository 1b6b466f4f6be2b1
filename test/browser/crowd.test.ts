/** Twenty tabs, one session, a refresh token that may be spent once: what the trackers of the field are full of. */
import type { BrowserContext, Page } from 'playwright-core'
import { describe, expect, type TestContext, test } from 'vitest'
import type { LabOptions } from './lab.ts'
import { type LabServer, labServer } from './server.ts'
import {
  each,
  expectOneExchangePerVersion,
  profile,
  signedIn,
  sleep,
  spending,
  sum,
  tab,
  until,
  useChromium,
} from './support.ts'

useChromium()

const TABS = 20
const EXPIRIES = 10
const LIFE = 5000

/** How many exchanges were asked for, with what token, by whatever tab. */
const generation = ({ backend }: LabServer): number => backend.families()[0]?.generation ?? 0

describe.concurrent('twenty tabs that ask all the time share one session over ten expiries', () => {
  const crowd = async (
    { onTestFinished }: TestContext,
    { locks = true, reuseGrace = 0, ...options }: LabOptions & { locks?: boolean; reuseGrace?: number } = {},
  ): Promise<{ server: LabServer; context: BrowserContext; tabs: Page[] }> => {
    const server = await labServer({ accessLifetime: LIFE, signer: 'fast', reuseGrace }, onTestFinished)
    const context = await profile({ locks }, onTestFinished)
    const all = await signedIn(TABS, { refreshAhead: false, ...options }, server, context)
    await each(all.tabs, () => lab.askOn(400))
    return all
  }

  for (const locks of [true, false]) {
    test(`with one exchange per version${locks ? '' : ', without navigator.locks'}`, async (context) => {
      const { server, tabs } = await crowd(context, { locks })
      const { backend } = server
      await until('ten exchanges', () => generation(server) >= EXPIRIES, (EXPIRIES + 5) * LIFE)
      await each(tabs, () => lab.stop())
      await sleep(500)
      expectOneExchangePerVersion(backend, EXPIRIES)
      const counts = sum(await each(tabs, () => lab.counts))
      expect(Object.keys(counts)).toEqual(['200'])
      expect(counts['200']).toBeGreaterThan(TABS * EXPIRIES)
      expect(new Set(await each(tabs, () => lab.who()))).toEqual(new Set(['alice']))
      expect((await each(tabs, () => lab.told.map(({ type }) => type))).flat()).not.toContain('loggedOut')
      // Every tab was told of every refresh.
      const refreshes = await each(
        tabs,
        () => lab.told.filter(({ type }) => type === 'tokenRefreshed').length,
      )
      expect(Math.min(...refreshes)).toBeGreaterThanOrEqual(EXPIRIES - 1)
      expect(await tabs[0]?.evaluate(() => lab.auth.session?.version)).toBe(generation(server) + 1)
    })
  }

  test('while tabs are closed and opened at random', async (test) => {
    // What a tab that is closed had in the air is lost: the server has to bear a second try of it.
    const all = await crowd(test, { reuseGrace: 60_000, refreshAhead: 2000 })
    const { server, context, tabs } = all
    const counts: Record<string, number>[] = []
    let closed = 0
    const over = (): boolean => generation(server) >= EXPIRIES
    while (!over()) {
      await sleep(Math.random() * 300)
      const [leaves] = tabs.splice(Math.floor(Math.random() * tabs.length), 1)
      if (!leaves) break
      counts.push(await leaves.evaluate(() => lab.counts))
      await leaves.close()
      closed++
      const comes = await tab(context, server, { refreshAhead: 2000 })
      await comes.evaluate(() => lab.askOn(400))
      tabs.push(comes)
    }
    await each(tabs, () => lab.stop())
    await sleep(500)
    expect(Object.keys(sum([...counts, ...(await each(tabs, () => lab.counts))]))).toEqual(['200'])
    expect(server.backend.reuseDetected).toBe(0)
    const again = spending(server.backend).filter(({ times }) => times > 1)
    expect(again.length).toBeLessThan(closed / 2)
    expect(again.every(({ times }) => times === 2)).toBe(true)
    expect(new Set(await each(tabs, () => lab.who()))).toEqual(new Set(['alice']))
  })
})
