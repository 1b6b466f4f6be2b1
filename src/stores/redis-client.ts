/**
 * What `redisStore` needs of a Redis client, and how the two that people use give it: node-redis and ioredis, told
 * apart by their structure, so that neither is a dependency. It knows no record.
 */
import { AuthError } from '../errors.ts'

/**
 * A client of `redis` (node-redis 5 and later: client, cluster, sentinel) or `ioredis` (5 and later: Redis,
 * Cluster), connected by its owner, who keeps it.
 *
 * @example
 * ```ts
 * const client = await createClient({ url }).on('error', log).connect()
 * ```
 */
export interface RedisClient {
  /** Runs the scripts. */
  eval(...args: never[]): unknown
  /** Tells that it is back. */
  on(...args: never[]): unknown
}

/** A client, whichever it is. */
export interface Wire {
  /** Runs a script on one key. Rejects with what the client says. */
  run(script: string, key: string, args: readonly string[]): Promise<unknown>
  /** Whether a command would be sent at once, not put into a queue. */
  isReady(): boolean
  /**
   * Has `listener` told of every message of a channel, and `missed` called whenever some may have been missed.
   * Resolves once it hears; rejects where it is denied. Gives back what ends it.
   */
  subscribe(channel: string, listener: (message: string) => void, missed: () => void): Promise<() => void>
}

type Listener = (...args: string[]) => void

interface Emitter {
  on(event: string, listener: Listener): unknown
  off(event: string, listener: Listener): unknown
}

interface NodeRedis extends Emitter {
  eval(script: string, options: { keys: string[]; arguments: string[] }): Promise<unknown>
  readonly isReady: boolean
  duplicate(): NodeRedis
  connect(): Promise<unknown>
  destroy(): void
  unref?(): void
  subscribe(channel: string, listener: (message: string) => void): Promise<unknown>
  unsubscribe(channel: string, listener: (message: string) => void): Promise<unknown>
}

interface IoRedis extends Emitter {
  eval(script: string, keys: number, ...args: string[]): Promise<unknown>
  readonly status: string
  readonly stream?: { unref?(): void }
  readonly isCluster?: boolean
  duplicate(options?: object): IoRedis
  disconnect(): void
  subscribe(channel: string): Promise<unknown>
  unsubscribe(channel: string): Promise<unknown>
}

/** A connection that only listens: one for each client, however many stores use it. */
interface Ear {
  subscribe(channel: string, tell: (message: string) => void): Promise<void>
  unsubscribe(channel: string, tell: (message: string) => void): void
  close(): void
}

interface Hub {
  ear: Promise<Ear> | undefined
  /** Called when the client is ended. */
  ended?: () => void
  readonly channels: Map<string, Channel>
}

interface Channel {
  readonly listeners: Set<{ listener(message: string): void; missed(): void }>
  tell(message: string): void
  /** Settles when it first hears. */
  readonly from: Promise<void>
}

// By the client that its owner shares: what is shared is the owner's, and goes with it.
const hubs = new WeakMap<object, Hub>()

export function wireOf(client: RedisClient): Wire {
  const given = Object(client) as Partial<NodeRedis & IoRedis & { defineCommand: unknown }>
  if (typeof given.eval !== 'function' || typeof given.on !== 'function') {
    const message = 'redisStore takes a client of redis (node-redis) or ioredis'
    throw new AuthError('invalid_option', message, { option: 'client' })
  }
  return typeof given.defineCommand === 'function'
    ? ioRedis(client as unknown as IoRedis)
    : nodeRedis(client as unknown as NodeRedis)
}

function nodeRedis(client: NodeRedis): Wire {
  // A cluster and a sentinel have a connection of their own for what they are told.
  const apart = !('slots' in client) && !('getSentinelNode' in client)
  return {
    run: (script, key, args) => client.eval(script, { keys: [key], arguments: [...args] }),
    isReady: () => client.isReady,
    subscribe: subscriber(client, async (missed) => {
      const ear = apart ? client.duplicate() : client
      if (apart) {
        // It comes back by itself, and whoever needs Redis is told by the client itself.
        ear.on('error', () => {})
        await ear.connect()
        ear.unref?.()
      }
      ear.on('ready', missed)
      return {
        subscribe: async (channel, tell) => void (await ear.subscribe(channel, tell)),
        unsubscribe: (channel, tell) => void ear.unsubscribe(channel, tell).catch(() => {}),
        close() {
          ear.off('ready', missed)
          if (apart) ear.destroy()
        },
      }
    }),
  }
}

