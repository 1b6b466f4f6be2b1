/** Runs one program in a world of its own, takes down what happened, and has every invariant judged. */
import type fc from 'fast-check'
import { createAuthOn } from '../../src/auth.ts'
import { flaskJwt } from '../../src/backends/flask-jwt.ts'
import { flaskJwtCookies } from '../../src/backends/flask-jwt-cookies.ts'
import type { Auth, Backend, FlowContext, Session, StoredToken } from '../../src/types.ts'
import { ACCESS, CSRF_ACCESS, CSRF_REFRESH, REFRESH } from './browser.ts'
import { judge } from './invariants.ts'
import { type BodyKind, describe, type Manner, type Op, type Program, type User } from './program.ts'
import {
  BODY,
  type Call,
  type Deed,
  PASSWORDS,
  REAUTH_TIMEOUT,
  REFRESH_AHEAD,
  REFRESH_TIMEOUT,
  type Run,
} from './record.ts'
import { type Context, createWorld, ELSEWHERE, ORIGIN, type Send, type Told, type World } from './world.ts'

/** Runs `program`; throws a readable error if an invariant is broken. */
export async function execute(scheduler: fc.Scheduler, program: Program): Promise<Map<string, number>> {
  const world = createWorld(scheduler, program.world)
  const run: Run = {
    program,
    world,
    auths: new Map(),
    calls: [],
    deeds: [],
    disposed: new Set(),
    uncaught: [],
    reported: [],
  }
  const consoleError = console.error
  console.error = (...given: unknown[]) => void run.reported.push(given)
  const onUnhandled = (error: unknown): void => void run.uncaught.push(error)
  process.on('unhandledRejection', onUnhandled)
  try {
    program.contexts.forEach(({ offset, manner }) => void addContext(run, offset, manner))
    await world.run(20)
    if (program.signedIn) {
      await perform(run, { op: 'login', context: 0, user: 'alice', right: true })
      await world.run(100)
    }
    for (const op of program.ops) {
      world.cover(`op ${op.op}`)
      await perform(run, op)
      await world.flush()
      await world.run(op.steps)
    }
    await settle(run)
    cover(run)
    judge(run)
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    throw new Error(`${message}\n\n${describe(program)}\n\n${diary(run)}`)
  } finally {
    process.off('unhandledRejection', onUnhandled)
    console.error = consoleError
    world.end()
  }
  return world.covered
}

/** What a run went through, as it shows from outside: the branches of the flow, and the faults that struck. */
function cover({ world, calls, deeds }: Run): void {
  const exchanges = world.sends.filter(({ route }) => route === 'refresh')
  for (const entry of world.backend.log) {
    const { fault } = entry
    if (fault) world.cover(`fault ${entry.route} ${typeof fault === 'string' ? fault : fault.status}`)
  }
  for (const call of calls) {
    const sent = world.sends.filter((send) => send.call === call.id)
    if (!sent.length) continue
    world.cover(`flow: sent ${sent.length} times`)
    if (sent[0] && sent[0].at > call.at) world.cover('flow: waited before it was sent')
    if (sent.length < 2) continue
    world.cover(`flow: ${call.body} body replayed`)
    const [first, second] = sent as [Send, Send]
    const between = exchanges.filter(({ seq }) => seq > first.seq && seq < second.seq)
    if (!between.length) world.cover('flow: late 401, replayed with the token in hand')
    if (between.some(({ context }) => context !== call.context))
      world.cover('flow: another context refreshed for it')
  }
  for (const { status } of world.backend.log.filter(({ route }) => route === 'refresh')) {
    if (status === 401) world.cover('refresh refused')
    if (status === 200) world.cover('refresh granted')
  }
  if (world.backend.reuseDetected) world.cover('reuse detected after an unknown outcome')
  for (const { op, made, failed } of deeds) world.cover(`${op} ${made ? 'done' : (failed ?? 'unfinished')}`)
  if (world.jar) coverCookies({ world, deeds } as Run)
  for (const { frozen, dead } of world.contexts) if (dead && !frozen) world.cover('context died')
}

