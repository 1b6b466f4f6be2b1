/**
 * Finds a Chromium for the tests, or installs one: as root on Debian its own, elsewhere the one that Playwright
 * brings. `CHROMIUM_PATH` names one outright.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
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
const HOW =
  'The browser tests need a Chromium: `npx playwright install chromium`, or CHROMIUM_PATH=/path/to/chromium'
// Downloading and unpacking; not the tests' time.
const PATIENCE = 240_000

// Each page would bring two renderers along for the address bar, and one to spare: more than it takes itself.
const UNUSED = ['WebUIOmniboxPopup', 'WebUIOmniboxAimPopup', 'SpareRendererForSitePerProcess']
// What Playwright turns off, of what a test could notice: Chromium heeds but the last of such lists.
const AS_PLAYWRIGHT = [
  'AvoidUnnecessaryBeforeUnloadCheckSync',
  'DestroyProfileOnBrowserClose',
  'HttpsUpgrades',
  'HttpsFirstBalancedModeAutoEnable',
  'MediaRouter',
  'PaintHolding',
  'ThirdPartyStoragePartitioning',
  'AvoidCorsURLLoaderRestartOnRedirect',
  'TcpPortRandomizationWin',
  'OptimizationHints',
  'NetworkTimeServiceQuerying',
  'AimEnabled',
  'PreconnectToSearch',
]

/** What every test's Chromium is started with: nothing goes out but what the tests ask for. */
export const chromiumArgs: readonly string[] = [
  '--no-sandbox',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  `--disable-features=${[...AS_PLAYWRIGHT, ...UNUSED].join()}`,
]

/**
 * The path of a Chromium.
 *
 * @throws where there is none, and none can be installed: with the one line that tells how
 */
export function findChromium(): string {
  const { CHROMIUM_PATH } = process.env
  if (CHROMIUM_PATH) {
    if (existsSync(CHROMIUM_PATH)) return CHROMIUM_PATH
    throw new Error(`CHROMIUM_PATH is ${CHROMIUM_PATH}, and nothing is there`)
  }
  const found = look()
  if (found) return found
  install()
  const installed = look()
  if (!installed) throw new Error(HOW)
  return installed
}

function look(): string | undefined {
  return [chromium.executablePath(), ...PLACES].find((place) => existsSync(place))
}

function install(): void {
  if (process.getuid?.() === 0 && existsSync('/etc/debian_version')) {
    console.log('No Chromium found: installing the one of Debian (apt-get install chromium)')
    run('apt-get', ['update'])
    run('apt-get', ['install', '-y', '--no-install-recommends', 'chromium'])
  } else {
    console.log('No Chromium found: installing the one of Playwright (npx playwright install chromium)')
    const core = fileURLToPath(import.meta.resolve('playwright-core/package.json'))
    run(process.execPath, [core.replace(/package\.json$/, 'cli.js'), 'install', 'chromium'])
  }
}

function run(command: string, args: readonly string[]): void {
  const { status, error, stderr } = spawnSync(command, args, {
    encoding: 'utf8',
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    timeout: PATIENCE,
  })
  if (status === 0) return
  const said = stderr?.trim().split('\n').at(-1) || error?.message || `exit code ${status}`
  throw new Error(`${HOW} (${command} ${args.at(-1)} failed: ${said})`)
}
