/** What the browser tests share: contexts and tabs of the one Chromium, and what the server saw. */

import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core'
import type { Backend, IssuedToken } from 'stayfresh/testing'
import { afterAll, beforeAll, expect, inject, onTestFinished } from 'vitest'
import type { LabOptions } from './lab.ts'
import { type LabServer, labServer } from './server.ts'

let browser: Browser

/** To be called at the top of a test file. */
export function useChromium(): void {
  beforeAll(async () => {
    browser = await chromium.connect(inject('chromium').endpoint)
  })
  afterAll(() => browser.close())
}

/** A profile of its own, until its test is over: nothing is shared with another one. */
export async function profile(
  { locks = true }: { locks?: boolean } = {},
  over: (close: () => Promise<void>) => void = onTestFinished,
): Promise<BrowserContext> {
  const context = await browser.newContext()
  over(() => context.close())
  if (!locks) {
    await context.addInitScript(() => {
      Object.defineProperty(Navigator.prototype, 'locks', { value: undefined })
    })
  }
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

export const each = <T>(pages: readonly Page[], run: () => T): Promise<Awaited<T>[]> =>
  Promise.all(pages.map((page) => page.evaluate(run))) as Promise<Awaited<T>[]>

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms))

/** What all callers got, added up. */
export function sum(counts: readonly Record<string, number>[]): Record<string, number> {
  const total: Record<string, number> = {}
  for (const one of counts) {
    for (const [got, times] of Object.entries(one)) total[got] = (total[got] ?? 0) + times
  }
  return total
}

/** The refresh tokens given out, and how often each came back. */
export function spending({ issued, uses }: Backend): { token: IssuedToken; times: number }[] {
  return issued.filter(({ kind }) => kind === 'refresh').map((token) => ({ token, times: uses(token.jti) }))
}

/** Every refresh token was spent once, but for the last one; nobody was caught reusing one. */
export function expectOneExchangePerVersion(backend: Backend, atLeast: number): void {
  const times = spending(backend).map((one) => one.times)
  expect(times.slice(0, -1).every((count) => count === 1)).toBe(true)
  expect(times.at(-1)).toBeLessThanOrEqual(1)
  expect(times.length - 1).toBeGreaterThanOrEqual(atLeast)
  expect(backend.reuseDetected).toBe(0)
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
    await sleep(20)
  }
}
