/** Twenty tabs, one session, a refresh token that may be spent once: what the trackers of the field are full of. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { pause } from '../common.ts'
import { type RawContext, type RawTab, rawContext } from './cdp.ts'
import { type LabServer, labServer } from './server.ts'
import { each, expectOneExchangePerVersion, spending, sum, until } from './support.ts'

const TABS = 20
const EXPIRIES = 10
// Of an access token, in ms. Longer where this machine is so busy that a request takes a good part of it.
const LIFE = 3000
const LIFE_AT_MOST = 8000

interface Crowd {
  server: LabServer
  context: RawContext
  /** Another tab. */
  open(): Promise<RawTab>
  tabs: RawTab[]
}

/** How many exchanges there were since the last login. */
const generation = ({ backend }: LabServer): number => backend.families().at(-1)?.generation ?? 0

async function crowd({
  reuseGrace = 0,
  locks = true,
  // Patient: what is not found out at once holds everybody up, and is seen.
  refreshTimeout = 20_000,
} = {}): Promise<Crowd> {
  const server = await labServer({ signer: 'fast', reuseGrace }, afterAll)
  const context = await rawContext({ locks }, afterAll)
  const open = async (): Promise<RawTab> => {
    const tab = await context.open(server.url)
    await tab.evaluate((given) => lab.start(given), { refreshAhead: false, refreshTimeout } as const)
    return tab
  }
  const first = await open()
  await first.evaluate(() => lab.signIn())
  const others = Array.from({ length: TABS - 1 }, open)
  return { server, context, open, tabs: [first, ...(await Promise.all(others))] }
}

function inTime(counts: readonly Record<string, number>[]): Record<string, number> {
  const { overdue: _, ...others } = sum(counts)
  return others
}

/** Lets all ask until there were so many exchanges. What the callers got, and how often, but for what was overdue. */
async function live({ server, tabs }: Crowd): Promise<Record<string, number>> {
  await until('ten expiries', () => generation(server) >= EXPIRIES, (EXPIRIES + 5) * LIFE_AT_MOST)
  await each(tabs, () => lab.stop())
  // What is still in the air.
  await pause(500)
  return inTime(await each(tabs, () => lab.counts))
}

