/** Tabs that are closed, frozen, left and come back in the middle of things, and what one does to the others. */
import type { Page } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import { pause } from '../common.ts'
import { type RawTab, rawContext } from './cdp.ts'
import type { LabOptions } from './lab.ts'
import { type LabServer, labServer } from './server.ts'
import { each, engine, inChromium, profile, signedIn, sum, tab, until, useBrowser } from './support.ts'

useBrowser()

describe('invariant 3: a tab that is closed in the middle of its exchange', () => {
  async function closing(
    fault: 'hang' | 'hang-after',
    { reuseGrace = 0, locks = true, ...options }: LabOptions & { reuseGrace?: number; locks?: boolean } = {},
  ): Promise<{ server: LabServer; tabs: Page[] }> {
    const context = await profile({ locks })
    const clients = { hold: true, ...options }
    const { server, tabs } = await signedIn(3, clients, await labServer({ reuseGrace }), context)
    const { backend } = server
    backend.fault('refresh', fault)
    backend.expireAccessTokens()
    const [holder, ...others] = tabs as [Page, ...Page[]]
    void holder.evaluate(() => lab.ask()).catch(() => {})
    await until('the exchange', () => backend.count('refresh') === 1)
    await each(others, () => void lab.ask())
    await pause(100)
    expect(backend.count('refresh')).toBe(1)
    await holder.close()
    return { server, tabs: others }
  }

  test('is found to be gone at once, and the next one exchanges what it had not', async () => {
    const { server, tabs } = await closing('hang')
    const closed = performance.now()
    const all = (counts: Record<string, number>[]): boolean => counts.every((count) => count['200'] === 1)
    await until('both get through', async () => all(await each(tabs, () => lab.counts)))
    // The claim would have stood for ten seconds.
    expect(performance.now() - closed).toBeLessThan(3000)
    expect(server.backend.count('refresh')).toBe(2)
    expect(server.backend.reuseDetected).toBe(0)
  })

  test('leaves the session alive where the server bears a second try', async () => {
    const { server, tabs } = await closing('hang-after', { reuseGrace: 30_000 })
    const all = (counts: Record<string, number>[]): boolean => counts.every((count) => count['200'] === 1)
    await until('both get through', async () => all(await each(tabs, () => lab.counts)))
    expect(server.backend.sessionAlive('alice')).toBe(true)
  })

  test.runIf(inChromium)(
    'is found to be gone when its claim has run out, without navigator.locks',
    async () => {
      const { server, tabs } = await closing('hang', { locks: false, refreshTimeout: 1000 })
      await each(tabs, () => lab.askOn(100))
      await until('both get through', async () =>
        (await each(tabs, () => lab.counts)).every((counts) => (counts['200'] ?? 0) > 0),
      )
      await each(tabs, () => lab.stop())
      expect(server.backend.count('refresh')).toBe(2)
      expect(server.backend.reuseDetected).toBe(0)
      const { 200: _, refresh_unavailable: __, ...others } = sum(await each(tabs, () => lab.counts))
      expect(others).toEqual({})
    },
  )

  test.runIf(inChromium)(
    'is not taken for gone while it is there, though it has no navigator.locks and others do',
    async () => {
      const server = await labServer()
      const context = await profile()
      const holder = await context.newPage()
      await holder.addInitScript(() => Object.defineProperty(navigator, 'locks', { value: undefined }))
      await holder.goto(server.url)
      await holder.evaluate(() => lab.start())
      await holder.evaluate(() => lab.signIn())
      const other = await tab(context, server, {})
      server.backend.settings.latency = { refresh: { after: 500 } }
      server.backend.expireAccessTokens()
      await holder.evaluate(() => void lab.ask())
      await until('the exchange', () => server.backend.count('refresh') === 1)
      expect(await other.evaluate(() => lab.ask())).toBe('200')
      expect(server.backend.count('refresh')).toBe(1)
    },
  )

  test('costs one login in each tab where it does not', async () => {
    const { server, tabs } = await closing('hang-after')
    const asked = (): Promise<number[]> =>
      each(tabs, () => lab.told.filter(({ type }) => type === 'reauthRequired').length)
    await until('each is asked', async () => (await asked()).every((count) => count === 1))
    await each(tabs, () => void lab.ask())
    await pause(500)
    expect(await asked()).toEqual([1, 1])
    expect(server.backend.count('refresh')).toBe(2)
  })
})

