/**
 * A process of the fleet that trouble is made for: it makes a call, waits a little, and makes the next, and tells its
 * parent how long it went without an answer. Told by its arguments which store, and where the server is.
 */
import { type Auth, createAuth, flaskJwt } from 'stayfresh'
import { fileStore } from 'stayfresh/node'
import { redisStore } from 'stayfresh/redis'
import type { FleetSpec, Told } from './trouble.ts'

const { kind, where, baseUrl, refreshTimeout, pace } = JSON.parse(process.argv[2] ?? '') as FleetSpec

async function openStore() {
  if (kind === 'file') return fileStore(where)
  const key = 'fleet'
  // Clients of both kinds side by side.
  if (process.pid % 2) {
    const { Redis } = await import('ioredis')
    return redisStore(
      new Redis(where).on('error', () => {}),
      { key, timeout: 500 },
    )
  }
  const { createClient } = await import('redis')
  const client = await createClient({ url: where })
    .on('error', () => {})
    .connect()
  return redisStore(client, { key })
}

const tell = (told: Told): void => void process.send?.(told)
const auth = createAuth({
  baseUrl,
  backend: flaskJwt(),
  store: await openStore(),
  refreshTimeout,
  refreshLimit: { exchanges: 1000, interval: 1000 },
  // Who it is that exchanges, and that he has heard what came of it, for the parent to see.
  fetch: async (input, init) => {
    const headers = new Headers(init?.headers ?? (input instanceof Request ? input.headers : undefined))
    const exchange = crypto.randomUUID()
    headers.set('x-worker', String(process.pid))
    headers.set('x-exchange', exchange)
    const response = await fetch(input, { ...init, headers })
    if (response.url.endsWith('/refresh')) {
      await response.clone().arrayBuffer()
      if (!init?.signal?.aborted) tell({ type: 'exchanged', exchange })
    }
    return response
  },
}) as Auth

process.on('message', (message) => {
  if (message === 'login') {
    const begun = performance.now()
    auth.login({ username: 'alice', password: 'wonderland' } as never).then(
      () => tell({ type: 'login', ms: performance.now() - begun }),
      ({ code }) => tell({ type: 'login', failed: code }),
    )
  } else if (message === 'stop') process.exit()
})
process.on('disconnect', () => process.exit())

await auth.ready
tell({ type: 'ready' })
// Since when nothing has been answered, and for how many calls.
let since = performance.now()
for (;;) {
  let status: number | string
  try {
    const response = await auth.fetch('protected', { signal: AbortSignal.timeout(30_000) })
    await response.arrayBuffer()
    status = response.status
  } catch (error) {
    const { code, name } = error as { code?: string; name: string }
    status = code ?? name
  }
  const now = performance.now()
  tell({ type: 'call', status, signedIn: Boolean(auth.session), without: status === 200 ? now - since : 0 })
  if (status === 200 || !auth.session) since = now
  await new Promise((resolve) => void setTimeout(resolve, pace * (0.5 + Math.random())))
}
