/** What is taken down of a run, and the figures that all runs share. */
import type { Auth } from '../../src/types.ts'
import type { BodyKind, Op, Program, User } from './program.ts'
import type { Context, World } from './world.ts'

export const PASSWORDS: Record<User, string> = { alice: 'wonderland', bob: 'builder' }
export const REAUTH_TIMEOUT = 120_000
export const REFRESH_TIMEOUT = 8_000
export const REFRESH_AHEAD = 10_000

/** A call of the application's, and what came of it. */
export interface Call {
  readonly id: number
  readonly context: Context
  readonly op: Op['op']
  readonly seq: number
  readonly at: number
  /** Who was signed in when it was made; `undefined`: not known yet. */
  readonly user: { id: string; subject: string | undefined } | null | undefined
  /** Whether it went out in the tick of the call. */
  sentInTick: boolean
  /** Whether, by what the context showed, a valid token was in hand: then it has to. */
  hadValid: boolean
  hadFresh: boolean
  readonly auth: unknown
  readonly body: BodyKind
  readonly replay: boolean
  /** It told the client that a server had turned the token down. */
  readonly rejected?: boolean
  result?: { status: number } | { error: string; code: string | undefined }
  settledAt?: number
  aborted?: { at: number; promptly: boolean }
}

/** A login, logout or the like. */
export interface Deed {
  readonly op: 'login' | 'logout' | 'reauthenticate'
  readonly context: Context
  readonly seq: number
  readonly at: number
  readonly user: User | undefined
  /** The session that was there when it was called. */
  readonly session: string | undefined
  /** Whether it came through; for a login the session it made. */
  made?: string
  doneSeq?: number
  failed?: string
  failedSeq?: number
}

export interface Run {
  readonly program: Program
  readonly world: World
  readonly auths: Map<Context, Auth>
  readonly calls: Call[]
  readonly deeds: Deed[]
  readonly disposed: Set<Context>
  readonly uncaught: unknown[]
  /** What reached the console or reportError. */
  readonly reported: unknown[]
}

export const BODY = 'a body, to be replayed byte for byte: äöü'
