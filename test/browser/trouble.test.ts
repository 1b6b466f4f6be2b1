/** What befalls a client in a browser: storage that fails, networks that break off, clocks that jump, hot reloads. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type BrowserContext, chromium, type Page } from 'playwright-core'
import { beforeAll, describe, expect, test } from 'vitest'
import { chromiumArgs, findChromium } from '../chromium.ts'
import { pause } from '../common.ts'
import { labServer } from './server.ts'
import {
  bounded,
  each,
  expectOneExchangePerVersion,
  profile,
  signedIn,
  tab,
  until,
  useBrowser,
} from './support.ts'

useBrowser()

const told = (page: Page): Promise<string[]> =>
  page.evaluate(() => lab.told.map(({ type, reason }) => `${type} ${reason}`))

const outages = async (page: Page): Promise<string[]> =>
  (await told(page)).filter((line) => line.startsWith('storeUnavailable'))

describe('IndexedDB that', () => {
  test('is refused: one event, and the session lives in memory', async () => {
    const server = await labServer()
    const context = await profile()
    await context.addInitScript(() => {
      IDBFactory.prototype.open = () => {
        throw new DOMException('The operation is insecure', 'SecurityError')
      }
    })
    const page = await tab(context, server, {})
    expect(await page.evaluate(() => lab.who())).toBe(null)
    expect(await told(page)).toEqual(['storeUnavailable read'])
    await page.evaluate(() => lab.signIn())
    expect(await page.evaluate(() => lab.ask())).toBe('200')
    server.backend.expireAccessTokens()
    expect(await page.evaluate(() => lab.ask())).toBe('200')
    await page.evaluate(() => lab.auth.logout())
    expect(await page.evaluate(() => lab.who())).toBe(null)
    expect(await outages(page)).toEqual(['storeUnavailable read'])
  })

  test('is full before a login: one event, and the session lives in memory, refreshed as ever', async () => {
    const server = await labServer()
    const page = await tab(await profile(), server)
    const room = await bounded(page, server)
    await room.fill()
    await page.evaluate(() => lab.start())
    await page.evaluate(() => lab.signIn())
    expect(await page.evaluate(() => lab.ask())).toBe('200')
    server.backend.expireAccessTokens()
    expect(await page.evaluate(() => lab.ask())).toBe('200')
    expect(await page.evaluate(() => lab.auth.session?.version)).toBe(2)
    expect(await outages(page)).toHaveLength(1)
    await page.evaluate(() => lab.logout())
    await page.reload()
    await page.evaluate(() => lab.start())
    expect(await page.evaluate(() => lab.who())).toBe(null)
  })

  test('is full later: the session of a tab alone lives in memory, and is stored again when there is room', async () => {
    const server = await labServer()
    const context = await profile()
    const page = await tab(context, server)
    const room = await bounded(page, server)
    await page.evaluate(() => lab.start())
    await page.evaluate(() => lab.signIn())
    await room.fill()
    for (const version of [2, 3]) {
      server.backend.expireAccessTokens()
      expect(await page.evaluate(() => lab.ask())).toBe('200')
      expect(await page.evaluate(() => lab.auth.session?.version)).toBe(version)
    }
    expect(await outages(page)).toEqual(['storeUnavailable commit'])
    await room.makeRoom()
    await page.evaluate(() => lab.auth.refresh())
    const other = await tab(context, server, {})
    expect(await other.evaluate(() => [lab.who(), lab.auth.session?.version])).toEqual(['alice', 4])
    expectOneExchangePerVersion(server.backend, 3)
    expect(await told(page)).not.toContain('loggedOut storage_cleared')
  })

  test('is full as the user signs out: no token is left in it', async () => {
    const server = await labServer()
    const page = await tab(await profile(), server)
    const room = await bounded(page, server)
    await page.evaluate(() => lab.start())
    await page.evaluate(() => lab.signIn())
    await room.fill()
    await page.evaluate(() => lab.logout())
    const store = await page.evaluate(() => lab.open('browserStore'))
    const { record } = await page.evaluate((index) => lab.read(index), store)
    expect(record).toBeNull()
  })

  test('is full with two tabs: nothing is spent by either until there is room, and both stay signed in', async () => {
    const server = await labServer()
    const context = await profile()
    const page = await tab(context, server)
    const room = await bounded(page, server)
    await page.evaluate(() => lab.start())
    await page.evaluate(() => lab.signIn())
    const other = await tab(context, server, {})
    await room.fill()
    server.backend.expireAccessTokens()
    const both = [page, other]
    expect(await each(both, () => lab.ask())).toEqual(['refresh_unavailable', 'refresh_unavailable'])
    expect(server.backend.count('refresh')).toBe(0)
    for (const one of both) expect(await outages(one)).toEqual(['storeUnavailable commit'])
    await room.makeRoom()
    expect(await each(both, () => lab.ask())).toEqual(['200', '200'])
    expectOneExchangePerVersion(server.backend, 1)
    expect(await each(both, () => lab.who())).toEqual(['alice', 'alice'])
  })

  /** A tab that finds the session of another one blocked, and what frees it. */
  async function blocked() {
    const { server, context, tabs } = await signedIn(1)
    await tabs[0]?.close()
    const blocks = await tab(context, server)
    await blocks.evaluate(
      () =>
        new Promise<void>((resolve) => {
          // Of a program that does not heed `versionchange`, before one that wants another version.
          const request = indexedDB.open('stayfresh')
          request.onsuccess = () => {
            Object.assign(globalThis, { held: request.result })
            const next = indexedDB.open('stayfresh', request.result.version + 1)
            next.onsuccess = () => next.result.close()
            next.onblocked = () => resolve()
          }
        }),
    )
    const page = await tab(context, server, {})
    expect(await outages(page)).toEqual(['storeUnavailable read'])
    expect(await page.evaluate(() => lab.who())).toBe(null)
    const free = (): Promise<void> =>
      blocks.evaluate(() => (globalThis as unknown as { held: IDBDatabase }).held.close())
    return { server, context, page, free }
  }

  test('is blocked by an older connection: memory for the while, and the stored session once it is free', async () => {
    const { page, free } = await blocked()
    await free()
    await until('the session is found', async () => (await page.evaluate(() => lab.who())) === 'alice')
    expect(await page.evaluate(() => lab.ask())).toBe('200')
  })

  test('invariant 5: is blocked while the user signs out: the stored session has ended once it is free', async () => {
    const { server, context, page, free } = await blocked()
    await page.evaluate(() => lab.logout())
    await free()
    const stands = (): Promise<boolean> =>
      page.evaluate(async () => 'ended' in Object((await lab.read(lab.open('browserStore'))).record))
    await until('its tombstone stands', stands)
    const next = await tab(context, server, {})
    expect(await next.evaluate(() => lab.who())).toBe(null)
    expect(await told(page)).not.toContain('loggedIn login')
  })

  test('is closed under us: it is opened again', async () => {
    const { server, tabs } = await signedIn(1)
    const [page] = tabs as [Page]
    await page.evaluate(() => {
      const { transaction } = IDBDatabase.prototype
      let count = 0
      IDBDatabase.prototype.transaction = function (...args) {
        if (count++ % 2 === 0) this.close()
        return transaction.apply(this, args)
      }
    })
    server.backend.expireAccessTokens()
    expect(await page.evaluate(() => lab.ask())).toBe('200')
    expect(await page.evaluate(() => lab.auth.session?.version)).toBe(2)
    expect(await outages(page)).toEqual([])
  })

  test.each(['UnknownError', 'AbortError'])(
    'fails once as a page opens it (%s): it is opened again, and the session is there',
    async (name) => {
      const { server, context } = await signedIn(1)
      await context.addInitScript((given) => {
        const { open } = IDBFactory.prototype
        IDBFactory.prototype.open = () => {
          Object.assign(IDBFactory.prototype, { open })
          throw new DOMException('The connection to the database was lost', given)
        }
      }, name)
      const page = await tab(context, server, {})
      expect(await page.evaluate(() => lab.who())).toBe('alice')
      expect(await outages(page)).toEqual([])
    },
  )

  test('fails after it was there: the session lives, nothing is spent, and it is one again later', async () => {
    const { server, tabs } = await signedIn(2)
    const [page, other] = tabs as [Page, Page]
    await page.evaluate(() => {
      const { open } = IDBFactory.prototype
      IDBFactory.prototype.open = () => {
        throw new DOMException('Internal error', 'UnknownError')
      }
      Object.assign(globalThis, { mend: () => Object.assign(IDBFactory.prototype, { open }) })
    })
    expect(await page.evaluate(() => lab.ask())).toBe('200')
    server.backend.expireAccessTokens()
    expect(await page.evaluate(() => lab.ask())).toBe('refresh_unavailable')
    expect(await page.evaluate(() => lab.who())).toBe('alice')
    expect(await outages(page)).toHaveLength(1)
    expect(server.backend.count('refresh')).toBe(0)
    expect(await other.evaluate(() => lab.ask())).toBe('200')
    await page.evaluate(() => (globalThis as unknown as { mend(): void }).mend())
    expect(await page.evaluate(() => lab.ask())).toBe('200')
    expect(server.backend.count('refresh')).toBe(1)
  })

  test('was cleared by the user: the session has ended, in every tab', async () => {
    const { server, context, tabs } = await signedIn(2)
    const [page, other] = tabs as [Page, Page]
    const session = await context.newCDPSession(page)
    await session.send('Storage.clearDataForOrigin', { origin: server.origin, storageTypes: 'indexeddb' })
    server.backend.expireAccessTokens()
    await page.evaluate(() => lab.ask())
    expect(await told(page)).toContain('loggedOut storage_cleared')
    await other.evaluate(() => lab.ask())
    expect(await told(other)).toContain('loggedOut storage_cleared')
    expect(server.backend.count('refresh')).toBe(0)
  })

  test('holds a database of another program by that name: both are there', async () => {
    const server = await labServer()
    const context = await profile()
    const page = await tab(context, server)
    await page.evaluate(
      () =>
        new Promise<void>((resolve) => {
          const request = indexedDB.open('stayfresh', 7)
          request.onupgradeneeded = () => request.result.createObjectStore('theirs')
          request.onsuccess = () => {
            request.result.close()
            resolve()
          }
        }),
    )
    await page.evaluate(() => lab.start())
    await page.evaluate(() => lab.signIn())
    expect(await outages(page)).toEqual([])
    const again = await tab(context, server, {})
    expect(await again.evaluate(() => lab.who())).toBe('alice')
  })
})