function coverCookies({ world, deeds }: Run): void {
  const tries = new Map<number, Send>()
  for (const send of world.sends) {
    const { route, context, known, abortedAt, tookAt, call, csrf } = send
    const entry = world.backend.log.find(({ headers }) => headers['x-send'] === String(send.seq))
    if (entry?.error === 'csrf') world.cover(`cookies: ${route} turned down for its value`)
    if (tookAt && (abortedAt !== undefined || context.dead)) world.cover('cookies: taken for who had gone')
    if (!tookAt && abortedAt !== undefined && entry?.issued.length) world.cover('cookies: cancelled')
    if (tookAt && (call || route === 'whoami')) world.cover('cookies: replaced by the server itself')
    if (tookAt && known && deeds.some(({ op, seq }) => op === 'logout' && seq > send.seq && seq < tookAt)) {
      world.cover(`cookies: ${call ? 'call' : route} answered after a logout`)
    }
    const before = call === undefined ? undefined : tries.get(call)
    if (before?.csrf && csrf && before.csrf !== csrf) world.cover('cookies: replayed under another value')
    if (call !== undefined) tries.set(call, send)
  }
}

/** Thaws what is frozen, heals the store, and lets everything come to its end. */
async function settle({ world }: Run): Promise<void> {
  for (const context of world.contexts) {
    context.storeFaults.length = 0
    context.trap = undefined
    if (context.frozen && !context.dead) context.thaw()
  }
  await world.flush()
  await world.drain(REAUTH_TIMEOUT * 3)
}

function addContext(run: Run, offset: number, manner: Manner): void {
  const { world } = run
  const context = world.addContext(offset)
  const auth = createAuthOn(context.platform, {
    baseUrl: ORIGIN,
    backend: backendOf(run, context),
    store: world.store(context),
    fetch: world.fetch(context),
    refreshAhead: REFRESH_AHEAD,
    refreshTimeout: REFRESH_TIMEOUT,
    reauthTimeout: REAUTH_TIMEOUT,
  })
  run.auths.set(context, auth as Auth)
  for (const type of [
    'loggedIn',
    'tokenRefreshed',
    'refreshFailed',
    'reauthRequired',
    'loggedOut',
    'clockSkew',
    'storeUnavailable',
  ] as const) {
    auth.on(type, (event) => {
      const { reason, origin, session } = event as {
        reason: string
        origin: string
        session?: { id: string; version: number }
      }
      world.cover(`event ${type} ${reason}`)
      const known = context.told.findLast((told) => told.session)?.session
      const honoured = type === 'loggedOut' ? stillHonoured(run, known) : []
      const stands = world.standing()
      const ended = stands && 'ended' in stands && stands.id === known?.id ? stands.version : undefined
      context.told.push({ seq: world.seq(), at: world.now(), type, reason, origin, session, honoured, ended })
    })
  }
  auth.on('reauthRequired', (event) => {
    world.cover(`user ${manner}`)
    const subject = event.session.subject as User
    const other: User = subject === 'alice' ? 'bob' : 'alice'
    const answer = async (): Promise<unknown> => {
      if (manner === 'never answers') return new Promise(() => {})
      await takeTime(world, context)
      if (manner === 'dismisses') throw Object.assign(new Error('dismissed'), { name: 'AbortError' })
      if (manner === 'signs in anew')
        return deed(run, 'login', context, subject, () => auth.login(credentials(subject)))
      const who = manner === 'proves' ? subject : other
      return deed(run, 'reauthenticate', context, who, () => auth.reauthenticate(credentials(who))).catch(
        () => {},
      )
    }
    if (manner !== 'nobody') event.waitUntil(answer())
  })
}

/** How the context's client speaks to the server. */
function backendOf({ program, world }: Run, context: Context): Backend {
  const singleUse = program.singleUse && program.world.refresh === 'single-use'
  const refreshToken = singleUse ? 'single-use' : 'reusable'
  if (!world.jar) return flaskJwt({ refreshToken }) as Backend
  const { whoami, refresh, memory } = program.preset
  const backend = flaskJwtCookies({
    refreshToken,
    ...(memory && { accessToken: 'memory' as const }),
    whoami: whoami ? {} : undefined,
    refresh: refresh ? {} : false,
  }) as Backend
  const { transport } = backend
  return { ...backend, transport: (...given) => world.as(context, () => transport?.(...given) as never) }
}

async function takeTime(world: World, context: Context): Promise<void> {
  await new Promise<void>((resolve) => void context.platform.timer(resolve, 2_000))
  world.cover('a person took time')
}

