/** Starts and stops the Django project beside this file; installs what it needs where that is possible. */
import { execFileSync, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const PACKAGE = 'python3-djangorestframework-simplejwt'
const SCRIPT = fileURLToPath(new URL('django/serve.py', import.meta.url))

export interface Django {
  readonly origin: string
  /** What it is, with versions. */
  readonly title: string
  control(told: {
    /** How far its time is ahead of this machine's, in ms. */
    offset?: number
    rotate?: boolean
    /** Life of access tokens in ms. */
    lifetime?: number
    /** Blacklists every refresh token of a user. */
    revoke?: string
    /** Lets alice in, or shuts her out. */
    active?: boolean
  }): Promise<void>
  stop(): Promise<void>
}

/** A Python that has Django REST Framework SimpleJWT, if there is one: that of the path, or the system's own. */
function findPython(): string | undefined {
  return ['python3', '/usr/bin/python3'].find((python) => {
    try {
      execFileSync(python, ['-c', 'import rest_framework_simplejwt'], { stdio: 'ignore', timeout: 30_000 })
      return true
    } catch {
      return false
    }
  })
}

function install(): void {
  const apt = (...args: string[]): unknown =>
    execFileSync('apt-get', ['-o', 'DPkg::Lock::Timeout=120', ...args], {
      stdio: 'ignore',
      timeout: 150_000,
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    })
  const get = (): unknown => apt('install', '-y', '--no-install-recommends', PACKAGE)
  console.log(`Django SimpleJWT is missing here: installing ${PACKAGE} with apt-get`)
  try {
    get()
  } catch {
    apt('update')
    get()
  }
}

export async function startDjango(): Promise<Django> {
  let python = findPython()
  if (!python) {
    try {
      install()
      python = findPython()
    } catch {
      // Said below, in one line.
    }
  }
  if (!python) {
    throw new Error(
      `The stories need Django SimpleJWT: as root "apt-get install ${PACKAGE}", or "pip install djangorestframework-simplejwt"`,
    )
  }
  const child = spawn(python, ['-B', SCRIPT], { stdio: ['pipe', 'pipe', 'pipe'] })
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
  if (first.value === undefined) throw new Error(`Django did not start: ${complaints}`)
  const { port, django, simplejwt } = JSON.parse(first.value)
  const origin = `http://127.0.0.1:${port}`
  return {
    origin,
    title: `Django ${django} with SimpleJWT ${simplejwt}`,
    async control(told) {
      const response = await fetch(`${origin}/_control/`, { method: 'POST', body: JSON.stringify(told) })
      if (!response.ok) throw new Error(`Django: ${response.status} ${complaints}`)
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
