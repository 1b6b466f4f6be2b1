/**
 * Goes through every state that can be reached by choices, depth first. A state can't be copied, so that each way
 * is gone again from the start; a state that was seen before is not gone beyond.
 *
 * Where two choices touch nothing in common, either order leads to the same state, and one of them is enough: what
 * was chosen first sleeps in the ways that begin with the second, until something is chosen that it depends on
 * (sleep sets: P. Godefroid, Partial-Order Methods for the Verification of Concurrent Systems, 1996, chapter 5).
 * That leaves out steps, never states.
 */
import { createHash } from 'node:crypto'
import { judge, judgeEnd } from './checks.ts'
import { type Bounds, type Choice, createWorld } from './world.ts'

export interface Explored {
  /** Different states, each of them judged. */
  readonly states: number
  /** Steps that led from one to another. */
  readonly steps: number
  /** Those where nothing is left to choose. */
  readonly ends: number
  /** How often the client was run from the start. */
  readonly executions: number
  /** The longest way. */
  readonly depth: number
  /** Whether there was nothing left to go through: no limit was met. */
  readonly exhausted: boolean
}

type Asleep = ReadonlyMap<string, Choice>

/** Explores; throws with the way there at the first state in which something is broken. */
export async function explore(bounds: Bounds, limit = 1_000_000): Promise<Explored> {
  // What slept in each state when it was gone beyond, by the names of its key.
  const seen = new Map<string, Set<string>>()
  const ways: { way: string[]; asleep: Asleep }[] = [{ way: [], asleep: new Map() }]
  let [steps, ends, executions, depth] = [0, 0, 0, 0]
  for (let next = ways.pop(); next; next = ways.pop()) {
    if (executions++ >= limit) return { states: seen.size, steps, ends, executions, depth, exhausted: false }
    const { way } = next
    let { asleep } = next
    const world = await createWorld(bounds)
    const labels: string[] = []
    const fail = (broken: string): never => {
      throw new Error(
        `${broken}\n\n${labels.map((label, i) => `${String(i + 1).padStart(3)}. ${label}`).join('\n')}`,
      )
    }
    for (let at = 0; ; at++) {
      const choices = world.choices()
      if (at >= way.length) {
        for (const broken of judge(world)) fail(broken)
        depth = Math.max(depth, at)
        const { text, naming } = world.key()
        const key = createHash('sha1').update(text).digest('base64')
        const slept = seen.get(key)
        let todo = choices.filter(({ id }) => !asleep.has(id))
        if (slept) {
          // Been here: what slept then and is awake now is still to be chosen.
          todo = todo.filter(({ id }) => slept.has(naming(id)))
          const still = [...asleep.keys()].map(naming)
          seen.set(key, new Set(still.filter((id) => slept.has(id))))
        } else seen.set(key, new Set([...asleep.keys()].map(naming)))
        if (!choices.length) {
          ends++
          await world.settle()
          for (const broken of judgeEnd(world)) fail(broken)
        }
        const [first] = todo
        if (!first) break
        steps += todo.length
        const before = new Map(asleep)
        const branches = todo.map((choice) => {
          const stays = [...before].filter(([, other]) => !depend(choice, other))
          before.set(choice.id, choice)
          return { way: [...way, choice.id], asleep: new Map(stays) }
        })
        for (const branch of branches.slice(1).reverse()) ways.push(branch)
        way.push(first.id)
        asleep = branches[0]?.asleep ?? asleep
      }
      const choice = choices.find(({ id }) => id === way[at])
      if (!choice) throw new Error('The same way led elsewhere: something is left to chance')
      labels.push(choice.label)
      choice.take()
      await world.flush()
    }
  }
  return { states: seen.size, steps, ends, executions, depth, exhausted: true }
}

function depend(one: Choice, other: Choice): boolean {
  const all = [...one.touches, ...other.touches]
  const changes = (by: Choice, to: Choice): boolean =>
    by.touches
      .filter((what) => !what.startsWith('reads '))
      .some((what) => to.touches.includes(what) || to.touches.includes(`reads ${what}`))
  return all.includes('everything') || changes(one, other) || changes(other, one)
}
