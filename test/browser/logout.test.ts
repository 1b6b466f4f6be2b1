/** A logout is final, whatever comes in its tick: the page left, the storage cleared, a login, another tab that sees it first. */
import type { Page } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import { labServer } from './server.ts'
import { each, engine, inChromium, profile, signedIn, tab, until, useBrowser } from './support.ts'

useBrowser()

test.each<[string, (page: Page, url: string) => Promise<unknown>]>([
  [
    'another address',
    (page) =>
      page.evaluate(() => {
        void lab.logout()
        location.href = '/elsewhere'
      }),
  ],
  [
    'a reload',
    (page) =>
      page.evaluate(() => {
        void lab.logout()
        location.reload()
      }),
  ],
  [
    'the end of the tab',
    async (page) => {
      await page.evaluate(() => void lab.logout())
      await page.close()
    },
  ],
  [
    'a logout as the page is left',
    async (page, url) => {
      await page.evaluate(() => addEventListener('pagehide', () => void lab.logout()))
      await page.goto(`${url}elsewhere`)
    },
  ],
  [
    'a logout before the store was read',
    async (page) => {
      await page.reload()
      await page.evaluate(() => {
        void lab.start()
        void lab.logout()
        location.href = '/elsewhere'
      })
    },
  ],
])('invariant 5: a logout stays one, whatever comes in its very tick: %s', async (_, leave) => {
  const server = await labServer()
  // No request of a page that is left gets anywhere.
  server.backend.fault('logout', 'drop', { times: Infinity })
  const context = await profile()
  const back: unknown[] = []
  for (let round = 0; round < 2; round++) {
    const { tabs } = await signedIn(2, {}, server, context)
    const [page, beside] = tabs as [Page, Page]
    await until('both know', async () => (await each(tabs, () => lab.who())).join() === 'alice,alice')
    await leave(page, server.url).catch(() => {})
    const next = await tab(context, server, {})
    back.push(await next.evaluate(() => lab.who()))
    await until('the tab beside hears of it', async () => (await beside.evaluate(() => lab.who())) === null)
    // It ends that session, and no later one.
    await next.evaluate(() => lab.signIn())
    back.push(await next.evaluate(() => lab.who()))
    await next.reload()
    await next.evaluate(() => lab.start())
    back.push(await next.evaluate(() => lab.who()))
    await next.evaluate(() => lab.auth.logout())
    for (const one of context.pages()) await one.close()
  }
  expect(back).toEqual(Array.from({ length: 2 }, () => [null, 'alice', 'alice']).flat())
})

test('invariant 5: so it does if localStorage is cleared in that tick, too', async () => {
  const server = await labServer()
  server.backend.fault('logout', 'drop', { times: Infinity })
  const context = await profile()
  for (const when of ['before', 'as it is left', 'before', 'as it is left']) {
    const page = await tab(context, server, {})
    await page.evaluate(() => lab.signIn())
    await page.evaluate((before) => {
      const leave = (): void => {
        void lab.logout()
        localStorage.clear()
      }
      if (before) leave()
      else addEventListener('pagehide', leave)
      location.href = '/elsewhere'
    }, when === 'before')
    await page.waitForURL('**/elsewhere')
    const next = await tab(context, server, {})
    expect(await next.evaluate(() => lab.who())).toBe(null)
    for (const one of context.pages()) await one.close()
  }
})

test('invariant 5: so does one of a tab of its own, by whichever page of it', async () => {
  const server = await labServer()
  server.backend.fault('logout', 'drop', { times: Infinity })
  const page = await tab(await profile(), server)
  const start = (): Promise<void> => page.evaluate(() => lab.start({ store: 'tabStore' }))
  const reload = async (how?: 'logout' | 'logout as it is left'): Promise<void> => {
    const back = page.waitForEvent('load')
    await page.evaluate((how) => {
      if (how === 'logout') void lab.logout()
      else if (how) addEventListener('pagehide', () => void lab.logout())
      location.reload()
    }, how)
    await back
    await start()
  }
  await start()
  for (const how of ['logout', 'logout as it is left'] as const) {
    for (const written of ['here', 'by the page before']) {
      await page.evaluate(() => lab.signIn())
      if (written !== 'here') await reload()
      expect(await page.evaluate(() => lab.who())).toBe('alice')
      await reload(how)
      expect(await page.evaluate(() => lab.who())).toBe(null)
    }
  }
})

test('invariant 5: newer tokens that another client of the tab has stored are revoked by a logout', async () => {
  const server = await labServer()
  const page = await tab(await profile(), server, { store: 'tabStore' })
  await page.evaluate(() => lab.signIn())
  await page.evaluate(async () => {
    const other = lab.create('tabStore')
    await other.ready
    await other.refresh()
    await lab.logout()
  })
  await until('they are revoked', () => !server.backend.sessionAlive('alice'))
})

