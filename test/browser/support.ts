/** What the browser tests share: contexts and tabs of the one Chromium, and what the server saw. */

import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core'
import type { Backend, IssuedToken } from 'stayfresh/testing'
import { afterAll, beforeAll, expect, inject, onTestFinished } from 'vitest'
import { pause } from '../common.ts'
import type { RawTab } from './cdp.ts'
import { newContext } from './elsewhere.ts'
import type { LabOptions } from './lab.ts'
import { type LabServer, labServer } from './server.ts'

let browser: Browser | undefined

export const engine = inject('engine')
/** Some of what befalls a page only Chromium's own protocol can bring about. */
export const inChromium = engine === 'chromium'

/** To be called at the top of a test file. */
export function useBrowser(): void {
  beforeAll(async () => {
    if (inChromium) browser = await chromium.connect(inject('chromium').endpoint)
  })
  afterAll(() => browser?.close())
}

export interface ProfileOptions {
  /** Whether its pages have `navigator.locks`. */
  locks?: boolean
}

/** Runs in a page before anything else of it does. */
export function withoutLocks(): void {
  Object.defineProperty(Navigator.prototype, 'locks', { value: undefined })
}

/** A profile of its own, until its test is over: nothing is shared with another one. */
export async function profile(
  { locks = true }: ProfileOptions = {},
  over: (close: () => Promise<void>) => void = onTestFinished,
): Promise<BrowserContext> {
  const context =
    engine === 'chromium'
      ? await (browser as Browser).newContext()
      : await newContext(engine, inject('display'))
  over(() => context.close())
  if (!locks) await context.addInitScript(withoutLocks)
  return context
}

/** A tab with the lab in it; with options also a client. */
export async function tab(context: BrowserContext, { url }: LabServer, options?: LabOptions): Promise<Page> {
  const page = await context.newPage()
  await page.goto(url)
  if (options) await page.evaluate((given) => lab.start(given), options)
  return page
}

/** A session in some tabs of one profile, the first of which signed in. */
export async function signedIn(
  count: number,
  options: LabOptions = {},
  server?: LabServer,
  context?: BrowserContext,
): Promise<{ server: LabServer; context: BrowserContext; tabs: Page[] }> {
  const where = server ?? (await labServer())
  const within = context ?? (await profile())
  const first = await tab(within, where, options)
  await first.evaluate(() => lab.signIn())
  const others = Array.from({ length: count - 1 }, () => tab(within, where, options))
  return { server: where, context: within, tabs: [first, ...(await Promise.all(others))] }
}

export const each = <T>(pages: readonly (Page | RawTab)[], run: () => T): Promise<Awaited<T>[]> =>
  Promise.all((pages as readonly RawTab[]).map((page) => page.evaluate(run)))

/** What all callers got, added up. */
export function sum(counts: readonly Record<string, number>[]): Record<string, number> {
  const total: Record<string, number> = {}
  for (const one of counts) {
    for (const [got, times] of Object.entries(one)) total[got] = (total[got] ?? 0) + times
  }
  return total
}

/** The refresh tokens given out since the last login, and how often each came back. */
export function spending({ families, uses }: Backend): { token: IssuedToken; times: number }[] {
  const tokens = families().at(-1)?.tokens ?? []
  return tokens.filter(({ kind }) => kind === 'refresh').map((token) => ({ token, times: uses(token.jti) }))
}

/**
 * Every refresh token was sent once, but for the last one; nobody was caught reusing one.
 *
 * @param lost of so many the first exchange was lost on its way, so that they were sent twice
 */
export function expectOneExchangePerVersion(backend: Backend, atLeast: number, lost = 0): void {
  const times = spending(backend).map((one) => one.times)
  expect(times.slice(0, -1).filter((count) => count !== 1)).toEqual(new Array(lost).fill(2))
  expect(times.at(-1)).toBeLessThanOrEqual(1)
  expect(times.length - 1).toBeGreaterThanOrEqual(atLeast)
  expect(backend.reuseDetected).toBe(0)
}

/**
 * Bounds what the pages of an origin may keep, as the browser does it. To be called before any of them keeps
 * anything: what is left is cached for a while, and asked for anew only when that is used up.
 */
export async function bounded(
  page: Page,
  { origin }: LabServer,
): Promise<{ fill(): Promise<void>; makeRoom(): Promise<void> }> {
  const session = await page.context().newCDPSession(page)
  let size = 0
  const bound = async (quotaSize: number): Promise<void> => {
    await session.send('Storage.overrideQuotaForOrigin', { origin, quotaSize })
  }
  const makeRoom = (): Promise<void> => {
    size += 1_000_000
    return bound(size)
  }
  await makeRoom()
  return {
    makeRoom,
    async fill() {
      await page.evaluate(() => lab.fill())
      // What the database packs later on makes no room.
      await bound(1)
    },
  }
}

/** Resolves once `holds` does; fails after `within` ms, saying what was waited for. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  within = 10_000,
): Promise<void> {
  const start = performance.now()
  while (!(await holds())) {
    if (performance.now() - start > within) throw new Error(`Not in ${within} ms: ${what}`)
    await pause(20)
  }
}

/**
 * Runs in a page: whoever uses the database of its origin waits until `letGo()`, as behind the queue of many tabs, or
 * a Worker’s that was put into the back/forward cache with its page.
 */
export async function holdCells(): Promise<void> {
  const database = await new Promise<IDBDatabase>((resolve) => {
    const request = indexedDB.open('stayfresh')
    request.onsuccess = () => resolve(request.result)
  })
  const cells = database.transaction('cells', 'readwrite').objectStore('cells')
  let held = true
  const hold = (): void => {
    if (held) cells.get('session').onsuccess = hold
    else database.close()
  }
  hold()
  Object.assign(globalThis, {
    letGo() {
      held = false
    },
  })
}

/** Runs in a page. */
export const letGo = (): void => (globalThis as unknown as { letGo(): void }).letGo()
