/** Whose the cookies are, where an answer that brought some doesn't tell: `whoami` is asked, within bounds of its own. */

import { cached } from '../platform.ts'
import { describe } from '../token.ts'
import type { Answer, RequestSpec } from '../types.ts'
import { readAnswer } from '../wire.ts'
import type { Arrival, CookieValues, Send, Values } from './cookie-values.ts'

/** What the preset reads in an answer. */
export interface Reading {
  /** The CSRF value that it tells. */
  value(body: unknown, which: keyof Values): string | undefined
  /** Whether it tells who it is. */
  claims(body: unknown): boolean
  /** The headers that a request for it wants. */
  proof(url: string): Record<string, string>
  /** Whether an error says nothing of whoever asks later. */
  passing(answer: Answer): boolean
  /** Whether it says that no cookie came. */
  gone(answer: Answer): boolean
  /** Whether there are no values, so that an answer without one may have brought cookies that are not to be seen. */
  blind: boolean
}

export interface CookieOwner {
  /** Asks until the answer is about the cookies that are there: any answer may replace them. */
  look(send: Send, url: string, init: RequestInit, sure?: boolean): Promise<Response>
  /** The CSRF value of the access cookie, as `whoami` tells it. */
  value(send: Send, init: RequestInit, base: string): Promise<string | undefined>
  /** That of the last answer which told one, though no session was given it. */
  lastTold(which: keyof Values): string | undefined
  /**
   * Whose the tokens are that came. `undefined`: there is no need to ask, or nobody can; `null`: it was not found out;
   * `false`: the cookies are not there.
   */
  of(send: Send, init: RequestInit, response: Response, base: string): Promise<Arrival['who'] | false>
}

// What is asked after a login or a refresh must not cost it, ms.
const TIMEOUT = 3_000

export function createCookieOwner(
  { exchange, arrival }: CookieValues,
  asking: () => RequestSpec,
  reading: Reading,
): CookieOwner {
  let told: Partial<Values> = {}

  async function look(send: Send, url: string, init: RequestInit, sure?: boolean): Promise<Response> {
    let last: string | undefined
    for (let tries = 0; ; tries++) {
      const response = await exchange(send, url, { ...init, headers: reading.proof(url) }, 'whoami')
      const { before, now } = arrival(response.headers) as Arrival
      if (!response.ok || tries === 2) return response
      if (now.access === undefined) {
        // Not to be seen from here, but two answers that tell the same are about the same.
        const { body } = await readAnswer(response, init.signal ?? undefined, true)
        const value = reading.value(body, 'access')
        if (!sure || value === undefined || value === last) return response
        last = value
      } else if (now.access === before.access) return response
      void response.body?.cancel().catch(() => {})
    }
  }

  async function inquire(send: Send, { signal }: RequestInit, base: string): Promise<Answer> {
    const late = soon(signal)
    const { path, ...asked } = asking()
    const response = await look(send, new URL(path, base).href, {
      ...asked,
      ...cached('no-store'),
      redirect: 'manual',
      signal: late,
    })
    // Looked into already, perhaps, until it was too late: what is aborted before nobody hears of.
    late.throwIfAborted()
    const answer = await readAnswer(response, late, true)
    late.throwIfAborted()
    return answer
  }

  async function find(
    send: Send,
    init: RequestInit,
    response: Response,
    base: string,
  ): Promise<Arrival['who'] | false> {
    const { before, now } = arrival(response.headers) as Arrival
    if (now.access !== undefined && now.access === before.access) return undefined
    try {
      const { body } = await readAnswer(response, soon(init.signal), true)
      const value = reading.value(body, 'access')
      told = { access: value, refresh: reading.value(body, 'refresh') }
      // The value of the cookie that is there may be another's all the same.
      if (reading.claims(body) && (value || !now.access)) return undefined
      const said = await inquire(send, init, base)
      // Replaced meanwhile: nobody knows which of the two it was about.
      const same =
        arrival(said.headers)?.now.access === now.access &&
        value === (value && (reading.value(said.body, 'access') ?? value))
      // A text would be somebody: it has a `sub` of its own.
      if (said.status < 300 && same && describe(said.body) === 'object') return said.body as Arrival['who']
      // What tells no value brought none: a first step of several, or a page. And where one can be read the browser has kept
      // them: it is whoami that is out of their path.
      const lost = now.access === undefined && (value !== undefined || reading.blind)
      if (same && reading.gone(said)) return lost ? false : null
      // What turns this down (there is no such route, say) would turn it down for ever, and no refresh would ever be
      // taken.
      return said.status >= 400 && said.status < 500 && same && !reading.passing(said) ? undefined : null
    } catch {
      return null
    }
  }

  return {
    look,
    value: (send, init, base) =>
      inquire(send, init, base).then(
        ({ body }) => reading.value(body, 'access'),
        () => undefined,
      ),
    lastTold: (which) => told[which],
    async of(send, init, response, base) {
      const who = await find(send, init, response, base)
      if (who !== null && who !== false) told = {}
      return who
    },
  }
}

/** What is asked beside must not take long. */
function soon(signal: AbortSignal | null | undefined): AbortSignal {
  const late = AbortSignal.timeout(TIMEOUT)
  return signal ? AbortSignal.any([signal, late]) : late
}
