/**
 * The invariants of the design, judged from outside: by what the server logged and issued, by what left and reached
 * each context, and by what its application was told. None of them asks the client's rooms.
 */
import type { IssuedToken } from '../../src/testing/index.ts'
import { acceptedAs, atRest, overwritten } from './cookie-invariants.ts'
import { BODY, type Call, REAUTH_TIMEOUT, REFRESH_AHEAD, REFRESH_TIMEOUT, type Run } from './record.ts'
import type { Send } from './world.ts'

export function judge(run: Run): void {
  const facts = gather(run)
  for (const [number, check] of CHECKS) {
    for (const broken of check(run, facts)) throw new Error(`Invariant ${number} is broken: ${broken}`)
  }
}

interface Facts {
  readonly issued: Map<string, IssuedToken>
  /** Which session a token belongs to, where the store has held it. */
  readonly sessionOf: Map<string, string>
  readonly exchanges: Send[]
  /** Nothing but requests, time, and one session: what must then work, works. */
  readonly calm: boolean
}

function gather({ world, program, deeds }: Run): Facts {
  const issued = new Map(world.backend.issued.map((token) => [token.token, token]))
  const sessionOf = new Map<string, string>()
  for (const record of world.records) {
    if ('ended' in record) continue
    for (const token of [record.access?.token, record.fresh?.token, record.refreshToken]) {
      if (token && !sessionOf.has(token)) sessionOf.set(token, record.id)
    }
  }
  const exchanges = world.sends.filter(({ route }) => route === 'refresh')
  const rough = new Set([
    'turned down every time',
    'revoke',
    'fault',
    'fault elsewhere',
    'freeze',
    'die',
    'trap',
    'store fault',
    'data lost',
    'jump',
    'dispose',
    'listen',
    'logout',
    'login',
    'flow',
    'setTokens',
    'reauthenticate',
    'outside',
  ])
  const ops = program.ops.filter(({ op }) => op !== 'time' && op !== 'calm')
  const logins = deeds.filter(({ op }) => op === 'login').length
  const early = ops.filter(({ op }) => op === 'expire early').length
  const passed = program.ops.reduce((sum, drawn) => sum + (drawn.op === 'time' ? drawn.ms : 0), 0)
  // A call whose token ends twice while it is under way has had its two sends.
  const ends = early + Math.floor((passed * 2) / program.world.accessLifetime)
  const explicit = early > 0 && ops.some(({ op }) => op === 'refresh' || op === 'getAccessToken')
  // Nor does time pass while something is in the air: that is a network or a store that hangs.
  // A tab that starts cold beside a login takes its cookies for a session of its own, until it is told.
  const cold = world.contexts.some(({ told }) => told.some(({ reason }) => reason === 'initial'))
  // A whoami that is too slow to tell whose the cookies are that came in the place of both: nobody's, until it does.
  const untold = world.jar !== undefined && ops.some(({ op }) => op === 'slow')
  const calm =
    !(cold && logins) &&
    !untold &&
    program.preset.refresh &&
    !world.slow &&
    logins <= 1 &&
    ends <= 1 &&
    !explicit &&
    ops.every(({ op }) => !rough.has(op))
  return { issued, sessionOf, exchanges, calm }
}

type Check = (run: Run, facts: Facts) => Iterable<string>

const CHECKS: [number | string, Check][] = [
  ['1 and 3 (an exchange per version; a replaced or refused token is never sent again)', spending],
  ['1 (who came before the exchange shares its outcome)', shared],
  ['2 (nothing is refreshed without need)', needless],
  ['3 (an older token never overwrites a newer one)', growing],
  ['4 (only a definite refusal ends a session)', endings],
  ['5 (what the user ended stays ended)', ended],
  ['5 (what came too late is revoked)', takenBack],
  ['5 (when all is at rest the cookies are of who is signed in)', atRest],
  ['6 (a request goes out as who made it)', sameUser],
  ['6 (a session has the tokens of one user)', oneUser],
  ['6 (with cookies: what writes is accepted from who made it only)', acceptedAs],
  ['7 (two sends at the most, and one after a login)', sends],
  ['8 (tokens go home only)', home],
  ['9 (an abort frees its caller at once)', aborts],
  ['9 (an exchange runs under a signal of its own)', ownSignal],
  ['10 (nothing waits without bound)', bounds],
  ['11 (a valid token never waits, and freshness is not spent)', valid],
  ['11 (a fresh token stays in use to its own end)', freshness],
  ['13 (no refresh loop)', loops],
  ['14 (a body is replayed byte for byte or not at all)', bodies],
  ['of calm (with nothing in the way every call is answered)', calm],
  ['of manners (events, errors, nothing uncaught)', manners],
]