const credentials = (user: User, right = true): { username: string; password: string } => ({
  username: user,
  password: right ? PASSWORDS[user] : 'wrong',
})

/** The tokens of the session that ended, as last known to all, that the server would still honour. */
function stillHonoured({ world }: Run, known: Told['session']): string[] {
  const latest = world.records.findLast(({ id }) => id === known?.id)
  if (!known || !latest || 'ended' in latest) return []
  // A newer version that was lost before it could be read is of use to who made it alone.
  if (latest.version > known.version && (world.writtenAt.get(latest.revision) ?? 0) < world.lostAt) return []
  const { jar } = world
  // A cookie that has gone is of use to nobody.
  const there = (token: string): boolean =>
    !jar ||
    [jar.get(ACCESS), jar.get(REFRESH)].includes(token) ||
    (!world.both && world.backend.issued.some((one) => one.token === token && one.kind === 'access'))
  // Whose request took so long that by its start, which is what counts (12), the life is over.
  const lives = ({ token, at = Infinity }: StoredToken): boolean => {
    const { iat = 0, exp } = world.backend.issued.find((one) => one.token === token) ?? {}
    return world.now() - at < ((exp ?? Infinity) - iat) * 1000
  }
  const access = [latest.access, latest.fresh].filter((stored) => stored && lives(stored))
  const tokens = [latest.refreshToken, ...access.map((stored) => stored?.token)]
  return tokens.filter(
    (token) => token !== undefined && there(token) && world.backend.isHonoured(token),
  ) as string[]
}

async function deed(
  run: Run,
  op: Deed['op'],
  context: Context,
  user: User | undefined,
  act: () => Promise<unknown>,
): Promise<unknown> {
  const { world } = run
  const entry: Deed = {
    op,
    context,
    user,
    seq: world.seq(),
    at: world.now(),
    session: run.auths.get(context)?.session?.id,
  }
  run.deeds.push(entry)
  try {
    const session = (await act()) as { id: string } | null | undefined
    entry.made = session?.id ?? 'nothing'
    entry.doneSeq = world.seq()
    return session
  } catch (error) {
    entry.failed = (error as { code?: string }).code ?? String(error)
    entry.failedSeq = world.seq()
    throw error
  }
}

// --- the operations ------------------------------------------------------------------------------------------

