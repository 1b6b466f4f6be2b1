/** Runs the demo's scripts as a person would. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { fileURLToPath } from 'node:url'
import { afterAll } from 'vitest'

const root = fileURLToPath(new URL('../../', import.meta.url))

const children: ChildProcess[] = []
// A test that fails must not leave a server behind.
afterAll(() => {
  for (const child of children) child.kill()
})

/** A script under way. */
export interface Running {
  readonly child: ChildProcess
  /** All that it has printed, on both channels. */
  output(): string
  /** Resolves once it has printed `text`, rejects if it ends first. */
  printed(text: string): Promise<void>
  /** Its exit code, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>
}

/** Starts `node demo-server/<script>` with a pipe for a terminal. */
export function start(script: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Running {
  const { FORCE_COLOR: _, NO_COLOR: __, ...inherited } = process.env
  const child = spawn(process.execPath, [`demo-server/${script}`, ...args], {
    cwd: root,
    env: { ...inherited, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  children.push(child)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk
    })
  }
  const ended = once(child, 'close').then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals)
  return {
    child,
    output: () => output,
    printed: (text) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          if (output.includes(text)) resolve()
        }
        child.stdout.on('data', look)
        child.stderr.on('data', look)
        void ended.then(() => reject(new Error(`It ended without having printed "${text}":\n${output}`)))
        look()
      }),
    ended,
  }
}

/** A promise to be resolved from elsewhere. */
export function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => {}
  const promise = new Promise<void>((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}

/** Takes a port, any or this one. */
export async function occupy(port = 0): Promise<{ port: number; free: () => Promise<void> }> {
  const server: Server = createServer()
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address() as { port: number }
  return {
    port: address.port,
    free: () => new Promise((resolve) => void server.close(() => resolve())),
  }
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const { port, free } = await occupy()
  await free()
  return port
}
