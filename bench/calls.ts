/** The cost of a call with a valid token, against the bare client that it is built upon. */
import { type Contestant, contestants } from './contestants.ts'
import {
  type Effort,
  type Goal,
  inTurns,
  isOurs,
  median,
  type Part,
  type Progress,
  quantile,
  spread,
} from './report.ts'
import type { Server } from './server.ts'

const IN_A_ROW = 10
const BODY = JSON.stringify({ name: 'x'.repeat(200) })
const JSON_TYPE = { 'content-type': 'application/json' }

// A Request is made anew for each call, as its body can be read once; whoever is bare puts the token in.
const KINDS: { title: string; input(url: string, headers: object): [string | Request, RequestInit?] }[] = [
  { title: 'GET, a URL', input: (url) => [url] },
  { title: 'GET, a Request', input: (url, headers) => [new Request(url, { headers: { ...headers } })] },
  { title: 'POST, a URL', input: (url) => [url, { method: 'POST', body: BODY, headers: JSON_TYPE }] },
  {
    title: 'POST, a Request',
    input: (url, headers) => [
      new Request(url, { method: 'POST', body: BODY, headers: { ...headers, ...JSON_TYPE } }),
    ],
  },
]

interface Cell {
  contestant: Contestant
  kind: number
  send(): Promise<unknown>
  /** µs, of each call. */
  took: number[]
  failures: number
}

export async function measureCalls(server: Server, effort: Effort, progress: Progress): Promise<Part> {
  const cells: Cell[] = []
  const stops: (() => void)[] = []
  for (const [index, contestant] of contestants.entries()) {
    const place = await server.open(`calls-${index}`)
    const client = contestant.make(place)
    stops.push(() => client.stop?.())
    const url = `${place.url}items`
    const headers = contestant.bare ? { authorization: `Bearer ${place.tokens.accessToken}` } : {}
    for (const [kind, { title, input }] of KINDS.entries()) {
      if (contestant.family === 'axios' && title.endsWith('a Request')) continue
      cells.push({ contestant, kind, send: () => client.send(...input(url, headers)), took: [], failures: 0 })
    }
  }
  const run = async (cell: Cell, round: number): Promise<void> => {
    for (let call = 0; call < IN_A_ROW; call++) {
      const begun = performance.now()
      const answer = await cell.send().catch(() => undefined)
      if (round >= 0) cell.took.push((performance.now() - begun) * 1000)
      if ((answer as { ok?: boolean } | undefined)?.ok !== true) cell.failures++
    }
  }
  const rounds = await inTurns(cells, effort, run, progress)
  for (const stop of stops) stop()

  const cellOf = (name: string, kind: number): Cell | undefined =>
    cells.find(({ contestant, kind: its }) => contestant.name === name && its === kind)
  /** Against the bare client's median. */
  const ratios = (cell: Cell): number[] => {
    const base = median(cellOf(cell.contestant.family, cell.kind)?.took ?? [])
    return cell.took.map((took) => took / base)
  }
  const rows = contestants.map(({ name, bare }) => [
    name,
    ...KINDS.map((_, kind) => {
      const cell = cellOf(name, kind)
      if (!cell) return '—'
      return bare ? `${median(cell.took).toFixed(0)} µs` : spread(ratios(cell), 2)
    }),
    String(cells.reduce((sum, cell) => sum + (cell.contestant.name === name ? cell.failures : 0), 0)),
  ])
  const goals = cells
    .filter(({ contestant }) => isOurs(contestant.name))
    .map((cell): Goal => {
      const limit = cell.contestant.family === 'ky' ? 1.1 : 1.2
      const got = median(ratios(cell))
      return {
        what: `${cell.contestant.name}: ${KINDS[cell.kind]?.title}, against bare ${cell.contestant.family}`,
        limit: `≤ ${limit}`,
        got: got.toFixed(3),
        met: got <= limit && cell.failures === 0,
      }
    })
  return {
    title: 'A call with a valid token',
    about: `One call after the other, its JSON read; ${rounds} × ${IN_A_ROW} of each, in turns, once the code is warm. Bare clients in µs (the median); the others as a multiple of the median of the bare client that they are built upon: their median, and their middle half.`,
    head: ['', ...KINDS.map(({ title }) => title), 'failures'],
    rows,
    notes: [
      'axios takes no `Request`; ky takes the URL and its options where the column says “a URL”.',
      `The bare fetch's middle half: ${KINDS.map((_, kind) => {
        const took = cellOf('fetch', kind)?.took ?? []
        return `${quantile(took, 0.25).toFixed(0)}–${quantile(took, 0.75).toFixed(0)} µs`
      }).join(', ')}.`,
    ],
    goals,
    charts: KINDS.map(({ title }, kind) => ({
      title: `${title}: times the bare client`,
      bars: contestants.flatMap(({ name, bare }) => {
        const cell = cellOf(name, kind)
        if (bare || !cell) return []
        const value = median(ratios(cell))
        return [{ name, value, label: value.toFixed(2), ours: isOurs(name) }]
      }),
    })),
  }
}
