/**
 * The session in Redis: shared by many machines. One key, changed by a compare-and-set script; who watches is told by
 * a message. It knows nothing of the protocol, and opens no connection but one to listen.
 */
import { badOption } from '../errors.ts'
import { report } from '../events.ts'
import { MAX_DELAY, platform, type Stopwatch, sleep, stopwatch, within } from '../platform.ts'
import { describe, isTime } from '../token.ts'
import type { Cell, LiveRecord, Notice, Store, StoreRecord } from '../types.ts'
import { lifeOf } from './life.ts'
import { asNotice, checkKey, FORMAT, isExpected, newer, noMore, noticeOf } from './record.ts'
import { type RedisClient, wireOf } from './redis-client.ts'

export type { RedisClient } from './redis-client.ts'

/**
 * Options of {@link redisStore}.
 *
 * @example
 * ```ts
 * redisStore(client, { key: `session:${id}`, timeout: 500 })
 * ```
 */
export interface RedisStoreOptions {
  /** Required. The key of this session in Redis, such as `session:4711`: as it is, so that it is safe in a cluster. */
  key: string
  /** Bound on one command, in ms; waiting for the client's connection included. Default 2,000. */
  timeout?: number | undefined
  /**
   * How long Redis keeps a session whose refresh token does not tell its own end (`exp`), in ms from the last
   * commit. Default 90 days.
   */
  ttl?: number | undefined
  /**
   * How often to look where Redis denies publish and subscribe, or a second connection, in ms. `false`: not at all,
   * so that a change is learned when the session is next read. Default 1,000.
   */
  poll?: number | false | undefined
  /**
   * What a refresh does while Redis is out of reach. `false`: it fails as `refresh_unavailable`, because another
   * process may have spent the refresh token. `true`: it goes on with what this process knows, and writes it back
   * later: for a process that is alone, or a server without reuse detection. Default `false`.
   */
  alone?: boolean | undefined
}

const DAY = 86_400_000
// An answer that took longer, in ms, says that Redis was out of reach.
const SLOW = 500
// How long the claims that stood then are heeded once it is back, in ms: clients come back within two seconds or so, and
// whoever has exchanged the refresh token meanwhile is to be heard before it is spent again.
const SETTLING = 3000
// How long after a look that failed the next one follows, in ms.
const AGAIN = 1000
const NEWER = newer('redisStore')
// Marks the revision of what is shown so.
const HEEDED = '+heeded until '

// The key is a hash: `revision` is what is compared, `record` what was written, `life` tells whose end the key waits
// for. Answers begin with the server's time in ms and the type of what stands there.
const LOOK = `
local t = redis.call('TIME')
local answer = { string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000)), redis.call('TYPE', KEYS[1])['ok'] }
if answer[2] == 'hash' then
  local stands = redis.call('HMGET', KEYS[1], 'format', 'revision', 'record')
  for i = 1, 3 do answer[i + 2] = stands[i] or '' end
end`
const READ = `${LOOK}
return answer`
// What is none of ours counts as empty. ARGV: the revision expected; format, revision, record; life and what it comes to in
// ms; channel and message; a record that can't be read. What can't be is for whoever reads to say: the parser that Redis has
// chokes on what is JSON to us (half of a surrogate pair, in a name that was cut), so that nobody could commit over it.
// What is replaced goes first: a Redis that is full refuses a script's first write if that needs room, not the next ones.
const COMMIT = `${LOOK}
if (tonumber(answer[3] or '') or 0) > tonumber(ARGV[2]) then return answer end
local ours = answer[3] == ARGV[2] and answer[5] ~= ARGV[9]
if (ours and answer[4] or '') ~= ARGV[1] then return answer end
if answer[2] == 'hash' then redis.call('HDEL', KEYS[1], 'record') else redis.call('DEL', KEYS[1]) end
local anew = ARGV[5] ~= '' and redis.call('HGET', KEYS[1], 'life') ~= ARGV[5]
redis.call('HSET', KEYS[1], 'format', ARGV[2], 'revision', ARGV[3], 'record', ARGV[4])
if anew then redis.call('HSET', KEYS[1], 'life', ARGV[5]) end
if anew or redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[6]) end
redis.pcall('PUBLISH', ARGV[7], ARGV[8])
return { answer[1], 'hash', ARGV[2], ARGV[3], ARGV[4] }`

