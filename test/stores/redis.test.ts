/** The Redis store over a real Redis, with both clients: processes that share one key. */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { Cluster, Redis as IoRedis } from 'ioredis'
import { createClient, createCluster } from 'redis'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { createAuth, flaskJwt, type LiveRecord, type Store } from '../../src/index.ts'
import { redisStore } from '../../src/redis.ts'
import { noticeOf } from '../../src/stores/record.ts'
import { createBackend, fakeTokens } from '../../src/testing/index.ts'
import type { Cell, Notice } from '../../src/types.ts'
import { pause } from '../common.ts'
import { type Redis, startRedis } from '../redis.ts'
import { contract, live, tombstone } from './contract.ts'
import { type Agent, contextIn, startAgent, stopAgents } from './processes.ts'
import { openRedis } from './redis-clients.ts'

let redis: Redis
let agents: Agent[] = []
beforeAll(async () => {
  redis = await startRedis()
  agents = await Promise.all([startAgent(), startAgent(), startAgent()])
}, 300_000)
afterAll(() => {
  stopAgents()
  return redis.stop()
})

let count = 0
const someKey = (): string => `session:${count++}`

/** Resolves once `listeners` more hear a channel than did: until then a message reaches nobody. */
async function hears(key: string, listeners: number): Promise<void> {
  while (!(await redis.command('PUBSUB', 'NUMSUB', `stayfresh:${key}`)).endsWith(`:${listeners}`))
    await pause(5)
}

const seals = [undefined, { keys: [{ id: 'one', key: 'AAECAwQFBgcICQoLDA0ODw==' }] }]
const kinds = [
  ['redis', undefined],
  ['ioredis', undefined],
  ['ioredis', seals[1]],
] as const

for (const [kind, seal] of kinds) {
  contract(`redisStore over ${kind}${seal ? ', encrypted,' : ''} among processes`, async () => {
    const name = someKey()
    let next = 0
    let watching = 0
    let last: Agent | undefined
    return {
      async open(more = '') {
        last = agents[next++ % agents.length] as Agent
        const key = name + more
        return contextIn(last, { kind, url: redis.url, key, seal }, () => hears(key, more ? 1 : ++watching))
      },
      plant: {
        foreign: async () => void (await redis.command('SET', name, 'left-pad')),
        damaged: async () => void (await redis.command('HSET', name, 'record', '{"revision":"1"')),
        older: async () => void (await redis.command('HSET', name, 'format', '0')),
      },
      newer: async () => void (await redis.command('HSET', name, 'format', '2')),
      reported: () => (last as Agent).call('reported'),
    }
  }, ['plant', 'newer'])
}

/** A store over a client of this process. */
async function open(
  kind: 'redis' | 'ioredis',
  options: Partial<Parameters<typeof redisStore>[1]> = {},
): Promise<Required<Store>> {
  return (await openRedis({ kind, url: redis.url, key: someKey(), ...options })) as Required<Store>
}

const token = (claims: object): string =>
  `${btoa('{"alg":"none"}')}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.signature`
const ttl = async (key: string): Promise<number> => Number((await redis.command('PTTL', key)).slice(1))

