/**
 * The log as text for a person: who asked what, with which token, and what came of it. Tokens go by name, in the order
 * in which they appear, so that the same story reads the same every time; a token itself is nowhere in it.
 */

import type { LogEntry, PresentedToken, TimelineOptions, TokenKind } from './types.ts'

/** What the test did to the server, told when all tokens have their names. */
export interface Note {
  readonly time: number
  readonly tell: (name: Name) => string
}

/** What {@link writeTimeline} writes. */
export type Line = LogEntry | Note

/** Writes it, one line for each request or run of equal ones; ends with no newline. */
export function writeTimeline(lines: readonly Line[], { times = false }: TimelineOptions = {}): string {
  const names = new Map<string, string>()
  const counts = { access: 0, refresh: 0, unknown: 0 }
  const name: Name = (token, kind) => {
    const known = names.get(token)
    if (known) return known
    const given = `${kind ? kind[0] : '?'}${++counts[kind ?? 'unknown']}`
    names.set(token, given)
    return given
  }
  const rows = lines.map((line) =>
    'tell' in line
      ? { time: line.time, note: line.tell(name) }
      : { time: line.time, cells: [`${line.method} ${line.path}`, carried(line, name), outcome(line, name)] },
  )
  const width = (column: number): number =>
    Math.max(0, ...rows.map(({ cells }) => (cells?.[column] ?? '').length))
  const widths = [width(0), width(1)]
  const start = rows[0]?.time ?? 0

  const written: { text: string; times: number }[] = []
  for (const { time, cells, note } of rows) {
    const told = cells
      ? `${cells
          .slice(0, 2)
          .map((cell, column) => cell.padEnd(widths[column] ?? 0))
          .filter((cell) => cell !== '')
          .join('  ')}  → ${cells[2]}`
      : `— ${note}`
    const text = times ? `${`+${((time - start) / 1000).toFixed(3)} s`.padStart(11)}  ${told}` : told
    const last = written.at(-1)
    if (last?.text === text) last.times += 1
    else written.push({ text, times: 1 })
  }
  return written.map((line) => (line.times > 1 ? `${line.text}  ×${line.times}` : line.text)).join('\n')
}

/** The name of a token: a new one at its first mention. */
export type Name = (token: string, kind?: TokenKind) => string

/** The tokens that came along; a header is the usual place, and is not mentioned. */
function carried({ tokens }: LogEntry, name: Name): string {
  const said = ({ token, kind, where }: PresentedToken): string =>
    where === 'header' ? name(token, kind) : `${name(token, kind)} (${where})`
  return [...new Set(tokens.map(said))].join(', ')
}

function outcome(entry: LogEntry, name: Name): string {
  const { fault, status, error, processed, delivered, issued } = entry
  const gave = issued.map(({ token, kind, sub, fresh }) => {
    const who = kind === 'access' ? ` (${sub}${fresh ? ', fresh' : ''})` : ''
    return `${name(token, kind)}${who}`
  })
  const parts: string[] = []
  if (typeof fault === 'string') {
    parts.push(fault)
    if (processed && status !== undefined) parts.push(`after ${status}`)
  } else {
    parts.push(status === undefined ? 'no answer yet' : String(status))
    if (fault) parts.push('(fault)')
    if (status !== undefined && !delivered) parts.push('(not delivered)')
  }
  if (error) parts.push(error)
  else if (entry.route === 'unknown' && processed) parts.push('no such route')
  if (gave.length > 0) parts.push(`gives ${gave.join(' ')}`)
  return parts.join(' ')
}