function perform(run: Run, op: Op): Promise<void> | void {
  const { world } = run
  const context = 'context' in op ? world.contexts[op.context % world.contexts.length] : undefined
  const auth = context && run.auths.get(context)
  // Nothing runs in a context that is frozen or gone.
  const outer = ['thaw', 'die', 'trap', 'jump', 'store fault']
  if (context && (context.dead || (context.frozen && !outer.includes(op.op)))) return
  if (context && auth && run.disposed.has(context) && !outer.includes(op.op)) return
  switch (op.op) {
    case 'get':
      return call(run, op, context, { auth: op.auth }, op.abortAfter)
    case 'post':
      return call(run, op, context, { method: 'POST', replay: op.replay, ...body(op.body) })
    case 'fresh':
      return call(run, op, context, { method: op.method }, undefined, 'fresh')
    case 'slow':
      world.backend.settings.latency = { ...world.backend.settings.latency, whoami: { before: 9_000 } }
      return call(run, op, context, {}, undefined, 'whoami')
    case 'foreign':
      return call(run, op, context, {}, undefined, `${ELSEWHERE}/x`)
    case 'burst':
      for (let i = 0; i < op.size; i++) void call(run, op, context, {})
      return
    case 'login':
      return quiet(
        deed(run, 'login', context as Context, op.user, () =>
          (auth as Auth).login(credentials(op.user, op.right)),
        ),
      )
    case 'flow':
      return quiet(
        deed(run, 'login', context as Context, op.user, () =>
          (auth as Auth).login(async ({ fetch }: FlowContext) => {
            await fetch('protected').catch(() => {})
            return fetch('login', {
              method: 'POST',
              headers: { 'content-type': 'application/json' },
              body: JSON.stringify(credentials(op.user)),
            })
          }),
        ),
      )
    case 'reauthenticate':
      return quiet(
        deed(run, 'reauthenticate', context as Context, op.user, () =>
          (auth as Auth).reauthenticate(credentials(op.user)),
        ),
      )
    case 'logout': {
      const before = (auth as Auth).session
      quiet(deed(run, 'logout', context as Context, undefined, () => (auth as Auth).logout()))
      if (before && (auth as Auth).session !== null)
        throw new Error('5: logout() returned with somebody signed in')
      return
    }
    case 'setTokens':
      return quiet(
        world.backend.signIn(op.user).then((tokens) => {
          if (!context || context.dead || context.frozen) return
          return deed(run, 'login', context, op.user, () => (auth as Auth).setTokens(tokens))
        }),
      )
    case 'refresh':
      return quiet(counted(run, op, context as Context, () => (auth as Auth).refresh()))
    case 'getAccessToken': {
      // What a socket's server turns down: nothing that the server would honour.
      const turnedDown = world.backend.issued.findLast(
        ({ token, kind }) => kind === 'access' && !world.backend.isHonoured(token),
      )
      // With cookies nobody has a token in his hands that a socket's server could turn down.
      const rejected = op.rejected && !world.both ? turnedDown?.token : undefined
      return quiet(
        counted(run, op, context as Context, () =>
          (auth as Auth).getAccessToken({ minValidity: op.minValidity, rejected }),
        ),
      )
    }
    case 'expire early':
      return world.backend.expireAccessTokens()
    case 'turned down every time':
      return turnDown(run, context as Context)
    case 'revoke': {
      const standing = world.standing()
      if (!standing || 'ended' in standing) return
      const { access, fresh, refreshToken } = standing
      if (op.what !== 'refresh' && access) world.backend.revoke(world.tokenOf(access.token))
      if (op.what !== 'refresh' && fresh) world.backend.revoke(fresh.token)
      if (op.what !== 'access' && refreshToken) world.backend.revoke(world.tokenOf(refreshToken))
      return
    }
    case 'fault':
      return fault(world, op.fault, op.times)
    case 'fault elsewhere': {
      const status = Number(op.fault)
      world.backend.fault(op.route, status ? { status } : (op.fault as 'drop'), {})
      return
    }
    case 'jump':
      if (!context) return
      context.offset += op.by
      context.jumped = true
      return
    case 'freeze':
      return context?.freeze()
    case 'thaw':
      return context?.frozen ? context.thaw() : undefined
    case 'die':
      if (!context || world.contexts.filter((one) => !one.dead).length < 2) return
      context.die()
      return
    case 'trap':
      if (context) context.trap = { at: op.at, dies: op.dies, ms: op.ms }
      return
    case 'store fault':
      if (run.program.world.store === 'memory') return
      for (let i = 0; i < op.times; i++) context?.storeFaults.push(op.fault)
      return
    case 'data lost':
      return world.loseData()
    case 'listen':
      return listen(run, context as Context, op)
    case 'outside':
      return outside(run, op)
    case 'ready':
      return quiet(counted(run, op, context as Context, () => (auth as Auth).ready))
    case 'dispose':
      if (world.contexts.length === 1) return
      auth?.dispose()
      run.disposed.add(context as Context)
      return
    case 'time':
      return world.advance(op.ms)
    case 'calm':
      return world.run(200)
  }
}

const ALL_COOKIES = [ACCESS, REFRESH, CSRF_ACCESS, CSRF_REFRESH]

/** Somebody who knows nothing of stayfresh, at the same cookies: a page of old, the browser's settings, a devtool. */
async function outside(
  { world, program }: Run,
  { what, user }: Extract<Op, { op: 'outside' }>,
): Promise<void> {
  const { jar, backend } = world
  if (!jar) return
  const give = (token: string | undefined, kind: 'access' | 'refresh'): void => {
    const issued = backend.issued.find((one) => one.token === token)
    const [name, value] = kind === 'access' ? [ACCESS, CSRF_ACCESS] : [REFRESH, CSRF_REFRESH]
    const set = [`${name}=${token}; HttpOnly; Path=/`]
    if (!program.world.told) set.push(`${value}=${issued?.claims.csrf}; Path=/`)
    jar.take(set, 'somebody')
  }
  world.cover(`outside ${what}`)
  switch (what) {
    case 'cleared':
      return jar.clear(ALL_COOKIES, 'somebody')
    case 'access cleared':
      return jar.clear([ACCESS, CSRF_ACCESS], 'somebody')
    case 'values cleared':
      return jar.clear([CSRF_ACCESS, CSRF_REFRESH], 'somebody')
    case 'refreshed':
    case 'login': {
      const before = backend.issued.find(({ token }) => token === jar.get(ACCESS))
      if (what === 'refreshed' && !before) return
      const tokens = await backend.signIn(what === 'login' || !before ? user : before.sub)
      if (world.both) give(tokens.accessToken, 'access')
      if (what === 'login') give(tokens.refreshToken, 'refresh')
    }
  }
}

