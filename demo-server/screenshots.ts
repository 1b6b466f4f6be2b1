/**
 * `npm run screenshots`: plays a scene in two tabs of the demo page, and writes the README's pictures of it to `docs/`,
 * and others, of more sizes, to `.tmp/`, to be looked at.
 */
import { mkdir } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { chromium, type Locator, type Page } from 'playwright-core'
import { chromiumArgs, findChromium } from '../test/chromium.ts'
import { startDemoServer } from './server.ts'
import { watchable } from './site.ts'

const root = (file: string): string => fileURLToPath(new URL(`../${file}`, import.meta.url))

const WIDE = { width: 1280, height: 884 }
const SIZES = {
  phone: { width: 360, height: 760 },
  tablet: { width: 820, height: 1100 },
  large: { width: 1920, height: 1000 },
}

const server = await startDemoServer({ port: 0, backend: watchable })
const browser = await chromium.launch({ executablePath: findChromium(), args: [...chromiumArgs] })
try {
  await mkdir(root('.tmp'), { recursive: true })
  const context = await browser.newContext({ viewport: WIDE })
  const page = await context.newPage()
  await page.goto(server.url)
  await page.screenshot({ path: root('.tmp/signed-out.png') })
  const other = await context.newPage()
  await other.goto(server.url)
  await page.bringToFront()
  await play(page, other)

  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme })
    await pointAt(page.locator('[data-tab=B] .replay').nth(4))
    // Colours change over a moment.
    await sleep(200)
    await page.screenshot({ path: root(`docs/demo-${colorScheme}.png`) })
  }
  await other.click('#keep')
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme })
    for (const [name, size] of Object.entries(SIZES)) {
      await page.setViewportSize(size)
      await page.click('#burst')
      await page.locator('[data-kind=call][data-state=open]').first().waitFor({ state: 'detached' })
      await page.screenshot({ path: root(`.tmp/${name}-${colorScheme}.png`), fullPage: name !== 'large' })
    }
  }
  await page.setViewportSize(WIDE)
  await page.emulateMedia({ colorScheme: 'light' })
  await page.click('#revoke')
  await page.click('#call')
  await page.locator('dialog[open]').waitFor()
  await page.screenshot({ path: root('.tmp/dialog.png') })
  await page.fill('#dialog-password', 'wonderland')
  await page.keyboard.press('Enter')
  await page.locator('dialog').waitFor({ state: 'hidden' })
  await page.selectOption('#refreshing', 'hangs')
  await page.click('#expire')
  await page.click('#call')
  await page.locator('[data-kind=refresh][data-state=open]').waitFor()
  await page.screenshot({ path: root('.tmp/hangs.png') })
  await page.locator('[data-kind=refresh][data-state=failed]').waitFor()
  await page.click('#logout')
  await page.locator('.dot.loggedOut').first().waitFor()
  await page.screenshot({ path: root('.tmp/logged-out.png') })
} finally {
  await browser.close()
  await server.close()
}

/** Nineteen seconds: nearly all that the timeline shows. */
async function play(page: Page, other: Page): Promise<void> {
  const began = performance.now()
  const at = (seconds: number): Promise<void> =>
    sleep(Math.max(began + seconds * 1000 - performance.now(), 0))
  // At once: what Playwright's own click waits for takes its time.
  const press = (where: Page, what: string): Promise<void> =>
    where.evaluate((selector) => document.querySelector<HTMLElement>(selector)?.click(), what)

  await press(page, '#sign-in button')
  await at(1.4)
  await press(page, '#call')
  await at(1.9)
  await press(other, '#call')
  await at(3.2)
  await press(page, '#expire')
  await at(4.3)
  await press(other, '#burst')
  await at(4.5)
  await press(page, '#call')
  await at(4.8)
  await press(page, '#call')
  await at(7.4)
  await press(other, '#call')
  await at(8)
  await press(page, '#step-up')
  await page.locator('dialog[open]').waitFor()
  await press(other, '#call')
  await page.locator('#dialog-password').pressSequentially('wonderland', { delay: 60 })
  await at(10.6)
  await page.keyboard.press('Enter')
  await at(12.2)
  await press(other, '#burst')
  await at(12.6)
  await page.selectOption('#refreshing', 'busy-once')
  await press(page, '#expire')
  await at(13.2)
  await press(page, '#call')
  await at(13.4)
  await press(other, '#call')
  await at(14)
  await press(other, '#call')
  await at(15.5)
  await press(other, '#keep')
  await at(17.6)
  await press(page, '#burst')
  await at(18.6)
  await press(page, '#call')
  await page.evaluate(() => (document.activeElement as HTMLElement).blur())
}

/** As the pointer does, which would miss what moves on. */
async function pointAt(what: Locator): Promise<void> {
  await what.evaluate((element) => element.dispatchEvent(new PointerEvent('pointerover', { bubbles: true })))
  await what.page().locator('#tip:not([hidden])').waitFor()
}