describe('storage that is blocked together with cookies', () => {
  let blocked: BrowserContext
  beforeAll(async () => {
    const directory = await mkdtemp(join(tmpdir(), 'stayfresh-'))
    await mkdir(join(directory, 'Default'))
    // What "block all cookies" in Chromium's settings writes.
    const preferences = { profile: { default_content_setting_values: { cookies: 2 } } }
    await writeFile(join(directory, 'Default/Preferences'), JSON.stringify(preferences))
    blocked = await chromium.launchPersistentContext(directory, {
      executablePath: findChromium(),
      args: [...chromiumArgs, '--disable-gpu'],
    })
    return async () => {
      await blocked.close()
      await rm(directory, { recursive: true, force: true, maxRetries: 5 })
    }
  })

  for (const store of ['browserStore', 'tabStore'] as const) {
    test(`${store} says so once, and the session lives in memory`, async () => {
      const server = await labServer()
      const page = await tab(blocked, server)
      expect(
        await page.evaluate(() => {
          try {
            return sessionStorage.length
          } catch (error) {
            return (error as Error).name
          }
        }),
      ).toBe('SecurityError')
      await page.evaluate((store) => lab.start({ store }), store)
      expect(await page.evaluate(() => lab.who())).toBe(null)
      await page.evaluate(() => lab.signIn())
      server.backend.expireAccessTokens()
      expect(await page.evaluate(() => lab.ask())).toBe('200')
      await page.evaluate(() => lab.logout())
      expect(await page.evaluate(() => [lab.who(), lab.events(), lab.reported])).toEqual([
        null,
        ['storeUnavailable read', 'loggedIn login', 'tokenRefreshed rejected', 'loggedOut logout'],
        [],
      ])
    })
  }
})

