/**
 * What `redisStore` needs of a Redis client, and how the two that people use give it: node-redis and ioredis, told
 * apart by their structure, so that neither is a dependency. It knows no record.
 */
import { badOption } from '../errors.ts'
import { platform } from '../platform.ts'

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
export interface RedisWire {
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

type Listener = (...args: string[]) => unknown

interface Emitter {
  on(event: string, listener: Listener): this
  off(event: string, listener: Listener): this
}

interface NodeRedis extends Emitter {
  eval(script: string, options: { keys: string[]; arguments: string[] }): Promise<unknown>
  readonly isReady: boolean
  readonly isOpen: boolean
  readonly options?: { socket?: object }
  duplicate(options?: object): NodeRedis
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
  readonly options?: { keepAlive?: number }
  nodes?(): IoRedis[]
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
  /** Ends the waiting for the client to be there, to listen again. */
  forget?: (() => void) | undefined
  readonly channels: Map<string, Channel>
}

interface Channel {
  readonly listeners: Set<{ listener(message: string): void; missed(): void }>
  tell(message: string): void
  /** Settles when it first hears. */
  readonly from: Promise<void>
}

// How long after it was cut off it is listened again, in ms: for those who come back by themselves that is not needed.
const A_MOMENT = 1000

/** However long Redis is away, what listens comes back, whatever its owner would have the client do. */
const patience = (tries: number): number => Math.min(50 * 2 ** tries, 2000)

// By the client that its owner shares: what is shared is the owner's, and goes with it.
const hubs = new WeakMap<object, Hub>()

export function wireOf(client: RedisClient): RedisWire {
  const given = Object(client) as Partial<NodeRedis & IoRedis & { defineCommand: unknown }>
  const io = typeof given.defineCommand === 'function'
  // A pool of node-redis' has no connection to listen through, and never says that it is ready.
  const known = io || typeof given.isReady === 'boolean'
  if (!known || typeof given.eval !== 'function' || typeof given.on !== 'function') {
    const message = 'redisStore takes a client of redis (node-redis) or ioredis that tells isReady; no pool'
    throw badOption('client', message)
  }
  return io ? ioRedis(client as unknown as IoRedis) : nodeRedis(client as unknown as NodeRedis)
}

function nodeRedis(client: NodeRedis): RedisWire {
  // A cluster and a sentinel have a connection of their own for what they are told.
  const apart = !('slots' in client) && !('getSentinelNode' in client)
  return {
    run: (script, key, args) => client.eval(script, { keys: [key], arguments: [...args] }),
    isReady: () => client.isReady,
    subscribe: subscriber(
      client,
      async (missed, lost) => {
        const reconnectStrategy = (tries: number): number | false => (client.isOpen ? patience(tries) : false)
        const ear = apart
          ? client.duplicate({ socket: { ...client.options?.socket, reconnectStrategy } })
          : client
        if (apart) {
          // Whoever needs Redis is told by the client itself.
          ear.on('error', () => ear.isOpen || lost())
          await ear.connect()
          ear.unref?.()
        }
        const tellers = new Map<string, (message: string) => void>()
        // In a cluster it may be another node that tells: known to do so once it was asked.
        const back: Listener = () => {
          const asked = [...tellers].map(([channel, tell]) => ear.subscribe(channel, tell))
          void Promise.allSettled(asked).then(missed)
        }
        // Its nodes come one by one, as they are needed: what was cut off before was missed.
        const cut: Listener = () =>
          ear.on('node-ready', back).off('node-error', cut).off('node-disconnect', cut)
        ear.on('ready', back).on('node-error', cut).on('node-disconnect', cut)
        return {
          async subscribe(channel, tell) {
            tellers.set(channel, tell)
            await ear.subscribe(channel, tell)
          },
          unsubscribe(channel, tell) {
            tellers.delete(channel)
            void ear.unsubscribe(channel, tell).catch(() => {})
          },
          close() {
            ear.off('ready', back).off('node-ready', back).off('node-error', cut).off('node-disconnect', cut)
            if (apart && ear.isOpen) ear.destroy()
          },
        }
      },
      () => client.isReady,
    ),
  }
}

function ioRedis(client: IoRedis): RedisWire {
  return {
    run: (script, key, args) => client.eval(script, 1, key, ...args),
    // `wait`: it connects at the first command (`lazyConnect`).
    isReady: () => client.status === 'ready' || client.status === 'wait',
    subscribe: subscriber(
      client,
      async (missed, lost) => {
        const node = await anyNode(client)
        const ear = node.duplicate({
          lazyConnect: false,
          // What stands between forgets who says nothing: of itself ioredis 5 sends nothing.
          keepAlive: node.options?.keepAlive || 30_000,
          maxRetriesPerRequest: null,
          enableOfflineQueue: true,
          // Where there are other nodes this one is not waited for.
          retryStrategy: (tries: number) => (node === client || tries < 4 ? patience(tries) : null),
        })
        const tellers = new Map<string, (message: string) => void>()
        const tell: Listener = (channel = '', message = '') => tellers.get(channel)?.(message)
        const unref: Listener = () => ear.stream?.unref?.()
        ear.on('error', () => {})
        ear.on('connect', unref)
        ear.on('end', lost)
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
            ear.disconnect()
          },
        }
      },
      () => client.status === 'ready',
    ),
  }
}

/**
 * What is published in a cluster can be heard at any of its nodes. Asked by ourselves: a cluster's client goes to another one
 * where that is gone, and says nothing of what was missed.
 */
async function anyNode(client: IoRedis): Promise<IoRedis> {
  if (client.isCluster !== true) return client
  for (;;) {
    const nodes = client.nodes?.() ?? []
    const node = nodes[Math.floor(platform.random() * nodes.length)]
    if (node) return node
    await new Promise<void>((resolve) => {
      const ready = (): void => {
        client.off('ready', ready)
        resolve()
      }
      client.on('ready', ready)
    })
  }
}

/**
 * Shares one ear among all who listen through a client, and closes it when nobody does, or the client is closed. `open` is
 * given what to call when some messages may have been missed, and when none will come any more.
 */
function subscriber(
  client: Emitter,
  open: (missed: () => void, lost: () => void) => Promise<Ear>,
  isReady: () => boolean,
): RedisWire['subscribe'] {
  const hub: Hub = hubs.get(client) ?? { ear: undefined, channels: new Map() }
  hubs.set(client, hub)

  const missed = (): void => {
    for (const { listeners } of hub.channels.values()) for (const { missed } of [...listeners]) missed()
  }

  function opened(): Promise<Ear> {
    if (hub.ear) return hub.ear
    // Those that heard before: the client was ended by its owner, and connected again.
    const before = [...hub.channels]
    const ended = (): void => {
      if (hub.ear !== ear) return
      close(ear)
      later()
    }
    const ear = open(missed, ended).then(async (ear) => {
      try {
        await Promise.all(before.map(([name, { tell }]) => ear.subscribe(name, tell)))
        return ear
      } catch (error) {
        ear.close()
        throw error
      }
    })
    hub.ear = ear
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

  /** Listens again once the client is there. */
  function later(): void {
    hub.forget?.()
    client.on('ready', again)
    const stop = isReady() ? platform.timer(again, A_MOMENT, true) : undefined
    hub.forget = () => {
      client.off('ready', again)
      stop?.()
      hub.forget = undefined
    }
  }

  function again(): void {
    hub.forget?.()
    if (hub.channels.size) void opened().then(missed, later)
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
      if (hub.channels.size === 0) {
        hub.forget?.()
        close(ear)
      } else {
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