describe.runIf(inChromium)('invariant 10: a tab that is frozen while it holds the claim', () => {
  for (const [what, fault, reuseGrace] of [
    ['before its exchange was processed', 'hang', 0],
    ['after it, by a server that bears a second try', 'hang-after', 60_000],
  ] as const) {
    test(`${what}, costs the others some waiting and nobody the session`, async () => {
      const server = await labServer({ reuseGrace })
      const { backend } = server
      const raw = await rawContext()
      const options = { refreshTimeout: 1500 }
      const frozen = await raw.open(server.url)
      await frozen.evaluate((given) => lab.start(given), options)
      await frozen.evaluate(() => lab.signIn())
      const other = await raw.open(server.url)
      await other.evaluate((given) => lab.start(given), options)
      expect(await frozen.evaluate(() => document.visibilityState)).toBe('hidden')

      backend.fault('refresh', fault)
      backend.expireAccessTokens()
      await frozen.evaluate(() => void lab.ask())
      await until('the exchange', () => backend.count('refresh') === 1)
      await frozen.send('Page.setWebLifecycleState', { state: 'frozen' })
      await until('the freeze', () => frozen.evaluate(() => lab.life.includes('freeze')))
      const ticks = await frozen.evaluate(() => lab.ticks)

      await other.evaluate(() => lab.askOn(100))
      const through = (): Promise<number> => other.evaluate(() => lab.counts['200'] ?? 0)
      await until('the other gets through', async () => (await through()) > 5)
      expect(await frozen.evaluate(() => lab.ticks)).toBe(ticks)
      await frozen.send('Page.setWebLifecycleState', { state: 'active' })
      await until('the frozen one wakes', () => frozen.evaluate(() => lab.life.includes('resume')))
      await until('it gets through', async () => (await frozen.evaluate(() => lab.ask())) === '200')
      await other.evaluate(() => lab.stop())
      for (const page of [frozen, other]) {
        expect(await page.evaluate(() => lab.counts)).not.toHaveProperty('401')
        expect(await page.evaluate(() => lab.told.map(({ type }) => type))).not.toContain('loggedOut')
      }
      expect(backend.reuseDetected).toBe(0)
      expect(backend.sessionAlive('alice')).toBe(true)
    })
  }
})

test.runIf(inChromium)(
  'invariant 15: a tab that was frozen while another user signed in sends nothing as the first one',
  async () => {
    const server = await labServer()
    const { backend } = server
    const raw = await rawContext()
    const frozen = await raw.open(server.url)
    await frozen.evaluate(async () => {
      // Of an application, there before any client is.
      document.addEventListener('resume', () => void lab.ask())
      await lab.start()
      await lab.signIn()
    })
    const other = await raw.open(server.url)
    await other.evaluate(() => lab.start())
    await frozen.send('Page.setWebLifecycleState', { state: 'frozen' })
    await until('the freeze', () => frozen.evaluate(() => lab.life.includes('freeze')))
    const ticks = await frozen.evaluate(() => lab.ticks)
    await other.evaluate(async () => {
      await lab.logout()
      await lab.signIn('bob')
    })
    backend.clearLog()
    expect(await frozen.evaluate(() => lab.ticks)).toBe(ticks)
    await frozen.send('Page.setWebLifecycleState', { state: 'active' })
    await until('it asks', () => frozen.evaluate(() => Object.keys(lab.counts).length > 0))
    expect(await frozen.evaluate(() => lab.who())).toBe('bob')
    expect(backend.log.filter(({ token }) => token?.sub === 'alice')).toEqual([])
    expect(await frozen.evaluate(() => lab.ask())).toBe('200')
  },
)