describe('the network', () => {
  test('invariant 4: is cut in the middle of a refresh: the session lives, and the next call works', async () => {
    // What the server made of it is not known: it has to bear a second try.
    const { server, context, tabs } = await signedIn(2, {}, await labServer({ reuseGrace: 60_000 }))
    const { backend } = server
    const [page, other] = tabs as [Page, Page]
    const session = await context.newCDPSession(page)
    const network = { latency: 0, downloadThroughput: -1, uploadThroughput: -1 }
    for (const latency of [{ before: 500 }, { after: 500 }]) {
      const before = backend.count('refresh')
      backend.settings.latency = { refresh: latency }
      backend.expireAccessTokens()
      const asked = page.evaluate(() => lab.ask())
      await until('the exchange', () => backend.count('refresh') === before + 1)
      await session.send('Network.emulateNetworkConditions', { offline: true, ...network })
      const got = await asked
      // Whether what is under way goes too is up to the browser.
      expect(['refresh_unavailable', 'TypeError: Failed to fetch', '200']).toContain(got)
      await session.send('Network.emulateNetworkConditions', { offline: false, ...network })
      await until('it works', async () => (await page.evaluate(() => lab.ask())) === '200')
      await until('it works', async () => (await other.evaluate(() => lab.ask())) === '200')
    }
    expect(await told(page)).not.toContain('loggedOut')
    expect(backend.sessionAlive('alice')).toBe(true)
  })

  test('is slow: nobody is asked twice', async () => {
    const { server, context, tabs } = await signedIn(2)
    for (const page of tabs) {
      const session = await context.newCDPSession(page)
      const slow = { offline: false, latency: 400, downloadThroughput: 5000, uploadThroughput: 5000 }
      await session.send('Network.emulateNetworkConditions', slow)
    }
    server.backend.expireAccessTokens()
    const got = await Promise.all(tabs.map((page) => page.evaluate(() => lab.ask())))
    expect(got).toEqual(['200', '200'])
    expect(server.backend.count('refresh')).toBe(1)
  })
})

