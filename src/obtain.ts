/**
 * Asks for the tokens of a login: at the login endpoint, or by a flow of the application's. It changes nothing: who is
 * signed in by them is for `sign-in.ts`, which is given too what comes when nobody waits for it any more.
 */
import { isMessage, isRequest, urlOf } from './call.ts'
import { consult } from './consult.ts'
import { AuthError, JWT, safeCause } from './errors.ts'
import { type Platform, stopwatch, within } from './platform.ts'
import type { SessionRoom } from './session.ts'
import { checkTokens, shape } from './token.ts'
import type { Answer, Backend, Flow, MaybePromise, RequestSpec, StoreRecord, Tokens } from './types.ts'
import { readAnswer, unread, type Wire } from './wire.ts'

/** A login or re-authentication under way. */
export interface Attempt {
  /** The session that it will make. */
  readonly id: string
  readonly calledAt: () => number
  /** What stood in the store by what was known then. */
  seen: StoreRecord | null | undefined
  /** The last logout elsewhere that was known of then. */
  heard: number
  readonly controller: AbortController
  /** Why it was aborted: not every runtime's signal keeps that. */
  dropped?: AuthError
  /** What it will come to, if it is a login. */
  making?: Promise<void>
  /** Whether it is a flow of the application's. */
  flow?: boolean
  /** Whether its tokens have come. */
  brought?: boolean
  /** Called then, before who listens to the signal. */
  leave?(): void
  /** What it brought, once that is in the store; or kept here, the store being away. */
  kept?: Tokens
  /** What the login brought that took its place: it may be the very same. */
  by?: Tokens
  /** Whether the cookies of that are there in place of its own. */
  overwritten?: boolean
}

/** What a flow or the login endpoint brought, and the store's time when it was asked for. */
export interface Brought {
  tokens: Tokens
  at: number | undefined
  /** The same by the wall clock, where it was asked for by us. */
  sentAt?: number
}

export type Bring = () => Promise<Brought>

// A login can't be aborted by its caller, so that it has a bound; a flow, where a person may be slow, has none.
const LOGIN_TIMEOUT = 30_000

/**
 * Makes what asks for tokens. Credentials are taken down at the call: forms are cleared right after. `which`: the session
 * that is to be made fresh.
 */
export type Obtain = (attempt: Attempt, given: unknown, which?: () => string | undefined) => Bring

/**
 * @param takeBack is given what comes too late
 * @param earlierLogins waits for those that were called before
 */
