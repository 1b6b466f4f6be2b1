/**
 * What each does where it matters: the same scenes for stayfresh and its peers, over real HTTP. A mark is what was
 * seen in this run: what came to the server, and what the callers got.
 */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { type Api, type Opening, openApi, type Reply } from './cases-server.ts'
import { type Client, type Contestant, configurations } from './contestants.ts'
import { isOurs, type Part, type Progress } from './report.ts'

// Who takes longer than this hangs, in ms.
const BOUND = 12_000
const AT_ONCE = 200
const EXPIRED: Opening = { life: 900, age: 1000 }

interface Scene {
  contestant: Contestant
  api: Api
  client: Client
  /** How often the application was asked for a new login. */
  asked(): number
}

interface Seen {
  held: boolean
  /** In a few words, with the numbers. */
  saw: string
}

interface Case {
  title: string
  /** Why it matters, in a line. */
  why: string
  opening?: Opening
  /** Before the client is made, as some refresh at once. */
  prepare?(api: Api): void
  run(scene: Scene): Promise<Seen>
  /** Who can't be asked, and why. */
  without?: Record<string, string>
  /** Instead of `BOUND`. */
  bound?: number
}

// --- what the scenes are made of -------------------------------------------------------------------------------------

type Outcome = { answered: true; value: unknown } | { answered: false; error: unknown }

/** Settles with what came of it, and never rejects. */
const outcome = (promise: Promise<unknown>): Promise<Outcome> =>
  promise.then(
    (value) => ({ answered: true, value }),
    (error) => ({ answered: false, error }),
  )

const answeredOf = (outcomes: Outcome[]): number => outcomes.filter(({ answered }) => answered).length

/** `undefined` if it took longer. */
const within = <T>(ms: number, promise: Promise<T>): Promise<T | undefined> => {
  const over = new AbortController()
  const late = sleep(ms, undefined, { signal: over.signal }).catch(() => undefined)
  return Promise.race([promise, late]).finally(() => over.abort())
}

const atOnce = (client: Client, url: string, times: number): Promise<Outcome[]> =>
  Promise.all(Array.from({ length: times }, () => outcome(client.send(url))))

/** Refreshes (or calls) are held at the server from `arrived` to `open()`. */
interface Gate {
  arrived: Promise<void>
  look(): Promise<undefined>
  open(): void
}
function gate(): Gate {
  let arrive = (): void => {}
  let open = (): void => {}
  const arrived = new Promise<void>((resolve) => {
    arrive = resolve
  })
  const opened = new Promise<undefined>((resolve) => {
    open = () => resolve(undefined)
  })
  const look = (): Promise<undefined> => {
    arrive()
    return opened
  }
  return { arrived, look, open: () => open() }
}

const gates = new WeakMap<Api, Gate>()
const holdRefreshes = (api: Api): void => {
  const held = gate()
  gates.set(api, held)
  api.onRefresh = held.look
}
const gateOf = (api: Api): Gate => gates.get(api) as Gate

const count = (number: number, what: string): string =>
  `${number} ${what}${number === 1 ? '' : what.endsWith('sh') ? 'es' : 's'}`
const refreshesOf = (api: Api): string => count(api.refreshes.length, 'refresh')

/** `act`, while a call to `path` waits for a refresh, which is answered afterwards. */
async function duringRefresh(
  { api, client }: Pick<Scene, 'api' | 'client'>,
  path: string,
  act: () => unknown,
): Promise<void> {
  const held = gateOf(api)
  const waiting = outcome(client.send(`${api.url}${path}`))
  await held.arrived
  const acted = outcome(Promise.resolve(act()))
  // Some wait for the refresh to be over.
  await within(300, acted)
  held.open()
  await Promise.all([waiting, acted])
  await sleep(100)
}

/** 200 at once, of which each has to be answered, for one refresh. */
async function burst({ api, client }: Scene): Promise<Seen> {
  const sent = gate()
  api.onCall = () => {
    if (api.calls.length === AT_ONCE) sent.open()
    return undefined
  }
  // It takes so long that each has its 401 by then; who knows that the token has expired sends none.
  api.onRefresh = () => within(500, sent.look()).then(() => sleep(100, undefined))
  const answered = answeredOf(await atOnce(client, `${api.url}items`, AT_ONCE))
  return {
    held: api.refreshes.length === 1 && answered === AT_ONCE,
    saw: `${refreshesOf(api)}, ${answered} of ${AT_ONCE} answered`,
  }
}

