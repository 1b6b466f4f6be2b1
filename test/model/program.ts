/** The language of the random programs: what they are made of, how one is drawn, and how it reads when it fails. */
import fc from 'fast-check'
import type { RefreshMode } from '../../src/testing/index.ts'
import type { Mode, StoreFault, Trap, WorldOptions } from './world.ts'

export type User = 'alice' | 'bob'

export type BodyKind = 'none' | 'text' | 'bytes' | 'form' | 'params' | 'blob' | 'request' | 'stream'

export type RefreshFault =
  | '503'
  | '429'
  | '429 long'
  | '500'
  | 'drop'
  | 'drop-after'
  | 'hang'
  | 'hang-after'
  | 'not-json'
  | 'stall-body'
  | 'redirect'
  | '403'

export type FaultyRoute = 'login' | 'logout' | 'protected' | 'whoami'

export type RouteFault = 'drop' | 'drop-after' | '500' | 'hang' | 'hang-after' | 'not-json' | 'stall-body'

/** What is done to the cookies by somebody who knows nothing of stayfresh. */
export type Outside = 'cleared' | 'access cleared' | 'values cleared' | 'refreshed' | 'login'

/** What a context's application does when it is asked for the password. */
export type Manner =
  | 'nobody'
  | 'dismisses'
  | 'proves'
  | 'proves as another'
  | 'signs in anew'
  | 'never answers'

export type ListenerKind = 'throws' | 'hangs' | 'rejects' | 'calls' | 'refreshes' | 'logs out'

export type Op =
  | {
      op: 'get'
      context: number
      auth: undefined | 'optional' | 'fresh' | false
      abortAfter: number | undefined
    }
  | { op: 'post'; context: number; body: BodyKind; replay: boolean }
  | { op: 'fresh'; context: number; method: 'GET' | 'POST' }
  | { op: 'slow'; context: number }
  | { op: 'foreign'; context: number }
  | { op: 'burst'; context: number; size: number }
  | { op: 'login'; context: number; user: User; right: boolean }
  | { op: 'flow'; context: number; user: User }
  | { op: 'reauthenticate'; context: number; user: User }
  | { op: 'logout'; context: number }
  | { op: 'setTokens'; context: number; user: User }
  | { op: 'refresh'; context: number }
  | { op: 'getAccessToken'; context: number; minValidity: number; rejected: boolean }
  | { op: 'expire early' }
  | { op: 'turned down every time'; context: number }
  | { op: 'revoke'; what: 'access' | 'refresh' | 'all' }
  | { op: 'fault'; fault: RefreshFault; times: number }
  | { op: 'fault elsewhere'; route: FaultyRoute; fault: RouteFault }
  | { op: 'jump'; context: number; by: number }
  | { op: 'freeze'; context: number }
  | { op: 'thaw'; context: number }
  | { op: 'die'; context: number }
  | { op: 'trap'; context: number; at: Trap; dies: boolean; ms: number }
  | { op: 'store fault'; context: number; fault: StoreFault; times: number }
  | { op: 'data lost' }
  | { op: 'listen'; context: number; type: string; kind: ListenerKind }
  | { op: 'dispose'; context: number }
  | { op: 'time'; ms: number }
  | { op: 'calm' }
  | { op: 'outside'; what: Outside; user: User }
  | { op: 'ready'; context: number }

export interface Program {
  readonly world: WorldOptions
  /** One for each context: its wall clock's offset, how its user answers. */
  readonly contexts: readonly { offset: number; manner: Manner }[]
  readonly singleUse: boolean
  /** With cookies: whether there is a route that tells who it is, and one to refresh at. */
  readonly preset: {
    readonly whoami: boolean
    readonly refresh: boolean
    /** Whether the access token is in memory. */
    readonly memory?: boolean
  }
  /** Whether alice has signed in before it begins. */
  readonly signedIn: boolean
  /** Each is followed by some steps of what is under way: the programs are about what is still in the air. */
  readonly ops: readonly (Op & { steps: number })[]
}

const context = fc.nat({ max: 2 })
const user = fc.constantFrom<User>('alice', 'alice', 'bob')

