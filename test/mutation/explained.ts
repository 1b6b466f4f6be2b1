/**
 * Holds the mutants that survived `npm run test:mutation`, which runs it at its end, against docs/survivors.md: each of
 * them has a row there that says why it lives. `node test/mutation/explained.ts --write`, after a run of the whole, brings the
 * rows up to date, keeps what they say, and leaves a `?` where somebody has to look.
 */
import { readFileSync, writeFileSync } from 'node:fs'

const REPORT = new URL('../../.tmp/stryker/report.json', import.meta.url)
const PAGE = new URL('../../docs/survivors.md', import.meta.url)

interface Mutant {
  status: string
  replacement?: string
  location: { start: { line: number; column: number }; end: { line: number; column: number } }
}
type Files = Record<string, { source: string; mutants: Mutant[] }>

const HEAD = '| in | becomes | why it lives |\n| --- | --- | --- |'
const LONGEST = 70

/** Code in one cell of a table: in one line, of a length that can be read. */
function cell(code: string): string {
  const line = code.replace(/\s+/g, ' ').trim()
  const short = line.length > LONGEST ? `${line.slice(0, LONGEST - 1)}…` : line
  const fence = short.includes('`') ? '``' : '`'
  return `${fence}${short.replaceAll('|', '\\|')}${fence}`
}

const FUNCTION =
  /^ *(?:export )?(?:async )?(?:function (\w+)|const (\w+) = (?:async )?\(.*=>|(?:async )?(\w+)\(.*\) {$)/

/** What tells a mutant from others, wherever its line has moved to: function, line, what was changed in it, into what. */
function keyOf(source: string, { replacement = '', location: { start, end } }: Mutant): string {
  const lines = source.split('\n')
  const first = lines[start.line - 1] ?? ''
  const one = start.line === end.line
  const code = one
    ? first.slice(start.column - 1, end.column - 1)
    : [first.slice(start.column - 1), ...lines.slice(start.line, end.line)].join('\n')
  return `${functionAround(lines, start.line - 1)}: ${cell(first)} | ${cell(code)} → ${cell(replacement)}`
}

/** The innermost function that a line is in, by the indentation. */
function functionAround(lines: string[], at: number): string {
  let level = lines[at]?.search(/\S/) ?? 0
  for (const line of lines.slice(0, at).reverse()) {
    const indent = line.search(/\S/)
    if (indent < 0 || indent >= level || line[indent] === ')') continue
    level = indent
    const name = FUNCTION.exec(line)?.slice(1).find(Boolean)
    if (name && !/^(if|for|while|switch|catch)$/.test(name)) return name
  }
  return 'module'
}

const { files } = JSON.parse(readFileSync(REPORT, 'utf8')) as { files: Files }
const page = readFileSync(PAGE, 'utf8')

// Rows of the page, by file and key.
const rows = new Map<string, Map<string, string>>()
const [intro = '', ...parts] = page.split(/^## (?=`)/m)
for (const part of parts) {
  const why = part.matchAll(/^\| (.+ \| .+ → .+) \| (.+) \|$/gm)
  const file = part.slice(1, part.indexOf('`', 1))
  rows.set(file, new Map([...why].map(([, key = '', reason = '']) => [key, reason])))
}

let tried = 0
let alive = 0
const sections: string[] = []
const open: string[] = []
for (const [file, { source, mutants }] of Object.entries(files)) {
  const known = rows.get(file)
  const place = ({ location: { start } }: Mutant): number => start.line * 1000 + start.column
  const keys = mutants
    .filter(({ status }) => status === 'Survived' || status === 'NoCoverage')
    .sort((a, b) => place(a) - place(b))
    .map((mutant) => keyOf(source, mutant))
  tried += mutants.filter(({ status }) => status !== 'Ignored').length
  alive += keys.length
  for (const key of keys) if (/^\?|^\s*$/.test(known?.get(key) ?? '')) open.push(`${file}: ${key}`)
  if (keys.length) {
    const lines = [...new Set(keys)].map((key) => `| ${key} | ${known?.get(key) ?? '?'} |`)
    sections.push(`## \`${file}\`\n\n${HEAD}\n${lines.join('\n')}\n`)
  }
}

if (process.argv.includes('--write')) {
  writeFileSync(PAGE, `${intro.trim()}\n\n${sections.join('\n')}`)
}
for (const line of open) console.log(`not explained in docs/survivors.md: ${line}`)
console.log(`${tried} mutants, ${alive} alive, ${alive - open.length} of them explained`)
if (open.length) process.exitCode = 1
