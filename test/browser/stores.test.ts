/** The stores of a browser in real tabs, workers and frames, and what can befall what they stand on. */
import type { Frame, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Notice } from '../../src/types.ts'
import { type Context, contract, live, type Seen } from '../stores/contract.ts'
import type { Lab, StoreName } from './lab.ts'
import { labServer } from './server.ts'
import {
  bounded,
  engine,
  holdCells,
  inChromium,
  letGo,
  profile,
  signedIn,
  tab,
  until,
  useBrowser,
} from './support.ts'

useBrowser()

/** Where the lab runs: a page, or a frame of one. */
type Place = Page | Frame

async function opened(place: Place, name: StoreName, key?: string): Promise<Context> {
  const within = place as Page
  const store = await within.evaluate(([name, key]) => lab.open(name, key), [name, key] as const)
  return {
    read: () => within.evaluate((store) => lab.read(store), store),
    commit: (next, expected) =>
      within.evaluate(([store, next, expected]) => lab.commit(store, next, expected), [
        store,
        next,
        expected,
      ] as const),
    watch: () => within.evaluate((store) => lab.watch(store), store),
    unwatch: () => within.evaluate((store) => lab.unwatch(store), store),
    notices: () => within.evaluate((store) => lab.notices(store), store),
    contend: (rounds) =>
      within.evaluate(([store, rounds]) => lab.contend(store, rounds), [store, rounds] as const),
  }
}

type Kind = 'Worker' | 'SharedWorker' | 'ServiceWorker'
type Call = <T>(method: keyof Lab, ...args: unknown[]) => Promise<T>

/** The lab in a worker of a page, reached through messages, as an application reaches one. */
async function worker(page: Page, kind: Kind): Promise<Call> {
  await page.evaluate(async (kind) => {
    let post: (message: unknown, ports: MessagePort[]) => void
    if (kind === 'Worker') {
      const worker = new Worker('/lab.js')
      post = (message, ports) => worker.postMessage(message, ports)
    } else if (kind === 'SharedWorker') {
      const { port } = new SharedWorker('/lab.js')
      post = (message, ports) => port.postMessage(message, ports)
      port.start()
    } else {
      await navigator.serviceWorker.register('/lab.js')
      const { active } = await navigator.serviceWorker.ready
      post = (message, ports) => active?.postMessage(message, ports)
    }
    Object.assign(globalThis, {
      call: (method: string, args: unknown[]) =>
        new Promise((resolve, reject) => {
          const { port1, port2 } = new MessageChannel()
          port1.onmessage = ({ data }) =>
            'error' in data ? reject(new Error(data.error)) : resolve(data.value)
          post({ method, args }, [port2])
        }),
    })
  }, kind)
  return <T>(method: string, ...args: unknown[]) =>
    page.evaluate(
      ([method, args]) =>
        (globalThis as unknown as { call(method: string, args: unknown[]): Promise<T> }).call(method, args),
      [method, args] as const,
    ) as Promise<T>
}

async function inWorker(page: Page, kind: Kind, key?: string): Promise<Context> {
  const call = await worker(page, kind)
  const store = await call<number>('open', 'browserStore', key)
  return {
    read: () => call<Seen>('read', store),
    commit: (next, expected) => call<Seen>('commit', store, next, expected),
    watch: () => call<void>('watch', store),
    unwatch: () => call<void>('unwatch', store),
    notices: () => call<(Notice | null)[]>('notices', store),
    contend: (rounds) => call<number>('contend', store, rounds),
  }
}

/** What stands in a cell of the database, as it is written. */
const plantInDatabase = (page: Page, key: string, content: unknown): Promise<void> =>
  page.evaluate(
    ([key, content]) =>
      new Promise<void>((resolve, reject) => {
        const request = indexedDB.open('stayfresh')
        request.onsuccess = () => {
          const transaction = request.result.transaction('cells', 'readwrite')
          transaction.objectStore('cells').put(content, key)
          transaction.oncomplete = () => {
            request.result.close()
            resolve()
          }
          transaction.onabort = () => reject(transaction.error)
        }
      }),
    [key, content] as const,
  )