const OPS: readonly fc.WeightedArbitrary<Op>[] = [
  {
    weight: 16,
    arbitrary: fc.record({
      op: fc.constant('get' as const),
      context,
      auth: fc.constantFrom(
        undefined,
        undefined,
        undefined,
        'optional' as const,
        'fresh' as const,
        false as const,
      ),
      abortAfter: fc.constantFrom(undefined, undefined, undefined, 0, 1, 3),
    }),
  },
  {
    weight: 9,
    arbitrary: fc.record({
      op: fc.constant('post' as const),
      context,
      body: fc.constantFrom<BodyKind>('none', 'text', 'bytes', 'form', 'params', 'blob', 'request', 'stream'),
      replay: fc.constantFrom(true, true, true, false),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constant('fresh' as const),
      context,
      method: fc.constantFrom('GET', 'POST'),
    }),
  },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('slow' as const), context }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('foreign' as const), context }) },
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constant('burst' as const),
      context,
      size: fc.integer({ min: 2, max: 5 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant('login' as const),
      context,
      user,
      right: fc.constantFrom(true, true, false),
    }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('flow' as const), context, user }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('reauthenticate' as const), context, user }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('logout' as const), context }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('setTokens' as const), context, user }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant('refresh' as const), context }) },
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constant('getAccessToken' as const),
      context,
      minValidity: fc.constantFrom(0, 0, 5_000, 1_000_000),
      rejected: fc.boolean(),
    }),
  },
  { weight: 8, arbitrary: fc.record({ op: fc.constant('expire early' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant('revoke' as const),
      what: fc.constantFrom('access' as const, 'refresh' as const, 'all' as const),
    }),
  },
  {
    weight: 9,
    arbitrary: fc.record({
      op: fc.constant('fault' as const),
      fault: fc.constantFrom<RefreshFault>(
        '503',
        '429',
        '429 long',
        '500',
        'drop',
        'drop-after',
        'hang',
        'hang-after',
        'not-json',
        'stall-body',
        'redirect',
        '403',
      ),
      times: fc.integer({ min: 1, max: 3 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constant('fault elsewhere' as const),
      route: fc.constantFrom('login' as const, 'logout' as const, 'protected' as const),
      fault: fc.constantFrom('drop' as const, 'drop-after' as const, '500' as const),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constant('jump' as const),
      context,
      by: fc.constantFrom(-3_600_000, -5_000, 5_000, 3_600_000),
    }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('freeze' as const), context }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('thaw' as const), context }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('die' as const), context }) },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant('trap' as const),
      context,
      at: fc.constantFrom<Trap>('read', 'claimed', 'sent', 'stored'),
      dies: fc.constantFrom(false, false, false, true),
      ms: fc.constantFrom(3_000, 12_000, 30_000),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant('store fault' as const),
      context,
      fault: fc.constantFrom<StoreFault>('fail', 'fail-after', 'hang', 'hang-after'),
      times: fc.integer({ min: 1, max: 3 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('data lost' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant('listen' as const),
      context,
      type: fc.constantFrom('tokenRefreshed', 'loggedIn', 'loggedOut', 'refreshFailed', 'reauthRequired'),
      kind: fc.constantFrom<ListenerKind>('throws', 'hangs', 'rejects', 'calls', 'refreshes', 'logs out'),
    }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('dispose' as const), context }) },
  {
    weight: 7,
    arbitrary: fc.record({
      op: fc.constant('time' as const),
      ms: fc.constantFrom(100, 1_000, 5_000, 9_000, 20_000, 40_000, 60_000),
    }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('turned down every time' as const), context }) },
  { weight: 8, arbitrary: fc.record({ op: fc.constant('calm' as const) }) },
]

// What there is with cookies only.
const COOKIE_OPS: readonly fc.WeightedArbitrary<Op>[] = [
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constant('outside' as const),
      what: fc.constantFrom<Outside>('cleared', 'access cleared', 'values cleared', 'refreshed', 'login'),
      user,
    }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('ready' as const), context }) },
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constant('fault elsewhere' as const),
      route: fc.constantFrom<FaultyRoute>('login', 'logout', 'whoami', 'whoami'),
      fault: fc.constantFrom<RouteFault>(
        'drop',
        'drop-after',
        '500',
        'hang',
        'hang-after',
        'not-json',
        'stall-body',
      ),
    }),
  },
  // The last cookies are those that stay: what is about that is about who signs in and out.
  { weight: 4, arbitrary: fc.record({ op: fc.constant('logout' as const), context }) },
  {
    weight: 4,
    arbitrary: fc.record({ op: fc.constant('login' as const), context, user, right: fc.constant(true) }),
  },
]

// What most programs need to be about anything.
const ALWAYS: readonly Op['op'][] = ['get', 'burst', 'expire early', 'time', 'calm']

const SOMETIMES: readonly Op['op'][] = [
  'post',
  'fresh',
  'slow',
  'foreign',
  'login',
  'flow',
  'reauthenticate',
  'logout',
  'setTokens',
  'refresh',
  'getAccessToken',
  'revoke',
  'fault',
  'fault elsewhere',
  'jump',
  'freeze',
  'thaw',
  'die',
  'trap',
  'store fault',
  'data lost',
  'listen',
  'dispose',
  'turned down every time',
]

const MOST_OPS = 24

// Half of the programs are about a few things only: what needs three of them in their order is rare among thirty.
const about = (ops: readonly Op['op'][]) =>
  fc.oneof(fc.constant(ops), fc.subarray([...ops], { minLength: 1, maxLength: 5 }))

const operations = (ops: readonly fc.WeightedArbitrary<Op>[]): fc.Arbitrary<(Op & { steps: number })[]> =>
  fc.array(
    fc
      .tuple(fc.oneof(...ops), fc.constantFrom(0, 0, 1, 2, 3, 4, 6, 9))
      .map(([drawn, steps]) => ({ ...drawn, steps })),
    { minLength: 1, maxLength: 2 * MOST_OPS, size: 'max' },
  )