test('invariant 5: a logout before the store was read revokes what stands there, whoever else sees it first', async () => {
  for (const _ of [1, 2]) {
    const { server, context } = await signedIn(3)
    const page = await tab(context, server)
    await page.evaluate(async () => {
      void lab.start()
      await lab.logout()
    })
    await until('its tokens are revoked', () => !server.backend.sessionAlive('alice'))
    await context.close()
  }
})

describe('invariant 5: tokens that are newer than what a page knew of that signed out and was left', () => {
  /** A page signs out and is left, deaf to the refresh of the one beside it. */
  async function leftDeaf(revoke: boolean) {
    const { server, tabs, context } = await signedIn(2)
    const [page, beside] = tabs as [Page, Page]
    // What it sends itself as it is left may get out, or not; and what it asks of the database from then on dies with it.
    await page.route('**/logout', (route) => route.abort())
    await page.evaluate((revoke) => {
      setTimeout(() => {
        const late = performance.now() + 600
        while (performance.now() < late) {}
        IDBFactory.prototype.open = () => ({}) as never
        void lab.auth.logout({ revoke })
        location.href = '/elsewhere'
      })
    }, revoke)
    await beside.evaluate(() => lab.auth.refresh())
    await page.waitForURL('**/elsewhere')
    return { server, context, beside }
  }

  test.runIf(inChromium)('are revoked by the one who has them', async () => {
    const { server, beside } = await leftDeaf(true)
    await until('it hears of it', async () => (await beside.evaluate(() => lab.who())) === null)
    await until('they are revoked', () => !server.backend.sessionAlive('alice'))
  })

  test('are revoked by the one who comes next, where the page had not read the store', async () => {
    const { server, tabs, context } = await signedIn(1)
    const [page] = tabs as [Page]
    await page.reload()
    await page.evaluate(() => {
      void lab.start()
      void lab.logout()
      location.href = '/elsewhere'
    })
    await page.waitForURL('**/elsewhere')
    const next = await tab(context, server, {})
    expect(await next.evaluate(() => lab.who())).toBe(null)
    await until('they are revoked', () => !server.backend.sessionAlive('alice'))
  })

  test.runIf(inChromium)('live on after logout({ revoke: false })', async () => {
    const { server, beside } = await leftDeaf(false)
    await until('it hears of it', async () => (await beside.evaluate(() => lab.who())) === null)
    expect(server.backend.sessionAlive('alice')).toBe(true)
  })
})

test('invariant 5: a logout is kept for the next page of the tab, though localStorage is full', async () => {
  const server = await labServer()
  server.backend.fault('logout', 'drop', { times: Infinity })
  const page = await tab(await profile(), server, {})
  for (const _ of [1, 2]) {
    await page.evaluate(() => lab.signIn())
    await page.evaluate(() => {
      for (let size = 1 << 22; size; size >>= 1) {
        try {
          for (let count = 0; ; count++) localStorage.setItem(`filler ${size} ${count}`, 'x'.repeat(size))
        } catch {
          // Full, but for less than that.
        }
      }
      IDBFactory.prototype.open = () => ({}) as never
      void lab.logout()
      location.href = '/elsewhere'
    })
    await page.waitForURL('**/elsewhere')
    await page.goto(server.url)
    await page.evaluate(() => lab.start())
    expect(await page.evaluate(() => lab.who())).toBe(null)
    await page.evaluate(() => localStorage.clear())
  }
})

test.each([
  [1, 0],
  [2, 0],
  [2, 3_600_000],
])(
  'invariant 5: %i logouts in the tick that a page is left end it, the clock set back by %i ms',
  async (times, ahead) => {
    const server = await labServer()
    server.backend.fault('logout', 'drop', { times: Infinity })
    const context = await profile()
    const page = await tab(context, server, {})
    await page.evaluate(async (ahead) => {
      const real = Date.now
      Date.now = () => real() + ahead
      await lab.signIn()
      Date.now = real
    }, ahead)
    await page.reload()
    await page.evaluate(() => lab.start())
    expect(await page.evaluate(() => lab.who())).toBe('alice')
    await page.evaluate((times) => {
      IDBFactory.prototype.open = () => ({}) as never
      for (let count = 0; count < times; count++) void lab.logout()
      location.href = '/elsewhere'
    }, times)
    await page.waitForURL('**/elsewhere')
    const next = await tab(context, server, {})
    expect(await next.evaluate(() => lab.who())).toBe(null)
  },
)

test('invariants 5 and 6: two clients of a page, each with a tabStore() of its own, have one session', async () => {
  const server = await labServer()
  const page = await tab(await profile(), server, { store: 'tabStore' })
  await page.evaluate(() => lab.signIn())
  const got = await page.evaluate(async () => {
    const other = lab.create('tabStore')
    await other.ready
    const seen: unknown[] = [other.session?.subject]
    await lab.signIn('bob')
    seen.push((await (await other.fetch('protected')).json()).sub)
    await lab.auth.logout({ revoke: false })
    seen.push((await other.fetch('protected')).status, other.session)
    return seen
  })
  expect(got).toEqual(['alice', 'bob', 401, null])
})