describe.each(['redis', 'ioredis'] as const)('redisStore over %s', (kind) => {
  test('the key lives as long as the refresh token, whatever the clocks say, and an ended session no longer', async () => {
    const key = someKey()
    const store = await open(kind, { key })
    // By a clock that is years off.
    const refreshToken = token({ iat: 1_000_000, exp: 1_003_600 })
    await store.commit(live('1', { refreshToken }), null)
    expect(await ttl(key)).toBeGreaterThan(3_590_000)
    expect(await ttl(key)).toBeLessThanOrEqual(3_600_000)
    // A claim is no reason to live longer.
    await redis.command('PEXPIRE', key, '1000000')
    await store.commit(live('2', { refreshToken, claim: { by: 'me', until: 1, span: 1 } }), '1')
    expect(await ttl(key)).toBeLessThanOrEqual(1_000_000)
    await store.commit(live('3', { refreshToken: token({ iat: 1_000_900, exp: 1_008_100 }) }), '2')
    expect(await ttl(key)).toBeGreaterThan(7_190_000)
    await store.commit(tombstone('4'), '3')
    expect(await ttl(key)).toBeGreaterThan(7_190_000)
    expect(await redis.command('HGET', key, 'record')).not.toContain('signature')
    // Nobody tells of an end: `ttl`, from the last commit.
    const opaque = await open(kind, { key, ttl: 50_000 })
    await opaque.commit(live('5', { id: 'b', refreshToken: 'opaque' }), '4')
    await redis.command('PEXPIRE', key, '1000')
    await opaque.commit(live('6', { id: 'b', refreshToken: 'opaque' }), '5')
    expect(await ttl(key)).toBeGreaterThan(49_000)
  })

  test('what a token says of its life, or an option of a time to live, that Redis would not take is made what it takes', async () => {
    const key = someKey()
    const store = await open(kind, { key, ttl: 90_000.5 })
    // Issued, as it says, in the year 57,000: milliseconds where seconds belong.
    const refreshToken = token({ iat: 1_750_000_000_000, exp: 1_750_003_600 })
    expect((await store.commit(live('1', { refreshToken }), null)).record?.revision).toBe('1')
    expect(await ttl(key)).toBeGreaterThan(80_000)
    await store.commit(tombstone('2'), '1')
    expect(await ttl(key)).toBeGreaterThan(80_000)
    const forever = await open(kind, { key: someKey(), ttl: 1e300 })
    expect((await forever.commit(live('1', { refreshToken: 'opaque' }), null)).record?.revision).toBe('1')
  })

  test('a record that is JSON to us alone is one: it can be refreshed, and ended', async () => {
    // A name that was cut in the middle of a character, which the parser of Redis chokes on.
    const store = await open(kind)
    const subject = 'J\u00f6rg \ud83d'
    await store.commit(live('1', { subject }), null)
    expect((await store.commit(live('2', { subject, version: 2 }), '1')).record?.revision).toBe('2')
    expect((await store.read()).record).toMatchObject({ subject })
    expect((await store.commit(tombstone('3'), '2')).record?.revision).toBe('3')
  })

  test('a claim that is none stands in nobody’s way', async () => {
    for (const claim of [7, 'mine', {}, { by: 7, until: 'never' }]) {
      const key = someKey()
      await (await open(kind, { key })).commit(live('1', { claim: claim as never }), null)
      const store = await open(kind, { key })
      const { record } = await store.read()
      expect((await store.commit(live('2'), record?.revision ?? null)).record?.revision).toBe('2')
    }
  })

  test('invariant 10: where every answer is slow the claim of one who has died ends all the same', async () => {
    const slow = createServer((from) => {
      const to = connect(redis.port, '127.0.0.1')
      from.pipe(to)
      to.on('data', (data) => void setTimeout(() => from.write(data), 520))
      for (const [one, other] of [
        [from, to],
        [to, from],
      ] as const)
        one.on('error', () => {}).on('close', () => other.destroy())
    }).listen(0, '127.0.0.1')
    await once(slow, 'listening')
    slow.unref()
    const url = `redis://127.0.0.1:${(slow.address() as AddressInfo).port}`
    const store = await open(kind, { url } as object)
    const { now } = await store.read()
    const claim = { by: 'dead', until: now + 500, span: 500 }
    await store.commit(live('1', { claim }), null)
    const began = performance.now()
    const left = async (): Promise<number> => {
      const { record, now } = await store.read()
      return ((record as LiveRecord).claim?.until ?? 0) - now
    }
    // Redis may have been away: that is heeded first.
    expect(await left()).toBeGreaterThan(1000)
    while ((await left()) > 0) expect(performance.now() - began).toBeLessThan(15_000)
  }, 30_000)

  test('time is that of Redis', async () => {
    const store = await open(kind)
    const [seconds = 0] = (await redis.command('TIME')).split('\r\n').slice(2, 3).map(Number)
    const { now } = await store.read()
    expect(Math.abs(now - seconds * 1000)).toBeLessThan(2000)
  })

  test('where publish and subscribe are denied it looks now and then', async () => {
    await redis.command('ACL', 'SETUSER', 'quiet', 'on', 'nopass', '~*', '&none', '+@all')
    const url = redis.url.replace('//', '//quiet:x@')
    const key = someKey()
    const [one, other] = [await open(kind, { url, key, poll: 20 } as object), await open(kind, { key })]
    await other.commit(live('1'), null)
    await one.read()
    const told: (Notice | undefined)[] = []
    onTestFinished(one.watch((notice) => void told.push(notice)))
    await other.commit(live('2', { version: 2 }), '1')
    while (told.length < 1) await pause(5)
    await one.commit(tombstone('3'), '2')
    expect(told).toEqual([
      { revision: '2', id: 'a', version: 2, calledAt: 1, ended: undefined },
      { revision: '3', id: 'a', version: 1, calledAt: 2, ended: 'logout' },
    ])
  })

  test('invariant 15: a time between two looks that no timer can bear is not none', async () => {
    await redis.command('ACL', 'SETUSER', 'quiet', 'on', 'nopass', '~*', '&none', '+@all')
    const looks = async (): Promise<number> =>
      Number(/cmdstat_eval:calls=(\d+)/.exec(await redis.command('INFO', 'commandstats'))?.[1])
    const url = redis.url.replace('//', '//quiet:x@')
    const store = await open(kind, { url, poll: 2 ** 31 } as object)
    await store.read()
    const before = await looks()
    onTestFinished(store.watch(() => {}))
    await pause(300)
    expect((await looks()) - before).toBeLessThan(3)
  })

  test('an end in another database, under the same key, ends nothing here', async () => {
    const key = someKey()
    const here = await open(kind, { key })
    const there = await open(kind, { key, url: `${redis.url}/3` } as object)
    await here.commit(live('1'), null)
    await there.commit(live('2', { id: 'b' }), null)
    const told: (Notice | undefined)[] = []
    onTestFinished(here.watch((notice) => void told.push(notice)))
    await hears(key, 1)
    await there.commit(tombstone('3', { id: 'b' }), '2')
    while (told.length < 1) await pause(5)
    expect(told).toEqual([undefined])
    expect((await here.read()).record?.revision).toBe('1')
  })

  test('what was missed while the connection was away is told when it is back', async () => {
    const key = someKey()
    const [one, other] = [await open(kind, { key }), await open('ioredis', { key })]
    await one.commit(live('1'), null)
    // Whoever is told reads, as a client does.
    const seen: (string | undefined)[] = []
    const heard = async (): Promise<void> => void seen.push((await one.read()).record?.revision)
    onTestFinished(one.watch(() => void heard().catch(() => {})))
    await hears(key, 1)
    await redis.down()
    await redis.up()
    await other.commit(live('2', { version: 2 }), '1')
    while (!seen.includes('2')) await pause(5)
    await hears(key, 1)
    await other.commit(live('3', { version: 3 }), '2')
    while (!seen.includes('3')) await pause(5)
  })

  test('Redis away: nothing waits beyond the bound, and nothing is sent later that was given up', async () => {
    const key = someKey()
    const store = await open(kind, { key, timeout: 200 })
    await store.commit(live('1'), null)
    await redis.down()
    const begin = performance.now()
    await expect(store.read()).rejects.toThrow(/redisStore/)
    await expect(store.commit(live('2'), '1')).rejects.toThrow(/redisStore/)
    expect(performance.now() - begin).toBeLessThan(2000)
    await redis.up()
    const ask = async (): Promise<Cell | undefined> => store.read()
    let cell = await ask().catch(() => undefined)
    while (!cell) cell = await ask().catch(() => undefined)
    expect(cell.record?.revision).toBe('1')
  })

  test('alone: it goes on with what it knows, and says so, until Redis is back', async () => {
    const key = someKey()
    const store = await open(kind, { key, timeout: 200, alone: true })
    await store.commit(live('1'), null)
    await redis.down()
    const cell = await store.read()
    expect(cell.record?.revision).toBe('1')
    expect(cell.problem).toBeDefined()
    expect((await store.commit(live('no'), '0')).record?.revision).toBe('1')
    expect((await store.commit(live('2', { version: 2 }), '1')).record?.revision).toBe('2')
    expect((await store.read()).record?.revision).toBe('2')
    await redis.up()
    let back = await store.read()
    while (back.problem) back = await store.read()
    expect(back.record?.revision).toBe('1')
  })

  test('invariant 5: with Redis out of memory a session can still be refreshed, and ended', async () => {
    const key = someKey()
    const store = await open(kind, { key })
    await store.commit(live('1'), null)
    await redis.command('CONFIG', 'SET', 'maxmemory', '1')
    onTestFinished(async () => void (await redis.command('CONFIG', 'SET', 'maxmemory', '0')))
    expect(await redis.command('SET', 'x', 'y')).toContain('OOM')
    expect((await store.commit(live('2', { version: 2 }), '1')).record?.revision).toBe('2')
    expect((await store.commit(tombstone('3', { version: 2 }), '2')).record?.revision).toBe('3')
    expect((await store.read()).record).toEqual(tombstone('3', { version: 2 }))
    expect(await ttl(key)).toBeGreaterThan(0)
  })

  test('invariant 5: alone, a logout while Redis was away is written when it is back, and so is a login', async () => {
    const login = live('2', { id: 'b', calledAt: 2 })
    for (const [stands, made] of [
      [live('1'), tombstone('2')],
      [live('1'), login],
      [tombstone('1', { calledAt: 1 }), login],
    ] as const) {
      const key = someKey()
      const store = await open(kind, { key, timeout: 200, alone: true })
      await store.commit(stands, null)
      await redis.down()
      expect((await store.commit(made, '1')).problem).toBeDefined()
      await redis.up()
      let back = await store.read()
      while (back.problem) back = await store.read()
      expect(back.record).toEqual(made)
      expect((await (await open(kind, { key })).read()).record).toEqual(made)
    }
  })

  test('invariant 5: the notice of an end is believed though Redis has lost the tombstone by then', async () => {
    const key = someKey()
    const store = await open(kind, { key })
    await store.commit(live('1'), null)
    const told: (Notice | undefined)[] = []
    onTestFinished(store.watch((notice) => void told.push(notice)))
    await hears(key, 1)
    // As after a failover: the message was out, what it tells of had not been copied.
    await redis.command('DEL', key)
    await redis.command('PUBLISH', `stayfresh:${key}`, JSON.stringify(noticeOf(tombstone('2'))))
    while (!told.length) await pause(5)
    expect(told).toEqual([noticeOf(tombstone('2'))])
  })

  test('invariant 5: a session that was signed out and comes back with what a failover has lost is ended again', async () => {
    const key = someKey()
    const store = await open(kind, { key })
    const auth = createAuth({ baseUrl: 'https://api.test', backend: flaskJwt(), store })
    onTestFinished(() => void auth.dispose())
    await auth.setTokens(fakeTokens())
    await redis.command('COPY', key, `${key}:copy`)
    await auth.logout({ revoke: false })
    await redis.command('COPY', `${key}:copy`, key, 'REPLACE')
    const other = await open(kind, { key })
    expect((await other.read()).record).not.toHaveProperty('ended')
    // Whoever listens looks again once a failover is over.
    await hears(key, 1)
    await redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub')
    while (!('ended' in Object((await other.read()).record))) await pause(5)
    expect((await other.read()).record).toMatchObject({ ended: 'logout' })
  })
})

