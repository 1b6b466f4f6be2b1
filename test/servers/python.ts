/**
 * Starts and stops servers in Python; installs what they need where that is possible. Such a server prints one line of
 * JSON when it listens, its `port` in it, takes what it is told at `_control/`, and ends when its standard input does.
 */
import { execFileSync, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export interface PythonServer {
  readonly name: string
  /** What it imports, as Python calls it. */
  readonly module: string
  /** What has it, for apt-get and for pip. */
  readonly packages: { readonly apt: string; readonly pip: string }
  readonly script: URL
}

export interface Running {
  readonly origin: string
  /** The rest of what it printed. */
  readonly versions: Record<string, string>
  control(told: object): Promise<Record<string, unknown>>
  stop(): Promise<void>
}

/** A Python that has the module, if there is one: that of the path, or the system's own. */
function findPython(module: string): string | undefined {
  return ['python3', '/usr/bin/python3'].find((python) => {
    try {
      execFileSync(python, ['-c', `import ${module}`], { stdio: 'ignore', timeout: 30_000 })
      return true
    } catch {
      return false
    }
  })
}

function install(name: string, wanted: string): void {
  const apt = (...args: string[]): unknown =>
    execFileSync('apt-get', ['-o', 'DPkg::Lock::Timeout=120', ...args], {
      stdio: 'ignore',
      timeout: 150_000,
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    })
  const get = (): unknown => apt('install', '-y', '--no-install-recommends', wanted)
  console.log(`${name} is missing here: installing ${wanted} with apt-get`)
  try {
    get()
  } catch {
    apt('update')
    get()
  }
}

export async function startPython({ name, module, packages, script }: PythonServer): Promise<Running> {
  let python = findPython(module)
  if (!python) {
    try {
      install(name, packages.apt)
      python = findPython(module)
    } catch {
      // Said below, in one line.
    }
  }
  if (!python) {
    throw new Error(
      `The stories need ${name}: as root "apt-get install ${packages.apt}", or "pip install ${packages.pip}"`,
    )
  }
  const child = spawn(python, ['-B', fileURLToPath(script)], { stdio: ['pipe', 'pipe', 'pipe'] })
  let complaints = ''
  child.stderr.on('data', (data) => {
    complaints = (complaints + data).slice(-2000)
  })
  const ended = new Promise<void>((resolve) => void child.once('close', () => resolve()))
  const bound = setTimeout(() => child.kill(), 60_000)
  const first = await Promise.race([
    createInterface(child.stdout)[Symbol.asyncIterator]().next(),
    ended.then(() => ({ value: undefined })),
  ])
  clearTimeout(bound)
  if (first.value === undefined) throw new Error(`${name} did not start: ${complaints}`)
  const { port, ...versions } = JSON.parse(first.value)
  const origin = `http://127.0.0.1:${port}`
  return {
    origin,
    versions,
    async control(told) {
      const response = await fetch(`${origin}/_control/`, { method: 'POST', body: JSON.stringify(told) })
      if (!response.ok) throw new Error(`${name}: ${response.status} ${complaints}`)
      return (await response.json()) as Record<string, unknown>
    },
    async stop() {
      // It ends with its standard input, also when this process does.
      child.stdin.end()
      const late = setTimeout(() => child.kill('SIGKILL'), 5000)
      await ended
      clearTimeout(late)
    },
  }
}