/** Whether the outcome of an exchange is one that all contexts could have come to know. */
function outcome(send: Send, run: Run): 'known' | 'unprocessed' | 'unknown' {
  const { known, context } = send
  if (!known) return 'unknown'
  const entry = run.world.backend.log.find(({ headers }) => headers['x-send'] === String(send.seq))
  // Turned down before the token was looked at: for the value beside the cookie, or for want of one.
  if (run.world.jar && entry && /csrf|missing/.test(entry.error ?? '')) return 'unprocessed'
  const whole = entry?.fault !== 'stall-body' && entry?.fault !== 'cut-body'
  if (whole && (known.status === 429 || known.status === 503)) return 'unprocessed'
  if (!whole || (known.status !== 200 && known.status !== 401)) return 'unknown'
  if (known.status === 200 && entry?.fault) return 'unknown'
  // The sender was hindered before it could write down what it had got.
  const hindered = context.hinderedAt >= send.at || context.dead
  return hindered ? 'unknown' : 'known'
}

function* spending(run: Run, { exchanges, issued }: Facts): Iterable<string> {
  const byToken = new Map<string, Send[]>()
  for (const send of exchanges) {
    // No page knows which cookie the browser will add. One that goes beside another's value spends nothing: the server turns
    // it down before it looks at the token.
    const beside = run.world.jar !== undefined && issued.get(send.token ?? '')?.claims.csrf !== send.csrf
    if (send.token && !beside) byToken.set(send.token, [...(byToken.get(send.token) ?? []), send])
  }
  const reusable = run.program.world.refresh === 'reusable' || run.program.world.refresh === 'single-use'
  for (const [token, all] of byToken) {
    for (let i = 1; i < all.length; i++) {
      const [before, after] = [all[i - 1] as Send, all[i] as Send]
      // A tab that starts cold beside a login elsewhere takes its cookies for a session of its own, until it is told.
      if (run.world.jar && heldBy(before) !== heldBy(after)) continue
      // One for each version: that of another, which its sender had while it was frozen, may have run out since.
      const same = before.context === after.context
      if (run.world.jar && same && heldBy(before, 'version') !== heldBy(after, 'version')) continue
      const name = issued.get(token)?.jti
      const over = before.known && before.known.seq < after.seq
      const lost = run.program.ops.some(({ op }) => op === 'data lost')
      // One bound for an exchange and its tries: of a sender who was turned away and came again it is that of the first.
      const begun = all.find(
        (one) =>
          one.context === before.context &&
          one.seq <= before.seq &&
          one.at > before.at - REFRESH_TIMEOUT &&
          outcome(one, run) === 'unprocessed',
      )
      const ranOut = after.at >= (begun ?? before).at + REFRESH_TIMEOUT || lost
      if (!over && !ranOut) yield `${name} is exchanged twice at once (#${before.seq}, #${after.seq})`
      if (!over || !before.known) continue
      const how = outcome(before, run)
      if (how !== 'known') continue
      if (before.known.status === 401)
        yield `${name} is sent again after it was refused (#${before.seq}, #${after.seq})`
      else if (!reusable) yield `${name} is sent again after it was replaced (#${before.seq}, #${after.seq})`
    }
  }
  if (run.world.backend.reuseDetected > 0) {
    const excused = exchanges.some((send) => outcome(send, run) === 'unknown')
    if (!excused) yield 'the server detected a reuse, and no outcome was unknown'
  }
}

/** The session that a context held when it sent something, by what it was told. */
function heldBy({ context, seq }: Send, what: 'id' | 'version' = 'id'): string | number | undefined {
  return context.told.findLast((told) => told.seq < seq && told.session)?.session?.[what]
}

