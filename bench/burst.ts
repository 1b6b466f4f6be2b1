/** 1,000 requests at once, on an access token that has expired: what it takes, and who gets an answer. */
import { type Contestant, configurations as contestants, exchange, type Family } from './contestants.ts'
import { counted, type Effort, inTurns, isOurs, median, type Part, type Progress, spread } from './report.ts'
import type { Counts, Server } from './server.ts'

const AT_ONCE = 1000
const EXCHANGE = 50

interface Round extends Counts {
  failures: number
  ms: number
}

export async function measureBurst(server: Server, effort: Effort, progress: Progress): Promise<Part> {
  const taken = new Map(contestants.map((contestant) => [contestant, [] as Round[]]))
  const run = async (contestant: Contestant, round: number): Promise<void> => {
    const tenant = `burst-${contestants.indexOf(contestant)}-${round}`
    const place = await server.open(tenant, { life: 900, age: 1000, refreshTakes: EXCHANGE })
    const begun = performance.now()
    // The ideal: whoever knows that the token has expired refreshes once, and then sends.
    if (contestant.bare)
      place.tokens.accessToken = (await exchange(place.url, place.tokens.refreshToken)).access
    const client = contestant.make(place)
    const url = `${place.url}items`
    const answers = await Promise.allSettled(Array.from({ length: AT_ONCE }, () => client.send(url)))
    const ms = performance.now() - begun
    const failures = answers.filter(({ status }) => status === 'rejected').length
    client.stop?.()
    if (round >= 0) taken.get(contestant)?.push({ ...(await server.counts(tenant)), failures, ms })
  }
  const rounds = await inTurns(contestants, effort, run, progress)

  const of = (contestant: Contestant, what: keyof Round): number[] =>
    (taken.get(contestant) ?? []).map((round) => round[what])
  const ideal = (family: Family): number[] =>
    of(contestants.find(({ name }) => name === family) as Contestant, 'ms')
  const ratios = (contestant: Contestant): number[] => {
    const base = ideal(contestant.family)
    return of(contestant, 'ms').map((ms, round) => ms / (base[round] ?? Number.NaN))
  }
  return {
    title: '1,000 at once on an expired token',
    about: `GETs, all begun in one tick; the exchange takes the server ${EXCHANGE} ms; refresh tokens rotate, and one that comes a second time revokes the session (RFC 9700). The ideal is one exchange and then 1,000 requests through the bare client. The median of ${rounds} in turns; counts with their range where rounds differ.`,
    head: ['', 'requests', '401s', 'refreshes', 'reuses', 'failures', 'ms', 'times the ideal'],
    rows: contestants.map((contestant) => [
      contestant.bare ? `${contestant.name}: the ideal` : contestant.name,
      ...(['requests', 'refused', 'refreshes', 'reuses', 'failures'] as const).map((what) =>
        counted(of(contestant, what)),
      ),
      spread(of(contestant, 'ms'), 0),
      contestant.bare ? '' : spread(ratios(contestant), 2),
    ]),
    notes: [
      'A failure is a caller that got a 401 or an error. Where callers failed the time is that of the failures.',
    ],
    goals: contestants
      .filter(({ name }) => isOurs(name))
      .map((contestant) => {
        const [requests, refreshes, failures] = (['requests', 'refreshes', 'failures'] as const).map((what) =>
          Math.max(...of(contestant, what)),
        )
        return {
          what: `${contestant.name}: requests for ${AT_ONCE} on an expired token, and none fails`,
          limit: `${AT_ONCE + 1}`,
          got: `${requests}, ${failures} failed`,
          met: requests === AT_ONCE + 1 && refreshes === 1 && failures === 0,
        }
      }),
    charts: [
      {
        title: 'Failures of 1,000 at once on an expired token',
        bars: contestants
          .filter(({ bare }) => !bare)
          .map((contestant) => {
            const value = median(of(contestant, 'failures'))
            return { name: contestant.name, value, label: String(value), ours: isOurs(contestant.name) }
          }),
      },
      {
        title: 'Requests that the server got for them',
        bars: contestants
          .filter(({ bare }) => !bare)
          .map((contestant) => {
            const value = median(of(contestant, 'requests'))
            return { name: contestant.name, value, label: String(value), ours: isOurs(contestant.name) }
          }),
      },
    ],
  }
}
