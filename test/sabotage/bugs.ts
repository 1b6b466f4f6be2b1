/**
 * The bugs that the model has to find: each is one mistake that a client of this kind makes, put into the core by
 * exchanging a text that stands there exactly once. When the core changes, so does this list: a text that is not
 * found is a failure, not a bug that was found.
 */

export interface Edit {
  /** From the root of the repository. */
  readonly file: string
  readonly find: string
  readonly replace: string
}

export interface Bug {
  readonly name: string
  readonly edits: readonly Edit[]
}

const edit = (file: string, find: string, replace: string): Edit => ({ file, find, replace })

export const BUGS: readonly Bug[] = [
  {
    name: 'no late-401 rule: a 401 to a token that was replaced meanwhile refreshes again',
    edits: [
      edit(
        'src/auth-fetch.ts',
        "const late = signal !== 'step_up' && session.token(held)?.token !== token.token",
        'const late = false',
      ),
      edit(
        'src/auth-fetch.ts',
        'const renewed = held.record.id !== user.id || held.record.version > spent.version',
        'const renewed = false',
      ),
    ],
  },
  {
    name: 'the commit guard off: what a late exchange brought is committed over a newer version',
    edits: [
      edit(
        'src/refresh.ts',
        'if (standing.version !== version && !(same && rotated && rotated !== spent)) return undefined',
        '',
      ),
    ],
  },
  {
    name: 'the commit guard off: what a late exchange brought is committed over another session, or a logout',
    edits: [
      edit('src/refresh.ts', 'if (session.isEnded(id)) return undefined\n    // A cell', '// A cell'),
      edit(
        'src/refresh.ts',
        "if (!standing || 'ended' in standing || standing.id !== id) return undefined\n    const same",
        'if (!standing) return undefined\n    const same',
      ),
      edit(
        'src/refresh.ts',
        'if (standing.version !== version && !(same && rotated && rotated !== spent)) return undefined\n      return {\n        ...standing,',
        'return {\n        ...claimed,',
      ),
    ],
  },
  {
    name: 'the subject check off: a replay goes out as whoever is signed in by then',
    edits: [
      edit(
        'src/session.ts',
        'now != null &&\n      (now.record.id === stamp.id || (stamp.subject !== undefined && stamp.subject === now.record.subject)),',
        'now != null && stamp !== undefined,',
      ),
    ],
  },
  {
    name: 'the subject check off: another user’s password makes the session fresh',
    edits: [
      edit(
        'src/sign-in.ts',
        'mismatch = subject !== undefined && (standing.subject ?? subject) !== subject',
        'mismatch = false',
      ),
    ],
  },
  {
    name: 'a refusal on any status: a 500 of the refresh ends the session',
    edits: [edit('src/exchange.ts', " && consult(backend, 'refused', answer)", '')],
  },
  {
    name: 'a refusal on any error: a refresh that got lost on the way ends the session',
    edits: [
      edit(
        'src/exchange.ts',
        'if (!error) return late',
        "if (error) return { kind: 'refused', status: 401, response: () => new Response(null, { status: 401 }) } as never",
      ),
    ],
  },
  {
    name: 'the refresh under the signal of the caller who began it',
    edits: [
      edit(
        'src/refresh.ts',
        'function join(held: Held, reason: ChangeReason): Promise<Outcome> {',
        'let caller: AbortSignal | null | undefined\n  function join(held: Held, reason: ChangeReason, signal?: AbortSignal | null): Promise<Outcome> {\n    if (!flights.size) caller = signal',
      ),
      edit(
        'src/exchange.ts',
        'const { signal } = controller\n    const late',
        "caller?.addEventListener('abort', () => controller.abort())\n    const { signal } = controller\n    const late",
      ),
      edit(
        'src/auth-fetch.ts',
        "const outcome = await abortable(call, refresher.join(held, session.usable(token) ? 'ahead' : 'expired'))",
        "const outcome = await abortable(call, refresher.join(held, session.usable(token) ? 'ahead' : 'expired', call.signal))",
      ),
      edit(
        'src/auth-fetch.ts',
        "const exchange = refresher.join(held, late ? 'expired' : 'rejected')",
        "const exchange = refresher.join(held, late ? 'expired' : 'rejected', call.signal)",
      ),
    ],
  },
  {
    name: 'the refresh token sent again after a rotation: the record keeps the old one',
    edits: [
      edit(
        'src/refresh.ts',
        'refreshToken: rotated ?? (backend.singleUse ? undefined : standing.refreshToken),',
        'refreshToken: backend.singleUse ? rotated : (standing.refreshToken ?? rotated),',
      ),
    ],
  },
  {
    name: 'a commit without compare: the store takes whatever comes',
    edits: [
      edit(
        'test/model/world.ts',
        'if ((cell?.revision ?? null) === expected) {',
        'if (expected !== undefined) {',
      ),
    ],
  },
  {
    name: 'the claim not checked before sending: a holder that slept sends all the same',
    edits: [
      edit('src/refresh.ts', 'if (mine.claim.until - session.cell.latest() < refreshTimeout) continue', ''),
    ],
  },
  {
    name: 'no claim: every context exchanges for itself',
    edits: [edit('src/refresh.ts', 'if (claimed > 0) {', 'if (claimed > 1e9) {')],
  },
  {
    name: 'a late answer’s tokens dropped instead of revoked',
    edits: [
      edit(
        'src/refresh.ts',
        'void revoke({ accessToken, refreshToken: kept ? undefined : refreshToken })',
        'void kept',
      ),
    ],
  },
  {
    name: 'a fresh token replaced ahead of its end',
    edits: [edit('src/refresh.ts', 'fresh: stillFresh(standing, version),', 'fresh: undefined,')],
  },
  {
    name: 'a listener awaited in the exchange',
    edits: [
      edit(
        'src/events.ts',
        'const result = listener(value as never) as',
        'const result = called.last = listener(value as never) as',
      ),
      edit(
        'src/events.ts',
        '/** Where an error goes',
        'export const called: { last?: unknown } = {}\n\n/** Where an error goes',
      ),
      edit(
        'src/refresh.ts',
        "import type { Emitter } from './events.ts'",
        "import { called, type Emitter } from './events.ts'",
      ),
      edit(
        'src/refresh.ts',
        'session.learnSkew(readToken(result.access), result.sentAt)',
        'session.learnSkew(readToken(result.access), result.sentAt)\n      await Promise.resolve(called.last).catch(() => {})',
      ),
    ],
  },
  {
    name: '`exp` compared with the local clock',
    edits: [
      edit(
        'src/hand.ts',
        '!token.rejected && (token.lasts === undefined || token.age() < token.lasts)',
        '!token.rejected && on.now() < (token.claims.exp ?? Infinity) * 1000',
      ),
    ],
  },
  {
    name: 'the token attached to another origin',
    edits: [
      edit('src/wire.ts', 'allowed: (url) => origins.has(url.origin)', 'allowed: (url) => url !== undefined'),
    ],
  },
  {
    name: 'one flight per caller',
    edits: [edit('src/refresh.ts', 'if (running) {', 'if (running && id === key) {')],
  },
]