function ioRedis(client: IoRedis): Wire {
  const apart = client.isCluster !== true
  return {
    run: (script, key, args) => client.eval(script, 1, key, ...args),
    // `wait`: it connects at the first command (`lazyConnect`).
    isReady: () => client.status === 'ready' || client.status === 'wait',
    subscribe: subscriber(client, async (missed) => {
      // However long Redis is away, the subscription waits for it.
      const ear = apart
        ? client.duplicate({ lazyConnect: false, maxRetriesPerRequest: null, enableOfflineQueue: true })
        : client
      const tellers = new Map<string, (message: string) => void>()
      const tell: Listener = (channel = '', message = '') => tellers.get(channel)?.(message)
      const unref: Listener = () => ear.stream?.unref?.()
      if (apart) {
        ear.on('error', () => {})
        ear.on('connect', unref)
      }
      ear.on('message', tell)
      let before = false
      // Back: it hears again only once it has subscribed again.
      const back: Listener = () => {
        const channels = before ? [...tellers.keys()] : []
        before = true
        if (channels.length) void Promise.allSettled(channels.map((one) => ear.subscribe(one))).then(missed)
      }
      ear.on('ready', back)
      return {
        async subscribe(channel, teller) {
          tellers.set(channel, teller)
          await ear.subscribe(channel)
        },
        unsubscribe(channel) {
          tellers.delete(channel)
          void ear.unsubscribe(channel).catch(() => {})
        },
        close() {
          ear.off('message', tell)
          ear.off('ready', back)
          if (apart) ear.disconnect()
        },
      }
    }),
  }
}

/** Shares one ear among all who listen through a client, and closes it when nobody does, or the client is closed. */
function subscriber(client: Emitter, open: (missed: () => void) => Promise<Ear>): Wire['subscribe'] {
  const hub: Hub = hubs.get(client) ?? { ear: undefined, channels: new Map() }
  hubs.set(client, hub)

  const missed = (): void => {
    for (const { listeners } of hub.channels.values()) for (const { missed } of [...listeners]) missed()
  }

  function opened(): Promise<Ear> {
    if (hub.ear) return hub.ear
    // Those that heard before: the client was ended by its owner, and connected again.
    const before = [...hub.channels]
    const ear = open(missed).then(async (ear) => {
      await Promise.all(before.map(([name, { tell }]) => ear.subscribe(name, tell)))
      return ear
    })
    hub.ear = ear
    const ended = (): void => {
      close(ear)
      client.on('ready', again)
    }
    hub.ended = ended
    client.on('end', ended)
    ear.catch(() => close(ear))
    return ear
  }

  function close(ear: Promise<Ear> | undefined): void {
    if (!ear || hub.ear !== ear) return
    hub.ear = undefined
    if (hub.ended) client.off('end', hub.ended)
    void ear.then(
      (ear) => ear.close(),
      () => {},
    )
  }

  function again(): void {
    client.off('ready', again)
    if (hub.channels.size) void opened().then(missed, () => {})
  }

  function channelOf(name: string): Channel {
    const known = hub.channels.get(name)
    if (known) return known
    const listeners: Channel['listeners'] = new Set()
    const tell = (message: string): void => {
      for (const { listener } of [...listeners]) listener(message)
    }
    const channel = { listeners, tell, from: opened().then((ear) => ear.subscribe(name, tell)) }
    hub.channels.set(name, channel)
    return channel
  }

  return async (name, listener, missedHere) => {
    const channel = channelOf(name)
    const entry = { listener, missed: missedHere }
    channel.listeners.add(entry)
    const stop = (): void => {
      if (!channel.listeners.delete(entry) || channel.listeners.size) return
      if (hub.channels.get(name) === channel) hub.channels.delete(name)
      const { ear } = hub
      if (hub.channels.size === 0) close(ear)
      else {
        void ear?.then(
          (ear) => ear.unsubscribe(name, channel.tell),
          () => {},
        )
      }
    }
    try {
      await channel.from
      return stop
    } catch (error) {
      stop()
      throw error
    }
  }
}