/** A server that turns down every token it gives. */
async function turnDown(run: Run, context: Context): Promise<void> {
  const { world } = run
  const answer = { status: 401, body: { msg: 'Token has expired' } }
  const fault = world.backend.fault('protected', answer, { times: 30 })
  for (let i = 0; i < 8; i++) {
    await call(run, { op: 'get', context: 0, auth: undefined, abortAfter: undefined }, context, {})
    await world.run(60)
  }
  fault.remove()
}

const quiet = (promise: Promise<unknown>): void => void promise.catch(() => {})

function fault({ backend }: World, kind: RefreshFaultOf, times: number): void {
  const answers: Record<string, Parameters<typeof backend.fault>[1]> = {
    '503': { status: 503 },
    '429': { status: 429, headers: { 'retry-after': '2' } },
    '429 long': { status: 429, headers: { 'retry-after': '20' } },
    '500': { status: 500 },
    '403': { status: 403, body: { msg: 'no' } },
    redirect: { status: 302, headers: { location: `${ELSEWHERE}/x` } },
  }
  backend.fault('refresh', answers[kind] ?? (kind as 'drop'), { times })
}
type RefreshFaultOf = Extract<Op, { op: 'fault' }>['fault']

function body(kind: BodyKind): RequestInit {
  const bytes = new TextEncoder().encode(BODY)
  switch (kind) {
    case 'none':
      return {}
    case 'text':
    case 'request':
      return { body: BODY }
    case 'bytes':
      return { body: bytes }
    case 'blob':
      return { body: new Blob([bytes]) }
    case 'params':
      return { body: new URLSearchParams({ body: BODY }) }
    case 'form': {
      const form = new FormData()
      form.set('body', BODY)
      return { body: form }
    }
    case 'stream':
      return { body: new Response(BODY).body, duplex: 'half' } as RequestInit
  }
}

function call(
  run: Run,
  op: Op,
  context: Context | undefined,
  init: Record<string, unknown>,
  abortAfter?: number,
  path = 'protected',
): Promise<void> | void {
  if (!context) return
  const { world, calls } = run
  const auth = run.auths.get(context) as Auth
  const id = calls.length + 1
  const session = auth.session
  const now = context.platform.now()
  const valid = session?.status === 'active' && session.expiresAt !== undefined && session.expiresAt > now + 1
  const controller = new AbortController()
  const entry: Call = {
    id,
    context,
    op: op.op,
    seq: world.seq(),
    at: world.now(),
    user: whose(run, session),
    sentInTick: false,
    hadValid: valid && !context.jumped && !waitsForStore(run, context),
    hadFresh: session?.fresh === true,
    auth: init.auth,
    body: op.op === 'post' ? op.body : 'none',
    replay: init.replay !== false,
  }
  calls.push(entry)
  const sentBefore = world.sends.length
  const options = { ...init, signal: controller.signal, headers: { 'x-call': String(id) } }
  const input: string | Request =
    entry.body === 'request' ? new Request(`${ORIGIN}/${path}`, options as RequestInit) : path
  const answered =
    entry.body === 'request'
      ? auth.fetch(input, { replay: entry.replay })
      : auth.fetch(input, options as RequestInit)
  entry.sentInTick = world.sends.slice(sentBefore).some((send) => send.call === id)
  answered.then(
    (response) => {
      entry.result = { status: response.status }
      entry.settledAt = world.now()
      world.cover(`answer ${response.status}`)
      if (response.bodyUsed) throw new Error('the body of an answer was read')
    },
    (error) => {
      entry.result = { error: String(error), code: error?.code }
      entry.settledAt = world.now()
      world.cover(`error ${error?.code ?? error?.name}`)
    },
  )
  if (abortAfter !== undefined) {
    return world.run(abortAfter).then(async () => {
      if (entry.result) return
      controller.abort()
      await world.flush()
      entry.aborted = {
        at: world.now(),
        promptly: entry.result !== undefined || context.frozen || context.dead,
      }
      world.cover('aborted')
    })
  }
}

