/** What is published: the files in it, what tools say of them, and whether it runs where it says it does. */
import { execFile } from 'node:child_process'
import { copyFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { promisify } from 'node:util'
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core'
import { publint } from 'publint'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { installPacked, LIVED, type Project, root } from './install.ts'
import { findNode } from './node.ts'

const PATIENCE = 240_000
const run = promisify(execFile)

interface Manifest {
  exports: Record<string, string | Record<string, string>>
  engines: { node: string }
  dependencies: object
  peerDependencies: object
  peerDependenciesMeta: Record<string, { optional: boolean }>
}

let project: Project
let manifest: Manifest
let files: string[]
beforeAll(async () => {
  project = await installPacked()
  manifest = JSON.parse(readFileSync(join(project.installed, 'package.json'), 'utf8'))
  files = readdirSync(project.installed, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(project.installed.length + 1))
    .map((path) => path.replaceAll('\\', '/'))
}, PATIENCE)
afterAll(() => project?.remove())

const ENTRIES = [
  '.',
  './browser',
  './devtools',
  './encrypted',
  './ky',
  './node',
  './react',
  './redis',
  './testing',
  './testing/msw',
]
const isCode = (path: string): boolean => path.startsWith('dist/')

/** What a file imports of the package's own. */
function importsOf(path: string): string[] {
  const code = readFileSync(join(project.installed, path), 'utf8')
  const found = code.matchAll(/^(?:import|export)\b[^'"]*['"](\.[^'"]+)['"]/gm)
  const declares = path.endsWith('.d.ts')
  return [...found].map(([, to = '']) => {
    const file = posix.join(posix.dirname(path), to)
    return declares ? file.replace(/\.js$/, '.d.ts') : file
  })
}

describe('the tarball', { timeout: PATIENCE }, () => {
  test('holds its entries, what they import, and four files beside: nothing more', () => {
    const { './package.json': own, ...entries } = manifest.exports
    expect(own).toBe('./package.json')
    expect(Object.keys(entries).sort()).toEqual(ENTRIES)
    const needed = new Set<string>()
    const add = (path: string): void => {
      if (needed.has(path)) return
      needed.add(path)
      for (const next of importsOf(path)) add(next)
    }
    for (const entry of Object.values(entries)) {
      // Of conditions the first that fits counts: the types must come before all else.
      expect(Object.keys(entry)).toEqual(['types', 'default'])
      for (const path of Object.values(entry)) add(posix.normalize(path))
    }
    expect(files.filter(isCode).sort()).toEqual([...needed].sort())
    expect(files.filter((path) => !isCode(path)).sort()).toEqual([
      'CHANGELOG.md',
      'LICENSE',
      'README.md',
      'package.json',
    ])
  })

  test('says nothing of the machine that it was made on', () => {
    const home = root.replace(/\/$/, '')
    for (const path of files) expect(readFileSync(join(project.installed, path), 'utf8')).not.toContain(home)
  })

  test('is clean by publint, strictly', async () => {
    const { buffer } = Uint8Array.from(project.tarball)
    const { messages } = await publint({ pack: { tarball: buffer }, strict: true })
    expect(messages).toEqual([])
  })

  test('has types that are right for every entry, wherever ES modules are resolved', async () => {
    const result = await checkPackage(createPackageFromTarballData(project.tarball))
    if (!result.types) throw new Error('No types were found')
    expect(Object.keys(result.entrypoints).sort()).toEqual([...ENTRIES, './package.json'].sort())
    // An ES module alone: `require` of it gives types of Node 22 and later, and Node 10 knows no `exports`.
    const foreign = ['node10', 'node16-cjs']
    const problems = result.problems.filter(
      (problem) => !('resolutionKind' in problem && foreign.includes(problem.resolutionKind)),
    )
    expect(problems).toEqual([])
  })
})

describe('installed into a project of its own', { timeout: PATIENCE }, () => {
  test('brings one dependency, and needs no peer where it is not asked for', async () => {
    expect(Object.keys(manifest.dependencies)).toEqual(['jwt-decode'])
    for (const peer of Object.keys(manifest.peerDependencies)) {
      expect(manifest.peerDependenciesMeta[peer]).toEqual({ optional: true })
    }
    expect(
      readdirSync(join(project.directory, 'node_modules')).filter((name) => !name.startsWith('.')),
    ).toEqual(['jwt-decode', 'stayfresh'])
    const alone = ENTRIES.filter((entry) => !/ky|react|testing/.test(entry)).map(
      (entry) => `stayfresh${entry.slice(1)}`,
    )
    const script = join(project.directory, 'alone.mjs')
    writeFileSync(script, `${alone.map((name) => `import '${name}'`).join('\n')}\nconsole.log('loaded')`)
    expect((await run(process.execPath, [script])).stdout.trim()).toBe('loaded')
    // Node 22.12 and later give an ES module to `require`, too.
    const required = join(project.directory, 'alone.cjs')
    writeFileSync(required, `console.log(typeof require('stayfresh').createAuth)`)
    expect((await run(process.execPath, [required])).stdout.trim()).toBe('function')
  })

  describe('with its peers', () => {
    beforeAll(() => project.link('hono', 'jose', 'ky', 'msw', 'react'))

    test.concurrent.for([22, 24, 26])(
      'Node %d loads every entry, and a session lives through login, expiry, refresh and logout over HTTP',
      async (major) => {
        const node = await findNode(major)
        const script = join(project.directory, `play-${major}.ts`)
        copyFileSync(new URL('play.ts', import.meta.url), script)
        // The lowest that `engines` names takes types away only where it is told to (`NODE22_PATH`).
        const told = major === 22 ? ['--experimental-strip-types', '--no-warnings'] : []
        const { stdout } = await run(node, [...told, script], { cwd: project.directory, timeout: 60_000 })
        const { node: version, entries, ...stores } = JSON.parse(stdout)
        expect(version).toMatch(new RegExp(`^${major}\\.`))
        expect(entries.sort()).toEqual(ENTRIES)
        expect(stores).toEqual({ memory: LIVED, file: LIVED, stalled: [500, 'gone'] })
      },
    )
  })
})
