/**
 * Engines that Playwright brings in versions of its own, if at all: the Firefox and the WebKit that are installed, driven over
 * the commands of WebDriver, which both know. What comes out has as much of Playwright's shape as the scenes use.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { BrowserContext } from 'playwright-core'

export type Engine = 'chromium' | 'firefox' | 'webkit'
type Elsewhere = Exclude<Engine, 'chromium'>

/** Sends one command of WebDriver, by its name in Firefox's own protocol. */
type Send = (command: string, params?: object) => Promise<unknown>

interface Driver {
  send: Send
  quit(): Promise<void>
}

const LIBRARIES = ['x86_64-linux-gnu', 'aarch64-linux-gnu']
const PLACES: Record<Elsewhere, { needs: string[]; packages: string[] }> = {
  firefox: { needs: ['/usr/bin/firefox-esr', '/usr/bin/firefox'], packages: ['firefox-esr'] },
  webkit: {
    needs: LIBRARIES.map((one) => `/usr/lib/${one}/webkit2gtk-4.1/MiniBrowser`),
    packages: ['webkit2gtk-driver', 'xvfb'],
  },
}
const PATIENCE = 20_000

/** The path of the browser, which is installed where it can be. */
export function findBrowser(engine: Elsewhere): string {
  const { needs, packages } = PLACES[engine]
  const look = (): string | undefined => needs.find((place) => existsSync(place))
  const found = look()
  if (found) return found
  const how = `These tests need ${engine}: apt-get install ${packages.join(' ')}`
  if (process.getuid?.() !== 0 || !existsSync('/etc/debian_version')) throw new Error(how)
  console.log(`No ${engine} found: installing the one of Debian (apt-get install ${packages.join(' ')})`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  spawnSync('apt-get', ['update'], { env })
  spawnSync('apt-get', ['install', '-y', '--no-install-recommends', ...packages], { env })
  const installed = look()
  if (!installed) throw new Error(how)
  return installed
}

/** A screen for who can't do without one. `undefined`: there is one. */
export async function startScreen(): Promise<{ display: string; close(): void } | undefined> {
  if (process.env.DISPLAY) return undefined
  const server = spawn('Xvfb', ['-displayfd', '1', '-screen', '0', '1280x900x24'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const [number] = await once(server.stdout, 'data')
  return { display: `:${String(number).trim()}`, close: () => void server.kill() }
}

/** A browser of its own, with a profile of its own. */
export async function newContext(engine: Elsewhere, display?: string): Promise<BrowserContext> {
  const path = findBrowser(engine)
  const driver = engine === 'firefox' ? await startFirefox(path) : await startWebKit(path, display)
  return new Context(driver) as unknown as BrowserContext
}

// --- the protocols -------------------------------------------------------------------------------------------

async function startFirefox(path: string): Promise<Driver> {
  const port = await freePort()
  const profile = mkdtempSync(join(tmpdir(), 'stayfresh-firefox-'))
  writeFileSync(join(profile, 'user.js'), `user_pref("marionette.port", ${port});\n`)
  const args = ['--headless', '--marionette', '--no-remote', '--profile', profile, 'about:blank']
  const browser = spawn(path, args, { stdio: 'ignore' })
  const socket = await again(
    async () => {
      const one = connect(port, '127.0.0.1')
      await once(one, 'connect')
      return one
    },
    () => browser.exitCode !== null,
  )
  const waiting = new Map<number, (error: { message: string } | null, value: unknown) => void>()
  let buffer = Buffer.alloc(0)
  socket.on('data', (data) => {
    buffer = Buffer.concat([buffer, data])
    for (;;) {
      const colon = buffer.indexOf(':')
      const end = colon + 1 + Number(buffer.subarray(0, colon))
      if (colon < 0 || buffer.length < end) return
      const message = JSON.parse(buffer.subarray(colon + 1, end).toString())
      buffer = buffer.subarray(end)
      if (Array.isArray(message)) waiting.get(message[1])?.(message[2], message[3])
    }
  })
  socket.on('error', () => {})
  let last = 0
  const send: Send = (command, params = {}) =>
    new Promise((resolve, reject) => {
      const id = ++last
      waiting.set(id, (error, value) => {
        waiting.delete(id)
        if (error) reject(new Error(`${command}: ${error.message}`))
        else resolve('value' in Object(value) ? (value as { value: unknown }).value : value)
      })
      const text = JSON.stringify([0, id, `WebDriver:${command}`, params])
      socket.write(`${Buffer.byteLength(text)}:${text}`)
    })
  await send('NewSession')
  return {
    send,
    async quit() {
      await end(browser)
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}

/** What Firefox calls so, in WebDriver's own terms. */
const ROUTES: Record<string, [method: string, path: string]> = {
  GetWindowHandle: ['GET', '/window'],
  SwitchToWindow: ['POST', '/window'],
  NewWindow: ['POST', '/window/new'],
  CloseWindow: ['DELETE', '/window'],
  GetWindowHandles: ['GET', '/window/handles'],
  Navigate: ['POST', '/url'],
  GetCurrentURL: ['GET', '/url'],
  Refresh: ['POST', '/refresh'],
  Back: ['POST', '/back'],
  ExecuteScript: ['POST', '/execute/sync'],
}

async function startWebKit(path: string, display = process.env.DISPLAY): Promise<Driver> {
  const port = await freePort()
  // WebKit's sandbox does not come up for root.
  const env = { ...process.env, DISPLAY: display, WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: '1' }
  const driver = spawn('WebKitWebDriver', [`--port=${port}`, '--host=127.0.0.1'], { stdio: 'ignore', env })
  const at = `http://127.0.0.1:${port}`
  const request = async (method: string, to: string, params?: object): Promise<unknown> => {
    const body = params && JSON.stringify(params)
    const answer = await fetch(at + to, { method, body, signal: AbortSignal.timeout(PATIENCE) })
    const { value } = (await answer.json()) as { value: { error?: string; message?: string } | null }
    if (value?.error) throw new Error(`${method} ${to}: ${value.error} ${value.message}`)
    return value
  }
  await again(
    () => request('GET', '/status'),
    () => driver.exitCode !== null,
  )
  const options = { binary: path, args: ['--automation', '--javascript-can-open-windows-automatically=true'] }
  const { sessionId } = (await request('POST', '/session', {
    capabilities: { alwaysMatch: { 'webkitgtk:browserOptions': options } },
  })) as { sessionId: string }
  return {
    send(command, params = {}) {
      const [method, to] = ROUTES[command] as [string, string]
      return request(method, `/session/${sessionId}${to}`, method === 'POST' ? params : undefined)
    },
    async quit() {
      await request('DELETE', `/session/${sessionId}`).catch(() => {})
      await end(driver)
    },
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  return port
}

async function again<T>(attempt: () => Promise<T>, over: () => boolean): Promise<T> {
  const start = performance.now()
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      if (over() || performance.now() - start > PATIENCE) throw error
      await sleep(50)
    }
  }
}

async function end(process: ChildProcess): Promise<void> {
  if (process.exitCode !== null || process.signalCode !== null) return
  const over = once(process, 'exit')
  process.kill()
  await over
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms))

// --- in Playwright's shape -----------------------------------------------------------------------------------

class Context {
  readonly #driver: Driver
  readonly #pages = new Set<Tab>()
  /** A window that nobody closes, and the browser with it. */
  #home = ''
  #current = ''
  #turn: Promise<unknown> = Promise.resolve()

  constructor(driver: Driver) {
    this.#driver = driver
  }

  /** One command, in one window: each goes to that which was switched to last. */
  in(handle: string | undefined, command: string, params?: object): Promise<unknown> {
    const go = async (): Promise<unknown> => {
      this.#home ||= (await this.#driver.send('GetWindowHandle')) as string
      const to = handle ?? this.#home
      if (this.#current !== to) await this.#driver.send('SwitchToWindow', { handle: to })
      this.#current = command === 'CloseWindow' ? '' : to
      return this.#driver.send(command, params)
    }
    const done = this.#turn.then(go, go)
    this.#turn = done.catch(() => {})
    return done
  }

  async newPage(): Promise<Tab> {
    const { handle } = (await this.in(undefined, 'NewWindow', { type: 'tab' })) as { handle: string }
    return this.#adopt(handle)
  }

  #adopt(handle: string): Tab {
    const page = new Tab(this, handle, () => this.#pages.delete(page))
    this.#pages.add(page)
    return page
  }

  /** The window that a page opens next. */
  async opened(): Promise<Tab> {
    const list = async (): Promise<string[]> =>
      (await this.in(undefined, 'GetWindowHandles').catch(() => [])) as string[]
    const before = await list()
    return again(
      async () => {
        const handle = (await list()).find((one) => !before.includes(one))
        if (!handle) throw new Error('No window was opened')
        return this.#adopt(handle)
      },
      () => false,
    )
  }

  pages(): Tab[] {
    return [...this.#pages]
  }

  close(): Promise<void> {
    return this.#driver.quit()
  }
}

/** A function, or an expression, and what it is given. */
type Run = string | ((arg: never) => unknown)

class Tab {
  readonly #context: Context
  readonly #handle: string
  readonly #closed: () => void
  static #asked = 0

  constructor(context: Context, handle: string, closed: () => void) {
    this.#context = context
    this.#handle = handle
    this.#closed = closed
  }

  context(): Context {
    return this.#context
  }

  async goto(url: string): Promise<void> {
    await this.#do('Navigate', { url })
  }

  async reload(): Promise<void> {
    await this.#do('Refresh')
  }

  async goBack(): Promise<void> {
    await this.#do('Back')
  }

  async close(): Promise<void> {
    this.#closed()
    await this.#do('CloseWindow')
  }

  evaluate(run: Run, arg?: unknown): Promise<unknown> {
    return this.#evaluate('window', run, arg)
  }

  /** The page, and the first frame that it holds. */
  frames(): Pick<Tab, 'evaluate'>[] {
    const frame = 'document.querySelector("iframe").contentWindow'
    return [this, { evaluate: (run: Run, arg?: unknown) => this.#evaluate(frame, run, arg) }]
  }

  async waitForURL(pattern: string): Promise<void> {
    await this.#until(async () => String(await this.#do('GetCurrentURL')).endsWith(pattern.replace('**', '')))
  }

  async waitForFunction(run: Run): Promise<void> {
    await this.#until(async () => Boolean(await this.evaluate(run)))
  }

  async waitForEvent(type: 'load' | 'popup'): Promise<unknown> {
    if (type === 'popup') return this.#context.opened()
    await this.#script('window.before = true')
    const loaded = 'return !window.before && document.readyState === "complete"'
    return this.#until(async () => (await this.#script(loaded)) === true)
  }

  #do(command: string, params?: object): Promise<unknown> {
    return this.#context.in(this.#handle, command, params)
  }

  #script(script: string): Promise<unknown> {
    return this.#do('ExecuteScript', { script, args: [] })
  }

  async #until(holds: () => Promise<boolean>): Promise<void> {
    await again(
      async () => {
        if (!(await holds())) throw new Error('It never came to be')
      },
      () => false,
    )
  }

  /** Asked for again and again: a script that waits would hold up all other windows. */
  async #evaluate(where: string, run: Run, arg: unknown): Promise<unknown> {
    const code = typeof run === 'string' ? run : `(${run})(${text(arg)})`
    const id = ++Tab.#asked
    // In the page's own realm: what Firefox runs its scripts in is another one.
    const inPage = (script: string): Promise<unknown> =>
      this.#script(`return ${where}.eval(${JSON.stringify(`(() => { ${script} })()`)})`)
    let answer = await inPage(`
      const failed = (error) => JSON.stringify({ error: String(error) })
      const done = (value) => JSON.stringify({ value })
      try {
        const value = ${code}
        if (typeof value?.then !== 'function') return done(value)
        const answers = globalThis.answers ??= new Map()
        value.then((value) => answers.set(${id}, done(value)), (error) => answers.set(${id}, failed(error)))
        return null
      } catch (error) { return failed(error) }`)
    for (let wait = 2; answer === null; wait = Math.min(wait * 2, 30)) {
      await sleep(wait)
      answer = await inPage(`
        if (!globalThis.answers) return '{"error":"The page was left"}'
        const answer = answers.get(${id})
        answers.delete(${id})
        return answer ?? null`)
    }
    const { error, value } = JSON.parse(String(answer)) as { error?: string; value?: unknown }
    if (error) throw new Error(error)
    return value
  }
}

/** As JavaScript, for JSON has no `undefined`. */
function text(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(text).join()}]`
  return value === undefined ? 'undefined' : JSON.stringify(value)
}
