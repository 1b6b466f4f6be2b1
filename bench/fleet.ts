/**
 * `npm run bench:fleet`: what sharing a session costs. From an expiry to the moment when all processes go on, against
 * the exchange alone; a call with a valid token, by store; and a client for each of thousands of users.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { createClient } from 'redis'
import { type Auth, createAuth, flaskJwt, memoryStore, type Store } from 'stayfresh'
import { fileStore } from 'stayfresh/node'
import { redisStore } from 'stayfresh/redis'
import { type Exchange, startDemoServer } from '../demo-server/server.ts'
import { startRedis } from '../test/redis.ts'
import { type StoreSpec, startAgent, stopAgents } from '../test/stores/processes.ts'

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void
const root = mkdtempSync(join(tmpdir(), 'stayfresh-bench-'))
const redis = await startRedis()
const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN
const ms = (value: number): string => `${value.toFixed(1)} ms`.padStart(10)

// --- from an expiry to all going on ----------------------------------------------------------------------------------

const PROCESSES = 8
const EXPIRIES = 40
const specs: [string, () => StoreSpec | undefined][] = [
  ['one process, no store shared', () => undefined],
  ['8 processes, Redis (node-redis)', () => ({ kind: 'redis', url: redis.url, key: 'bench:1' })],
  ['8 processes, Redis (ioredis)', () => ({ kind: 'ioredis', url: redis.url, key: 'bench:2' })],
  ['8 processes, files', () => ({ kind: 'file', path: join(root, 'session') })],
]
const agents = await Promise.all(Array.from({ length: PROCESSES }, () => startAgent()))
const exchanges: number[] = []
const onExchange = ({ entry, arrivedAt, over }: Exchange): void => {
  if (entry.route === 'refresh') void over.then((end) => exchanges.push(end - arrivedAt))
}
const server = await startDemoServer({
  port: 0,
  backend: { accessLifetime: 900_000, latency: { refresh: { before: 20 } } },
  onExchange,
})
const { backend, api: baseUrl } = server
const options = { baseUrl, refreshAhead: false, refreshLimit: { exchanges: 1000, interval: 1000 } }

console.log(
  `from an expiry until every process has its answer, median of ${EXPIRIES}; the exchange alone beside it`,
)
for (const [title, specOf] of specs) {
  const spec = specOf()
  const taking = spec ? agents : agents.slice(0, 1)
  const auths = await Promise.all(
    taking.map(async (agent) => ({ agent, index: await agent.call<number>('auth', spec, options) })),
  )
  await auths[0]?.agent.call('login', auths[0].index)
  for (const { agent, index } of auths)
    while (!(await agent.call('session', index))) await new Promise(setImmediate)
  const all = (): Promise<unknown> =>
    Promise.all(auths.map(({ agent, index }) => agent.call('burst', index, 'protected', 1)))
  await all()
  exchanges.length = 0
  const took: number[] = []
  const valid: number[] = []
  for (let round = 0; round < EXPIRIES; round++) {
    const calm = performance.now()
    await all()
    valid.push(performance.now() - calm)
    backend.expireAccessTokens()
    const begun = performance.now()
    await all()
    took.push(performance.now() - begun)
  }
  const line = `  ${title.padEnd(34)}${ms(median(took))}   exchange ${ms(median(exchanges))}   with a valid token ${ms(median(valid))}`
  console.log(`${line}   (${exchanges.length} exchanges)`)
  for (const { agent, index } of auths) await agent.call('dispose', index)
}
stopAgents()
await server.close()

// --- a call with a valid token -----------------------------------------------------------------------------------

const client = await createClient({ url: redis.url })
  .on('error', () => {})
  .connect()
const tokens = await backend.signIn('alice')
const answer = new Response(null, { status: 204 })
const beneath = (async () => answer) as unknown as typeof fetch
const make = (store: Store): Auth =>
  createAuth({
    baseUrl: 'https://api.test/',
    backend: flaskJwt(),
    store,
    initial: tokens,
    fetch: beneath,
  }) as Auth
const stores: [string, Store][] = [
  ['memory', memoryStore()],
  ['Redis', redisStore(client, { key: 'bench:3' })],
  ['files', fileStore(join(root, 'valid'))],
]
const auths = stores.map(([title, store]) => ({ title, auth: make(store), took: [] as number[] }))
for (const { auth } of auths) await auth.ready
for (let round = 0; round < 60; round++) {
  // In turns, so that what else the machine does strikes them all alike.
  for (const { auth, took } of auths) {
    const begun = performance.now()
    for (let call = 0; call < 2000; call++) await auth.fetch('items')
    if (round >= 10) took.push((performance.now() - begun) / 2000)
  }
}
console.log('\na call with a valid token, over a fetch that costs nothing, median of 50 × 2,000')
const bare = median(auths[0]?.took ?? [])
for (const { title, took } of auths) {
  const each = median(took)
  console.log(
    `  ${title.padEnd(34)}${(each * 1000).toFixed(2).padStart(7)} µs   × ${(each / bare).toFixed(2)}`,
  )
}
for (const { auth } of auths) auth.dispose()

// --- a client for each user ---------------------------------------------------------------------------------------

const USERS = 10_000
console.log(`\ncreateAuth, ${USERS} times`)
const ways: [string, (user: number) => Store][] = [
  ['memory', () => memoryStore()],
  ['Redis, one connection for all', (user) => redisStore(client, { key: `bench:user:${user}` })],
]
for (const [title, store] of ways) {
  const kept: Auth[] = []
  for (let warm = 0; warm < 200; warm++) make(store(USERS + warm)).dispose()
  await new Promise((resolve) => setTimeout(resolve, 300))
  gc()
  const before = process.memoryUsage().heapUsed
  const begun = performance.now()
  const plain = { baseUrl: 'https://api.test/', backend: flaskJwt(), fetch: beneath }
  for (let user = 0; user < USERS; user++) kept.push(createAuth({ ...plain, store: store(user) }) as Auth)
  const made = performance.now() - begun
  await Promise.all(kept.map(({ ready }) => ready))
  const ready = performance.now() - begun
  // Until what was asked by the way is answered.
  await new Promise((resolve) => setTimeout(resolve, 3000))
  gc()
  const bytes = (process.memoryUsage().heapUsed - before) / USERS
  const timers = process.getActiveResourcesInfo().filter((one) => one === 'Timeout').length
  console.log(
    `  ${title.padEnd(34)}${((made / USERS) * 1000).toFixed(1).padStart(7)} µs, read after ${((ready / USERS) * 1000).toFixed(1)} µs each, ${Math.round(bytes)} bytes, ${timers} timers`,
  )
  for (const auth of kept) auth.dispose()
}

client.destroy()
await redis.stop()
rmSync(root, { recursive: true, force: true })