/** Fills what is left of the storage of a tab, in earnest. */
async function fillTab(page: Page): Promise<() => Promise<void>> {
  await page.evaluate(() => {
    for (let length = 4_000_000; length >= 1; length = Math.floor(length / 2)) {
      for (let index = 0; index < 10; index++) {
        try {
          sessionStorage.setItem(`${length}-${index}`, 'x'.repeat(length))
        } catch {
          break
        }
      }
    }
  })
  return () =>
    page.evaluate(() => {
      for (const item of Object.keys(sessionStorage)) if (/^\d/.test(item)) sessionStorage.removeItem(item)
    })
}

/** Pages for all tests of a contract; each test takes keys of its own. */
interface Rooms {
  page: Page
  other: Page
  frame: Frame
  denied: Page
  room: Awaited<ReturnType<typeof bounded>> | undefined
}

let rooms: Rooms
let used = 0

beforeAll(async () => {
  const server = await labServer({}, afterAll)
  const context = await profile({}, afterAll)
  const page = await tab(context, server)
  const room = inChromium ? await bounded(page, server) : undefined
  await page.evaluate(
    (url) =>
      new Promise<void>((resolve) => {
        const frame = document.createElement('iframe')
        frame.onload = () => resolve()
        frame.src = url
        document.body.append(frame)
      }),
    server.url,
  )
  const denied = await context.newPage()
  await denied.goto(`${server.url}denied`)
  rooms = { page, other: await tab(context, server), frame: page.frames()[1] as Frame, denied, room }
})

contract('browserStore', async () => {
  const { page, other, frame, denied, room } = rooms
  const prefix = `session ${++used}`
  let count = 0
  const plant = (content: unknown): Promise<void> => plantInDatabase(page, prefix, content)
  return {
    // A tab, a worker of another one, a frame.
    open(key = '') {
      const turn = count++ % 3
      if (turn === 1) return inWorker(other, 'Worker', prefix + key)
      return opened(turn ? frame : page, 'browserStore', prefix + key)
    },
    plant: {
      foreign: () => plant({ accessToken: 'of another library' }),
      damaged: () => plant({ format: 1, record: 'half a rec' }),
      older: () => plant({ format: 0, record: live('1') }),
    },
    reported: () => page.evaluate(() => lab.reported.length),
    denied: () => opened(denied, 'browserStore', prefix),
    fill: async () => {
      await room?.fill()
      return async () => room?.makeRoom()
    },
  }
  // How much an origin may keep is Chromium's to say.
}, ['plant', 'denied', ...(inChromium ? (['fill'] as const) : [])])

contract('tabStore', async () => {
  const { page, frame, denied } = rooms
  const prefix = `session ${++used}`
  let count = 0
  const plant = (text: string): Promise<void> =>
    page.evaluate(([key, text]) => sessionStorage.setItem(`stayfresh:${key}`, text), [prefix, text] as const)
  return {
    // What shares a tab: its page, twice, and a frame.
    open: (key = '') => opened(count++ === 1 ? frame : page, 'tabStore', prefix + key),
    plant: {
      foreign: () => plant('{"accessToken":"of another library"}'),
      damaged: () => plant('{"format":1,"reco'),
      older: () => plant(JSON.stringify({ format: 0, tab: 'x', record: live('1') })),
    },
    reported: () => page.evaluate(() => lab.reported.length),
    denied: () => opened(denied, 'tabStore', prefix),
    fill: () => fillTab(page),
  }
}, ['plant', 'denied', 'fill'])

test('tabStore: a reload finds the session though sessionStorage has been filled since', async () => {
  const page = await tab(await profile(), await labServer())
  const before = await opened(page, 'tabStore')
  await before.commit(live('1'), null)
  await fillTab(page)
  await page.reload()
  const after = await opened(page, 'tabStore')
  expect((await after.read()).record?.revision).toBe('1')
  expect((await after.commit(live('2'), '1')).record?.revision).toBe('2')
})