/** A second exchange in one context is somebody's who came, or was turned down, after the first was over. */
function* shared(run: Run, { exchanges }: Facts): Iterable<string> {
  const { world, calls, program } = run
  // Elsewhere a call waits for the store before it joins anything.
  if (program.world.store !== 'memory') return
  for (const [i, send] of exchanges.entries()) {
    const before = exchanges.slice(0, i).findLast(({ token }) => token === send.token)
    const { known, context } = before ?? {}
    if (!before || !known || !context || context !== send.context || known.seq > send.seq) continue
    // Of two logins that came at once both sessions may have the cookies that came last.
    if (world.jar && heldBy(before) !== heldBy(send)) continue
    // Nor was the one turned down that went under a value that had been replaced.
    if (world.jar && before.csrf !== send.csrf) continue
    if (outcome(before, run) === 'unprocessed' || context.hinderedAt >= before.at || context.jumped) continue
    const between = (seq: number | undefined): boolean =>
      seq !== undefined && seq > known.seq && seq < send.seq
    const caused =
      calls.some((call) => call.context === context && between(call.seq)) ||
      run.deeds.some((deed) => between(deed.seq) || between(deed.doneSeq)) ||
      context.told.some((told) => told.type === 'reauthRequired' && told.seq < send.seq) ||
      world.sends.some(
        (one) => one.context === context && one.route !== 'refresh' && between(one.known?.seq),
      ) ||
      // An answer is looked into, perhaps for a while.
      world.backend.log.some(({ fault }) => fault === 'stall-body')
    if (!caused)
      yield `#${send.seq} exchanges again what #${before.seq} had failed to, and nobody came between`
  }
}

/** What a session's record holds was issued later than what it held before. */
function* growing({ world, program }: Run, { issued }: Facts): Iterable<string> {
  // Tokens given by hand are as old as they are; lost data comes back as whoever held it knew it.
  if (program.ops.some(({ op }) => op === 'setTokens' || op === 'data lost')) return
  const order = new Map([...issued.keys()].map((token, i) => [token, i]))
  const latest = new Map<string, { version: number; at: number; token: string }>()
  for (const record of world.records) {
    if ('ended' in record || !record.access) continue
    const { id, version } = record
    const { token } = record.access
    const at = order.get(token) ?? -1
    const before = latest.get(id)
    if (before && version < before.version) yield `${id} went from v${before.version} back to v${version}`
    // A re-authentication that brought no refresh token leaves the exchange that was under way its due;
    // of two of them the last answered stands.
    const beside = record.fresh?.token === before?.token || record.reason === 'reauthenticated'
    // A browser has the cookies of the answer that came last, and the record is about those.
    if (before && at < before.at && !beside && !world.jar) {
      yield `${id} v${version} holds ${issued.get(token)?.jti}, older than what v${before.version} held`
    }
    latest.set(id, { version, at, token })
  }
}

/** The tokens of an exchange's answer are in a record, or were taken back to the server. */
function* takenBack({ world, program }: Run): Iterable<string> {
  // A logout without a server is beyond the client.
  const rough = ['fault elsewhere', 'data lost']
  // What comes late in a cookie takes the place of what was there: see `atRest`.
  if (world.jar || program.ops.some(({ op }) => rough.includes(op))) return
  const stood = new Set(
    world.records.flatMap((record) => ('ended' in record ? [] : [record.access?.token, record.refreshToken])),
  )
  const revoked = new Set(world.sends.filter(({ route }) => route === 'logout').map(({ token }) => token))
  for (const { brought, context, known, seq } of world.sends) {
    if (!brought || known?.status !== 200 || context.dead) continue
    // What it kept to itself while the store failed is in no record.
    if (context.told.some(({ type }) => type === 'storeUnavailable')) continue
    for (const token of [brought.access, brought.refresh]) {
      if (token && !stood.has(token) && !revoked.has(token) && world.backend.isHonoured(token)) {
        yield `a token that #${seq} brought to ${context.name} is in no record, and was not taken back`
      }
    }
  }
}

