/**
 * What a person reads: columns, at most 100 wide, in colours where the stream is a terminal that wants them
 * (`NO_COLOR`, and a pipe, mean none). It decides nothing.
 */
import { styleText } from 'node:util'
import type { Row } from './wire.ts'

type Style = Parameters<typeof styleText>[0]

const WIDTH = 100
const LABEL = 11

export interface Printer {
  heading(title: string, lines: readonly string[]): void
  step(number: number, title: string, why: string): void
  /** A labelled line: what the application asked, what it was told. */
  line(label: string, text: string): void
  wire(rows: readonly Row[]): void
  verdict(ok: boolean, text: string): void
  summary(ok: boolean, text: string): void
  plain(text: string): void
}

export function createPrinter(stream: NodeJS.WritableStream): Printer {
  const paint = (style: Style, text: string): string =>
    styleText(style, text, { stream: stream as NodeJS.WriteStream })
  const write = (text: string): void => void stream.write(`${text}\n`)

  /** `text` in lines of its own column, the first behind `lead`. */
  const column = (lead: string, indent: number, text: string, style?: Style): void => {
    for (const [index, line] of wrap(text, WIDTH - indent).entries()) {
      const before = index === 0 ? lead : ' '.repeat(indent)
      write(before + (style ? paint(style, line) : line))
    }
  }

  return {
    heading(title, lines) {
      write(`\n ${paint('bold', title)}`)
      for (const line of lines) column(' ', 1, line, 'dim')
    },
    step(number, title, why) {
      write('')
      write(paint('bold', ` ${String(number).padStart(2)}  ${title}`))
      column('     ', 5, why, 'dim')
    },
    line(label, text) {
      column(`     ${paint('dim', label.padEnd(LABEL - 5))}`, LABEL, text)
    },
    wire(rows) {
      const counted = rows.some(({ count }) => count > 1)
      for (const [index, row] of rows.entries()) {
        const label = paint('dim', (index === 0 ? 'wire' : '').padEnd(LABEL - 5))
        const at = paint('dim', `+${ms(row.at)}`.padStart(6))
        const times = counted ? (row.count > 1 ? `${row.count} × ` : '').padStart(6) : ''
        const request = `${row.method.padEnd(7)}${row.path}`.padEnd(counted ? 24 : 30)
        const token = paint(tokenStyle(row.token), row.token.padEnd(16))
        const status = paint(statusStyle(row.status), row.status.padStart(4))
        write(`     ${label}${at}  ${times}${request}${token}${status}  ${span(row).padStart(11)} ms`)
      }
    },
    verdict(ok, text) {
      column(`     ${mark(ok, paint)} `, 7, text, ok ? undefined : 'red')
    },
    summary(ok, text) {
      write('')
      column(` ${mark(ok, paint)} `, 3, text, 'bold')
    },
    plain(text) {
      column(' ', 1, text)
    },
  }
}

/** Milliseconds, whole ones. */
export function ms(value: number): string {
  return Math.round(value).toLocaleString('en')
}

/** `1 request`, `51 requests`. */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count.toLocaleString('en')} ${count === 1 ? one : many}`
}

function span({ fastest, slowest }: Row): string {
  const [from, to] = [ms(fastest), ms(slowest)]
  return from === to ? from : `${from}–${to}`
}

function mark(ok: boolean, paint: (style: Style, text: string) => string): string {
  return ok ? paint('green', '✓') : paint(['red', 'bold'], '✗')
}

function tokenStyle(token: string): Style {
  if (token.startsWith('refresh')) return 'magenta'
  return token.startsWith('access') ? 'cyan' : 'dim'
}

function statusStyle(status: string): Style {
  if (status.startsWith('2')) return 'green'
  return status.startsWith('4') ? 'yellow' : 'red'
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(/\s+/)) {
    if (line && line.length + 1 + word.length > width) {
      lines.push(line)
      line = ''
    }
    // A word longer than the line is cut: nothing may run over the edge.
    let rest = word
    for (; rest.length > width; rest = rest.slice(width)) lines.push(rest.slice(0, width))
    line = line ? `${line} ${rest}` : rest
  }
  return [...lines, line]
}