describe('a failover that loses a claim, which had not been copied', () => {
  const spanned = (by: string) => ({ by, until: Date.now() + 10_000, span: 10_000 })
  /** As it stands after a failover: the record as it was before its last change. */
  const failOver = async (change: (store: Required<Store>) => unknown) => {
    const key = someKey()
    const [holder, waiter] = [await open('redis', { key }), await open('ioredis', { key })] as const
    await holder.commit(live('1'), null)
    await redis.command('COPY', key, `${key}:copy`)
    await change(holder)
    await waiter.read()
    await redis.command('COPY', `${key}:copy`, key, 'REPLACE')
    return { key, holder, waiter }
  }

  test('invariant 3: the token that is being spent stays claimed for who had heard of it', async () => {
    const claim = spanned('holder')
    const { key, holder, waiter } = await failOver((store) => store.commit(live('2', { claim }), '1'))
    for (const store of [holder, waiter])
      expect((await store.read()).record).toMatchObject({ version: 1, claim })
    // Over that the holder writes what it got.
    const next = live('3', { version: 2 })
    const { record } = await holder.read()
    expect((await holder.commit(next, record?.revision as string)).record).toEqual(next)
    for (const store of [waiter, await open('redis', { key })])
      expect((await store.read()).record).toEqual(next)
  })

  test('though a failure that was counted before it is lost as well', async () => {
    const claim = spanned('holder')
    const { waiter } = await failOver(async (store) => {
      await store.commit(live('2', { failures: 1 }), '1')
      await store.commit(live('3', { failures: 1, claim }), '2')
    })
    expect((await waiter.read()).record).toMatchObject({ version: 1, claim })
  })

  test('but it is no other record’s, though both are read in one go', async () => {
    const [key, later] = [someKey(), someKey()]
    const [store, other] = [await open('ioredis', { key }), await open('ioredis', { key: later })] as const
    await other.commit(live('1', { claim: spanned('other') }), null)
    await store.read()
    const before = store.read()
    // Both answers are there before the first is looked at.
    const atOnce = (...command: string[]) =>
      execFileSync('redis-cli', ['-u', redis.url, ...command], { stdio: 'ignore' })
    atOnce('COPY', later, key)
    const after = store.read()
    atOnce('PING')
    expect([(await before).record, (await after).record?.revision]).toEqual([null, '1'])
  })

  test('and no longer than that: nobody waits for it for ever', async () => {
    const claim = { ...spanned('holder'), until: Date.now() + 50 }
    const { waiter } = await failOver((store) => store.commit(live('2', { claim }), '1'))
    await pause(60)
    let found = (await waiter.read()).record as LiveRecord
    while (found.claim) {
      await pause(100)
      found = (await waiter.read()).record as LiveRecord
    }
    expect(found.revision).toBe('1')
  })

  test.each([
    ['failed', { failures: 1 }],
    ['was refused', { refreshToken: undefined }],
    ['brought the next version', { version: 2 }],
  ])('it is over once the exchange %s', async (_, more) => {
    const key = someKey()
    const [holder, waiter] = [await open('redis', { key }), await open('ioredis', { key })] as const
    await holder.commit(live('1', { claim: spanned('holder') }), null)
    expect((await waiter.read()).record).toHaveProperty('claim')
    await holder.commit(live('2', more), '1')
    for (const store of [holder, waiter]) expect((await store.read()).record).not.toHaveProperty('claim')
  })
})

