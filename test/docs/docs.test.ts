/** The documentation: every example compiles, every public name says what it is, and the reference is that of this code. */
import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import ts from 'typescript'
import { describe, expect, test } from 'vitest'
import { compile, type Example, examplesIn, pages, problemsIn, root } from './program.ts'

const PATIENCE = 120_000

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const entries = Object.entries(manifest.exports as Record<string, { types?: string }>)
  .filter(([, { types }]) => types)
  .map(([entry, { types = '' }]) => ({ name: `stayfresh${entry.slice(1)}`, path: join(root, types) }))

/** A public name, or a member of one. */
interface Documented {
  readonly name: string
  readonly symbol: ts.Symbol
  readonly text: string
  readonly examples: string[]
  readonly member: boolean
}

const program = compile(entries.map(({ path }) => path))
const checker = program.getTypeChecker()
const documented = entries.flatMap(({ name: from, path }) => {
  const source = program.getSourceFile(path)
  const module = source && checker.getSymbolAtLocation(source)
  if (!module) throw new Error(`${from} has no types: run \`npm run build\` first, or \`npm test\``)
  return checker.getExportsOfModule(module).flatMap((exported) => {
    const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported
    const members = symbol.flags & ts.SymbolFlags.Interface ? [...(symbol.members?.values() ?? [])] : []
    return [
      describeSymbol(`${from}: ${exported.name}`, symbol, false),
      ...members
        .filter((member) => member.flags & (ts.SymbolFlags.Property | ts.SymbolFlags.Method))
        .map((member) => describeSymbol(`${from}: ${exported.name}.${member.name}`, member, true)),
    ]
  })
})

function describeSymbol(name: string, symbol: ts.Symbol, member: boolean): Documented {
  const tags = symbol.getJsDocTags(checker)
  const textOf = (parts: ts.SymbolDisplayPart[] | undefined): string => ts.displayPartsToString(parts)
  const examples = tags.filter((tag) => tag.name === 'example').map((tag) => textOf(tag.text))
  const text = textOf(symbol.getDocumentationComment(checker))
  return { name, symbol, text, examples, member }
}

/** Where a name is imported from, for examples that don't say so: the main entry first. */
const names = new Map(
  documented
    .filter(({ member }) => !member)
    .map(({ name }) => name.split(': ').reverse() as [string, string])
    .reverse(),
)

describe('every example type-checks against what was built', () => {
  test('in README.md, SECURITY.md and docs/', { timeout: PATIENCE }, () => {
    const examples = pages().flatMap(examplesIn)
    expect(examples.length).toBeGreaterThan(15)
    expect(problemsIn(examples, names)).toEqual([])
  })

  test('in the docstrings', { timeout: PATIENCE }, () => {
    const examples = documented.flatMap(({ name, examples }): Example[] =>
      examples.map((text) => ({ where: name, code: /```ts\n(.*?)```/s.exec(text)?.[1] ?? text })),
    )
    expect(examples.length).toBeGreaterThan(30)
    expect(problemsIn(examples, names)).toEqual([])
  })
})

describe('every public name', () => {
  test('says what it is, in the types that are published', () => {
    expect(
      documented.filter(({ text, name }) => !text && !/\.(toString|__@)/.test(name)).map(({ name }) => name),
    ).toEqual([])
  })

  test('has an example, if it is a function or the options of one', () => {
    const wanting = documented.filter(
      ({ symbol, name, member, examples }) =>
        !member && !examples.length && (symbol.flags & ts.SymbolFlags.Function || name.endsWith('Options')),
    )
    expect(wanting.map(({ name }) => name)).toEqual([])
  })

  test('tells its default, if it is an option', () => {
    const wanting = documented.filter(
      ({ name, member, text }) =>
        member && /: \w*(Options|Settings|Init)\./.test(name) && !/default|required/i.test(text),
    )
    expect(wanting.map(({ name }) => name)).toEqual([])
  })
})

test('the API reference is that of this code: else `npm run docs`', { timeout: PATIENCE }, async () => {
  const made = mkdtempSync(join(tmpdir(), 'stayfresh-docs-'))
  try {
    const typedoc = join(root, 'node_modules/typedoc/bin/typedoc')
    const args = [typedoc, '--options', join(root, 'docs/typedoc.json'), '--out', made]
    await promisify(execFile)(process.execPath, [...args, '--treatWarningsAsErrors'], { cwd: root })
    expect(pagesIn(join(root, 'docs/api'))).toEqual(pagesIn(made))
  } finally {
    rmSync(made, { recursive: true, force: true })
  }
})

function pagesIn(folder: string): Record<string, string> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  )
  const paths = files.map((entry) => join(entry.parentPath, entry.name)).sort()
  return Object.fromEntries(paths.map((path) => [path.slice(folder.length), readFileSync(path, 'utf8')]))
}
