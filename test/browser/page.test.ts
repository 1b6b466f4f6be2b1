/** The demo page as a person has it: in a real Chromium, by its buttons, and by what it shows. */
import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  chromium,
  type Locator,
  type Page,
} from 'playwright-core'
import { afterAll, test as base, beforeAll, expect, inject, type TestContext, vi } from 'vitest'
import { type DemoServer, startDemoServer } from '../../demo-server/server.ts'

// Each has a server and a profile of its own, and waits most of the time.
const test = base.concurrent

let browser: Browser
beforeAll(async () => {
  browser = await chromium.connect(inject('chromium').endpoint)
})
afterAll(() => browser.close())

interface World {
  readonly server: DemoServer
  readonly context: BrowserContext
  /** A tab with the page, ready. */
  open(): Promise<Page>
  /** What no page may say: errors, and violations of its Content-Security-Policy. */
  readonly problems: string[]
}

/** A demo server and a browser profile of the test's own; when it is over, nothing may have gone wrong in a page. */
async function world({ onTestFinished }: TestContext, options: BrowserContextOptions = {}): Promise<World> {
  const server = await startDemoServer({
    port: 0,
    backend: {
      accessLifetime: 60_000,
      latency: { '*': 40, refresh: { before: 100, after: 100 } },
    },
  })
  const context = await browser.newContext({ reducedMotion: 'reduce', ...options })
  onTestFinished(async () => {
    await context.close()
    await server.close()
    expect(problems).toEqual([])
  })
  const problems: string[] = []
  context.on('weberror', (error) => problems.push(String(error.error())))
  context.on('console', (message) => {
    // A browser reports each answer from 400 on as an error of its own.
    const isAnswer = /^Failed to load resource: the server responded with a status of/.test(message.text())
    if (!isAnswer && ['error', 'warning'].includes(message.type())) problems.push(message.text())
  })
  await context.addInitScript(() => {
    addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => {
      console.error(`Content-Security-Policy: ${violatedDirective} ${blockedURI}`)
    })
  })
  const open = async (): Promise<Page> => {
    const page = await context.newPage()
    await page.goto(server.url)
    await shows(page.locator('#who'), /^(nobody|alice|bob)$/)
    return page
  }
  return { server, context, open, problems }
}

/** Waits until something is so. */
const become = (assert: () => Promise<void>): Promise<void> =>
  vi.waitFor(assert, { timeout: 20_000, interval: 120 })

const shows = (where: Locator, what: string | RegExp): Promise<void> =>
  become(async () => expect(await where.textContent()).toMatch(what))

const counts = (where: Locator, many: number): Promise<void> =>
  become(async () => expect(await where.count()).toBe(many))

async function signIn(page: Page): Promise<void> {
  await page.click('text="Sign in"')
  await shows(page.locator('#who'), 'alice')
}

/** Bars on the timeline. `state`: a call's result, or what became of a refresh. */
function bars(page: Page, kind: string, state: string, tab = ''): Locator {
  const lane = tab && `[data-tab="${tab}"]`
  return page.locator(`#timeline [data-kind="${kind}"][data-state="${state}"]${lane}`)
}

const calls = (page: Page, result: string, tab = ''): Locator =>
  bars(page, 'call', result, tab).and(page.locator('[data-own=false]'))

test('signed in and called: the timeline has the call, the head has the session', async (run) => {
  const { server, open } = await world(run, { reducedMotion: 'no-preference' })
  const page = await open()
  expect(await page.title()).toBe('Tab A · stayfresh')
  expect(await page.textContent('#who')).toBe('nobody')
  await signIn(page)
  await shows(page.locator('#version'), '1')
  await shows(page.locator('#left'), /^\d\d s left$/)
  expect(await page.isVisible('#fresh')).toBe(true)
  await page.click('text="Call"')
  await counts(calls(page, '200', 'A'), 1)
  await shows(page.locator('#timeline [data-kind=token]'), 'v1 · fresh')
  await shows(page.locator('#log li').first(), 'GET protected → 200')
  // As the pointer does, which might miss what moves on.
  await calls(page, '200').locator('.send').dispatchEvent('pointerover')
  await shows(page.locator('#tip'), /^GET protected → 200Tab A, .*Sent: 200 after/)
  expect(server.backend.count('protected')).toBe(1)
})

