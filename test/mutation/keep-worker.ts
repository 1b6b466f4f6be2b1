/**
 * One worker for all mutants. Stryker's runner begins a Vitest run for each, and Vitest a worker for each run, which
 * loads every module anew: several times what the tests cost that judge a mutant. A mutant is switched on within the
 * code that is loaded already, so the worker can stay.
 */
import type { Plugin } from 'vitest/config'
import { type PoolOptions, type PoolWorker, ThreadsPoolWorker } from 'vitest/node'

type Listener = Parameters<PoolWorker['on']>[1]

const POOL = 'kept'

export function keepWorker(): Plugin {
  let kept: ThreadsPoolWorker | undefined

  /** What Vitest takes for a worker of its own: it is started and stopped, the thread beneath goes on. */
  function createPoolWorker(options: PoolOptions): PoolWorker {
    const running = kept !== undefined
    kept ??= new ThreadsPoolWorker(options)
    const thread = kept
    const heard: [event: string, listener: Listener][] = []
    let config: unknown
    const answer = (type: 'started' | 'stopped'): void =>
      queueMicrotask(() => {
        for (const [event, listener] of heard) {
          if (event === 'message') listener({ type, __vitest_worker_response__: true })
        }
      })
    return {
      name: POOL,
      start: async () => {
        if (!running) await thread.start()
      },
      stop: async () => {
        for (const [event, listener] of heard) thread.off(event, listener)
      },
      on: (event, listener) => {
        heard.push([event, listener])
        thread.on(event, listener)
      },
      off: (event, listener) => {
        const at = heard.findIndex((each) => each[0] === event && each[1] === listener)
        heard.splice(at, 1)
        thread.off(event, listener)
      },
      send: (message) => {
        // A first failure ends a run in the thread itself; said once more, it would reach the next run and end that.
        if ('m' in message && message.m === 'onCancel') return
        if (message.type === 'stop') return answer('stopped')
        if (message.type === 'start' && running) {
          // Which tests to run is said here, and a thread that runs already would not hear of it.
          config = message.context.config
          return answer('started')
        }
        if (message.type === 'run' && running) {
          const context = { ...message.context, config }
          return thread.send({ ...message, context } as typeof message)
        }
        thread.send(message)
      },
      deserialize: (data) => data,
    }
  }

  return {
    name: 'keep-worker',
    configureVitest({ vitest, project }) {
      // As a plugin, because Stryker's runner chooses the pool, over any that the configuration names.
      Object.assign(project.config, { pool: POOL, poolRunner: { name: POOL, createPoolWorker } })
      vitest.onClose(() => kept?.stop())
    },
  }
}