/** An exchange needs a reason: a token that has expired, or was turned down, or is due, or somebody who asks. */
function* needless(run: Run, { exchanges, issued }: Facts): Iterable<string> {
  const { world, program, calls } = run
  const rough = program.ops.some(({ op }) =>
    [
      'store fault',
      'freeze',
      'die',
      'trap',
      'data lost',
      'jump',
      'setTokens',
      'fault elsewhere',
      'outside',
    ].includes(op),
  )
  if (rough || program.world.store !== 'memory') return
  for (const send of exchanges) {
    const record = world.records.findLast(
      (one) =>
        !('ended' in one) &&
        one.refreshToken === send.token &&
        one.access !== undefined &&
        (world.writtenAt.get(one.revision) ?? 0) < send.seq,
    )
    if (!record || 'ended' in record || !record.access) continue
    const access = issued.get(record.access.token)
    if (!access?.exp) continue
    const retry = exchanges.some(
      (one) => one.token === send.token && one.seq < send.seq && outcome(one, run) === 'unprocessed',
    )
    const asked =
      retry ||
      calls.some(
        (one) =>
          ['refresh', 'getAccessToken'].includes(one.op) &&
          one.at <= send.at &&
          (one.settledAt ?? Infinity) >= send.at,
      )
    // A life counts from the start of the request that brought the token, however long that took.
    const lasts = (access.exp - access.iat) * 1000 - 1000
    const since = record.access.at ?? access.iat * 1000
    const ends = since + lasts
    const due = since + (record.due ?? lasts - Math.min(REFRESH_AHEAD, lasts / 2)) - 1000
    const known = [record.access.token, record.fresh?.token]
    const told = calls.some((one) => one.rejected && one.at <= send.at)
    // With cookies it is the browser that chooses what goes along, and the server may have replaced it by itself.
    const first = world.records.find(({ id, version }) => id === record.id && version === record.version)
    const written = world.writtenAt.get(first?.revision ?? '') ?? 0
    const cookie =
      world.both &&
      world.sends.some(
        ({ context, cookies, call, known }) =>
          context === send.context &&
          cookies &&
          call !== undefined &&
          known !== undefined &&
          known.seq > written &&
          known.seq < send.seq &&
          known.status === 401,
      )
    const turnedDown =
      told ||
      cookie ||
      world.backend.log.some((entry) => known.includes(entry.tokens[0]?.token) && (entry.status ?? 0) >= 400)
    if (!asked && !turnedDown && send.at < Math.min(due, ends)) {
      yield `#${send.seq} refreshes ${access.jti}, which is good for ${ends - send.at} ms more`
    }
  }
}

function* endings({ world, program }: Run): Iterable<string> {
  // A route that turns down what the server honours elsewhere is the server's word all the same.
  if (program.ops.some(({ op }) => op === 'turned down every time')) return
  for (const context of world.contexts) {
    for (const [i, told] of context.told.entries()) {
      if (told.type !== 'loggedOut') continue
      // Who could not ask the store goes by what he knows, and is back when he hears that another was helped.
      const [before, after] = [context.told.slice(0, i), context.told.slice(i + 1)]
      const alone = before.some(({ type }) => type === 'storeUnavailable')
      // But for a logout meanwhile; nor does a cookie that somebody has replaced make a newer version to hear of.
      const over = program.ops.some(({ op }) => op === 'logout' || op === 'outside')
      const back = after.some(({ type }) => type === 'loggedIn') || (alone && over)
      const mine = before.findLast(({ session }) => session)?.session
      const ranOut = ['session_expired', 'token_revoked'].includes(told.reason)
      if (ranOut && !alone && mine && told.ended && told.ended < mine.version) {
        yield `${context.name} lost version ${mine.version} to the end of ${told.ended}, which it has helped`
      }
      if (told.origin !== 'this context') continue
      if (told.reason === 'session_expired' && told.honoured.length && !back) {
        yield `${context.name} lost a session of which the server honours ${told.honoured.length} tokens`
      }
    }
  }
}