function whose({ world }: Run, session: Session | null | undefined): Call['user'] {
  // With cookies only a tombstone says that it is nobody.
  const standing = world.standing()
  if (world.jar && !session && !(standing && 'ended' in standing)) return undefined
  return session && { id: session.id, subject: session.subject }
}

/** Whether a notice is under way that makes a context ask the store before it sends. */
function waitsForStore(run: Run, _context: Context): boolean {
  const { world, ops } = run.program
  return world.store === 'cell' && (run.world.contexts.length > 1 || ops.some(({ op }) => op === 'data lost'))
}

async function counted(run: Run, op: Op, context: Context, act: () => Promise<unknown>): Promise<void> {
  const { world, calls } = run
  const session = run.auths.get(context)?.session
  const entry: Call = {
    id: calls.length + 1,
    context,
    op: op.op,
    seq: world.seq(),
    at: world.now(),
    user: whose(run, session),
    sentInTick: true,
    hadValid: false,
    hadFresh: false,
    auth: undefined,
    body: 'none',
    replay: false,
    rejected: op.op === 'getAccessToken' && op.rejected,
  }
  calls.push(entry)
  try {
    await act()
    entry.result = { status: 200 }
  } catch (error) {
    entry.result = { error: String(error), code: (error as { code?: string }).code }
    world.cover(`error ${(error as { code?: string }).code}`)
  }
  entry.settledAt = world.now()
}

function listen(run: Run, context: Context, op: Extract<Op, { op: 'listen' }>): void {
  const auth = run.auths.get(context) as Auth
  let times = 0
  auth.on(op.type as 'loggedIn', () => {
    // A listener that answers every event with another would go on for ever by itself.
    if (times++ > 2) return undefined
    run.world.cover(`listener ${op.kind}`)
    switch (op.kind) {
      case 'throws':
        throw new Error('a listener’s own')
      case 'hangs':
        return new Promise(() => {})
      case 'rejects':
        return Promise.reject(new Error('a listener’s own'))
      case 'calls':
        return void call(run, { op: 'get', context: 0, auth: undefined, abortAfter: undefined }, context, {})
      case 'refreshes':
        return quiet(counted(run, { op: 'refresh', context: 0 }, context, () => auth.refresh()))
      case 'logs out':
        return quiet(deed(run, 'logout', context, undefined, () => auth.logout()))
    }
  })
}

/** What happened, in order: for whoever reads a failure. */
function diary({ world, calls, deeds }: Run): string {
  const lines: [number, string][] = []
  for (const send of world.sends) {
    const issued = world.backend.issued.find(({ token }) => token === send.token)
    const stamp = world.backend.issued.find(({ claims }) => send.csrf && claims.csrf === send.csrf)
    const csrf = stamp ? ` under ${stamp.jti} of ${stamp.sub}` : ''
    const token = (issued ? ` [${issued.kind} ${issued.jti} of ${issued.sub}]` : '') + csrf
    lines.push([
      send.seq,
      `${send.context.name} sends ${send.method} ${send.route}${send.call ? ` for call ${send.call}` : ''}${token}`,
    ])
    if (send.known)
      lines.push([
        send.known.seq,
        `${send.context.name} hears of ${send.route}#${send.seq}: ${send.known.status}`,
      ])
  }
  for (const context of world.contexts) {
    for (const told of context.told) {
      lines.push([
        told.seq,
        `${context.name} is told ${told.type}: ${told.reason} (${told.origin})${told.session ? ` ${told.session.id} v${told.session.version}` : ''}`,
      ])
    }
  }
  for (const entry of calls)
    lines.push([
      entry.seq,
      `${entry.context.name} call ${entry.id}: ${entry.op} → ${JSON.stringify(entry.result)}`,
    ])
  for (const entry of deeds) {
    lines.push([
      entry.seq,
      `${entry.context.name} ${entry.op} ${entry.user ?? ''} → ${entry.made ?? entry.failed}`,
    ])
  }
  for (const { seq, text } of world.jar?.story ?? []) lines.push([seq, `the jar: ${text}`])
  lines.sort(([a], [b]) => a - b)
  return lines.map(([seq, line]) => `${String(seq).padStart(5)}  ${line}`).join('\n')
}