describe('what one tab does reaches the others', () => {
  test('a login, a refresh, another user and a logout, each told as what another context did', async () => {
    const server = await labServer()
    const context = await profile()
    const [acts, hears] = [await tab(context, server, {}), await tab(context, server, {})]
    const told = (count: number): Promise<void> =>
      until(`${count} events`, async () => (await hears.evaluate(() => lab.events())).length === count)
    await acts.evaluate(() => lab.signIn())
    await told(1)
    await acts.evaluate(() => lab.auth.refresh())
    await told(2)
    await acts.evaluate(() => lab.signIn('bob'))
    await told(4)
    await acts.evaluate(() => lab.logout())
    await told(5)
    const events = await acts.evaluate(() => lab.events())
    expect(events).toEqual([
      'loggedIn login',
      'tokenRefreshed requested',
      'loggedOut replaced',
      'loggedIn login',
      'loggedOut logout',
    ])
    expect(await hears.evaluate(() => lab.events())).toEqual(events.map((line) => `${line} elsewhere`))
  })

  test('invariant 5: a logout during the refresh of another tab: nobody is signed in a moment later', async () => {
    const { server, tabs } = await signedIn(3)
    const { backend } = server
    const [refreshes, leaves, looks] = tabs as [Page, Page, Page]
    for (const latency of [{ before: 300 }, { after: 300 }]) {
      await refreshes.evaluate(() => lab.signIn())
      await until('all know', async () => (await each(tabs, () => lab.who())).every((who) => who === 'alice'))
      const before = backend.count('refresh')
      backend.settings.latency = { refresh: latency }
      backend.expireAccessTokens()
      await refreshes.evaluate(() => void lab.ask())
      await until('the exchange', () => backend.count('refresh') === before + 1)
      await leaves.evaluate(() => lab.auth.logout())
      await until('nobody is signed in', async () =>
        (await each(tabs, () => lab.who())).every((who) => who === null),
      )
      await pause(800)
      expect(await each(tabs, () => lab.who())).toEqual([null, null, null])
      // The claim is gone, and so is its lock.
      expect(await leaves.evaluate(async () => (await navigator.locks.query()).held)).toEqual([])
      expect(backend.sessionAlive(backend.families().at(-1)?.id ?? '')).toBe(false)
      const again = await tab(looks.context(), server, {})
      expect(await again.evaluate(() => lab.who())).toBe(null)
      await again.close()
    }
    const told = await looks.evaluate(() =>
      lab.told.map(({ type, reason, origin }) => [type, reason, origin]),
    )
    expect(told).toContainEqual(['loggedOut', 'logout', 'other context'])
  })

  test('invariant 6: a login as another user: no call of the first goes out as the second', async () => {
    const { server, tabs } = await signedIn(5, {}, await labServer({ accessLifetime: 4000, signer: 'fast' }))
    const { backend } = server
    backend.settings.latency = { protected: { before: 20, after: 20 }, refresh: 50 }
    await each(tabs, () => lab.askOn(30))
    for (const user of ['bob', 'alice', 'bob'] as const) {
      backend.expireAccessTokens()
      await pause(30)
      await tabs[2]?.evaluate((user) => lab.signIn(user), user)
      await until('all know', async () => (await each(tabs, () => lab.who())).every((who) => who === user))
      const asked = backend.count('protected')
      await until('all go on', () => backend.count('protected') > asked + 30)
    }
    await each(tabs, () => lab.stop())
    await pause(300)
    const asked = backend.log.filter(({ route }) => route === 'protected')
    const mixed = asked.filter(({ url, token }) => token && new URL(url).searchParams.get('as') !== token.sub)
    expect(mixed).toEqual([])
    const told = await tabs[0]?.evaluate(() => lab.told.map(({ type, reason }) => `${type} ${reason}`))
    const turns = told?.filter((line) => /^logged/.test(line)).slice(1)
    expect(turns).toEqual([
      'loggedOut replaced',
      'loggedIn login',
      'loggedOut replaced',
      'loggedIn login',
      'loggedOut replaced',
      'loggedIn login',
    ])
  })
})