describe('invariant 12: the clock', () => {
  const jump = (page: Page, by: number): Promise<void> =>
    page.evaluate((by) => {
      const { now } = Date
      Date.now = () => now() + by
    }, by)

  test('jumps by an hour of sleep: the next call works, in every tab', async () => {
    const { server, tabs } = await signedIn(2)
    server.backend.advance(3_600_000)
    for (const page of tabs) await jump(page, 3_600_000)
    const got = await Promise.all(tabs.map((page) => page.evaluate(() => lab.ask())))
    expect(got).toEqual(['200', '200'])
    expect(server.backend.count('refresh')).toBe(1)
  })

  test.each([3_600_000, -3_600_000])(
    'of one tab is moved by %d ms: calls work there and elsewhere',
    async (by) => {
      const { server, tabs } = await signedIn(2)
      const [page, other] = tabs as [Page, Page]
      await jump(page, by)
      for (const one of [page, other, page]) expect(await one.evaluate(() => lab.ask())).toBe('200')
      for (const one of [page, other, page]) {
        server.backend.expireAccessTokens()
        expect(await one.evaluate(() => lab.ask())).toBe('200')
        const versions = (): Promise<(number | undefined)[]> => each(tabs, () => lab.auth.session?.version)
        await until('both know', async () => new Set(await versions()).size === 1)
      }
      // And one where the token had run out by the clock.
      expect(server.backend.count('refresh')).toBeLessThanOrEqual(4)
    },
  )
})

