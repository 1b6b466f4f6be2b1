/** What only cookies can break: they are the browser's, and no answer's Set-Cookie asks whose session it is by now. */
import { ACCESS, REFRESH } from './browser.ts'
import { type Deed, REFRESH_TIMEOUT, type Run } from './record.ts'
import type { Context, World } from './world.ts'

/**
 * Two tabs at the same moment: the browser keeps what came last, whoever was called last. By the time that a page hears
 * of its login the cookies may be those of what another tab had asked for before.
 */
function beside({ sends }: World, deed: Deed): boolean {
  return sends.some(
    ({ context, seq, tookAt = 0 }) =>
      context !== deed.context && tookAt > deed.seq && seq < (deed.doneSeq ?? deed.failedSeq ?? Infinity),
  )
}

/**
 * What is called after a login waits for that, and a login for all before it: ten seconds from when they were called, and of a
 * refresh as long as that may take. Whether a context went on without what it had waited for.
 */
function wentOn({ sends }: World, who?: Context): boolean {
  const sent = sends.filter(
    ({ route, context }) => /^(login|refresh)$/.test(route) && context === (who ?? context),
  )
  return sent.some(
    ({ at, seq, known, context }) =>
      (known !== undefined && known.at - at >= Math.min(10_000, REFRESH_TIMEOUT)) ||
      sent.some(
        (one) =>
          one.route === 'login' &&
          one.context === context &&
          one.seq > seq &&
          one.seq < (known?.seq ?? Infinity),
      ),
  )
}

/**
 * Whether the cookie that came with an access token, or stayed, had been replaced by the time that its page heard of it: by
 * another tab, or by an answer so late that nobody waited for it any longer.
 */
export function overwritten(world: World, access: string | undefined): boolean {
  const { backend, sends } = world
  const entry = backend.log.find(({ issued }) => issued.some(({ token }) => token === access))
  const mine = sends.find(({ seq }) => entry?.headers['x-send'] === String(seq))
  const impatient = wentOn(world, mine?.context)
  return sends.some(
    (one) =>
      one !== mine &&
      (impatient || one.context !== mine?.context) &&
      (one.tookAt ?? 0) > (mine?.tookAt ?? 0) &&
      (one.tookAt ?? 0) < (mine?.known?.seq ?? Infinity),
  )
}

