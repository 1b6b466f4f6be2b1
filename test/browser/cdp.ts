/**
 * Tabs without Playwright, which keeps every page it knows visible and awake, and is told of each of its requests:
 * over Chromium's own protocol they can be hidden, frozen, and put into the back/forward cache, and many are cheap.
 */
import { inject, onTestFinished } from 'vitest'
import { inChromium, type ProfileOptions, profile, withoutLocks } from './support.ts'

type Params = Record<string, unknown>

interface Message {
  id?: number
  sessionId?: string
  method?: string
  params?: Params
  result?: Params
  error?: { message: string }
}

/** A tab, in a browser context of the test's own. */
export interface RawTab {
  send(method: string, params?: Params): Promise<Params>
  /** Calls back at each event of a type. */
  on(method: string, listener: (params: Params) => void): void
  /** The value of `run(...args)` in the page. */
  evaluate<Args extends unknown[], T>(run: (...args: Args) => T, ...args: Args): Promise<Awaited<T>>
  goto(url: string): Promise<void>
  back(): Promise<void>
  close(): Promise<void>
}

export interface RawContext {
  /** Opens a tab, which hides the one before. */
  open(url: string): Promise<RawTab>
}

/**
 * A browser context of its own.
 *
 * @param over registers its end; by default that of the test
 */
export async function rawContext(
  { locks = true }: ProfileOptions = {},
  over: (close: () => Promise<void>) => void = onTestFinished,
): Promise<RawContext> {
  if (!inChromium) return plain(over)
  const { port } = inject('chromium')
  const version = (await (await fetch(`http://127.0.0.1:${port}/json/version`)).json()) as {
    webSocketDebuggerUrl: string
  }
  const socket = new WebSocket(version.webSocketDebuggerUrl)
  await new Promise((resolve, reject) => {
    socket.onopen = resolve
    socket.onerror = reject
  })
  const waiting = new Map<number, (message: Message) => void>()
  const listeners = new Set<(message: Message) => void>()
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data as string) as Message
    if (message.id === undefined) for (const listener of listeners) listener(message)
    else waiting.get(message.id)?.(message)
  }
  let last = 0
  const send = (method: string, params: Params = {}, sessionId?: string): Promise<Params> =>
    new Promise((resolve, reject) => {
      const id = ++last
      waiting.set(id, ({ result = {}, error }) => {
        waiting.delete(id)
        if (error) reject(new Error(`${method}: ${error.message}`))
        else resolve(result)
      })
      socket.send(JSON.stringify({ id, method, params, sessionId }))
    })

  const { browserContextId } = await send('Target.createBrowserContext')
  over(async () => {
    await send('Target.disposeBrowserContext', { browserContextId })
    socket.close()
  })

  return {
    async open(url) {
      const { targetId } = await send('Target.createTarget', { url: 'about:blank', browserContextId })
      const { sessionId } = await send('Target.attachToTarget', { targetId, flatten: true })
      const tab: RawTab = {
        send: (method, params) => send(method, params, sessionId as string),
        on: (method, listener) =>
          void listeners.add((message) => {
            if (message.sessionId === sessionId && message.method === method) listener(message.params ?? {})
          }),
        async evaluate(run, ...args) {
          const { result, exceptionDetails } = (await tab.send('Runtime.evaluate', {
            expression: `(${run})(${args.map((arg) => JSON.stringify(arg)).join(', ')})`,
            awaitPromise: true,
            returnByValue: true,
          })) as { result: { value: never }; exceptionDetails?: { exception?: { description?: string } } }
          if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? 'It threw')
          return result.value
        },
        async goto(to) {
          const loaded = new Promise<void>((resolve) => tab.on('Page.loadEventFired', () => resolve()))
          await tab.send('Page.navigate', { url: to })
          await loaded
        },
        back: () => tab.evaluate(() => void setTimeout(() => history.back(), 0)),
        close: async () => void (await send('Target.closeTarget', { targetId })),
      }
      await tab.send('Page.enable')
      if (!locks) await tab.send('Page.addScriptToEvaluateOnNewDocument', { source: `(${withoutLocks})()` })
      await tab.goto(url)
      return tab
    },
  }
}

/** Of other engines the tabs are as they always are, and have no such protocol. */
async function plain(over: (close: () => Promise<void>) => void): Promise<RawContext> {
  const context = await profile({}, over)
  return {
    async open(url) {
      const page = await context.newPage()
      await page.goto(url)
      return {
        send: (method) => Promise.reject(new Error(`${method} is Chromium’s`)),
        on() {},
        evaluate: (run, ...args) =>
          page.evaluate(`(${run})(${args.map((arg) => JSON.stringify(arg)).join(', ')})`),
        goto: async (to) => void (await page.goto(to)),
        back: async () => void (await page.goBack()),
        close: () => page.close(),
      }
    },
  }
}
