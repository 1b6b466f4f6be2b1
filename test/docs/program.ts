/**
 * The documentation as the compiler sees it: each example in Markdown or in a docstring becomes a file of its own beside
 * the built package, and what the package exports is there without an import, as are the words of `prelude.ts`.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { prelude } from './prelude.ts'

export const root: string = fileURLToPath(new URL('../..', import.meta.url))

/** A piece of code, and where it stands. */
export interface Example {
  readonly where: string
  readonly code: string
  /** With elements in it. */
  readonly tsx?: boolean
}

const options: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2022,
  lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts'],
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  jsx: ts.JsxEmit.ReactJSX,
  // Node's are as many lines as all else together; what examples need of them is in the prelude.
  types: [],
  strict: true,
  exactOptionalPropertyTypes: true,
  skipLibCheck: true,
  noEmit: true,
}

// Their files stand in the repository's root, where the package finds itself by its own name.
const fileOf = (index: number, tsx = false): string => join(root, `example-${index}.ts${tsx ? 'x' : ''}`)
const PRELUDE = join(root, 'example-prelude.d.ts')

/** A program over the package's own types; with examples over these, too. */
export function compile(
  entries: readonly string[],
  files: ReadonlyMap<string, string> = new Map(),
): ts.Program {
  const host = ts.createCompilerHost(options)
  const { fileExists, getSourceFile, readFile } = host
  host.fileExists = (path) => files.has(path) || fileExists(path)
  host.readFile = (path) => files.get(path) ?? readFile(path)
  host.getSourceFile = (path, ...rest) => {
    const text = files.get(path)
    const kept = cache.get(path)
    if (text === undefined && kept) return kept
    const source =
      text === undefined
        ? getSourceFile(path, ...rest)
        : ts.createSourceFile(path, text, ts.ScriptTarget.ES2022, true)
    if (text === undefined && source) cache.set(path, source)
    return source
  }
  return ts.createProgram([...entries, ...files.keys()], options, host)
}

// What both programs read.
const cache = new Map<string, ts.SourceFile>()

/** What is wrong with the examples, each with its place. */
export function problemsIn(examples: readonly Example[], names: ReadonlyMap<string, string>): string[] {
  const files = new Map([[PRELUDE, prelude]])
  for (const [index, { code, tsx }] of examples.entries())
    files.set(fileOf(index, tsx), withImports(code, names))
  const program = compile([], files)
  return examples.flatMap(({ where, code, tsx }, index) => {
    const source = program.getSourceFile(fileOf(index, tsx))
    return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)].map(
      ({ messageText, start = 0 }) => {
        const line = withImports(code, names).slice(0, start).split('\n').length
        return `${where}, line ${line} of it: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`
      },
    )
  })
}

/** Imports in one line before the code, so that its lines stay what they are. */
function withImports(code: string, names: ReadonlyMap<string, string>): string {
  const wanted = new Map<string, string[]>()
  for (const [name, from] of names) {
    const used = new RegExp(`(?<![\\w'/]|(?<!\\.)\\.)${name}(?![\\w']|:|\\?:)`).test(code)
    const own = new RegExp(
      `\\bimport\\b[^;'"]*\\b${name}\\b|\\b(const|let|function|class|interface|type)\\s+${name}\\b`,
    ).test(code)
    if (used && !own) wanted.set(from, [...(wanted.get(from) ?? []), name])
  }
  const imports = [...wanted].map(([from, all]) => `import { ${all.join(', ')} } from '${from}';`)
  return `export {};${imports.join('')} ${code}`
}

/** The `ts` and `tsx` blocks of a Markdown file. */
export function examplesIn(path: string): Example[] {
  const text = readFileSync(join(root, path), 'utf8')
  return [...text.matchAll(/^```ts(x?)\n(.*?)^```$/gms)].map((match) => ({
    where: `${path}:${text.slice(0, match.index).split('\n').length}`,
    code: match[2] ?? '',
    tsx: match[1] === 'x',
  }))
}

/** Every page that people write. */
export function pages(): string[] {
  const written = (folder: string): string[] =>
    readdirSync(join(root, folder), { withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name.endsWith('.md'))
      .map((entry) => relative(root, join(entry.parentPath, entry.name)))
  return [...written('.'), ...written('docs')]
}
