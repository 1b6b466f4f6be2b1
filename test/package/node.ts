/**
 * Finds a Node of another version for the tests, or fetches it: the binary alone, as npm has it, under `.tmp/` and not
 * among the packages of this repository, where two of them would fight for one name. `NODE22_PATH` names one outright.
 */
import { execFile, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { root, runNpm } from './install.ts'

/**
 * The path of a Node.
 *
 * @param major such as 22
 * @throws where there is none, and none can be had: with the one line that tells how
 */
export async function findNode(major: number): Promise<string> {
  const variable = `NODE${major}_PATH`
  const named = process.env[variable]
  if (named) {
    if (isNode(named, major)) return named
    throw new Error(`${variable} is ${named}, and there is no Node ${major}`)
  }
  if (isNode(process.execPath, major)) return process.execPath
  const [name, binary] = packageName()
  const place = join(root, '.tmp/node', String(major))
  const path = join(place, 'package', binary)
  if (isNode(path, major)) return path
  console.log(`No Node ${major} found: fetching ${name}@${major} into .tmp/node (npm pack)`)
  try {
    mkdirSync(place, { recursive: true })
    await runNpm(place, 'pack', `${name}@${major}`, '--prefer-offline')
    const [tarball = ''] = readdirSync(place).filter((file) => file.endsWith('.tgz'))
    // The binary alone: with its headers and its npm a Node is thousands of files.
    await promisify(execFile)('tar', ['-xzf', tarball, `package/${binary}`], { cwd: place })
    rmSync(join(place, tarball))
    if (isNode(path, major)) return path
    throw new Error('it does not run')
  } catch (error) {
    const why = (error as Error).message
    throw new Error(
      `This test needs Node ${major}: ${variable}=/path/to/node (${name}@${major} failed: ${why})`,
    )
  }
}

/** As npm's `node` package names those that it stands on. */
function packageName(): [string, string] {
  const { platform, arch } = process
  if (platform === 'win32') return [`node-win-${arch}`, 'bin/node.exe']
  return [`node${platform === 'darwin' && arch === 'arm64' ? '-bin' : ''}-${platform}-${arch}`, 'bin/node']
}

function isNode(path: string, major: number): boolean {
  if (!existsSync(path)) return false
  const { stdout } = spawnSync(path, ['--version'], { encoding: 'utf8', timeout: 10_000 })
  return stdout?.startsWith(`v${major}.`) ?? false
}
