/**
 * The client as an application has it, over a `fetch` that writes down what is sent. It draws nothing.
 */
import { isNetworkError } from 'ky'
import { createAuth, flaskJwt, isAuthError } from 'stayfresh'
import { browserStore } from 'stayfresh/browser'
import { createKy } from 'stayfresh/ky'
import { type CallItem, MARKED, type RefreshItem, real, type Send } from '../../src/devtools/items.ts'
import { noteTokens } from '../../src/devtools/tokens.ts'
import { clockOffset } from './clock.ts'
import type { Log } from './record.ts'

/** So that a send is known for that of a call. A server's log would know it by the same. */
const CALL = 'x-request-id'

/** See {@link createClient}. */
export type Client = ReturnType<typeof createClient>

/** A client whose every step goes into the log. */
export function createClient(log: Log) {
  const { tab } = log
  const calls = new Map<string, CallItem>()
  let exchange: RefreshItem | undefined
  let offline = false

  const watched: typeof fetch = async (input, init) => {
    const request = input instanceof Request ? input : undefined
    const method = init?.method ?? request?.method ?? 'GET'
    const path = new URL(request?.url ?? String(input)).pathname.replace('/api/', '')
    const id = new Headers(init?.headers ?? request?.headers).get(CALL)
    const send: Send = { at: real() }
    let tell: () => void
    if (path === 'refresh') {
      exchange ??= { kind: 'refresh', id: crypto.randomUUID(), tab, at: send.at, sends: [] }
      const item = exchange
      item.sends.push(send)
      tell = () => log.put(item)
    } else {
      const own = id === null
      const item = calls.get(id ?? '') ?? {
        kind: 'call',
        id: crypto.randomUUID(),
        tab,
        at: send.at,
        method,
        path,
        own,
        sends: [],
      }
      item.sends.push(send)
      tell = () => {
        if (own && send.end) {
          item.end = send.end
          item.result = send.status ? String(send.status) : 'no answer'
        }
        log.put(item)
      }
    }
    tell()
    try {
      if (offline) {
        send.offline = true
        throw new TypeError('Failed to fetch')
      }
      const response = await fetch(input, init)
      send.status = response.status
      if (!response.ok) {
        const copy = response.clone()
        void words(copy).then((said) => {
          if (said) send.said = said
          tell()
        })
      }
      return response
    } finally {
      send.end = real()
      tell()
    }
  }

  const auth = createAuth({
    baseUrl: '/api/',
    backend: flaskJwt(),
    store: browserStore(),
    fetch: watched,
    // Sooner than by default, so that nobody waits long for what a hanging refresh comes to.
    refreshTimeout: 5_000,
  })
  const api = createKy(auth)

  const endExchange = (outcome: RefreshItem['outcome'], reason: string, version?: number): void => {
    if (!exchange) return
    const item = exchange
    exchange = undefined
    Object.assign(item, { outcome, reason, end: item.sends.at(-1)?.end ?? real() })
    if (version !== undefined) item.version = version
    log.put(item)
  }

  /** The session has changed in another way: what the exchange brings, or has brought, is of no use. */
  const supersede = (): void => {
    const status = exchange?.sends.at(-1)?.status
    endExchange(status === 401 ? 'refused' : 'failed', 'superseded')
  }
  auth.on('tokenRefreshed', ({ origin, reason, session }) => {
    if (reason === 'reauthenticated') supersede()
    else if (origin === 'this context') endExchange('done', reason, session.version)
  })
  auth.on('refreshFailed', ({ origin, reason }) => {
    if (origin === 'this context') endExchange('failed', reason)
  })
  auth.on('loggedIn', supersede)
  auth.on('loggedOut', supersede)
  for (const type of MARKED) {
    auth.on(type, ({ reason, origin, ...event }) => {
      const subject = 'session' in event ? event.session.subject : undefined
      const now = real()
      log.put({
        kind: 'mark',
        id: crypto.randomUUID(),
        tab,
        at: now,
        end: now,
        type,
        reason,
        origin,
        subject,
      })
    })
  }

  // Has the timeline show which token is in use now.
  const noteSession = noteTokens(auth, log, clockOffset)

  // --- calls -----------------------------------------------------------------------------------------------

  /** Calls the API through ky. Never rejects: how it went stands in the log. */
  async function call(method: 'get' | 'delete', path: string): Promise<CallItem> {
    const id = crypto.randomUUID()
    const item: CallItem = {
      kind: 'call',
      id,
      tab,
      at: real(),
      method: method.toUpperCase(),
      path,
      own: false,
      sends: [],
    }
    calls.set(id, item)
    log.put(item)
    try {
      const response = await api[method](path, {
        headers: { [CALL]: id },
        throwHttpErrors: false,
        retry: 0,
        // A browser lets equal requests wait for each other's answers, to share them.
        cache: 'no-store',
      })
      item.result = String(response.status)
    } catch (error) {
      item.result = isAuthError(error)
        ? error.code
        : isNetworkError(error)
          ? 'network error'
          : (error as Error).name
    }
    item.end = real()
    calls.delete(id)
    log.put(item)
    return item
  }

  return {
    auth,
    call,
    noteSession,
    /** The server refused a refresh: known from the history alone, for it is no event. */
    refused: () => endExchange('refused', 'refused'),
    get offline(): boolean {
      return offline
    },
    set offline(on: boolean) {
      offline = on
    },
  }
}

/** The server's own words. */
async function words(response: Response): Promise<string | undefined> {
  try {
    const { msg } = (await response.json()) as { msg?: unknown }
    return typeof msg === 'string' ? msg : undefined
  } catch {
    return undefined
  }
}