/** The refresh fails twice, or until its caller has been told; then the server is well again. */
const failsAtFirst =
  (reply: Reply | 'cut') =>
  (api: Api): void => {
    api.onRefresh = () => (api.refreshes.length <= 2 ? reply : undefined)
  }

async function outlives({ api, client, asked }: Scene): Promise<Seen> {
  const first = await within(6000, outcome(client.send(`${api.url}items`)))
  delete api.onRefresh
  const told = first?.answered ? 'is answered' : first ? 'gets an error' : 'hangs'
  let answered = false
  const until = performance.now() + 4000
  // Whoever pauses after a failure may do so.
  for (let wait = 0; !answered && performance.now() < until; wait = 250) {
    await sleep(wait)
    const later = await within(2000, outcome(client.send(`${api.url}items`)))
    answered = later?.answered ?? false
  }
  return {
    held: answered && asked() === 0,
    saw: `the first call ${told}, later ones ${answered ? 'go through' : 'fail'}; a new login is wanted ${count(asked(), 'time')}`,
  }
}

const NO_SIGN_OUT = 'has no way to sign out, nor to change the user'

const BODY = JSON.stringify({ text: 'Grüße, “quoted” \\ \n', list: [1, 2.5, null], nested: { empty: '' } })

// --- the scenes ------------------------------------------------------------------------------------------------------