function* ended(run: Run, { sessionOf }: Facts): Iterable<string> {
  const { world, deeds, auths, disposed } = run
  for (const logout of deeds) {
    if (logout.op !== 'logout' || !logout.session) continue
    for (const send of world.sends) {
      if (send.seq <= logout.seq || send.context !== logout.context || !send.token) continue
      if (world.jar && addedByBrowser(run, send)) continue
      // A tab that starts cold beside a login takes its cookies for a session of its own, and one that has heard of nothing
      // for those of the session that was: they are the login's, too, though that may not be in the store yet.
      const shared = world.records.some(
        (record) =>
          !('ended' in record) &&
          record.id !== logout.session &&
          [record.access?.token, record.refreshToken].includes(send.token) &&
          ((world.writtenAt.get(record.revision) ?? 0) < send.seq ||
            send.context.told.some(({ seq, session }) => seq < send.seq && session?.id === record.id)),
      )
      if (world.jar && shared) continue
      if (sessionOf.get(send.token) === logout.session && send.route !== 'logout') {
        yield `#${send.seq} attaches a token of a session that was logged out by ${logout.context.name}`
      }
    }
    for (const [context, auth] of auths) {
      // Without watching a context learns of it when it next asks the store.
      const blind =
        (run.program.world.store === 'polled' || logout.context.dead) && context !== logout.context
      // One that came in the same millisecond as its logout elsewhere, and is written late because the store had not
      // confirmed it, may have been called after it for all that anybody knows.
      const tied =
        context !== logout.context &&
        context.told.some(({ type }) => type === 'storeUnavailable') &&
        deeds.some(
          (deed) => deed.made === logout.session && deed.context === context && deed.at === logout.at,
        )
      if (context.dead || disposed.has(context) || blind || tied) continue
      if (auth.session?.id === logout.session)
        yield `${context.name} still holds a session that was logged out`
    }
    for (const told of logout.context.told) {
      if (told.seq > logout.seq && told.session?.id === logout.session && told.type !== 'loggedOut') {
        yield `${told.type} is announced of a session that was logged out`
      }
    }
  }
  // Of logins and logouts the last called wins.
  const last = deeds
    .filter(({ op, made }) => op === 'logout' || (op === 'login' && made))
    .findLast((deed) => deed.op === 'login' || deed.session !== undefined)
  const pendingLogin = deeds.some(({ op, made, failed }) => op === 'login' && !made && !failed)
  if (!last || pendingLogin) return
  const lastByContext = last.context
  if (lastByContext.dead || disposed.has(lastByContext)) return
  const session = auths.get(lastByContext)?.session
  if (last.op === 'logout') {
    for (const [context, auth] of auths) {
      const blind = (run.program.world.store === 'polled' || lastByContext.dead) && context !== lastByContext
      if (context.dead || disposed.has(context) || !auth.session || blind) continue
      // A client that was disposed of on the way does not say what its login made.
      const madeBy =
        deeds.find(({ made }) => made === auth.session?.id) ??
        deeds.find(({ op, made, context }) => op === 'login' && !made && disposed.has(context))
      // Who of two contexts was called last is known by the store's time, as well as that is known.
      const near = madeBy && madeBy.context !== lastByContext && last.at - madeBy.at < 10_000
      // A tombstone that was lost with the store's data can't say to another tab that what is in the cookies was ended.
      const found =
        world.jar &&
        world.covered.has('data lost') &&
        world.contexts.some(({ told }) =>
          told.some(({ reason, session }) => reason === 'initial' && session?.id === auth.session?.id),
        )
      // Nor to one that heard of none while it could not write its own login, which had been called before: once that is
      // written, nothing tells it from a later one, to whom signed out, either.
      const kept = [context === lastByContext ? undefined : context, madeBy?.context]
      const unheard =
        world.covered.has('data lost') &&
        kept.some((one) => one?.told.some(({ type }) => type === 'storeUnavailable'))
      // A login that a logout there ended stood in the store for a moment, and a store that tells nothing doesn't say so.
      const passing =
        run.program.world.store === 'polled' &&
        deeds.some(
          (deed) =>
            deed.op === 'login' &&
            deed.failed === 'session_changed' &&
            deed.context !== context &&
            deed.seq > last.seq,
        )
      if (near || found || unheard || passing) continue
      if (!madeBy || madeBy.seq < last.seq)
        yield `${context.name} is signed in after the logout of ${lastByContext.name}`
    }
  } else if (session === null) {
    const told = lastByContext.told.findLast(({ type }) => type === 'loggedOut')
    if (!told) yield `${lastByContext.name} is signed out, and nobody was told why`
  }
}

/** No login can keep the browser from adding what it has, nor its whoami; nor does a flow know what of it is needed. */
function addedByBrowser({ world }: Run, { context, route, call, seq }: Send): boolean {
  if (route === 'login' || (route === 'protected' && !call)) return true
  // A tombstone that was lost with the store's data says no more that what is in the cookies was ended.
  if (world.covered.has('data lost')) return true
  if (call || route === 'refresh') return false
  // Where no page can read it, whoami tells the value that a logout needs.
  return world.sends.some((one) => one.context === context && /^log/.test(one.route) && one.seq < seq)
}