describe('a client that is made again and again', () => {
  for (const store of ['browserStore', 'tabStore'] as const) {
    test(`in one tick, on ${store}: nothing hangs, nothing leaks, nobody is signed out`, async () => {
      const { server, tabs } = await signedIn(1, { store })
      const [page] = tabs as [Page]
      await page.evaluate((store) => {
        const open = new Set<BroadcastChannel>()
        const listeners = new Set<unknown>()
        const { BroadcastChannel: Real, addEventListener: add, removeEventListener: remove } = globalThis
        globalThis.BroadcastChannel = class extends Real {
          constructor(name: string) {
            super(name)
            open.add(this)
          }
          override close(): void {
            super.close()
            open.delete(this)
          }
        }
        globalThis.addEventListener = (...args: unknown[]) => {
          listeners.add(args[1])
          const [, listener, options] = args as [string, unknown, AddEventListenerOptions | undefined]
          options?.signal?.addEventListener('abort', () => listeners.delete(listener))
          add(...(args as Parameters<typeof add>))
        }
        globalThis.removeEventListener = (...args: unknown[]) => {
          listeners.delete(args[1])
          remove(...(args as Parameters<typeof remove>))
        }
        lab.auth.dispose()
        const gone: string[] = []
        for (let count = 0; count < 100; count++) {
          const first = lab.create(store)
          first.fetch('protected').catch(({ code }) => gone.push(code))
          first.dispose()
          lab.create(store).dispose()
        }
        // The one that stays is made, and used, in the very same tick.
        lab.auth = lab.create(store)
        const got = lab.ask()
        Object.assign(globalThis, { open, listeners, gone, got })
      }, store)
      expect(await page.evaluate(() => (globalThis as unknown as { got: Promise<string> }).got)).toBe('200')
      const gone = await page.evaluate(() => (globalThis as unknown as { gone: string[] }).gone)
      expect(gone).toEqual(new Array(100).fill('disposed'))
      await page.evaluate(() => lab.auth.dispose())
      const left = (): Promise<[number, number, number]> =>
        page.evaluate(async () => {
          const { open, listeners } = globalThis as unknown as Record<string, Set<unknown>>
          const { held = [], pending = [] } = await navigator.locks.query()
          return [open?.size ?? 0, listeners?.size ?? 0, held.length + pending.length]
        })
      await until('all is let go', async () => (await left()).every((count) => count === 0))
      await page.evaluate((store) => lab.start({ store }), store)
      expect(await page.evaluate(() => lab.who())).toBe('alice')
      server.backend.expireAccessTokens()
      expect(await page.evaluate(() => lab.ask())).toBe('200')
      expect(server.backend.count('refresh')).toBe(1)
    })
  }

  test('in the middle of an exchange, for good: it is finished and stored, and nothing is held any more', async () => {
    for (const store of ['browserStore', 'tabStore'] as const) {
      const { server, tabs } = await signedIn(1, { store })
      const [page] = tabs as [Page]
      server.backend.settings.latency = { refresh: 300 }
      server.backend.expireAccessTokens()
      await page.evaluate(() => void lab.ask())
      await until('the exchange', () => server.backend.count('refresh') === 1)
      await page.evaluate(() => lab.auth.dispose())
      const held = (): Promise<number> =>
        page.evaluate(async () => {
          const { held = [], pending = [] } = await navigator.locks.query()
          return held.length + pending.length
        })
      const stored = (): Promise<boolean> =>
        page.evaluate(async (store) => {
          if (store === 'tabStore')
            return sessionStorage.getItem('stayfresh:session')?.includes('"version":2')
          return (await lab.read(lab.open(store))).record?.version === 2
        }, store) as Promise<boolean>
      await until('it is stored', stored)
      await until('all is let go', async () => (await held()) === 0)
    }
  })

  test('in the middle of an exchange, by a hot reload: the exchange is finished and stored for the next', async () => {
    for (const store of ['browserStore', 'tabStore'] as const) {
      const { server, tabs } = await signedIn(1, { store })
      const { backend } = server
      const [page] = tabs as [Page]
      backend.settings.latency = { refresh: 300 }
      backend.expireAccessTokens()
      await page.evaluate(() => void lab.ask())
      await until('the exchange', () => backend.count('refresh') === 1)
      await page.evaluate(async (store) => {
        lab.auth.dispose()
        // The module anew, as a dev server would have it.
        const script = document.createElement('script')
        script.src = '/lab.js?again'
        await new Promise((resolve) => {
          script.onload = resolve
          document.head.append(script)
        })
        await lab.start({ store })
      }, store)
      expect(await page.evaluate(() => lab.ask())).toBe('200')
      await pause(300)
      expect(backend.count('refresh')).toBe(1)
      expect(backend.reuseDetected).toBe(0)
    }
  })
})