test('run out by itself: the next call waits for the refresh, and meets no 401', async (run) => {
  const { server, open } = await world(run)
  const page = await open()
  await page.selectOption('#life', '5 s')
  await signIn(page)
  await shows(page.locator('#left'), 'expired')
  await page.click('text="Call"')
  await counts(calls(page, '200'), 1)
  await counts(bars(page, 'refresh', 'done'), 1)
  expect(await calls(page, '200').locator('.wait').count()).toBe(1)
  expect(await page.locator('.diamond').count()).toBe(0)
  expect(server.backend.log.map(({ route, status }) => `${route} ${status}`)).toEqual([
    'login 200',
    'refresh 200',
    'protected 200',
  ])
})

test('expired early, with five calls in each of two tabs: one refresh through both lanes, and ten replays', async (run) => {
  const { server, open } = await world(run)
  const page = await open()
  await signIn(page)
  const other = await open()
  await page.click('text="Expire the token early"')
  await shows(page.locator('#timeline'), 'expired early')
  await Promise.all([page, other].map((one) => one.click('text="Call five times"')))
  for (const one of [page, other]) {
    await counts(calls(one, '200', 'A'), 5)
    await counts(calls(one, '200', 'B'), 5)
    await counts(bars(one, 'refresh', 'done'), 1)
    await shows(one.locator('#version'), '2')
  }
  expect(await page.locator('#timeline .send.replay').count()).toBe(
    await page.locator('.diamond.refused').count(),
  )
  const column = await page
    .locator('#timeline .column.done')
    .evaluate((element) => element.getBoundingClientRect())
  for (const name of ['Tab A', 'Tab B']) {
    const lane = await page.locator('#timeline text', { hasText: name }).evaluate((element) => {
      const { top, bottom } = element.getBoundingClientRect()
      return { top, bottom }
    })
    expect(column.top).toBeLessThan(lane.top)
    expect(column.bottom).toBeGreaterThan(lane.bottom)
  }
  expect(server.backend.count('refresh')).toBe(1)
  expect(server.backend.reuseDetected).toBe(0)
})

test('a step-up asks in a dialog, says what was wrong, and replays the call', async (run) => {
  const { server, open } = await world(run)
  const page = await open()
  await signIn(page)
  await page.click('text="Refresh now"')
  await shows(page.locator('#version'), '2')
  server.backend.expireAccessTokens()
  await page.click('text="Call"')
  await counts(calls(page, '200'), 1)
  expect(await page.isHidden('#fresh')).toBe(true)

  await page.click('text="Step up"')
  await page.locator('dialog[open]').waitFor()
  await page.fill('#dialog-password', 'guess')
  await page.click('text="Go on"')
  await shows(page.locator('#dialog-error'), 'Bad username or password')
  await page.fill('#dialog-password', 'wonderland')
  await page.click('text="Go on"')
  await counts(calls(page, '200'), 2)
  expect(await page.isHidden('dialog')).toBe(true)
  expect(await page.isVisible('#fresh')).toBe(true)
  await counts(bars(page, 'ask', 'done'), 1)

  server.backend.expireAccessTokens()
  await page.click('text="Call"')
  await counts(calls(page, '200'), 3)
  await page.click('text="Step up"')
  await page.locator('dialog[open]').waitFor()
  await page.click('text="Cancel"')
  await counts(calls(page, '401'), 1)
  expect(await page.textContent('#who')).toBe('alice')
})

test('offline with a clock that is off: refresh_unavailable, the session lives, and later all is well', async (run) => {
  const { server, open } = await world(run)
  const page = await open()
  await signIn(page)
  await page.click('text="Go offline"')
  await page.click('text="Call"')
  await counts(calls(page, 'network error'), 1)
  await page.selectOption('#clock', 'an hour ahead')
  await shows(page.locator('#left'), 'expired')
  await page.click('text="Call"')
  await counts(calls(page, 'refresh_unavailable'), 1)
  await counts(bars(page, 'refresh', 'failed'), 1)
  expect(await page.textContent('#who')).toBe('alice')
  expect(server.backend.count('refresh')).toBe(0)

  // The clock stays off over a reload; being offline does not.
  await page.reload()
  await shows(page.locator('#who'), 'alice')
  expect(await page.inputValue('#clock')).toBe('3600000')
  await page.click('text="Call"')
  await counts(calls(page, '200'), 1)
  await shows(page.locator('#timeline'), 'clock off')
  await shows(page.locator('#left'), /^\d\d s left$/)
})