export function createObtain(
  session: SessionRoom,
  backend: Backend<never, never>,
  wire: Wire,
  on: Platform,
  takeBack: (tokens: Tokens, attempt: Attempt, id?: string) => void,
  earlierLogins: (attempt: Attempt) => Promise<void>,
): Obtain {
  function obtain(attempt: Attempt, given: unknown, which?: () => string | undefined): Bring {
    if (typeof given === 'function') {
      attempt.flow = true
      return () => bring(attempt, given as Flow, which?.())
    }
    const still = async (): Promise<boolean> => {
      if (attempt.dropped) return false
      // The session that is to be made fresh may be about to be replaced.
      if (which) await earlierLogins(attempt)
      await session.cell.peek()
      return !attempt.dropped && (!which || session.held?.record.id === which())
    }
    const spec = consult(backend, which && backend.reauth ? 'reauth' : 'login', given as never, still)
    return () => bring(attempt, spec, which?.())
  }

  async function bring(attempt: Attempt, given: Flow | RequestSpec, id?: string): Promise<Brought> {
    const { signal } = attempt.controller
    let at = session.cell.latest()
    const sentAt = typeof given === 'function' ? undefined : on.now()
    // A cookie that was there before, and is told of once more, proves nothing; but to a login that asks whose it is.
    const asks = typeof given === 'function' && !id
    const had = backend.cookies === 'both' && !asks ? session.held?.record.access?.token : undefined
    let elapsed = stopwatch(on)
    /** What comes, if it does in time; the tokens of an answer that comes later are nobody's. */
    const inTime = <T>(coming: Promise<T>, read: (came: T) => MaybePromise<Answer>): Promise<T> =>
      within(on, coming, LOGIN_TIMEOUT - elapsed.least(), () => {
        void coming
          .then(read)
          .then((answer) => takeBack(consult(backend, 'tokens', answer) ?? {}, attempt, id))
          .catch(() => {})
        return new Error(`no answer within ${LOGIN_TIMEOUT} ms`)
      })
    const read = (answered: Response): Promise<Answer> => readAnswer(answered, undefined, true)
    const unavailable = (error: unknown): AuthError =>
      new AuthError(
        'login_unavailable',
        'The login could not be completed',
        { status: undefined, response: undefined },
        // What is shorter is no token, and would hide what the error says.
        safeCause(
          error,
          Object.values(Object((given as RequestSpec).headers)).filter(
            (value) => `${value}`.length > 15,
          ) as string[],
        ),
      )
    let response: Response
    if (typeof given === 'function') {
      const still = async (): Promise<boolean> => !attempt.dropped
      const result = await given({ fetch: (input, init) => tokenless(still, input, init), signal })
      at = session.cell.latest()
      elapsed = stopwatch(on)
      if (!isMessage(result)) return { tokens: checkTokens(result, 'the flow result'), at }
      response = result as Response
    } else {
      try {
        // Not aborted by a logout: its tokens could not be revoked then.
        response = await inTime(wire.call(given), read)
      } catch (error) {
        throw unavailable(error)
      }
    }
    const { status } = response
    const answer = await inTime(read(response), (came) => came).catch((error): Answer => {
      // Cookies are there with the head.
      if (response.ok && !response.bodyUsed && !backend.cookies) throw unavailable(error)
      return unread(response)
    })
    if (!response.ok) {
      if (status < 400 || status === 408 || status === 429 || status >= 500) {
        throw new AuthError('login_unavailable', `The login could not be completed (${status})`, {
          status,
          response,
        })
      }
      const said: unknown = backend.message && consult(backend, 'message', answer)
      const serverMessage = said && typeof said === 'string' ? said : undefined
      const words = serverMessage ? loggable(`: ${serverMessage}`) : ''
      const astray = wire.astray(status, given as Partial<RequestSpec>)
      const where = astray ? `; ${astray.message}` : ''
      throw new AuthError('login_refused', `The server refused the login (${status})${words}${where}`, {
        status,
        serverMessage,
        response,
      })
    }
    const tokens = consult(backend, 'tokens', answer)
    if (!tokens || (had && tokens.accessToken === had)) {
      // Of what it holds the names alone.
      const instead = answer.body === undefined ? 'no JSON' : loggable(shape(answer.body))
      const what = response.bodyUsed ? 'has been read already' : `holds no token: ${instead}`
      throw new AuthError('login_incomplete', `The login answer (${status}) ${what}`, { status, response })
    }
    return { tokens: checkTokens(tokens, 'the login answer'), at, sentAt }
  }

  async function tokenless(
    still: () => Promise<boolean>,
    input: string | URL | Request,
    init?: RequestInit,
  ): Promise<Response> {
    const request = isRequest(input) ? input : undefined
    const url = request ? new URL(urlOf(request)) : wire.resolve(input as string | URL)
    const added = wire.allowed(url) && wire.attach(undefined, { url, flow: true, still })
    return wire.fetch(request ?? url.href, added ? { ...added, ...init } : init)
  }

  return obtain
}

/** Of what a server says, for an error that somebody logs: neither a page's worth, nor what moves the cursor or the line. */
function loggable(words: string): string {
  return words
    .slice(0, 200)
    .replace(/\p{C}+/gu, ' ')
    .replace(JWT, '[token]')
}