describe.concurrent('twenty tabs that ask all the time share one session over ten expiries', () => {
  let plain: Crowd
  let unlocked: Crowd
  let moving: Crowd
  let freezing: Crowd

  beforeAll(async () => {
    ;[plain, unlocked, moving, freezing] = await Promise.all([
      crowd(),
      crowd({ locks: false }),
      // What a tab that is closed had in the air is lost: the server has to bear a second try of it.
      crowd({ reuseGrace: 60_000 }),
      crowd({ refreshTimeout: 2000 }),
    ])
    // What is to be frozen has to be hidden.
    await freezing.context.open(`${freezing.server.url}elsewhere`)
    const crowds = [plain, unlocked, moving, freezing]
    const start = performance.now()
    await Promise.all(crowds.map(({ tabs }) => each(tabs, () => lab.ask())))
    const took = performance.now() - start
    const life = Math.min(Math.max(LIFE, Math.ceil(took / 500) * 1000), LIFE_AT_MOST)
    const begin = async ({ server, tabs }: Crowd): Promise<void> => {
      server.backend.settings.accessLifetime = life
      await each(tabs.slice(0, 1), () => lab.signIn())
      const versions = (): Promise<(string | undefined)[]> => each(tabs, () => lab.auth.session?.id)
      await until('all know', async () => new Set(await versions()).size === 1)
      await each(tabs, () => {
        lab.counts = {}
        lab.told.length = 0
        lab.askOn(1000)
      })
    }
    await Promise.all(crowds.map(begin))
  })

  for (const locks of [true, false]) {
    test(`invariant 1: with one exchange per version${locks ? '' : ', without navigator.locks'}`, async () => {
      const one = locks ? plain : unlocked
      const { server, tabs } = one
      const counts = await live(one)
      expectOneExchangePerVersion(server.backend, EXPIRIES)
      expect(Object.keys(counts)).toEqual(['200'])
      expect(counts['200']).toBeGreaterThan(TABS * EXPIRIES)
      expect(new Set(await each(tabs, () => lab.who()))).toEqual(new Set(['alice']))
      const events = await each(tabs, () => lab.events())
      expect(events.flat().filter((line) => line.startsWith('loggedOut'))).toEqual([])
      // Every tab was told of every refresh, once.
      const last = await each(tabs, () => lab.auth.session?.version)
      expect(new Set(last)).toEqual(new Set([generation(server) + 1]))
      for (const told of events) {
        const refreshes = told.filter((line) => line.startsWith('tokenRefreshed'))
        expect(refreshes).toHaveLength(generation(server))
      }
    })
  }

  test('invariant 1: while tabs are closed and opened at random', async () => {
    const { server, tabs } = moving
    const counts: Record<string, number>[] = []
    let closed = 0
    while (generation(server) < EXPIRIES || closed <= EXPIRIES) {
      await pause(Math.random() * 1500)
      const [leaves] = tabs.splice(Math.floor(Math.random() * tabs.length), 1)
      if (!leaves) break
      counts.push(await leaves.evaluate(() => lab.counts))
      await leaves.close()
      closed++
      const comes = await moving.open()
      await comes.evaluate(() => lab.askOn(1000))
      tabs.push(comes)
    }
    counts.push(await live(moving))
    const failures = (await each(tabs, () => lab.events()))
      .flat()
      .filter((line) => /^refreshF|^store/.test(line))
    expect(failures).toEqual([])
    expect(closed).toBeGreaterThan(EXPIRIES)
    expect(Object.keys(inTime(counts))).toEqual(['200'])
    expect(server.backend.reuseDetected).toBe(0)
    // Only what went down with a tab was tried again, and only once.
    const again = spending(server.backend).filter(({ times }) => times > 1)
    expect(again.length).toBeLessThan(EXPIRIES)
    expect(again.every(({ times }) => times === 2)).toBe(true)
    expect(new Set(await each(tabs, () => lab.who()))).toEqual(new Set(['alice']))
  })

  test('invariant 10: though the one that holds the claim is frozen, the others wait, and nobody gets a 401', async () => {
    const { server, tabs } = freezing
    const { backend } = server
    await until('some exchanges', () => generation(server) >= 3, 5 * LIFE_AT_MOST)
    backend.fault('refresh', 'hang')
    await until('an exchange', () => backend.log.some(({ fault }) => fault === 'hang'), 5 * LIFE_AT_MOST)
    const exchanging = await each(tabs, () => lab.exchanging)
    const frozen = tabs[exchanging.findIndex((count) => count > 0)]
    if (!frozen) throw new Error('No tab exchanges')
    await frozen.send('Page.setWebLifecycleState', { state: 'frozen' })
    await until('the freeze', async () => (await frozen.evaluate(() => lab.life.includes('freeze'))) === true)
    const ticks = await frozen.evaluate(() => lab.ticks)
    const before = generation(server)
    await until('the others go on', () => generation(server) >= before + 2, 5 * LIFE_AT_MOST)
    expect(await frozen.evaluate(() => lab.ticks)).toBe(ticks)
    await frozen.send('Page.setWebLifecycleState', { state: 'active' })

    const { 200: answered = 0, refresh_unavailable: _, ...others } = await live(freezing)
    expect(others).toEqual({})
    expect(answered).toBeGreaterThan(TABS * EXPIRIES)
    expect(await frozen.evaluate(() => lab.life)).toContain('resume')
    expect(await frozen.evaluate(() => lab.ask())).toBe('200')
    expectOneExchangePerVersion(backend, EXPIRIES, 1)
    expect(new Set(await each(tabs, () => lab.who()))).toEqual(new Set(['alice']))
  })
})