function* sameUser(run: Run, { issued }: Facts): Iterable<string> {
  if (run.world.both) return
  for (const send of run.world.sends) {
    if (!send.call || !send.token) continue
    const call = run.calls[send.call - 1] as Call
    const sub = issued.get(send.token)?.sub
    // Where nobody is known of, a call waits for what the cookies say.
    const since =
      run.world.jar &&
      call.context.told.some(({ type, seq }) => type === 'loggedIn' && seq > call.seq && seq < send.seq)
    if (call.user === null && since) continue
    if (call.user === null) yield `call ${call.id} was made with nobody signed in, and goes out as ${sub}`
    else if (call.user?.subject !== undefined && call.user.subject !== sub) {
      yield `call ${call.id} was made by ${call.user.subject}, and goes out as ${sub}`
    }
  }
  for (const call of run.calls) {
    if (!call.user || call.auth === false || call.auth === 'optional' || call.op === 'foreign') continue
    const anonymous = run.world.sends.find((send) => send.call === call.id && !send.token)
    if (anonymous) yield `call ${call.id} was made by ${call.user.subject}, and goes out as nobody`
  }
}

function* oneUser({ world, program }: Run, { issued }: Facts): Iterable<string> {
  // Cookies that may be another user's are marked until a whoami has told whose they are. Nobody waits for a flow, and what
  // comes beside stayfresh may come between an answer and its page's hearing of it.
  if (world.both || (world.jar && program.ops.some(({ op }) => op === 'outside' || op === 'flow'))) return
  for (const record of world.records) {
    if ('ended' in record) continue
    const tokens = [record.access?.token, record.fresh?.token, record.refreshToken]
    const users = new Set(tokens.flatMap((token) => issued.get(token ?? '')?.sub ?? []))
    if (users.size < 2 || (world.jar && overwritten(world, record.access?.token))) continue
    yield `${record.id} v${record.version} has tokens of ${[...users].join(' and ')}`
  }
}

function* sends(run: Run): Iterable<string> {
  for (const call of run.calls) {
    const count = run.world.sends.filter((send) => send.call === call.id).length
    // The version that the caller knew of.
    const known = call.context.told.findLast(({ session, seq }) => session && seq < call.seq)?.session
    // A password that was proved elsewhere makes no event here where it takes the place of a version like it, or where a
    // refresh came before it was heard of.
    const helped = run.world.contexts.some((context) =>
      context.told.some(
        ({ type, reason, seq, session }) =>
          (reason === 'reauthenticated' &&
            (seq > call.seq ||
              (session?.id === known?.id && (session?.version ?? 0) > (known?.version ?? 0)))) ||
          (seq > call.seq && type === 'loggedIn' && context === call.context),
      ),
    )
    // Nor does one that was kept here while a refresh made the same version.
    const proved = run.deeds.some(
      ({ op, made, doneSeq }) => op === 'reauthenticate' && made !== undefined && (doneSeq ?? 0) > call.seq,
    )
    if (count > (helped || proved ? 3 : 2)) yield `call ${call.id} went out ${count} times`
    if (count > 1 && (!call.replay || call.body === 'stream') && call.op !== 'refresh') {
      yield `call ${call.id} must not be replayed, and went out ${count} times`
    }
  }
}

function* home({ world }: Run): Iterable<string> {
  for (const send of world.sends) {
    const url = new URL(send.url)
    if (url.origin !== 'https://api.test' && send.token) yield `#${send.seq} takes a token to ${url.origin}`
    if (url.search) yield `#${send.seq} has a query`
    if (world.jar) {
      if (url.origin !== 'https://api.test' && send.csrf) yield `#${send.seq} takes a value to ${url.origin}`
      if (world.both) continue
    }
    const refresh = world.backend.issued.some(({ token, kind }) => token === send.token && kind === 'refresh')
    if (refresh && send.route !== 'refresh' && send.route !== 'logout')
      yield `#${send.seq} takes the refresh token to ${send.route}`
  }
}

function* aborts({ calls }: Run): Iterable<string> {
  for (const call of calls) {
    if (!call.aborted) continue
    if (!call.aborted.promptly) yield `call ${call.id} was aborted and is still held`
    if (call.result && 'error' in call.result && !/Abort/.test(call.result.error) && !call.result.code) {
      yield `call ${call.id} was aborted and failed with ${call.result.error}`
    }
  }
}

