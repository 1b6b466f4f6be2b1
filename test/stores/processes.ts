/** Stores in real processes: started once for a test file, told what to do by messages. */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { EncryptedOptions } from '../../src/encrypted.ts'
import type { Context } from './contract.ts'
import type { RedisSpec } from './redis-clients.ts'

/** Which store a process opens. */
export type StoreSpec = ({ kind: 'file'; path: string } | RedisSpec) & { seal?: EncryptedOptions }

export interface Agent {
  readonly child: ChildProcess
  call<T>(method: string, ...args: unknown[]): Promise<T>
}

const agents: Agent[] = []

/** Ends all that were started. */
export function stopAgents(): void {
  for (const { child } of agents.splice(0)) child.kill('SIGKILL')
}

/** A process of its own, up and listening. */
export async function startAgent(env: NodeJS.ProcessEnv = {}): Promise<Agent> {
  const child = fork(fileURLToPath(new URL('agent.ts', import.meta.url)), {
    env: { ...process.env, ...env },
    execArgv: ['--disable-warning=ExperimentalWarning'],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const waiting = new Map<number, { resolve(value: never): void; reject(error: Error): void }>()
  let calls = 0
  const up = new Promise<void>((resolve) => {
    waiting.set(-1, { resolve: resolve as () => void, reject: () => {} })
  })
  child.on('message', (message) => {
    const { id, value, error } = message as { id: number; value?: unknown; error?: { message: string } }
    const call = waiting.get(id)
    waiting.delete(id)
    if (error) call?.reject(Object.assign(new Error(error.message), error))
    else call?.resolve(value as never)
  })
  child.on('exit', () => {
    for (const { reject } of waiting.values()) reject(new Error('The process has ended'))
    waiting.clear()
  })
  const agent: Agent = {
    child,
    call: (method, ...args) =>
      new Promise((resolve, reject) => {
        const id = calls++
        waiting.set(id, { resolve, reject })
        child.send({ id, method, args })
      }),
  }
  agents.push(agent)
  await up
  return agent
}

/** A store in a process, as the contract wants it. */
export async function contextIn(
  { call }: Agent,
  spec: StoreSpec,
  heard?: () => Promise<void>,
): Promise<Context> {
  const store = await call<number>('open', spec)
  return {
    read: () => call('read', store),
    commit: (next, expected) => call('commit', store, next, expected),
    async watch() {
      await call('watch', store)
      await heard?.()
    },
    unwatch: () => call('unwatch', store),
    notices: () => call('notices', store),
    contend: (rounds) => call('contend', store, rounds),
  }
}