// WebKit under its driver opens no second window.
test.runIf(engine !== 'webkit')(
  'invariant 5: a tab of its own is signed out by a logout before its store was read, but no other is by that of its copy',
  async () => {
    const server = await labServer()
    const page = await tab(await profile(), server, { store: 'tabStore' })
    await page.evaluate(() => lab.signIn())
    const opened = page.waitForEvent('popup')
    await page.evaluate(() => void open('/'))
    const copy = await opened
    await copy.waitForFunction(() => globalThis.lab)
    await copy.evaluate(() => {
      void lab.start({ store: 'tabStore' })
      return lab.logout()
    })
    expect(await page.evaluate(() => lab.ask())).toBe('200')
    await copy.close()
    await page.reload()
    await page.evaluate(() => {
      void lab.start({ store: 'tabStore' })
      void lab.logout()
      location.reload()
    })
    await page.waitForFunction(() => globalThis.lab && !lab.auth)
    await page.evaluate(() => lab.start({ store: 'tabStore' }))
    expect(await page.evaluate(() => lab.who())).toBe(null)
    // Where the page is not left its tokens are revoked, too.
    await page.evaluate(() => lab.signIn())
    await page.reload()
    await page.evaluate(() => {
      void lab.start({ store: 'tabStore' })
      return lab.logout()
    })
    await until('they are revoked', () => !server.backend.sessionAlive('alice'))
  },
)

// A driver waits for a page that is busy.
test.runIf(inChromium)(
  'invariant 5: a second logout, as the page is left, ends a login elsewhere that it had not heard of',
  async () => {
    const server = await labServer()
    server.backend.fault('logout', 'drop', { times: Infinity })
    const { tabs, context } = await signedIn(2, {}, server)
    const [page, beside] = tabs as [Page, Page]
    // The application clears localStorage a moment after the first.
    await page.evaluate(async () => {
      const done = lab.logout()
      setTimeout(() => localStorage.clear())
      await done
    })
    await until('both know', async () => (await beside.evaluate(() => lab.who())) === null)
    await page.evaluate(() => {
      setTimeout(() => {
        const late = performance.now() + 1500
        while (performance.now() < late) {}
        IDBFactory.prototype.open = () => ({}) as never
        void lab.logout()
        location.href = '/elsewhere'
      })
    })
    await beside.evaluate(() => lab.signIn('bob'))
    await page.waitForURL('**/elsewhere')
    const next = await tab(context, server, {})
    await until('it is over', async () => (await next.evaluate(() => lab.who())) === null)
  },
)

test('a tab of its own whose store was not read yet takes no token back by logout({ revoke: false })', async () => {
  const server = await labServer()
  const page = await tab(await profile(), server, { store: 'tabStore' })
  await page.evaluate(() => lab.signIn())
  await page.reload()
  await page.evaluate(() => {
    void lab.start({ store: 'tabStore' })
    return lab.auth.logout({ revoke: false })
  })
  expect(await page.evaluate(() => lab.who())).toBe(null)
  // What was to be sent has been sent before this.
  expect(await page.evaluate(() => lab.ask())).toBe('401')
  expect(server.backend.sessionAlive('alice')).toBe(true)
})

test('invariant 5: of a logout and a login in one tick the login stands, whatever the store has been heard of', async () => {
  const { server, tabs } = await signedIn(3)
  const [page] = tabs as [Page]
  for (const _ of [1, 2, 3]) {
    const tokens = await server.backend.signIn('bob')
    await page.reload()
    await page.evaluate(async () => {
      const ready = lab.start()
      // What the store answers is heard of late.
      const late = performance.now() + 40
      while (performance.now() < late) {}
      await ready
    })
    const who = page.evaluate(async (given) => {
      void lab.logout()
      await lab.auth.setTokens(given)
      return lab.who()
    }, tokens)
    expect(await who).toBe('bob')
    await until('all know', async () => (await each(tabs, () => lab.who())).every((one) => one === 'bob'))
    await page.evaluate(() => lab.signIn())
  }
})

test.runIf(inChromium)('a page that is not secure signs out for good, and in again', async () => {
  const server = await labServer()
  const context = await profile({ locks: false })
  await context.addInitScript(() => {
    Object.defineProperty(Crypto.prototype, 'randomUUID', { value: undefined })
  })
  const page = await tab(context, server, {})
  for (const _ of [1, 2]) {
    await page.evaluate(() => lab.signIn())
    await page.evaluate(() => {
      void lab.logout()
      location.reload()
    })
    await page.waitForFunction(() => globalThis.lab && !lab.auth)
    await page.evaluate(() => lab.start())
    expect(await page.evaluate(() => [lab.who(), ...lab.events()])).toEqual([null])
  }
})