const cases: Case[] = [
  {
    title: '200 at once, token expired: one refresh, all answered',
    why: 'A page that wakes up sends all that it has; with rotation a second refresh is a reuse, which ends the session.',
    opening: EXPIRED,
    run: burst,
  },
  {
    title: '200 at once, token turned down early: one refresh, all answered',
    why: 'A server that restarts or revokes answers 401 before `exp`.',
    run: (scene) => {
      scene.api.turnDown()
      return burst(scene)
    },
  },
  {
    title: 'a 401 that arrives after the refresh is over: replayed, nothing refreshed',
    why: 'A slow request comes back with the 401 of a token that has been replaced meanwhile.',
    run: async ({ api, client }) => {
      const held = gate()
      let slowly = true
      api.onCall = ({ path }) => {
        if (path !== 'items?slow' || !slowly) return undefined
        slowly = false
        return held.look()
      }
      api.turnDown()
      const slow = outcome(client.send(`${api.url}items?slow`))
      await held.arrived
      await within(4000, outcome(client.send(`${api.url}items?quick`)))
      const before = api.refreshes.length
      held.open()
      const { answered } = await slow
      return {
        held: answered && before === 1 && api.refreshes.length === 1,
        saw: `${refreshesOf(api)}, the late one ${answered ? 'answered' : 'gets its 401'}`,
      }
    },
  },
  {
    title: 'a POST is replayed after a 401, byte for byte',
    why: 'What a user has typed is not to be lost to a token that ran out.',
    run: async ({ api, client }) => {
      api.turnDown()
      const init = { method: 'POST', body: BODY, headers: { 'content-type': 'application/json' } }
      const { answered } = await outcome(client.send(`${api.url}items`, init))
      const same = api.calls.every(({ method, body }) => method === 'POST' && body === BODY)
      return {
        held: answered && same && api.calls.length === 2,
        saw: `${answered ? 'answered' : 'the caller gets the 401'} after ${count(api.calls.length, 'send')}${same ? '' : ', its body changed'}`,
      }
    },
  },
  {
    title: 'a 503 on the refresh: the session survives',
    why: 'A deployment is no reason to ask everybody for a password.',
    opening: EXPIRED,
    prepare: failsAtFirst({ status: 503 }),
    run: outlives,
  },
  {
    title: 'a connection cut during the refresh: the session survives',
    why: 'Trains have tunnels.',
    opening: EXPIRED,
    prepare: failsAtFirst('cut'),
    run: outlives,
  },
  {
    title: '`Retry-After` on the refresh is honoured',
    why: 'A server that is overloaded says when to come again (RFC 9110 section 10.2.3); a call each 100 ms asks meanwhile.',
    opening: EXPIRED,
    prepare: (api) => {
      api.onRefresh = () =>
        api.refreshes.length === 1 ? { status: 503, headers: { 'retry-after': '2' } } : undefined
    },
    run: async ({ api, client }) => {
      const calls: Promise<Outcome>[] = []
      for (let call = 0; call < 25; call++) {
        calls.push(outcome(client.send(`${api.url}items`)))
        await sleep(100)
      }
      const answered = answeredOf([
        ...(await Promise.all(calls)),
        ...(await atOnce(client, `${api.url}items`, 1)),
      ])
      const [first, second] = api.refreshes
      const gap = first && second ? second.at - first.at : Number.NaN
      return {
        // Whole milliseconds are rounded by timers.
        held: gap >= 1990 && answered > 0,
        saw: Number.isNaN(gap) ? 'never refreshed again' : `asked again after ${Math.round(gap)} ms of 2000`,
      }
    },
  },
  {
    title: 'a logout during a refresh: nobody is signed in afterwards',
    why: 'The tokens that come late are not to be written back.',
    opening: EXPIRED,
    prepare: holdRefreshes,
    without: { '@badgateway/oauth2-client': NO_SIGN_OUT },
    run: async ({ api, client }) => {
      await duringRefresh({ api, client }, 'items', () => client.signOut?.())
      await within(4000, outcome(client.send(`${api.url}items?after`)))
      const after = api.calls.filter(({ path }) => path === 'items?after')
      const as = after.find(({ user }) => user !== undefined)
      return {
        held: !as,
        saw: as
          ? `the next call goes out as ${as.user}`
          : `the next call ${after.length ? 'goes out without a token' : 'is not sent'}`,
      }
    },
  },
  {
    title: 'another user signs in during a refresh: neither is taken for the other',
    why: 'Alice’s request is not sent as Bob, and Bob stays signed in.',
    opening: EXPIRED,
    prepare: holdRefreshes,
    without: { '@badgateway/oauth2-client': NO_SIGN_OUT },
    run: async ({ api, client }) => {
      await duringRefresh({ api, client }, 'items?of=alice', () => client.signIn?.(api.signIn('bob')))
      await within(4000, outcome(client.send(`${api.url}items?of=bob`)))
      const as = (of: string): string[] => [
        ...new Set(
          api.calls
            .filter(({ path, user }) => path === `items?of=${of}` && user)
            .map(({ user }) => user as string),
        ),
      ]
      const [alices, bobs] = [as('alice'), as('bob')]
      return {
        held: alices.every((user) => user === 'alice') && bobs.length === 1 && bobs[0] === 'bob',
        saw: `Alice’s request went out as ${alices.join(' and ') || 'nobody'}, Bob’s as ${bobs.join(' and ') || 'nobody'}`,
      }
    },
  },
  {
    title: 'another user signs in while a request is under way: it is not sent again as that one',
    why: 'Its 401 comes when Bob is signed in: what Alice wrote would be Bob’s.',
    without: { '@badgateway/oauth2-client': NO_SIGN_OUT },
    run: async ({ api, client }) => {
      const held = gate()
      let first = true
      api.onCall = () => {
        if (!first) return undefined
        first = false
        return held.look()
      }
      api.turnDown()
      const init = { method: 'POST', body: BODY, headers: { 'content-type': 'application/json' } }
      const alices = outcome(client.send(`${api.url}items`, init))
      await held.arrived
      await within(4000, outcome(Promise.resolve(client.signIn?.(api.signIn('bob')))))
      held.open()
      const { answered } = await alices
      const asBob = api.calls.some(({ user }) => user === 'bob')
      return {
        held: !asBob,
        saw: asBob ? 'sent again as bob' : answered ? 'sent again as alice' : 'the caller gets the 401',
      }
    },
  },
  {
    title: 'an aborted caller is let go at once, and the refresh goes on for the others',
    why: 'Whoever leaves a view leaves neither a promise behind nor the others without a token.',
    opening: EXPIRED,
    prepare: holdRefreshes,
    run: async ({ api, client }) => {
      const held = gateOf(api)
      const abort = new AbortController()
      const leaving = outcome(client.send(`${api.url}items?leaving`, { signal: abort.signal }))
      await held.arrived
      const staying = outcome(client.send(`${api.url}items?staying`))
      await sleep(50)
      abort.abort()
      const left = await within(1000, leaving)
      held.open()
      const [{ answered }] = await Promise.all([staying, leaving])
      return {
        held: left?.answered === false && answered && api.refreshes.length === 1,
        saw: `${left ? 'let go at once' : 'kept until the refresh was over'}, ${refreshesOf(api)}, the other ${answered ? 'answered' : 'not answered'}`,
      }
    },
  },
  {
    title: 'the token goes to no other origin',
    why: 'A link from the API’s own answer is enough to send it elsewhere. Where a README has the application attach the token, it is attached as that README does it.',
    without: { '@supabase/auth-js': 'leaves it to the application to attach the token' },
    run: async ({ client }) => {
      const other = await openApi()
      await within(4000, outcome(client.send(`${other.url}items`)))
      other.close()
      const leaked = other.calls.some(({ user }) => user !== undefined)
      const sent = other.calls.length ? 'the call goes out without it' : 'the call is not sent'
      return { held: !leaked, saw: leaked ? 'sent to the other origin' : sent }
    },
  },
  {
    title: 'a clock an hour fast: no refresh per request',
    why: 'By such a clock every token has expired when it comes.',
    opening: { ahead: -3600 },
    run: async ({ api, client }) => {
      let answered = 0
      for (let call = 0; call < 10; call++)
        answered += (await outcome(client.send(`${api.url}items`))).answered ? 1 : 0
      return {
        held: answered === 10 && api.refreshes.length <= 1,
        saw: `${refreshesOf(api)} for 10 calls, ${answered} answered`,
      }
    },
  },
  {
    title: 'a clock an hour slow: no expired token for ever',
    why: 'By such a clock a token of two seconds lasts for an hour.',
    opening: { ahead: 3600, life: 2 },
    run: async ({ api, client }) => {
      await outcome(client.send(`${api.url}items`))
      // Stamps are whole seconds: what lasts two is over after three.
      await sleep(3000)
      const answered = answeredOf([
        await outcome(client.send(`${api.url}items`)),
        await outcome(client.send(`${api.url}items`)),
      ])
      return { held: answered === 2, saw: `${answered} of 2 calls answered after the expiry` }
    },
  },
  {
    title: 'two tabs share a session: its refresh token is spent once',
    why: 'Of two that spend it, the second ends the session for both, where tokens rotate. The tabs are threads with modules of their own, over a storage in files. (@supabase/auth-js without its `lock`, which is deprecated; Supabase’s own server forgives a reuse within ten seconds by default.)',
    opening: EXPIRED,
    // That their modules are loaded takes time.
    bound: 40_000,
    run: async ({ contestant, api }) => {
      const shared = join(mkdtempSync(join(tmpdir(), 'stayfresh-tabs-')), 'shared')
      const held = gate()
      api.onRefresh = held.look
      const { url, tokens } = api
      const workerData = { name: contestant.name, place: { url, tokens, shared } }
      const tabs = [0, 1].map(() => new Worker(new URL('./cases-tab.ts', import.meta.url), { workerData }))
      try {
        await Promise.all(tabs.map((tab) => once(tab, 'message')))
        const begun = Promise.all(tabs.map((tab) => once(tab, 'message')))
        for (const tab of tabs) tab.postMessage('go')
        await begun
        const answers = tabs.map((tab) => once(tab, 'message'))
        // So long that each tab has found its token expired, by its `exp` or by a 401.
        await sleep(1000)
        held.open()
        const answered =
          (await within(BOUND, Promise.all(answers)))?.reduce((sum, [its]) => sum + its, 0) ?? 0
        return {
          held: api.reuses === 0 && answered === 10,
          saw: `${refreshesOf(api)}, ${count(api.reuses, 'reuse')}, ${answered} of 10 calls answered`,
        }
      } finally {
        await Promise.all(tabs.map((tab) => tab.terminate()))
        rmSync(join(shared, '..'), { recursive: true, force: true })
      }
    },
  },
  {
    title: 'a 401 that a refresh can’t help (`Fresh token required`): none is spent on it',
    why: 'It asks for a password; a refreshed token is as little fresh as the old one.',
    run: async ({ api, client, asked }) => {
      api.onCall = () => ({ status: 401, body: { msg: 'Fresh token required' } })
      const answered = answeredOf(await atOnce(client, `${api.url}items`, 20))
      return {
        held: api.refreshes.length === 0 && answered === 0,
        saw: `${refreshesOf(api)}, ${count(api.calls.length, 'send')} for 20 calls${asked() ? `, the application is asked ${asked()} ${asked() === 1 ? 'time' : 'times'}` : ''}`,
      }
    },
  },
]