describe('a page in the back/forward cache', () => {
  /** Leaves and comes back; `meanwhile` runs while it is away. Why it was not kept, if so. */
  async function leaveAndReturn(
    server: LabServer,
    page: RawTab,
    meanwhile: () => Promise<void>,
  ): Promise<string[]> {
    const reasons: string[] = []
    page.on('Page.backForwardCacheNotUsed', ({ notRestoredExplanations }) => {
      reasons.push(...(notRestoredExplanations as { reason: string }[]).map(({ reason }) => reason))
    })
    await page.goto(`${server.url}elsewhere`)
    await meanwhile()
    await page.back()
    await until('it is back', () => page.evaluate(() => globalThis.lab !== undefined).catch(() => false))
    await pause(100)
    return reasons
  }

  async function two(): Promise<{ server: LabServer; page: RawTab; other: RawTab }> {
    const server = await labServer()
    const raw = await rawContext()
    const other = await raw.open(server.url)
    await other.evaluate(() => lab.start())
    const page = await raw.open(server.url)
    await page.evaluate(async () => {
      // Of an application, there before any client is.
      addEventListener('pageshow', ({ persisted }) => void (persisted && lab.ask()))
      await lab.start()
      await lab.signIn()
    })
    return { server, page, other }
  }

  test('invariants 6 and 15: comes back as who is signed in by then, and sends nothing as the first one', async () => {
    const { server, page, other } = await two()
    const { backend } = server
    const reasons = await leaveAndReturn(server, page, async () => {
      await other.evaluate(async () => {
        await lab.auth.logout()
        await lab.signIn('bob')
      })
      backend.clearLog()
    })
    expect(reasons).toEqual([])
    expect(await page.evaluate(() => lab.life)).toContain('pageshow persisted')
    await until('it asks', () => page.evaluate(() => Object.keys(lab.counts).length > 0))
    expect(await page.evaluate(() => lab.who())).toBe('bob')
    expect(backend.log.filter(({ token }) => token?.sub === 'alice')).toEqual([])
    expect(await page.evaluate(() => lab.ask())).toBe('200')
  })

  test('is told again of what happens once it is back', async () => {
    const { server, page, other } = await two()
    expect(await leaveAndReturn(server, page, async () => {})).toEqual([])
    expect(await page.evaluate(() => lab.who())).toBe('alice')
    await other.evaluate(() => lab.auth.logout())
    await until('it hears of the logout', async () => (await page.evaluate(() => lab.who())) === null)
  })

  // Firefox does not keep a page whose request is under way.
  const keeps = test.runIf(engine !== 'firefox')
  keeps(
    'invariant 3: was left between two tries of an exchange, and sends nothing that another tab has spent',
    async () => {
      const { server, page, other } = await two()
      const { backend } = server
      backend.fault('refresh', { status: 503, headers: { 'retry-after': '2' } })
      backend.expireAccessTokens()
      await page.evaluate(() => void lab.ask())
      await until('the first try', () => backend.count('refresh') === 1)
      const reasons = await leaveAndReturn(server, page, async () => {
        expect(await other.evaluate(() => lab.ask())).toBe('200')
      })
      expect(reasons).toEqual([])
      // What it held back has come to its end, too.
      await until('both got through', () => page.evaluate(() => (lab.counts['200'] ?? 0) >= 2))
      expect(backend.count('refresh')).toBe(2)
      expect(backend.reuseDetected).toBe(0)
    },
  )

  for (const [what, latency] of [
    ['that is about to be processed', { before: 400 }],
    ['that was processed', { after: 400 }],
  ] as const) {
    keeps(`was left in the middle of an exchange ${what}: nothing is sent as who has gone`, async () => {
      const { server, page, other } = await two()
      const { backend } = server
      backend.settings.latency = { refresh: latency }
      backend.expireAccessTokens()
      await page.evaluate(() => void lab.ask())
      await until('the exchange', () => backend.count('refresh') === 1)
      const reasons = await leaveAndReturn(server, page, async () => {
        await other.evaluate(() => lab.signIn('bob'))
        backend.clearLog()
        await pause(500)
      })
      expect(reasons).toEqual([])
      await until('it knows', async () => (await page.evaluate(() => lab.who())) === 'bob')
      await pause(500)
      const others = backend.log.filter(({ token, route }) => token?.sub === 'alice' && route !== 'logout')
      expect(others).toEqual([])
      expect(await page.evaluate(() => lab.ask())).toBe('200')
    })
  }
})
