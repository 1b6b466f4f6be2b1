/** A database that answers late: a disk that takes its time, a page that was away, others who keep it busy. */
import type { BrowserContext, Page } from 'playwright-core'
import { test as base, type TestContext } from 'vitest'
import { pause } from '../common.ts'
import { rawContext } from './cdp.ts'
import { type LabServer, labServer } from './server.ts'
import {
  bounded,
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

// Each has a server and a profile of its own, and waits most of the time.
const test = base.concurrent
const testInChromium = inChromium ? test : base.skip

async function world({
  onTestFinished,
}: TestContext): Promise<{ server: LabServer; context: BrowserContext }> {
  return { server: await labServer({}, onTestFinished), context: await profile({}, onTestFinished) }
}

const state = (page: Page): Promise<unknown[]> =>
  page.evaluate(() => [lab.who(), lab.auth.session?.version, ...lab.events()])

/** Runs in a page: from now on what it writes takes so long until it stands there. */
function slowDisk(ms: number, names: ('put' | 'delete')[] = ['put', 'delete']): void {
  for (const name of names) {
    const real = IDBObjectStore.prototype[name] as (...args: unknown[]) => IDBRequest
    IDBObjectStore.prototype[name] = function (this: IDBObjectStore, ...args: unknown[]): IDBRequest {
      const request = real.apply(this, args)
      const { transaction } = this
      const commit = transaction.commit.bind(transaction)
      const end = performance.now() + ms
      const hold = (): void => {
        if (performance.now() < end) this.get('nothing').onsuccess = hold
        else commit()
      }
      transaction.commit = () => {}
      hold()
      return request
    } as never
  }
}

test('another user’s login over a slow disk is one in the other tab, too, and no failure', async (context) => {
  const { expect } = context
  const here = await world(context)
  const { tabs } = await signedIn(2, {}, here.server, here.context)
  const [other, signing] = tabs as [Page, Page]
  await signing.evaluate(slowDisk, 4000)
  await signing.evaluate(() => lab.signIn('bob'))
  await until('the other tab is bob', async () => (await other.evaluate(() => lab.who())) === 'bob')
  expect(await state(signing)).not.toContain('storeUnavailable commit')
})

test('a re-authentication over a slow disk is one in the other tab, too', async (context) => {
  const here = await world(context)
  const { tabs } = await signedIn(2, {}, here.server, here.context)
  const [other, signing] = tabs as [Page, Page]
  await signing.evaluate(slowDisk, 4000)
  await signing.evaluate(() => lab.auth.reauthenticate({ username: 'alice', password: 'wonderland' }))
  const version = (): Promise<unknown> => other.evaluate(() => lab.auth.session?.version)
  await until('the other tab knows', async () => (await version()) === 2)
})

// How much an origin may keep is Chromium's to say.
testInChromium('full, and slow to remove what stands there: the session goes on', async (context) => {
  const { expect } = context
  const here = await world(context)
  const page = await tab(here.context, here.server)
  const room = await bounded(page, here.server)
  await page.evaluate(() => lab.start())
  await page.evaluate(() => lab.signIn())
  await room.fill()
  await page.evaluate(`(${slowDisk})(4000, ['delete'])`)
  here.server.backend.expireAccessTokens()
  expect(await page.evaluate(() => lab.ask())).toBe('200')
  const told = await state(page)
  expect(told.slice(0, 2)).toEqual(['alice', 2])
  expect(told.filter((line) => String(line).startsWith('loggedOut'))).toEqual([])
})

test('a database that is always late is looked at again in pauses that grow', async (context) => {
  const { expect } = context
  const here = await world(context)
  const { tabs } = await signedIn(2, {}, here.server, here.context)
  const [late, other] = tabs as [Page, Page]
  await late.evaluate(() => {
    const { transaction } = IDBDatabase.prototype
    const begun: number[] = []
    Object.assign(globalThis, { begun })
    IDBDatabase.prototype.transaction = function (...args) {
      const one = transaction.apply(this, args)
      begun.push(performance.now())
      const cells = one.objectStore('cells')
      const get = cells.get.bind(cells)
      const commit = one.commit.bind(one)
      const end = performance.now() + 3500
      one.objectStore = () => cells
      one.commit = () => {}
      cells.get = (key) => {
        const given = { onsuccess: (): void => {}, result: undefined as unknown }
        const hold = (): void => {
          const request = performance.now() < end ? get('nothing') : get(key)
          request.onsuccess = () => {
            if (performance.now() < end) return hold()
            given.result = request.result
            given.onsuccess()
            commit()
          }
        }
        hold()
        return given as never
      }
      return one
    }
  })
  await other.evaluate(() => lab.signIn('alice'))
  const begun = (): Promise<number> =>
    late.evaluate(() => (globalThis as unknown as { begun: number[] }).begun.length)
  await until('it is looked at again', async () => (await begun()) >= 2)
  const before = await begun()
  // In that time some six that follow each other; with pauses that grow, three.
  await pause(11_000)
  expect((await begun()) - before).toBeLessThanOrEqual(4)
})

test('what a client is only started with takes no place of a session that is found late', async (context) => {
  const { expect } = context
  const here = await world(context)
  const { tabs } = await signedIn(1, {}, here.server, here.context)
  const [first] = tabs as [Page]
  const started = await tab(here.context, here.server)
  const tokens = await here.server.backend.signIn('bob')
  await first.evaluate(holdCells)
  await started.evaluate((initial) => void lab.start({ initial } as never), tokens)
  const events = (): Promise<string[]> => started.evaluate(() => lab.events())
  await until('it went on alone', async () => (await events()).includes('loggedIn initial'))
  await started.evaluate(() => lab.auth.refresh())
  await first.evaluate(letGo)
  await until('it has found her', async () => (await started.evaluate(() => lab.who())) === 'alice')
  expect(await state(first)).toEqual(['alice', 1, 'loggedIn login'])
})

// Others keep the page, or don't, as they see fit.
testInChromium(
  'back from the back/forward cache, where it was in the midst of its first read, a page takes nobody for signed out',
  async (context) => {
    const { expect, onTestFinished } = context
    const server = await labServer({}, onTestFinished)
    const tabs = await rawContext({}, onTestFinished)
    const page = await tabs.open(server.url)
    await page.evaluate(async () => {
      await lab.start()
      await lab.signIn()
      lab.auth.dispose()
    })
    const beside = await tabs.open(server.url)
    await beside.evaluate(holdCells)
    await page.evaluate(() => void lab.start())
    await page.goto(`${server.origin}/elsewhere`)
    // Longer than a store is waited for.
    await pause(4000)
    await beside.evaluate(letGo)
    await page.evaluate(() => void setTimeout(() => history.back(), 0))
    await until('it is back', () => page.evaluate(() => lab.who() === 'alice').catch(() => false))
    expect(await page.evaluate(() => [...lab.life])).toContain('pageshow persisted')
    // It never was anything but signed in.
    expect(await page.evaluate(() => lab.events())).toEqual([])
  },
)