// --- the run ---------------------------------------------------------------------------------------------------------

async function play(one: Case, contestant: Contestant): Promise<Seen> {
  const api = await openApi(one.opening)
  one.prepare?.(api)
  let asked = 0
  const { url } = api
  let { tokens } = api
  // It reckons with its own clock and `expires_in` when the tokens come; the others keep what the server stamped.
  if (contestant.name === '@badgateway/oauth2-client')
    tokens = { ...tokens, expiresAt: tokens.expiresAt - (one.opening?.ahead ?? 0) * 1000 }
  const place = { url, tokens, onLoginWanted: () => void asked++ }
  const client = contestant.make(place)
  try {
    const { bound = BOUND } = one
    const seen = await within(bound, one.run({ contestant, api, client, asked: () => asked }))
    return seen ?? { held: false, saw: `hangs: not over after ${bound / 1000} s` }
  } finally {
    client.stop?.()
    api.close()
  }
}

/** What was seen, and by whom; the same is said once. */
function tell(seen: [string, Seen][]): string {
  const said = new Map<string, string[]>()
  for (const [name, { held, saw }] of seen) {
    const text = `${saw} ${held ? '✓' : '✗'}`
    said.set(text, [...(said.get(text) ?? []), name])
  }
  return [...said].map(([saw, names]) => `${names.join(' · ')}: ${saw}`).join('; ')
}

