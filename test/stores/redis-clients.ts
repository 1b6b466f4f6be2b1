/** Redis stores over a real client of either kind. */
import { Redis } from 'ioredis'
import { createClient } from 'redis'
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
  if (kind === 'ioredis') return new Redis(url, { retryStrategy: () => 50 }).on('error', () => {})
  const client = createClient({ url, socket: { reconnectStrategy: () => 50 } }).on('error', () => {})
  await client.connect()
  return client
}
