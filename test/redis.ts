/**
 * A real redis-server for the tests, on a port of its own: found, or installed from Debian where that can be done;
 * else it says what to do. `REDIS_SERVER` names one outright.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { pause } from './common.ts'

const HOW =
  'There is no redis-server for the tests of the Redis store. Install one with: apt-get install redis-server'

/** The path of a redis-server. */
export function findRedis(): string {
  const { REDIS_SERVER, PATH = '' } = process.env
  if (REDIS_SERVER) {
    if (existsSync(REDIS_SERVER)) return REDIS_SERVER
    throw new Error(`REDIS_SERVER is ${REDIS_SERVER}, and there is nothing`)
  }
  const find = (): string | undefined =>
    [...PATH.split(delimiter), '/usr/bin', '/usr/local/bin', '/opt/homebrew/bin']
      .map((folder) => join(folder, 'redis-server'))
      .find((place) => existsSync(place))
  const found = find()
  if (found) return found
  if (process.getuid?.() !== 0 || !existsSync('/etc/debian_version')) throw new Error(HOW)
  console.log('There is no redis-server: installing the one of Debian (apt-get install redis-server)')
  // Several test files may find it missing at once: apt-get waits for its turn.
  const patience = ['-o', 'DPkg::Lock::Timeout=300', '-o', 'Acquire::Retries=3']
  for (const args of [['update'], ['install', '-y', '--no-install-recommends', 'redis-server']]) {
    // The service of the package is not wanted, and denied where that is how services are.
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' }
    const { status, stderr } = spawnSync('apt-get', [...patience, ...args], { encoding: 'utf8', env })
    if (status !== 0 && !find()) throw new Error(`apt-get ${args.join(' ')} failed: ${stderr}\n${HOW}`)
  }
  const installed = find()
  if (!installed) throw new Error(HOW)
  return installed
}

export interface Redis {
  readonly port: number
  readonly url: string
  /** Sends one command over a connection of its own, and gives what it answers, as text. */
  command(...words: string[]): Promise<string>
  /** Kills it, and starts it again on the same port; `lose`: without what it knew, as after a failover. */
  restart(options?: { lose?: boolean; after?: number }): Promise<void>
  /** Kills it. */
  down(): Promise<void>
  /** Starts it again. */
  up(options?: { lose?: boolean }): Promise<void>
  /** Ends it, and leaves nothing. */
  stop(): Promise<void>
}

/** Starts a redis-server that keeps all it is told through a restart. `more`: further options of its own. */
export async function startRedis(...more: string[]): Promise<Redis> {
  const server = findRedis()
  const port = await freePort()
  const directory = await mkdtemp(join(tmpdir(), 'stayfresh-redis-'))
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', directory]
  args.push(
    '--appendonly',
    'yes',
    '--appendfsync',
    'always',
    '--enable-debug-command',
    'yes',
    '--loglevel',
    'warning',
  )
  args.push(...more)
  let child: ChildProcess | undefined

  const command = (...words: string[]): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1')
      let text = ''
      socket.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
        if (text.endsWith('\r\n')) socket.end()
      })
      socket.on('error', reject)
      socket.on('close', () => resolve(text.trim()))
      const parts = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`)
      socket.write(`*${words.length}\r\n${parts.join('')}`)
    })

  async function down(): Promise<void> {
    if (!child) return
    const ended = once(child, 'close')
    child.kill('SIGKILL')
    child = undefined
    await ended
  }

  async function up({ lose = false } = {}): Promise<void> {
    if (lose) await rm(join(directory, 'appendonlydir'), { recursive: true, force: true })
    child = spawn(server, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    child.stdout?.on('data', (chunk) => {
      output += chunk
    })
    for (let tries = 0; ; tries++) {
      const answer = await command('PING').catch(() => '')
      if (answer === '+PONG') return
      if (tries > 200 || child.exitCode !== null) throw new Error(`redis-server did not start:\n${output}`)
      await pause(25)
    }
  }

  await up()
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    command,
    async restart({ lose = false, after = 0 } = {}) {
      await down()
      if (after) await pause(after)
      await up({ lose })
    },
    down,
    up,
    async stop() {
      await down()
      await rm(directory, { recursive: true, force: true })
    },
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}