test('alone: a store that was never read goes on with nothing', async () => {
  const client = new IoRedis(1, { retryStrategy: () => null }).on('error', () => {})
  const store = redisStore(client, { key: 'x', timeout: 50, alone: true })
  await expect(store.read()).rejects.toThrow(/redisStore/)
})

test('thousands of sessions over one client listen through one connection, set no timer, and leave nothing', async () => {
  const client = await createClient({ url: redis.url, name: 'bff' })
    .on('error', () => {})
    .connect()
  onTestFinished(() => client.destroy())
  const connections = async (): Promise<number> =>
    (await redis.command('CLIENT', 'LIST')).split('\n').filter((line) => line.includes(' name=bff ')).length
  const backend = createBackend()
  const timers = (): number => process.getActiveResourcesInfo().filter((one) => one === 'Timeout').length
  const auths = []
  for (let user = 0; user < 2000; user++) {
    const store = redisStore(client, { key: `bff:${user}` })
    const initial = user % 100 ? undefined : await backend.signIn('alice')
    auths.push(
      createAuth({
        baseUrl: 'https://api.test/',
        backend: flaskJwt(),
        store,
        initial,
        fetch: backend.fetch as typeof fetch,
      }),
    )
  }
  await Promise.all(auths.map((auth) => auth.ready))
  await hears('bff:1999', 1)
  expect(await connections()).toBe(2)
  expect(auths.map((auth) => auth.session?.subject).filter((subject) => subject === 'alice')).toHaveLength(20)
  await pause(20)
  expect(timers()).toBeLessThan(5)
  for (const auth of auths) auth.dispose()
  while ((await connections()) > 1) await pause(5)
}, 30_000)