export async function measureCases(progress: Progress): Promise<Part> {
  const asked = configurations.filter(({ bare }) => !bare)
  const marks = new Map(asked.map((contestant) => [contestant, [] as string[]]))
  const notes: string[] = []
  // A peer that says that it could not refresh says so to its user, not into the table.
  const { warn } = console
  console.warn = () => {}
  for (const [index, one] of cases.entries()) {
    // Side by side, each with a server of its own; not two scenes at once, as some keep their state in the module.
    const all = await Promise.all(
      asked.map(async (contestant) => {
        const seen = one.without?.[contestant.name] ? undefined : await play(one, contestant)
        return [contestant, seen] as const
      }),
    )
    for (const [contestant, seen] of all) marks.get(contestant)?.push(seen ? (seen.held ? '✓' : '✗') : '—')
    const seen = all.flatMap(([{ name }, seen]) => (seen ? [[name, seen] as [string, Seen]] : []))
    const without = Object.entries(one.without ?? {}).map(([name, reason]) => `; ${name} — (${reason})`)
    notes.push(`**${index + 1}: ${one.title}.** ${one.why} *Seen:* ${tell(seen)}${without.join('')}.`)
    progress(index + 1, cases.length)
  }
  console.warn = warn
  const heldBy = (contestant: Contestant): number =>
    marks.get(contestant)?.filter((mark) => mark === '✓').length ?? 0
  return {
    title: 'What each does',
    about:
      'The same scenes for each, over real HTTP, each client as its README tells to set it up, at the best that is documented there. ✓ and ✗ are what was seen in this run, at the server and by the callers; — is what a client has no notion of. axios-auth-refresh is shown as its README recommends it, and with `deduplicateRefresh: false`. The numbers are explained beneath.',
    head: ['', ...cases.map((_, index) => String(index + 1)), 'held'],
    rows: asked.map((contestant) => [
      contestant.name,
      ...(marks.get(contestant) ?? []),
      `${heldBy(contestant)} of ${cases.length}`,
    ]),
    notes,
    goals: asked
      .filter(({ name }) => isOurs(name))
      .map((contestant) => ({
        what: `${contestant.name}: scenes that come out right`,
        limit: String(cases.length),
        got: String(heldBy(contestant)),
        met: heldBy(contestant) === cases.length,
      })),
    charts: [],
  }
}
