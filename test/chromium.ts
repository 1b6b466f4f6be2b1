/**
 * Finds a Chromium for the tests, or installs one: from Debian, as root, where that is what there is; else it says
 * what to do. `CHROME` names one outright.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chromium } from 'playwright-core'

const PLACES = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome-stable',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
  'C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe',
]
const HOW = 'There is no Chromium for the browser tests. Install one with: npx playwright install chromium'

/** What every test's Chromium is started with: nothing goes out but what the tests ask for. */
export const chromiumArgs: readonly string[] = [
  '--no-sandbox',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** The path of a Chromium. */
export function findChromium(): string {
  const { CHROME } = process.env
  if (CHROME) {
    if (existsSync(CHROME)) return CHROME
    throw new Error(`CHROME is ${CHROME}, and there is nothing`)
  }
  const found = [...PLACES, chromium.executablePath()].find((place) => existsSync(place))
  if (found) return found
  if (process.getuid?.() !== 0 || !existsSync('/etc/debian_version')) throw new Error(HOW)
  console.log(
    'There is no Chromium for the browser tests: installing the one of Debian (apt-get install chromium)',
  )
  for (const args of [['update'], ['install', '-y', '--no-install-recommends', 'chromium']]) {
    const { status, stderr } = spawnSync('apt-get', args, {
      encoding: 'utf8',
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    })
    if (status !== 0) throw new Error(`apt-get ${args.join(' ')} failed: ${stderr}\n${HOW}`)
  }
  const installed = PLACES.find((place) => existsSync(place))
  if (!installed) throw new Error(HOW)
  return installed
}