describe.each(['redis', 'ioredis'] as const)('a client of %s', (kind) => {
  async function connected() {
    const client =
      kind === 'redis'
        ? await createClient({ url: redis.url })
            .on('error', () => {})
            .connect()
        : new IoRedis(redis.url).on('error', () => {})
    const end = (): void => ('destroy' in client ? client.destroy() : client.disconnect())
    onTestFinished(() => {
      if ('isOpen' in client ? client.isOpen : client.status !== 'end') end()
    })
    return { client, end }
  }

  test('that its owner has ended, and connected again, is listened through again', async () => {
    const { client, end } = await connected()
    const key = someKey()
    const store = redisStore(client, { key }) as Required<Store>
    const other = await open('ioredis', { key })
    const told: (string | undefined)[] = []
    onTestFinished(store.watch((notice) => void told.push(notice?.revision)))
    await hears(key, 1)
    end()
    await hears(key, 0)
    await other.commit(live('1'), null)
    await client.connect()
    await hears(key, 1)
    await other.commit(tombstone('2'), '1')
    while (!told.includes('2')) await pause(5)
    // What was missed meanwhile has to be read.
    expect(told).toContain(undefined)
    const later = redisStore(client, { key }) as Required<Store>
    const heard = new Promise((resolve) => onTestFinished(later.watch(resolve)))
    await other.commit(live('3', { id: 'b' }), '2')
    expect(await heard).toMatchObject({ revision: '3' })
  })

  test('that does not come back by itself is listened through all the same, when what listens was cut off alone', async () => {
    const client =
      kind === 'redis'
        ? await createClient({ url: redis.url, socket: { reconnectStrategy: false } })
            .on('error', () => {})
            .connect()
        : new IoRedis(redis.url, { retryStrategy: () => null }).on('error', () => {})
    onTestFinished(() => ('destroy' in client ? client.destroy() : client.disconnect()))
    const key = someKey()
    const other = await open(kind === 'redis' ? 'ioredis' : 'redis', { key })
    await other.commit(live('1'), null)
    const store = redisStore(client, { key }) as Required<Store>
    const told: (string | undefined)[] = []
    onTestFinished(store.watch((notice) => void told.push(notice?.revision)))
    await hears(key, 1)
    // As for a listener that was too slow, or silent for too long for what lies between.
    await redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await other.commit(tombstone('2'), '1')
    while (!told.length) await pause(5)
    await hears(key, 1)
    await other.commit(live('3', { id: 'b' }), '2')
    while (!told.includes('3')) await pause(5)
  })

  test('that gets no second connection to listen through looks now and then, until it gets one', async () => {
    const { client } = await connected()
    const { client: second } = await connected()
    const key = someKey()
    const [store, other] = [client, second].map((one) => redisStore(one, { key }) as Required<Store>)
    await Promise.all([store, other].map((one) => one?.read()))
    const run = async (...words: string[]): Promise<unknown> =>
      'sendCommand' in second && kind === 'redis'
        ? (second as { sendCommand(words: string[]): Promise<unknown> }).sendCommand(words)
        : (second as IoRedis).call(...(words as [string]))
    await run('CONFIG', 'SET', 'maxclients', '1')
    onTestFinished(async () => void (await run('CONFIG', 'SET', 'maxclients', '10000')))
    const told = new Promise((resolve) => onTestFinished(store?.watch(resolve) as () => void))
    await other?.commit(tombstone('1'), null)
    expect(await told).toMatchObject({ revision: '1' })
    await run('CONFIG', 'SET', 'maxclients', '10000')
    await hears(key, 1)
  })

  test('keeps no listener of stores that nobody uses any more', async () => {
    const { client } = await connected()
    const emitter = client as unknown as NodeJS.EventEmitter
    const count = (): number[] => ['end', 'ready'].map((event) => emitter.listenerCount(event))
    const before = count()
    for (let user = 0; user < 12; user++) {
      const key = someKey()
      const stop = (redisStore(client, { key }) as Required<Store>).watch(() => {})
      await hears(key, 1)
      stop()
      await hears(key, 0)
    }
    expect(count()).toEqual(before)
  })
})