function* ownSignal({ world, calls }: Run, { exchanges }: Facts): Iterable<string> {
  for (const send of exchanges) {
    const { abortedAt, context, token } = send
    if (abortedAt === undefined) continue
    // The bound is that of the exchange, whose first send this may not have been.
    const first = exchanges.find((one) => one.context === context && one.token === token) as Send
    const early = abortedAt - first.at < REFRESH_TIMEOUT
    const call = calls.find((one) => one.context === context && one.aborted?.at === abortedAt)
    // With cookies it may have waited before that: for a login, or to learn whose another value is. Its own bound says so.
    const bound =
      world.jar &&
      context.told.some(
        ({ reason, type, at }) => type === 'refreshFailed' && reason === 'timeout' && at === abortedAt,
      )
    if (bound) continue
    if (early && call && !world.contexts.some(({ hinderedAt }) => hinderedAt >= first.at)) {
      yield `#${send.seq} was aborted when call ${call.id} was`
    }
  }
}

function* bounds({ calls, deeds, world, disposed }: Run): Iterable<string> {
  for (const call of calls) {
    if (call.context.dead || call.result) continue
    // What the server itself never answers is the caller's own to bound.
    const hangs = world.sends.some((send) => send.call === call.id && !send.known)
    if (!hangs) yield `call ${call.id} (${call.op}) was never settled`
  }
  for (const deed of deeds) {
    if (deed.context.dead || disposed.has(deed.context) || deed.made || deed.failed) continue
    // A flow's own requests are its own to bound.
    const { context, op } = deed
    if (op === 'login' && world.sends.some((send) => send.context === context && !send.call && !send.known))
      continue
    yield `${deed.op} of ${deed.context.name} was never settled`
  }
  for (const call of calls) {
    if (call.settledAt === undefined || call.context.hinderedAt >= call.at) continue
    const took = call.settledAt - call.at
    if (took > REAUTH_TIMEOUT * 2 + REFRESH_TIMEOUT * 8 + 20_000) yield `call ${call.id} took ${took} ms`
  }
}

function* valid(run: Run, { issued }: Facts): Iterable<string> {
  for (const call of run.calls) {
    if (['refresh', 'getAccessToken', 'foreign'].includes(call.op) || call.auth === 'fresh' || !call.hadValid)
      continue
    const first = run.world.sends.find((send) => send.call === call.id)
    // A token that was turned down looks valid to the application, and a stream waits for the better one.
    const turnedDown =
      run.calls.some((other) => other.rejected && other.seq < call.seq) ||
      run.world.backend.log.some(
        (entry) =>
          (entry.status ?? 0) >= 400 && entry.time <= call.at && (entry.tokens.length || run.world.both),
      )
    // A page that is frozen sends nothing.
    const frozen = run.world.jar && call.context.hinderedAt >= call.at
    if (!call.sentInTick && call.body !== 'stream' && !turnedDown && !frozen)
      yield `call ${call.id} had a valid token and did not go out at once`
    // A refreshed cookie takes the place of the fresh one.
    if (run.world.both) continue
    if (call.hadFresh && call.sentInTick && first?.token && issued.get(first.token)?.fresh === false) {
      yield `call ${call.id} had a fresh token and went out with another`
    }
  }
}

/** Whoever holds a session that has a fresh token sends that, while the server honours it. */
function* freshness(run: Run, { issued, sessionOf }: Facts): Iterable<string> {
  const { world, calls } = run
  if (world.both) return
  const turnedDown = new Set(
    world.backend.log.filter(({ status = 0 }) => status >= 400).map(({ token }) => token?.token),
  )
  if (calls.some(({ rejected }) => rejected) || world.contexts.some(({ jumped }) => jumped)) return
  const firstIn = new Map<string, { version: number; at: number | undefined }>()
  for (const record of world.records) {
    if ('ended' in record || !record.access || firstIn.has(record.access.token)) continue
    firstIn.set(record.access.token, { version: record.version, at: record.access.at })
  }
  for (const send of world.sends) {
    if (!send.token || !send.call || issued.get(send.token)?.kind !== 'access') continue
    if (issued.get(send.token)?.fresh) continue
    const id = sessionOf.get(send.token)
    const version = firstIn.get(send.token)?.version ?? 0
    // A newer password replaces an older one's token.
    const [token] = [...firstIn.keys()]
      .filter((one) => issued.get(one)?.fresh && sessionOf.get(one) === id)
      .filter((one) => (firstIn.get(one)?.version ?? 0) < version)
      .slice(-1)
    const { exp, iat } = issued.get(token ?? '') ?? {}
    const held = firstIn.get(token ?? '')
    // How old a token is that was given by hand, only the local clock can say.
    if (!token || !exp || !iat || held?.at === undefined) continue
    // Nor what its age is, where the store took long to tell its time.
    const { at } = held
    if (world.contexts.some(({ hinderedAt }) => hinderedAt >= at)) continue
    // A life counts from the start of the request that brought the token, however long that took.
    const lasting = at + (exp - iat) * 1000 - send.at > 3_000
    if (send.fresh.includes(token) && lasting && !turnedDown.has(token)) {
      yield `#${send.seq} goes out with a refreshed token, though ${issued.get(token)?.jti} is fresh and good`
    }
  }
}