type Claim = NonNullable<LiveRecord['claim']>

/** What stands in Redis. */
interface Found {
  readonly record: StoreRecord | null
  /** As it stands there, also of what is none of ours. */
  readonly revision: string
  readonly now: number
  readonly problem?: Error | undefined
}

/**
 * A store in Redis, for many processes on many machines: one refresh for all of them, and a login or logout in one
 * is one in each. The client is yours: connected by you, closed by you, with an `error` listener of yours.
 *
 * @throws {TypeError} an `AuthError` of code `invalid_option` for a bad option
 * @example
 * ```ts
 * const client = await createClient({ url }).on('error', log).connect()
 * const auth = createAuth({ baseUrl, backend: flaskJwt(), store: redisStore(client, { key: `session:${id}` }) })
 * ```
 */
export function redisStore(client: RedisClient, options: RedisStoreOptions): Store {
  const { key, timeout = 2000, ttl = 90 * DAY, poll = 1000, alone = false } = checkOptions(options)
  const wire = wireOf(client)
  const name = 'redisStore'
  const channel = `stayfresh:${key}`
  const listeners = new Set<{ listener(notice?: Notice): void }>()
  // What this process heard last, and, while Redis is out of reach and it goes on alone, what it has made of it.
  let heard: { record: StoreRecord | null; now(): number } | undefined
  let adrift: { record: StoreRecord | null; made?: StoreRecord } | undefined
  let told: string | undefined
  let reported: string | undefined
  // What stood there when it was last looked at and is no record.
  let broken = ''
  // Commands that were given up and have not been answered.
  let stuck = 0
  // Whether it was out of reach when last asked, or nobody has asked; and since when it is known to be there.
  let away = true
  let back: Stopwatch | undefined
  // The claim that is heeded longer than it says, and since when.
  let heeded: { by: string; since: Stopwatch } | undefined
  // The claim that was heard of last, and what it was made on.
  let claimed: { on: LiveRecord; claim: Claim } | undefined
  // Ends the waiting for another look.
  let again = (): void => {}
  // Whether messages come; and what ends that.
  let hearing = false
  let leave: (() => void) | undefined

  // --- asking --------------------------------------------------------------------------------------------

  /** One command, within bounds. Not sent as long as the client would only queue it: it might run much later. */
  async function send(script: string, ...args: string[]): Promise<Found> {
    const elapsed = stopwatch(platform)
    const late = (): Error => new Error(`${name}: no answer from Redis in ${timeout} ms`)
    if (stuck && adrift) throw late()
    for (; !wire.isReady(); await sleep(platform, 25)) {
      away = true
      if (elapsed() >= timeout) throw new Error(`${name}: the client is not connected to Redis`)
    }
    let given = false
    const answered = (): void => {
      // Who has just begun can't know what has been, either.
      if (away || elapsed() > SLOW) back = stopwatch(platform)
      if (away) heeded = undefined
      away = false
      if (!given) return
      stuck -= 1
      look(true)
    }
    const sent = wire.run(script, key, args)
    sent.then(answered, () => {
      answered()
      away = true
    })
    const answer = await within(platform, sent, Math.max(timeout - elapsed(), 1), () => {
      given = true
      stuck += 1
      return late()
    })
    const found = decode(answer)
    const since = stopwatch(platform)
    const on = found.record as LiveRecord | null
    const { claim } = on ?? {}
    if (on && claim) claimed = { on, claim }
    else if (claimed && !isBasis(on, claimed.on)) claimed = undefined
    heard = { record: found.record, now: () => found.now + since() }
    return found
  }

  /** What stands there: what was ended or begun here while it was away, if nobody was called later. */
  async function ask(script: string, ...args: string[]): Promise<Found> {
    const found = await send(script, ...args)
    const mine = adrift
    const made = mine?.made
    const late = made && isNews(made, found.record)
    const stands = late ? await send(COMMIT, ...written(made, found.record?.revision)) : found
    if (adrift === mine) adrift = undefined
    return stands
  }

  /** A newer version of a session is brought by whoever holds it. */
  function isNews(made: StoreRecord, stands: StoreRecord | null): boolean {
    if (!stands) return 'ended' in made
    if (stands.id === made.id) return 'ended' in made && !('ended' in stands)
    return stands.calledAt + ('ended' in stands ? 1 : 0) <= made.calledAt
  }

  const written = (next: StoreRecord, expected = ''): string[] => [
    expected,
    String(FORMAT),
    next.revision,
    JSON.stringify(next),
    ...lasting(next),
    channel,
    JSON.stringify(noticeOf(next)),
    broken,
  ]

  /**
   * The claim that a failover has lost, the token being spent perhaps, is heeded to its end. And while Redis was away a claim
   * could not be answered for: it ends a while after that, in what this process sees.
   */
  function heeding(found: Found): Found {
    const record = found.record as LiveRecord
    const stands = found.record && 'claim' in found.record ? found.record.claim : undefined
    // Of several answers that are read at once each is looked at when the last has been heard.
    const claim = stands ?? (claimed && isBasis(found.record, claimed.on) ? claimed.claim : undefined)
    if (!claim) return found
    let { until } = claim
    if (back) {
      const since = heeded && heeded.by === claim.by ? heeded.since : stopwatch(platform)
      // Where every answer is slow Redis is not away, and the claim of one who has died is not heeded for ever.
      const settled = found.now + Math.min(SETTLING - back(), 2 * SETTLING - since())
      if (settled > Math.max(until, found.now)) {
        heeded = { by: claim.by, since }
        until = settled
      }
    }
    if (until <= found.now || until === stands?.until) return found
    const span = Math.max(claim.span, SETTLING)
    // By a revision of its own, for who knows the record already would not look at it again.
    const revision = `${record.revision}${HEEDED}${Math.round(until)}`
    return { ...found, record: { ...record, revision, claim: { ...claim, until, span } } }
  }

  function decode(answer: unknown): Found {
    const [now, kind, format, revision = '', text] = (answer as unknown[]).map(String)
    let record: StoreRecord | null = null
    if (Number(format) > FORMAT) throw NEWER
    if (kind === 'hash' && format === String(FORMAT)) {
      try {
        record = JSON.parse(text ?? '') as StoreRecord
      } catch {
        // Not written by us.
      }
      if (typeof record?.revision !== 'string' || record.revision !== revision) record = null
    }
    const found = { record, revision, now: Number(now) }
    broken = record ? '' : (text ?? '')
    if (record || kind === 'none') {
      reported = undefined
      return found
    }
    const problem = new Error(`${name}: what stands under its key is no session; it is ignored`)
    if (reported !== revision) report(problem)
    reported = revision
    return { ...found, problem }
  }

  async function read(): Promise<Cell> {
    try {
      return heeding(await ask(READ))
    } catch (problem) {
      return here(problem)
    }
  }

  async function commit(next: StoreRecord, expected: string | null): Promise<Cell> {
    const notice = noticeOf(next)
    const stands = expected && (expected.split(HEEDED)[0] as string)
    try {
      const found = await ask(COMMIT, ...written(next, stands ?? undefined))
      if (found.revision !== next.revision) return heeding(found)
      if (!hearing) tell(notice)
      return found
    } catch (problem) {
      const cell = here(problem)
      if (!isExpected(cell.record, stands)) return cell
      adrift = { record: next, made: next }
      tell(notice)
      return { ...cell, record: next }
    }
  }

  /** What this process goes on with, alone; throws where it must not. */
  function here(problem: unknown): Cell {
    if (!alone || !heard || problem === NEWER) throw problem
    adrift ??= heard
    return { record: adrift.record, now: heard.now(), problem }
  }

  /**
   * What the key's time to live is counted for, and from now on in ms. It is counted from the first commit of a
   * refresh token, not to its `exp`: that is by a clock which may be hours off from that of Redis.
   */
  function lasting(record: StoreRecord): [string, string] {
    // An ended session keeps what it had: until then somebody may hold it who has not heard.
    if ('ended' in record) return ['', whole(ttl)]
    const { iat, exp } = lifeOf(record) ?? {}
    // A life that was over before it began says nothing.
    if (exp === undefined || (iat !== undefined && exp <= iat)) return [record.revision, whole(ttl)]
    const now = heard?.now() ?? Date.now()
    const ms = iat === undefined ? Math.max(exp * 1000 - now, DAY) : Math.max((exp - iat) * 1000, 1000)
    return [`${iat} ${exp}`, whole(ms)]
  }

  // --- being told ----------------------------------------------------------------------------------------

  function tell(notice?: Notice): void {
    if (notice && notice.revision === told) return
    told = notice?.revision
    for (const { listener } of [...listeners]) listener(notice)
  }

  // What is told is told in order.
  let telling: Promise<unknown> = Promise.resolve()

  function hear(message: string): void {
    const notice = noticeIn(message)
    const next = async (): Promise<void> => {
      // Channels know neither databases nor prefixes: an end that was another session's must not be taken for ours. Of
      // what was heard of here it is believed, also where Redis is gone by now, or the tombstone with a failover.
      if (notice?.ended && notice.id !== heard?.record?.id) {
        const found = await ask(READ).catch(() => undefined)
        if (found?.revision !== notice.revision) return tell()
      }
      tell(notice)
    }
    telling = telling.then(next).catch(report)
  }

  /** Looks whether something was missed. `anyway`: all are to read, for Redis was away. */
  function look(anyway?: boolean): void {
    if (!listeners.size) return
    const before = heard && (heard.record?.revision ?? null)
    ask(READ).then(
      ({ record }) => {
        const now = record?.revision ?? null
        if (anyway) tell()
        else if (now !== before && (now !== null || before !== undefined)) {
          tell(record ? noticeOf(record) : undefined)
        }
      },
      () => {
        if (!anyway) return
        // The client is back later than what listens: a logout that was missed is looked for until it is.
        again()
        again = platform.timer(() => look(true), AGAIN, true)
      },
    )
  }

  function missed(): void {
    back = stopwatch(platform)
    look(true)
  }

  /** Listens, and looks now and then until it hears: it may be denied, or get no connection. Gives back what ends it. */
  function attend(): () => void {
    let over = false
    let stop = (): void => {}
    const now = (): void => {
      if (wire.isReady()) look()
      else away = true
    }
    const timer = poll === false ? undefined : setInterval(now, Math.min(poll, MAX_DELAY))
    ;(timer as { unref?(): void } | undefined)?.unref?.()
    wire.subscribe(channel, hear, missed).then(
      (unsubscribe) => {
        if (over) return unsubscribe()
        clearInterval(timer)
        hearing = true
        stop = unsubscribe
        look()
      },
      () => {},
    )
    return () => {
      over = true
      hearing = false
      clearInterval(timer)
      stop()
    }
  }

  return {
    name,
    read,
    commit,
    watch(listener) {
      const entry = { listener }
      listeners.add(entry)
      leave ??= attend()
      return () => {
        listeners.delete(entry)
        if (listeners.size) return
        leave?.()
        leave = undefined
      }
    },
  }
}