describe('tabStore', () => {
  const options = { store: 'tabStore' } as const

  test('keeps the session over a reload, also in the middle of an exchange', async () => {
    const { server, tabs } = await signedIn(1, options)
    const [page] = tabs as [Page]
    for (let count = 0; count < 3; count++) {
      await page.reload()
      await page.evaluate((options) => lab.start(options), options)
      expect(await page.evaluate(() => lab.who())).toBe('alice')
    }
    server.backend.fault('refresh', 'hang')
    server.backend.expireAccessTokens()
    await page.evaluate(() => void lab.ask())
    await until('the exchange', () => server.backend.count('refresh') === 1)
    await page.reload()
    await page.evaluate((options) => lab.start(options), options)
    const start = performance.now()
    expect(await page.evaluate(() => lab.ask())).toBe('200')
    // The claim of the page before would have stood for ten seconds.
    expect(performance.now() - start).toBeLessThan(3000)
  })

  for (const [what, { locks, channels }] of Object.entries({
    'a copied tab': { locks: true, channels: true },
    'a copied tab without navigator.locks': { locks: false, channels: true },
    'a copied tab whose original can not answer': { locks: true, channels: false },
  })) {
    test(`${what} starts signed out, and costs the original nothing`, async () => {
      const context = await profile({ locks })
      const { server, tabs } = await signedIn(1, options, undefined, context)
      const [page] = tabs as [Page]
      if (!channels) {
        await context.addInitScript(() => {
          BroadcastChannel.prototype.postMessage = () => {}
        })
      }
      const holds = (): Promise<boolean> =>
        page.evaluate(async () => (await navigator.locks.query()).held?.length === 1)
      if (locks) await until('the original holds its tab', holds)
      const opening = context.waitForEvent('page')
      await page.evaluate((url) => void window.open(url), server.url)
      const copy = await opening
      await copy.waitForFunction(() => globalThis.lab !== undefined)
      expect(await copy.evaluate(() => sessionStorage.getItem('stayfresh:session'))).not.toBe(null)
      await copy.evaluate((options) => lab.start(options), options)
      expect(await copy.evaluate(() => lab.who())).toBe(null)
      expect(await copy.evaluate(() => sessionStorage.length)).toBe(0)
      server.backend.expireAccessTokens()
      expect(await page.evaluate(() => lab.ask())).toBe('200')
      await copy.evaluate(() => lab.signIn('bob'))
      expect(await copy.evaluate(() => lab.ask())).toBe('200')
      expect(await page.evaluate(() => lab.who())).toBe('alice')
      await copy.reload()
      await copy.evaluate((options) => lab.start(options), options)
      expect(await copy.evaluate(() => lab.who())).toBe('bob')
    })
  }

  test('two pages of one tab take turns, through the back/forward cache too', async () => {
    const { server, tabs } = await signedIn(1, options)
    const [page] = tabs as [Page]
    await page.goto(`${server.url}?next`)
    await page.evaluate((options) => lab.start(options), options)
    expect(await page.evaluate(() => lab.who())).toBe('alice')
    server.backend.expireAccessTokens()
    expect(await page.evaluate(() => lab.ask())).toBe('200')
    await page.evaluate(() => void setTimeout(() => history.back(), 0))
    await until('it is back', () =>
      page.evaluate(() => lab.life.includes('pageshow persisted')).catch(() => false),
    )
    expect(await page.evaluate(() => lab.ask())).toBe('200')
    expect(await page.evaluate(() => lab.auth.session?.version)).toBe(2)
    expect(server.backend.count('refresh')).toBe(1)
  })
})