test('a refresh that fails or hangs costs nobody the session; every tab shows how the server is set', async (run) => {
  const { server, open } = await world(run)
  const page = await open()
  await signIn(page)
  const other = await open()
  await page.selectOption('#refreshing', 'hangs')
  await become(async () => expect(await other.inputValue('#refreshing')).toBe('hangs'))
  await page.click('text="Expire the token early"')
  await page.click('text="Call"')
  await counts(calls(page, 'refresh_unavailable'), 1)
  await shows(page.locator('#log'), 'No answer came in time. The session lives.')
  await other.selectOption('#refreshing', { value: 'busy-once' })
  await other.click('text="Call"')
  await counts(calls(page, '200', 'B'), 1)
  await counts(bars(page, 'refresh', 'done', 'B').filter({ has: page.locator('.pause') }), 1)
  await become(async () => expect(await other.inputValue('#refreshing')).toBe('works'))
  expect(server.backend.reuseDetected).toBe(0)
})

test('a second tab is a second lane; a logout there ends the session here, and its lane closes with it', async (run) => {
  const { server, open, context } = await world(run)
  const page = await open()
  await signIn(page)
  const opening = context.waitForEvent('page')
  await page.click('text="Another tab ↗"')
  const other = await opening
  await shows(other.locator('#who'), 'alice')
  expect(await other.title()).toBe('Tab B · stayfresh')
  await shows(page.locator('#timeline'), 'Tab B')
  await shows(other.locator('#timeline'), 'signed in')

  await other.click('text="Log out"')
  await shows(page.locator('#who'), 'nobody')
  await counts(page.locator('#timeline .dot.loggedOut'), 2)
  await shows(page.locator('#log li').first(), 'in another tab')
  await become(async () => expect(await server.backend.sessionAlive('alice')).toBe(false))
  await other.close()
  await shows(page.locator('#timeline'), 'closed')
})

test('a revoked session asks for the password; who does not give it is signed out', async (run) => {
  const { open } = await world(run)
  const page = await open()
  await signIn(page)
  await page.click('text="Revoke the session"')
  await page.click('text="Call"')
  await page.locator('dialog[open]').waitFor()
  await shows(page.locator('#dialog-why'), 'ended your session')
  await page.fill('#dialog-password', 'wonderland')
  await page.keyboard.press('Enter')
  await counts(calls(page, '200'), 1)
  await page.click('text="Revoke the session"')
  await page.click('text="Call"')
  await page.locator('dialog[open]').waitFor()
  await page.keyboard.press('Escape')
  await shows(page.locator('#who'), 'nobody')
  await counts(calls(page, '401'), 1)
})

test('all of it works by keyboard alone, and says what it does', async (run) => {
  const { open } = await world(run)
  const page = await open()
  const focused = (): Promise<string> =>
    page.evaluate(() => {
      const element = document.activeElement
      return element?.id || element?.textContent?.trim() || ''
    })
  /** Presses Tab until it is there; around once at the most. */
  const tabTo = async (what: string): Promise<void> => {
    for (let count = 0; count < 40; count++) {
      if ((await focused()) === what) return
      await page.keyboard.press('Tab')
    }
    throw new Error(`Tab never came to ${what}`)
  }
  await tabTo('Sign in')
  await page.keyboard.press('Enter')
  await shows(page.locator('#who'), 'alice')
  await become(async () => expect(await focused()).toBe('call'))
  await page.keyboard.press('Enter')
  await counts(calls(page, '200'), 1)
  await shows(page.locator('#say'), 'GET protected → 200')

  await tabTo('expire')
  await page.keyboard.press('Space')
  await shows(page.locator('#timeline'), 'expired early')
  await page.keyboard.press('Shift+Tab')
  await tabTo('timeline')
  await page.keyboard.press('End')
  await shows(page.locator('#tip'), 'Expired early')
  await page.keyboard.press('Home')
  await shows(page.locator('#tip'), 'POST login → 200')
  await page.keyboard.press('ArrowRight')
  expect(await page.textContent('#tip')).not.toContain('POST login')
  await page.keyboard.press('Escape')
  expect(await page.isHidden('#tip')).toBe(true)

  await tabTo('call')
  await page.keyboard.press('Enter')
  await counts(calls(page, '200'), 2)
  await tabTo('step-up')
  await page.keyboard.press('Enter')
  await page.locator('dialog[open]').waitFor()
  expect(await focused()).toBe('dialog-password')
  await page.keyboard.type('wonderland')
  await page.keyboard.press('Enter')
  await counts(calls(page, '200'), 3)
  await become(async () => expect(await focused()).toBe('step-up'))
})

