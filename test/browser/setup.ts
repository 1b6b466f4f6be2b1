/** One Chromium for all browser tests: started once, closed at the end. Other engines come with each profile. */
import { createServer } from 'node:net'
import { chromium } from 'playwright-core'
import type { TestProject } from 'vitest/node'
import { chromiumArgs, findChromium } from '../chromium.ts'
import { type Engine, findBrowser, startScreen } from './elsewhere.ts'

declare module 'vitest' {
  interface ProvidedContext {
    engine: Engine
    /** The screen that WebKit is shown on. */
    display: string | undefined
    /** Where Playwright finds it, and the port of its own debugging protocol. */
    chromium: { endpoint: string; port: number }
  }
}

export default async function setup({ provide, name }: TestProject): Promise<() => void | Promise<void>> {
  const engine = name as Engine
  provide('engine', engine)
  if (engine !== 'chromium') {
    findBrowser(engine)
    const screen = engine === 'webkit' ? await startScreen() : undefined
    provide('display', screen?.display)
    return () => screen?.close()
  }
  const port = await freePort()
  const server = await chromium.launchServer({
    executablePath: findChromium(),
    args: [...chromiumArgs, '--disable-gpu', '--renderer-process-limit=8', `--remote-debugging-port=${port}`],
    // Playwright turns it off, and pages are to come back from it here.
    ignoreDefaultArgs: ['--disable-back-forward-cache'],
  })
  provide('chromium', { endpoint: server.wsEndpoint(), port })
  return () => server.close()
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}
