/**
 * The protocol in every state that it can come into, within bounds: records, claims and answers, of two and three
 * contexts and up to three versions. The random programs go further and see less.
 *
 * Each context's own requests to the store keep their order, and so do the notices it is given; revocations reach the
 * server at once; how long a context waits before it asks the store again takes no time.
 */
import { expect, test } from 'vitest'
import { explore } from './explorer/explore.ts'
import type { Bounds } from './explorer/world.ts'

const nothing = { losses: 0, passes: 0, logouts: 0, slowReads: false, watch: false }

// By what is explored; the store is asked again by whoever waits, unless it tells of changes.
const spaces: Record<string, Bounds> = {
  'two contexts, three versions, an exchange that gets lost': {
    ...nothing,
    contexts: 2,
    asks: 3,
    versions: 3,
    losses: 1,
  },
  'two contexts, three versions, a logout': { ...nothing, contexts: 2, asks: 2, versions: 3, logouts: 1 },
  'two contexts, a claim that runs out': { ...nothing, contexts: 2, asks: 2, versions: 2, passes: 1 },
  'two contexts, three versions, a store that is slow to answer': {
    ...nothing,
    contexts: 2,
    asks: 3,
    versions: 3,
    slowReads: true,
  },
  'two contexts, a store that tells of changes': {
    ...nothing,
    contexts: 2,
    asks: 2,
    versions: 2,
    watch: true,
  },
  'two contexts, a store that tells of changes, a logout': {
    ...nothing,
    contexts: 2,
    asks: 1,
    versions: 2,
    logouts: 1,
    watch: true,
  },
  'three contexts, three versions': { ...nothing, contexts: 3, asks: 3, versions: 3 },
  'three contexts, an exchange that gets lost': { ...nothing, contexts: 3, asks: 2, versions: 2, losses: 1 },
  'three contexts, a logout': { ...nothing, contexts: 3, asks: 2, versions: 2, logouts: 1 },
}

test.each(Object.entries(spaces))(
  '1, 3, 5: hold in every state of %s',
  { timeout: 180_000 },
  async (name, bounds) => {
    const { states, steps, ends, executions, depth, exhausted } = await explore(bounds)
    const figures = [states, steps, ends, depth, executions].map((figure) => figure.toLocaleString('en'))
    console.log(
      `${name}: %s states, %s steps between them, %s ends, %s steps at the most; %s executions`,
      ...figures,
    )
    expect(exhausted).toBe(true)
    // What was never reached was not explored.
    expect(ends).toBeGreaterThan(1)
  },
)

// The explorer's own proof: what is broken is found, and the way there is told.
test('a limit that is met is not taken for the end', async () => {
  const bounds = { ...nothing, contexts: 2, asks: 2, versions: 2 }
  expect((await explore(bounds, 3)).exhausted).toBe(false)
})