test('tabStore: a tab that is killed in the middle of a commit has what stood there before, or what comes', async () => {
  const page = await tab(await profile(), await labServer())
  const store = await opened(page, 'tabStore')
  await store.commit(live('1'), null)
  await page.evaluate(() => {
    const between: boolean[] = []
    for (const method of ['setItem', 'removeItem'] as const) {
      const real = Storage.prototype[method] as (...args: string[]) => void
      Storage.prototype[method] = function (this: Storage, ...args: string[]) {
        real.apply(this, args)
        between.push(this.getItem('stayfresh:session')?.includes('"refreshToken"') === true)
      }
    }
    Object.assign(globalThis, { between })
  })
  await store.commit(live('2', { version: 2 }), '1')
  expect(await page.evaluate(() => (globalThis as unknown as { between: boolean[] }).between)).toEqual([true])
})

test('invariant 10: tabStore: what has no name for its tab counts as empty', async () => {
  const page = await tab(await profile(), await labServer())
  const planted = JSON.stringify({ format: 1, tab: {}, record: live('1') })
  await page.evaluate((text) => sessionStorage.setItem('stayfresh:session', text), planted)
  const store = await opened(page, 'tabStore')
  expect((await store.read()).record).toBeNull()
  expect((await store.commit(live('2'), null)).record?.revision).toBe('2')
})

test('a page that is left while it reads, and may come back, keeps nobody out', async () => {
  const server = await labServer()
  const context = await profile()
  await (await opened(await tab(context, server), 'browserStore')).commit(live('1'), null)
  for (let round = 0; round < 8; round++) {
    const page = await tab(context, server)
    await page.evaluate((wait) => {
      const store = lab.open('browserStore')
      const read = (): void => void lab.read(store).then(read)
      read()
      setTimeout(() => {
        location.href = '/elsewhere'
      }, wait)
    }, 10 + round)
    await page.waitForURL('**/elsewhere')
    const beside = await tab(context, server)
    const store = await opened(beside, 'browserStore')
    const start = performance.now()
    expect((await store.read()).record?.revision).toBe('1')
    expect(performance.now() - start).toBeLessThan(2500)
    await beside.close()
  }
})

test('a page that is left gives up the transaction it has under way, and tries again when it is back', async () => {
  const page = await tab(await profile(), await labServer())
  const store = await opened(page, 'browserStore')
  await store.commit(live('1'), null)
  await page.evaluate(() => {
    const { transaction } = IDBDatabase.prototype
    const seen: string[] = []
    Object.assign(globalThis, { seen })
    IDBDatabase.prototype.transaction = function (...args) {
      const one = transaction.apply(this, args)
      one.addEventListener('abort', () => seen.push('abort'))
      one.addEventListener('complete', () => seen.push('complete'))
      // Left before anything could be read: WebKit would keep the others out for as long as it keeps the page.
      if (seen.length < 2) queueMicrotask(() => dispatchEvent(new PageTransitionEvent('pagehide')))
      return one
    }
  })
  const seen = (): Promise<string[]> => page.evaluate(() => (globalThis as { seen?: string[] }).seen ?? [])
  expect((await store.commit(live('2'), '1')).record?.revision).toBe('2')
  // Twice, which is no failure of the store’s.
  expect(await seen()).toEqual(['abort', 'abort', 'complete'])
})

test('who waits for a transaction that nobody ends goes on in memory, and looks again when it has ended', async () => {
  const server = await labServer()
  const context = await profile()
  const { tabs } = await signedIn(1, {}, server, context)
  const [holds] = tabs as [Page]
  await holds.evaluate(holdCells)
  const waits = await tab(context, server)
  const start = performance.now()
  await waits.evaluate(() => lab.start())
  expect(performance.now() - start).toBeLessThan(6000)
  expect(await waits.evaluate(() => [lab.who(), ...lab.events()])).toEqual([null, 'storeUnavailable read'])
  await holds.evaluate(letGo)
  await until('it knows who it is', async () => (await waits.evaluate(() => lab.who())) === 'alice')
  expect(await waits.evaluate(() => lab.ask())).toBe('200')
})