function* loops(run: Run, { exchanges, sessionOf }: Facts): Iterable<string> {
  const life = run.program.world.accessLifetime - 1_000
  const bySession = new Map<string, number[]>()
  for (const send of exchanges) {
    const id = sessionOf.get(send.token ?? '')
    const stood = run.world.records.findLast(
      (record) =>
        !('ended' in record) &&
        record.refreshToken === send.token &&
        (run.world.writtenAt.get(record.revision) ?? 0) < send.seq,
    )
    const access = stood && !('ended' in stood) ? stood.access : undefined
    // A token that was long on its way may be past half its life when it comes.
    if (access?.at !== undefined && send.at - access.at >= life / 2) continue
    // Retries inside an exchange are one exchange.
    if (id && outcome(send, run) === 'known') bySession.set(id, [...(bySession.get(id) ?? []), send.at])
  }
  // By a clock that was set an interval has passed.
  const most = 6 * (1 + run.program.ops.filter(({ op }) => op === 'jump').length)
  for (const [id, times] of bySession) {
    for (let i = 0; i + most < times.length; i++) {
      const span = (times[i + most] as number) - (times[i] as number)
      if (span < Math.min(30_000, life / 2)) yield `${most + 1} exchanges of ${id} within ${span} ms`
    }
  }
}

function* bodies(run: Run): Iterable<string> {
  const got = new Map<number, Set<string>>()
  for (const entry of run.world.backend.log) {
    const id = Number(entry.headers['x-call'])
    const call = run.calls[id - 1]
    if (!id || call?.op !== 'post' || entry.body === undefined) continue
    const seen = got.get(id) ?? new Set()
    got.set(id, seen.add(`${entry.headers['content-type']}\n${entry.body}`))
    if (seen.size > 1) yield `call ${id} sent different bodies`
    const plain = ['text', 'bytes', 'blob', 'request', 'stream'].includes(call.body)
    if (plain && entry.body !== BODY) yield `call ${id} sent ${JSON.stringify(entry.body)}`
  }
}

function* calm(run: Run, facts: Facts): Iterable<string> {
  if (!facts.calm || run.program.world.refresh === 'single-use') return
  for (const call of run.calls) {
    if (
      !call.user ||
      call.aborted ||
      !call.result ||
      ['fresh', 'foreign', 'getAccessToken'].includes(call.op)
    )
      continue
    if (call.auth === false || call.auth === 'fresh' || call.body === 'stream' || !call.replay) continue
    const good = 'status' in call.result && call.result.status === 200
    if (!good) yield `call ${call.id} (${call.op}) came to ${JSON.stringify(call.result)}`
  }
}

const CODES = new Set(['refresh_unavailable', 'session_changed', 'disposed', 'not_signed_in'])

function* manners(run: Run): Iterable<string> {
  const { uncaught, calls, world } = run
  const lost = run.program.ops.some(({ op }) => op === 'data lost' || op === 'store fault')
  for (const error of uncaught) {
    if (!/listener’s own/.test(String(error))) yield `uncaught: ${String(error)} ${(error as Error).stack}`
  }
  for (const call of calls) {
    if (!call.result || !('error' in call.result)) continue
    const { code, error } = call.result
    const network = /fetch failed|Abort/.test(error)
    if (!network && !CODES.has(code ?? '')) yield `call ${call.id} failed with ${error}`
  }
  for (const context of world.contexts) {
    const versions = new Map<string, number>()
    const away = context.told.some(({ type }) => type === 'storeUnavailable')
    for (const { type, session } of context.told) {
      if (!session || type === 'reauthRequired') continue
      if (session.version <= (versions.get(session.id) ?? 0))
        yield `${context.name} was told of ${session.id} v${session.version} twice`
      // What was replaced may come back with what the store has lost, or where what replaced it was never written.
      if ((lost || away) && type === 'loggedIn') versions.clear()
      versions.set(session.id, session.version)
    }
  }
}
