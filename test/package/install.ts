/**
 * The package as a user gets it: packed, and installed into a project of its own, outside of this repository, so that
 * nothing can be found by accident. npm needs no network for it: what stayfresh depends on is packed, too.
 */
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const execute = promisify(execFile)

export const root: string = fileURLToPath(new URL('../..', import.meta.url))

export interface Project {
  readonly directory: string
  /** Of stayfresh. */
  readonly tarball: Uint8Array
  /** Where the package is installed. */
  readonly installed: string
  /** Gives the project packages that it would have of its own, as this repository has them. */
  link(...names: string[]): void
  remove(): void
}

/**
 * Packs what was built and installs it.
 *
 * @throws where nothing was built, or the build is older than the source: `npm run build`
 */
export async function installPacked(): Promise<Project> {
  checkBuild()
  const directory = mkdtempSync(join(tmpdir(), 'stayfresh-package-'))
  const npm = (...args: string[]): Promise<void> => runNpm(directory, ...args)
  await npm('pack', root, join(root, 'node_modules/jwt-decode'), '--pack-destination', directory)
  const [dependency, tarball] = readdirSync(directory).sort() as [string, string]
  await npm(
    'install',
    '--prefix',
    directory,
    '--offline',
    '--no-package-lock',
    `./${dependency}`,
    `./${tarball}`,
  )
  return {
    directory,
    tarball: readFileSync(join(directory, tarball)),
    installed: join(directory, 'node_modules/stayfresh'),
    link(...names) {
      for (const name of names) {
        symlinkSync(join(root, 'node_modules', name), join(directory, 'node_modules', name), 'junction')
      }
    },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  }
}

function checkBuild(): void {
  const times = (folder: string): number[] =>
    readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
      .map((entry) => statSync(join(entry.parentPath, entry.name)).mtimeMs)
  const built = existsSync(join(root, 'dist')) ? Math.min(...times('dist')) : 0
  if (built < Math.max(...times('src'))) {
    throw new Error('What would be packed is older than its source: run `npm run build` first, or `npm test`')
  }
}

/** Runs npm; what it says goes into the error. */
export async function runNpm(directory: string, ...args: string[]): Promise<void> {
  // Without scripts: `prepack` would build once more, under the tests that run beside.
  const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--no-update-notifier', '--loglevel=error']
  const options = { cwd: directory, timeout: 120_000, shell: process.platform === 'win32' }
  await execute('npm', [...args, ...quiet], options).catch(({ stderr, message }) => {
    throw new Error(`npm ${args[0]}: ${stderr?.match(/npm error (?!code)(.+)/)?.[1] ?? message}`)
  })
}

/** What `play.ts` has to see of each store. */
export const LIVED = {
  refused: 401,
  before: 200,
  storm: [200],
  throughKy: 'object',
  refreshes: 1,
  after: 401,
  alive: false,
  session: null,
  events: ['loggedIn', 'tokenRefreshed', 'loggedOut'],
}
