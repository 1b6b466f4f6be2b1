/** The documentation: every example compiles, every public name says what it is, and the reference is that of this code. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
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

test('every example type-checks against what was built: in pages, and in docstrings', {
  timeout: PATIENCE,
}, () => {
  // The blocks of these are cut from files that are compiled, and run, whole: those in examples/ and in test/testing/.
  const cut = ['docs/examples.md', 'docs/testing.md']
  const inPages = pages()
    .filter((page) => !cut.includes(page))
    .flatMap(examplesIn)
  // But for those with elements in them.
  const inDocstrings = documented.flatMap(({ name, examples }): Example[] =>
    examples
      .filter((text) => !text.includes('```tsx'))
      .map((text) => ({ where: name, code: /```ts\n(.*?)```/s.exec(text)?.[1] ?? text })),
  )
  expect([inPages.length > 15, inDocstrings.length > 30]).toEqual([true, true])
  expect(problemsIn([...inPages, ...inDocstrings], names)).toEqual([])
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

test('every link inside of the repository leads to a page, and to a heading that is there', () => {
  const broken: string[] = []
  for (const page of pages()) {
    const text = readFileSync(join(root, page), 'utf8')
    for (const [, link = ''] of text.matchAll(/\]\((?!https?:)([^)\s]+)\)/g)) {
      const [path = '', anchor] = link.split('#')
      const target = path ? join(dirname(page), path) : page
      const found = existsSync(join(root, target))
      const headings = found && anchor && target.endsWith('.md') ? headingsOf(target) : undefined
      if (!found || (headings && !headings.includes(anchor ?? ''))) broken.push(`${page}: ${link}`)
    }
  }
  expect(broken).toEqual([])
})

/** As forges name them. */
function headingsOf(page: string): string[] {
  const text = readFileSync(join(root, page), 'utf8').replace(/^```.*?^```$/gms, '')
  return [...text.matchAll(/^#+ +(.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
}

test('the API reference says of every public name what its docstring does: else `npm run docs`', () => {
  const folder = join(root, 'docs/api')
  const paths = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((path) =>
    path.endsWith('.md'),
  )
  const reference = bare(paths.map((path) => readFileSync(join(folder, path), 'utf8')).join('\n'))
  const missing = documented.filter(
    ({ text }) => !text.split('\n').every((one) => reference.includes(bare(one))),
  )
  expect(missing.map(({ name }) => name)).toEqual([])
})

/** Words alone, whatever the markup. */
function bare(text: string): string {
  return text
    .replace(/\{@link ([^\s}]+) ?\}/g, '$1')
    .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replace(/<br\s*\/?>|[\\`|*-]/g, ' ')
    .replace(/\s+/g, ' ')
    .trim()
}
