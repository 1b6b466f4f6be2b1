/** A gigabyte streamed up: the peak of the process's memory, against that of bare fetch. A process for each. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { type Contestant, contestants } from './contestants.ts'
import {
  type Effort,
  type Goal,
  inTurns,
  isOurs,
  median,
  type Part,
  type Progress,
  spread,
} from './report.ts'
import type { Place, Server } from './server.ts'

const MIB = 1024 * 1024
const CHUNK = 65_536
const COLLECT = 32

interface Outcome {
  /** Peak resident set, MiB. */
  peak: number
  seconds: number
  error?: string
}

export async function measureUpload(
  server: Server,
  mib: number,
  effort: Effort,
  progress: Progress,
): Promise<Part> {
  const taken = new Map(contestants.map((contestant) => [contestant, [] as Outcome[]]))
  const run = async (contestant: Contestant): Promise<void> => {
    const tenant = `upload-${contestants.indexOf(contestant)}`
    const place = await server.open(tenant)
    const child = fork(fileURLToPath(import.meta.url), ['upload'])
    child.send({ name: contestant.name, place, mib })
    const answer = await Promise.race([
      once(child, 'message').then(([outcome]) => outcome as Outcome),
      once(child, 'exit').then((): Outcome => ({ peak: Number.NaN, seconds: Number.NaN, error: 'it died' })),
    ])
    const { bytes } = await server.counts(tenant)
    if (!answer.error && bytes !== mib * MIB) answer.error = `${bytes} bytes came`
    taken.get(contestant)?.push(answer)
  }
  const rounds = await inTurns(contestants, effort, run, progress)

  const of = (contestant: Contestant, what: 'peak' | 'seconds'): number[] =>
    (taken.get(contestant) ?? []).map((outcome) => outcome[what])
  const failures = (contestant: Contestant): Outcome[] =>
    (taken.get(contestant) ?? []).filter(({ error }) => error)
  const bare = median(of(contestants[0] as Contestant, 'peak'))
  const above = (contestant: Contestant): number => median(of(contestant, 'peak')) - bare
  const size = mib === 1024 ? 'a gigabyte' : `${mib} MiB`
  return {
    title: `Streaming up ${size}`,
    about: `A \`ReadableStream\` in \`init.body\`, chunks of 64 KiB each made anew, to a server that counts them; the collector is run every ${COLLECT} MiB. The peak resident set of a process that does nothing else, less that of bare fetch; the median of ${rounds} in turns.`,
    head: ['', 'peak MiB', 'above fetch', 's', 'failures'],
    rows: contestants.map((contestant) => [
      contestant.name,
      spread(of(contestant, 'peak'), 0),
      `${above(contestant) < 0 ? '−' : '+'}${Math.abs(above(contestant)).toFixed(0)}`,
      median(of(contestant, 'seconds')).toFixed(1),
      String(failures(contestant).length),
    ]),
    notes: [
      "Node's fetch clones a request before it sends it, and with that keeps the whole body, with or without a client above it.",
      ...contestants.flatMap((contestant) => {
        const [first] = failures(contestant)
        return first ? [`${contestant.name}: ${first.error}`] : []
      }),
    ],
    goals: contestants
      .filter(({ name }) => isOurs(name))
      .map(
        (contestant): Goal => ({
          what: `${contestant.name}: memory for ${size} above that of bare fetch`,
          limit: '≤ 64 MiB',
          got: `${above(contestant).toFixed(0)} MiB`,
          met: above(contestant) <= 64 && failures(contestant).length === 0,
        }),
      ),
    charts: [
      {
        title: `Streaming up ${size}: peak memory above bare fetch, MiB`,
        bars: contestants
          .filter(({ name }) => name !== 'fetch')
          .map((contestant) => ({
            name: contestant.name,
            value: Math.max(0, above(contestant)),
            label: above(contestant).toFixed(0),
            ours: isOurs(contestant.name),
          })),
      },
    ],
  }
}

// --- the child's side ------------------------------------------------------------------------------------------------

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/**
 * Each chunk is memory of its own that is written to, so that whoever keeps it is seen to; and what nobody keeps is
 * collected on the way, or the peak would tell only how late the collector comes.
 */
function stream(mib: number): ReadableStream<Uint8Array> {
  let left = (mib * MIB) / CHUNK
  return new ReadableStream({
    pull(controller) {
      if ((left * CHUNK) % (COLLECT * MIB) === 0) collect()
      controller.enqueue(new Uint8Array(CHUNK).fill(left))
      if (--left === 0) controller.close()
    },
  })
}

if (import.meta.main && process.argv[2] === 'upload') {
  process.once('message', async ({ name, place, mib }: { name: string; place: Place; mib: number }) => {
    const client = contestants.find((contestant) => contestant.name === name)?.make(place)
    const begun = performance.now()
    let error: string | undefined
    try {
      const headers = { 'content-type': 'application/octet-stream' }
      const init = { method: 'POST', body: stream(mib), headers, duplex: 'half' } as RequestInit
      await client?.send(`${place.url}upload`, init)
    } catch (thrown) {
      error = String(thrown)
    }
    const outcome: Outcome = {
      peak: process.resourceUsage().maxRSS / 1024,
      seconds: (performance.now() - begun) / 1000,
    }
    process.send?.({ ...outcome, error }, () => process.exit())
  })
}