test('in a cluster one session is one slot, and who watches is told, with both clients', async () => {
  const node = await startRedis('--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1')
  onTestFinished(() => node.stop())
  await node.command('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
  while (!(await node.command('CLUSTER', 'INFO')).includes('cluster_state:ok')) await pause(5)
  const cluster = createCluster({ rootNodes: [{ url: node.url }] }).on('error', () => {})
  await cluster.connect()
  onTestFinished(() => cluster.destroy())
  const io = new Cluster([{ host: '127.0.0.1', port: node.port }]).on('error', () => {})
  onTestFinished(() => io.disconnect())
  const stores = [cluster, io].map((client) => redisStore(client, { key: 'session:1' }) as Required<Store>)
  const told: string[] = []
  for (const store of stores)
    onTestFinished(store.watch((notice) => void told.push(String(notice?.revision))))
  while (!(await node.command('PUBSUB', 'NUMSUB', 'stayfresh:session:1')).endsWith(':2')) await pause(5)
  await stores[0]?.commit(live('1'), null)
  await stores[1]?.commit(live('2', { version: 2 }), '1')
  while (told.length < 4) await pause(5)
  expect(told.sort()).toEqual(['1', '1', '2', '2'])
  expect((await stores[0]?.read())?.record?.revision).toBe('2')
  // What was missed while what listens was cut off alone is looked for.
  told.length = 0
  await node.command('CLIENT', 'KILL', 'TYPE', 'pubsub')
  while (told.length < 2) await pause(5)
  while (!(await node.command('PUBSUB', 'NUMSUB', 'stayfresh:session:1')).endsWith(':2')) await pause(5)
}, 20_000)

test('clients of clusters are taken as they are, and what is no client is said to be none', () => {
  const cluster = createCluster({ rootNodes: [{ url: redis.url }] })
  const io = new Cluster([{ host: '127.0.0.1', port: redis.port }], { lazyConnect: true })
  for (const client of [cluster, io, createClient(), new IoRedis({ lazyConnect: true })]) {
    expect(redisStore(client, { key: 'x' }).name).toBe('redisStore')
  }
  for (const client of [undefined, null, 'redis://', {}, { eval: () => {} }]) {
    expect(() => redisStore(client as never, { key: 'x' })).toThrow(
      /a client of redis \(node-redis\) or ioredis/,
    )
  }
  const wrong = { timeout: 0, ttl: -1, poll: true, alone: 'yes', key: '' }
  for (const [option, value] of Object.entries(wrong)) {
    const make = () => redisStore(cluster, { key: 'x', [option]: value } as never)
    expect(make).toThrow(expect.objectContaining({ code: 'invalid_option', option }))
  }
  expect(() => redisStore(cluster, { key: 'x', tll: 60_000 } as never)).toThrow(
    'redisStore takes { key, timeout, ttl, poll, alone }, got tll',
  )
})