/**
 * Whether a claim that was made on `on` holds for what stands now: it ends with another version, a further failure or a
 * refusal, and with nothing else. Of the failures before it some may be lost as well.
 */
function isBasis(stands: StoreRecord | null, on: LiveRecord): boolean {
  if (!stands || 'ended' in stands) return false
  const { id, version, failures = 0, refreshToken } = stands
  const same =
    id === on.id && version === on.version && (refreshToken === undefined) === (on.refreshToken === undefined)
  return same && failures <= (on.failures ?? 0)
}

/** As Redis takes it: one that it does not take would fail the script when the record has been written. */
const whole = (ms: number): string => String(Math.min(Math.ceil(ms), Number.MAX_SAFE_INTEGER))

function noticeIn(message: string): Notice | undefined {
  try {
    return asNotice(JSON.parse(message))
  } catch {
    return undefined
  }
}

function checkOptions(options: RedisStoreOptions): RedisStoreOptions {
  const given: Partial<RedisStoreOptions> = { ...options }
  const { key, timeout = 1, ttl = 1, poll = 1, alone = false, ...rest } = given
  noMore('redisStore', 'key, timeout, ttl, poll, alone', Object.keys(rest)[0])
  checkKey(key)
  const positive = (value: unknown): boolean => isTime(value) && value > 0
  const wrong = (option: keyof RedisStoreOptions, takes: string): never => {
    const value = given[option]
    const got = typeof value === 'number' ? value : describe(value)
    throw badOption(option, `${option} takes ${takes}, got ${got}`)
  }
  if (!positive(timeout)) wrong('timeout', 'milliseconds, more than 0')
  if (!positive(ttl)) wrong('ttl', 'milliseconds, more than 0')
  if (poll !== false && !positive(poll)) wrong('poll', 'milliseconds, more than 0, or false')
  if (typeof alone !== 'boolean') wrong('alone', 'true or false')
  return options
}