test('invariant 8: no token is in what the page shows, tells other tabs, or keeps for itself', async (run) => {
  const { server, open } = await world(run)
  const page = await open()
  const spy = await open()
  await spy.evaluate(() => {
    const told: unknown[] = []
    new BroadcastChannel('demo:record').onmessage = ({ data }) => told.push(data)
    Object.assign(globalThis, { told })
  })
  await signIn(page)
  await page.click('text="Expire the token early"')
  await page.click('text="Call"')
  await counts(calls(page, '200'), 1)
  await page.click('text="Log out"')
  await shows(page.locator('#who'), 'nobody')
  await counts(spy.locator('#timeline .dot.loggedOut'), 2)
  const said = [
    await page.content(),
    await spy.content(),
    await spy.evaluate(() => JSON.stringify((globalThis as unknown as { told: unknown[] }).told)),
    await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }])),
  ].join('\n')
  expect(said).toContain('GET')
  expect(server.backend.issued.length).toBeGreaterThanOrEqual(4)
  for (const { token } of server.backend.issued) {
    expect(said.includes(token)).toBe(false)
    expect(said.includes(token.split('.')[2] as string)).toBe(false)
  }
  expect(said).not.toContain('wonderland"}')
})

for (const colorScheme of ['light', 'dark'] as const) {
  test(`on a phone, in ${colorScheme} colours, nothing is cut off and all text has the contrast of WCAG AA`, async (run) => {
    const { open } = await world(run, { colorScheme, viewport: { width: 360, height: 720 } })
    const page = await open()
    await page.click('text="Refresh now"')
    await shows(page.locator('#log'), 'Not refreshed')
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(360)
    const seen = await page.evaluate(contrasts)
    expect(seen.length).toBeGreaterThan(30)
    expect(seen.filter(({ ratio }) => ratio < 4.5)).toEqual([])
  })
}

/** In the page: each text, and how it stands out from what is behind it (WCAG 2.2, success criterion 1.4.3). */
function contrasts(): { text: string; ratio: number }[] {
  const parse = (color: string): number[] => (color.match(/[\d.]+/g) ?? []).map(Number)
  const luminance = (color: string): number => {
    const [red = 0, green = 0, blue = 0] = parse(color).map((value) => {
      const part = value / 255
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
    })
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
  }
  const behind = (element: Element | null): string => {
    if (!element) return 'rgb(255, 255, 255)'
    const { backgroundColor } = getComputedStyle(element)
    return parse(backgroundColor)[3] === 0 ? behind(element.parentElement) : backgroundColor
  }
  return [...document.querySelectorAll('body *')].flatMap((element) => {
    const text = [...element.childNodes].find(
      (node) => node.nodeType === 3 && node.textContent?.trim(),
    )?.textContent
    const drawn = element instanceof HTMLElement || element instanceof SVGTextElement
    if (!text || !drawn || !element.checkVisibility() || element.matches('option, .hidden, .skip')) return []
    const { color, fill } = getComputedStyle(element)
    const [dark = 0, light = 0] = [
      luminance(element instanceof HTMLElement ? color : fill),
      luminance(behind(element)),
    ].sort((one, other) => one - other)
    return [{ text: text.trim(), ratio: (light + 0.05) / (dark + 0.05) }]
  })
}