const parts = {
  world: {
    refresh: fc.constantFrom<RefreshMode>('reusable', 'single-use', 'rotating', 'rotating-reuse-detection'),
    reuseGrace: fc.constantFrom(0, 0, 20_000),
    accessLifetime: fc.constantFrom(20_000, 60_000, 900_000),
    store: fc.constantFrom('memory' as const, 'cell' as const, 'cell' as const, 'polled' as const),
    empty: fc.constantFrom('ended' as const, 'lost' as const),
  },
  contexts: fc.array(
    fc.record({
      offset: fc.constantFrom(0, 0, 0, -7_200_000, 7_200_000),
      manner: fc.constantFrom<Manner>(
        'nobody',
        'dismisses',
        'proves',
        'proves',
        'proves as another',
        'signs in anew',
        'never answers',
      ),
    }),
    { minLength: 1, maxLength: 3 },
  ),
  singleUse: fc.boolean(),
  signedIn: fc.constantFrom(true, true, true, true, true, false),
}

const only = (about: readonly Op['op'][], ops: Program['ops']): Program['ops'] =>
  ops.filter(({ op }) => ALWAYS.includes(op) || about.includes(op)).slice(0, MOST_OPS)

/** Tokens in headers. */
export const program: fc.Arbitrary<Program> = fc
  .record({ about: about(SOMETIMES), ...parts, world: fc.record(parts.world), ops: operations(OPS) })
  .map(({ about, ops, world, ...rest }) => ({
    ...rest,
    world: { ...world, mode: 'headers' },
    preset: { whoami: false, refresh: true },
    ops: only(about, ops),
  }))

/** Tokens in cookies. */
export const cookieProgram: fc.Arbitrary<Program> = fc
  .record({
    // No token is in anybody's hands.
    about: about([...SOMETIMES.filter((op) => op !== 'setTokens'), 'outside', 'ready']),
    ...parts,
    world: fc.record({
      ...parts.world,
      mode: fc.constantFrom<Mode>('cookies', 'cookies', 'implicit'),
      told: fc.constantFrom(false, false, false, true),
    }),
    whoami: fc.constantFrom(true, true, true, false),
    refresh: fc.constantFrom(true, true, false),
    ops: operations([...OPS, ...COOKIE_OPS]),
  })
  .map(({ about, ops, world, whoami, refresh, ...rest }) => ({
    ...rest,
    world,
    // Without a route to refresh at it takes a server that does so by itself; where no page can read a value, whoami.
    preset: { whoami: whoami || world.told, refresh: refresh || world.mode === 'cookies' },
    ops: only(about, ops),
  }))

/** The access token in the application's hands, the refresh token in a cookie. */
export const hybridProgram: fc.Arbitrary<Program> = fc
  .record({
    about: about([...SOMETIMES.filter((op) => op !== 'setTokens'), 'outside', 'ready']),
    ...parts,
    world: fc.record({ ...parts.world, told: fc.constantFrom(false, false, false, true) }),
    ops: operations([...OPS, ...COOKIE_OPS]),
  })
  .map(({ about, ops, world, ...rest }) => ({
    ...rest,
    world: { ...world, mode: 'hybrid' },
    preset: { whoami: false, refresh: true, memory: true },
    ops: only(about, ops),
  }))

/** What a program is drawn from. */
export const programs = { headers: program, cookies: cookieProgram, hybrid: hybridProgram }

/** A program as a person reads it. */
export function describe({ world, preset, contexts, signedIn, ops }: Program): string {
  const lines = [
    ...(world.mode === 'headers'
      ? []
      : [
          `${preset.memory ? 'the refresh token in a cookie' : 'tokens in cookies'}` +
            `${world.mode === 'implicit' ? ', replaced by the server itself' : ''}` +
            `${world.told ? ', values told in answers' : ''}` +
            `; the client has ${preset.whoami ? '' : 'no '}whoami, ${preset.refresh ? '' : 'no '}refresh`,
        ]),
    `server: ${world.refresh}, grace ${world.reuseGrace} ms, access tokens of ${world.accessLifetime} ms`,
    `store: ${world.store}, empty means ${world.empty}`,
    ...contexts.map(
      ({ offset, manner }, i) => `context ${'abc'[i]}: clock off by ${offset} ms, user ${manner}`,
    ),
    signedIn ? 'alice has signed in in a' : 'nobody has signed in',
    ...ops.map((entry, i) => {
      const { op, context, steps, ...rest } = entry as Op & { context?: number; steps: number }
      const who = context === undefined ? '' : `${'abc'[context % contexts.length]} `
      const how = Object.entries(rest)
        .filter(([, value]) => value !== undefined)
        .map(([name, value]) => `${name} ${String(value)}`)
      return `${String(i + 1).padStart(3)}. ${who}${op}${how.length ? ` (${how.join(', ')})` : ''}, ${steps} steps`
    }),
  ]
  return lines.join('\n')
}