test('what a page has decided to write is written though it is left in that moment', async () => {
  const page = await tab(await profile(), await labServer())
  const store = await opened(page, 'browserStore')
  await page.evaluate(() => {
    const { commit } = IDBTransaction.prototype
    const seen: string[] = []
    Object.assign(globalThis, { seen })
    IDBTransaction.prototype.commit = function () {
      this.addEventListener('abort', () => seen.push('abort'))
      this.addEventListener('complete', () => seen.push('complete'))
      commit.call(this)
      dispatchEvent(new PageTransitionEvent('pagehide'))
    }
  })
  expect((await store.commit(live('1'), null)).record?.revision).toBe('1')
  expect(await page.evaluate(() => (globalThis as { seen?: string[] }).seen)).toEqual(['complete'])
})

test('a page, a Worker, a SharedWorker and a Service Worker share one cell', async () => {
  const server = await labServer()
  const context = await profile()
  const contexts = [await opened(await tab(context, server), 'browserStore')]
  for (const kind of ['Worker', 'SharedWorker', 'ServiceWorker'] as const) {
    contexts.push(await inWorker(await tab(context, server), kind))
  }
  for (const one of contexts) await one.watch()
  await Promise.all(contexts.map((one) => one.contend(5)))
  for (const one of contexts) {
    expect((await one.read()).record?.version).toBe(20)
    await until('each is told of every change', async () => (await one.notices()).length === 20)
  }
})

test('invariants 1 and 5: a page, a Worker, a SharedWorker and a Service Worker share one session', async () => {
  const { server, context, tabs } = await signedIn(1)
  const [page] = tabs as [Page]
  const calls: Call[] = []
  for (const kind of ['Worker', 'SharedWorker', 'ServiceWorker'] as const) {
    const call = await worker(await tab(context, server), kind)
    await call('start', {})
    calls.push(call)
  }
  const all = <T>(method: keyof Lab): Promise<T[]> =>
    Promise.all([
      page.evaluate((method) => (lab[method] as () => T)(), method),
      ...calls.map((call) => call<T>(method)),
    ])
  const agreed = (user: string | null): Promise<void> =>
    until(`all know ${user}`, async () => (await all('who')).every((who) => who === user))

  await agreed('alice')
  server.backend.expireAccessTokens()
  expect(await all('ask')).toEqual(['200', '200', '200', '200'])
  expect(server.backend.count('refresh')).toBe(1)
  await calls[1]?.('signIn', 'bob')
  await agreed('bob')
  await calls[2]?.('logout')
  await agreed(null)
  expect(await page.evaluate(() => lab.events().slice(-3))).toEqual([
    'loggedOut replaced elsewhere',
    'loggedIn login elsewhere',
    'loggedOut logout elsewhere',
  ])
})

test.each(['Worker', 'SharedWorker'] as const)(
  'invariant 5: a %s hears of a logout whose page is left in its tick',
  async (kind) => {
    const server = await labServer()
    server.backend.fault('logout', 'drop', { times: Infinity })
    const context = await profile()
    const call = await worker(await tab(context, server), kind)
    await call('start', {})
    const knows = (who: string | null): Promise<void> =>
      until(`it knows ${who}`, async () => (await call('who')) === who)
    for (const _ of [1, 2, 3]) {
      const page = await tab(context, server, {})
      await page.evaluate(() => lab.signIn())
      await knows('alice')
      await page.evaluate(() => addEventListener('pagehide', () => void lab.logout()))
      // Of what a tab says as it is closed Firefox may lose all: messages, localStorage, requests.
      if (engine === 'firefox') await page.goto(`${server.origin}/elsewhere`)
      await page.close()
      await knows(null)
    }
  },
)