/** When nothing is under way any more, the cookies are those of who was signed in last, or of nobody. */
export function* atRest({ world, program, deeds, auths, disposed }: Run): Iterable<string> {
  const { jar, backend } = world
  if (!jar) return
  const deed = deeds
    .filter(({ op, made }) => op === 'logout' || (op === 'login' && made))
    .findLast(({ op, session }) => op === 'login' || session !== undefined)
  if (!deed || deed.context.dead || disposed.has(deed.context)) return
  // Whoever signs in beside stayfresh is signed in.
  if (program.ops.some(({ op }) => op === 'outside')) return
  const tokens = [jar.get(ACCESS), jar.get(REFRESH)].map((held) =>
    backend.issued.find(({ token }) => token === held && backend.isHonoured(token)),
  )
  const held = tokens.filter((token) => token !== undefined)
  // What the server was never told to take back, or said no word to, is beyond the client.
  const told = world.sends.filter(({ route, seq }) => route === 'logout' && seq > deed.seq)
  const sendOf = ({ headers }: (typeof backend.log)[number]) =>
    world.sends.find(({ seq }) => headers['x-send'] === String(seq))
  const lost = backend.log.some(
    (entry) => entry.route === 'logout' && entry.fault !== undefined && (sendOf(entry)?.seq ?? 0) > deed.seq,
  )
  if (lost || told.some(({ known }) => known?.status === 'error')) return
  // Nor what it was asked under a value that had been replaced, where no page can read the new one, and whoami does not
  // tell it: the token has run out, or there is no answer, or one that says nothing.
  const mute = (seq: number): boolean =>
    backend.log.some((entry) => entry.fault !== undefined && sendOf(entry)?.seq === seq)
  const unread = world.sends.some(
    ({ route, call, context, seq, known }) =>
      route === 'whoami' &&
      !call &&
      context === deed.context &&
      seq > deed.seq &&
      (known?.status !== 200 || mute(seq)),
  )
  // Nor who was frozen before he could ask.
  const frozen = deed.context.hinderedAt >= deed.at
  if (program.world.told && (unread || frozen) && told.some(({ known }) => known?.status === 401)) return
  // Nor what the server gives out by itself, to a call of another tab that was still under way; or where no page can see
  // it; or so late that it may be of a login elsewhere.
  const signedIn = deed.context.told.find(({ session }) => session && session.id === deed.made)
  const late = world.sends.some(
    ({ route, call, seq, tookAt = 0, tookWhen, context }) =>
      (call || route === 'whoami') &&
      seq < (signedIn?.seq ?? deed.seq) &&
      tookAt > deed.seq &&
      (context !== deed.context || program.world.told || (tookWhen ?? 0) - deed.at > 10_000),
  )
  // Nor what a page had asked for that was gone when it came.
  const gone = world.sends.some(
    ({ context, tookAt = 0 }) => tookAt > deed.seq && (context.dead || disposed.has(context)),
  )
  // Nor an answer whose head brought cookies, and whose body never came.
  const stalled = backend.log.some(
    (entry) => entry.fault === 'stall-body' && (sendOf(entry)?.tookAt ?? 0) > deed.seq,
  )
  // Nor the cookies of a login that was given up, where the server or a refresh had replaced them before they were taken back:
  // no page can tell them from those of a login elsewhere.
  const givenUp = deeds.some(
    ({ op, seq, failed }) =>
      op === 'login' &&
      failed === 'login_unavailable' &&
      seq > deed.seq &&
      world.sends.some(
        ({ route, call, tookAt = 0 }) => (call || /^(whoami|refresh)$/.test(route)) && tookAt > seq,
      ),
  )
  // Nor what a flow of the application's asks for beside a login: when, only the application knows.
  const byFlow =
    program.ops.some(({ op }) => op === 'flow') &&
    deeds.some(
      ({ op, seq, doneSeq = Infinity }) =>
        op === 'login' && seq < deed.seq && doneSeq > deed.seq && deed.op === 'login',
    )
  // Nor what came with a refresh whose page could not ask its store whether it was still wanted, until its time was over.
  const unasked = world.sends.some(
    ({ route, context, tookAt = 0 }) =>
      route === 'refresh' &&
      tookAt > deed.seq &&
      context.told.some(({ type, seq }) => type === 'storeUnavailable' && seq > tookAt),
  )
  // Nor what was so long on its way that nobody waited for it any longer: of cookies that came before the page heard of others
  // it can't tell whose they are, where no whoami does.
  const overtaken = !world.both && wentOn(world)
  // Nor what came before a login whose answer nobody could read, where no page can see whether that brought cookies.
  const unknown =
    program.world.told &&
    deeds.some(({ op, failed, seq }) => op === 'login' && failed === 'login_incomplete' && seq > deed.seq)
  // Nor a refresh that came beside a flow's step, which nobody waits for: where no whoami tells, its cookie is taken for the flow's.
  const inFlow = !world.both && program.ops.some(({ op }) => op === 'flow')
  if (late || gone || stalled || givenUp || byFlow || unasked || overtaken || unknown || inFlow) return
  // A password whose owner nobody could tell: the cookies may be another's, and no session is given them; but if the user is
  // signed in by what this page knows they may be his, and are not taken back.
  const unproved = deeds.some(
    ({ op, failed, failedSeq = 0 }) =>
      op === 'reauthenticate' && failed === 'login_unavailable' && failedSeq > deed.seq,
  )
  if (unproved) return
  if (deed.op === 'logout') {
    // Whether somebody may be signed in after it (who of two tabs was called last) is judged elsewhere.
    if ([...auths.values()].some(({ session }) => session)) return
    for (const { sub, kind } of held)
      yield `the ${kind} cookie of ${sub} outlives the logout of ${deed.context.name}`
  } else {
    // Who does not watch the store may not have heard of who came after him.
    const standing = world.standing()
    const live = standing && !('ended' in standing) ? standing : undefined
    const mine = auths.get(deed.context)?.session
    const stands = mine && program.world.store === 'polled' ? live : mine
    // A store that has lost its data is written back to by who had not heard of the login, until who signed in looks at it.
    if (stands?.id !== mine?.id && program.ops.some(({ op }) => op === 'data lost')) return
    // Who of two tabs was called last is known by the store's time, as well as that is known; of their cookies those stay
    // that came last.
    const other = deeds.find(({ made, context }) => made === stands?.id && context !== deed.context)
    const near = other !== undefined && deed.at - other.at < 10_000
    // whoami tells whose the access cookie is that another tab has refreshed, and not whose the refresh cookie beside it. Nor
    // can another user's cookies be taken back that another tab has refreshed by then: their value is no longer theirs.
    const proofs = deeds.filter(
      ({ op, made, failed }) =>
        op === 'reauthenticate' && (made === stands?.id || failed === 'subject_mismatch'),
    )
    if ([deed, ...proofs].some((one) => beside(world, one)) || near) return
    const subject = stands?.subject
    for (const { sub, kind } of held) {
      if (subject !== undefined && sub !== subject)
        yield `${subject} is signed in, and the ${kind} cookie is of ${sub}`
    }
  }
}

/** A request that writes is carried out as who made it, or not at all. */
export function* acceptedAs({ world, calls, deeds }: Run): Iterable<string> {
  const { both, backend } = world
  if (!both) return
  for (const send of world.sends) {
    const call = calls[(send.call ?? 0) - 1]
    if (!call) continue
    const made = deeds.find(({ made }) => made !== undefined && made === call.user?.id)
    if (made && beside(world, made)) continue
    const stamp = backend.issued.find(({ claims }) => send.csrf && claims.csrf === send.csrf)
    const since = call.context.told.some(
      ({ type, seq }) => type === 'loggedIn' && seq > call.seq && seq < send.seq,
    )
    if (call.user === null && !since && (send.cookies || send.csrf)) {
      yield `call ${call.id} was made with nobody signed in, and goes out with cookies`
    }
    const subject = call.user?.subject
    if (subject !== undefined && stamp && stamp.sub !== subject) {
      yield `call ${call.id} was made by ${subject}, and goes out under a value of ${stamp.sub}`
    }
    if (
      call.user &&
      !send.cookies &&
      call.auth !== false &&
      call.auth !== 'optional' &&
      call.op !== 'foreign'
    ) {
      yield `call ${call.id} was made by ${subject}, and goes out without cookies`
    }
    const entry = backend.log.find(({ headers }) => headers['x-send'] === String(send.seq))
    if (!entry?.processed || entry.method === 'GET' || (entry.status ?? 0) >= 400 || !entry.token) continue
    if (subject !== undefined && entry.token.sub !== subject) {
      yield `call ${call.id} was made by ${subject}, and was carried out as ${entry.token.sub}`
    }
  }
}
