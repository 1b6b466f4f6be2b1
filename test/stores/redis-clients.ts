/** Redis stores over a real client of either kind. */
import type { Store } from '../../src/index.ts'
import { type RedisStoreOptions, redisStore } from '../../src/redis.ts'

export interface RedisSpec extends RedisStoreOptions {
  kind: 'redis' | 'ioredis'
  url: string
}

// One client of each kind for each server: its stores share it, as in an application.
const clients = new Map<string, Promise<Parameters<typeof redisStore>[0]>>()

export async function openRedis({ kind, url, ...options }: RedisSpec): Promise<Store> {
  const name = `${kind} ${url}`
  const client = clients.get(name) ?? connect(kind, url)
  clients.set(name, client)
  return redisStore(await client, options)
}

async function connect(kind: RedisSpec['kind'], url: string): Promise<Parameters<typeof redisStore>[0]> {
  // A process is up sooner without the one that it does not use.
  if (kind === 'ioredis') {
    const { Redis } = await import('ioredis')
    return new Redis(url, { retryStrategy: () => 50 }).on('error', () => {})
  }
  const { createClient } = await import('redis')
  const client = createClient({ url, socket: { reconnectStrategy: () => 50 } }).on('error', () => {})
  await client.connect()
  return client
}
