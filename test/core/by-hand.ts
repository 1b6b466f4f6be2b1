/** A server and a store by hand, for what the fake backend never does: every answer and every delay is the test's. */
import { onTestFinished, vi } from 'vitest'
import type { Cell, Notice, Store, StoreRecord } from '../../src/index.ts'
import { baseUrl, deferred } from './support.ts'

/** A JWT that nobody has signed. */
export const jwt = (claims: object | string): string =>
  ['{"alg":"none"}', typeof claims === 'string' ? claims : JSON.stringify(claims), 'signature']
    .map((part) => Buffer.from(part).toString('base64url'))
    .join('.')

let issued = 0

/** An access token for a quarter of an hour, unlike any other. */
export const mint = (sub: unknown, claims?: object): string =>
  jwt({ ...stamps(), sub, jti: ++issued, ...claims })

/** When it was issued and when it ends, in whole seconds. */
export function stamps(): { iat: number; exp: number } {
  const iat = Math.floor(Date.now() / 1000)
  return { iat, exp: iat + 900 }
}

/** A request as a server by hand sees it. */
export interface Sent {
  readonly path: string
  readonly token: string | undefined
  /** Whose password came with it. */
  readonly username: string | undefined
}

export interface Server {
  readonly fetch: typeof fetch
  readonly sent: Sent[]
  /** The bearer tokens that came to a path, in order. */
  tokens(path: string): (string | undefined)[]
}

export function serve(answer: (sent: Sent) => Response | Promise<Response>): Server {
  const sent: Sent[] = []
  return {
    sent,
    tokens: (path) => sent.filter((one) => one.path === path).map(({ token }) => token),
    async fetch(input, init) {
      const url = input instanceof Request ? input.url : String(input)
      const token = new Headers(init?.headers).get('authorization')?.replace(/^Bearer /, '')
      const { username } = typeof init?.body === 'string' && init.body[0] === '{' ? JSON.parse(init.body) : {}
      const one = { path: new URL(url).pathname, token, username }
      sent.push(one)
      return answer(one)
    },
  }
}

export const ok = (body: object = {}): Response => Response.json(body)
export const refuse = (msg: string): Response => Response.json({ msg }, { status: 401 })

/** The page, until the test ends: with cookies that it can read. */
export function stubPage(): { cookie: string } {
  const page = { cookie: '', baseURI: baseUrl }
  vi.stubGlobal('document', page)
  onTestFinished(() => {
    vi.unstubAllGlobals()
  })
  return page
}

export interface HandStore extends Store {
  /** What stands in it. */
  record: StoreRecord | null
  /** How long, in ms, what is asked takes to get there, and its answer to come back. */
  trip: { there: number; back: number }
  /** Holds the next read or commit up before it is done. */
  gate(what: 'read' | 'commit'): { open(): void; reached(): boolean }
  notify(notice?: Notice): void
}

/** A store that answers later. It tells of its own changes only what it is made to tell. */
export function handStore(now: () => number = Date.now): HandStore {
  const gates: { what: string; pass(): Promise<void> }[] = []
  const listeners = new Set<(notice?: Notice) => void>()
  const wait = async (ms: number): Promise<void> => {
    if (ms) await new Promise<void>((resolve) => void setTimeout(resolve, ms))
  }
  const through = async (what: string, act: () => void): Promise<Cell> => {
    const { there, back } = store.trip
    const index = gates.findIndex((gate) => gate.what === what)
    if (index >= 0) await gates.splice(index, 1)[0]?.pass()
    await wait(there)
    act()
    const cell = { record: store.record, now: now() }
    await wait(back)
    return cell
  }
  const store: HandStore = {
    name: 'handStore',
    record: null,
    trip: { there: 0, back: 0 },
    read: () => through('read', () => {}),
    commit: (next, expected) =>
      through('commit', () => {
        if ((store.record?.revision ?? null) === expected) store.record = next
      }),
    watch(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    notify(notice) {
      for (const listener of listeners) listener(notice)
    },
    gate(what) {
      const { promise, resolve } = deferred()
      let reached = false
      gates.push({
        what,
        pass() {
          reached = true
          return promise
        },
      })
      return { open: () => resolve(), reached: () => reached }
    },
  }
  return store
}
