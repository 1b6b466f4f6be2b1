/**
 * What every store promises the protocol, whatever it stands on. A store's own test file tells how its contexts
 * are made (tabs, workers, processes), and what can befall it.
 */
import { beforeEach, describe, expect, test } from 'vitest'
import type { LiveRecord, Notice, StoreRecord, Tombstone } from '../../src/types.ts'

/** What a cell says, as it comes out of another context. */
export interface Seen {
  record: StoreRecord | null
  now: number
  problem?: unknown
}

/** A store in a context: a tab, a worker, a process, an object. */
export interface Context {
  read(): Promise<Seen>
  commit(next: StoreRecord, expected: string | null): Promise<Seen>
  watch(): Promise<void>
  unwatch(): Promise<void>
  /** What it was told since `watch`; `null` where it has to read. */
  notices(): Promise<(Notice | null)[]>
  /** Counts `version` up by compare-and-set, `rounds` times; gives back how often it was refused. */
  contend(rounds: number): Promise<number>
}

export interface Subject {
  /** The store under a key in a context of its own, as far as contexts can share it. */
  open(key?: string): Promise<Context>
  /** Puts something else where the store keeps its record, as another program would. */
  plant?: Partial<Record<'foreign' | 'damaged' | 'older', () => Promise<void>>>
  /** Puts there what a version to come may write. */
  newer?(): Promise<void>
  /** How many errors were reported so far. */
  reported?(): Promise<number>
  /** A context in which what the store stands on is denied. */
  denied?(): Promise<Context>
  /** From now on nothing more can be written; gives back what makes room again. */
  fill?(): Promise<() => Promise<void>>
}

export function live(revision: string, more: Partial<LiveRecord> = {}): LiveRecord {
  const access = { token: 'header.payload.signature', at: 1 }
  return { revision, id: 'a', version: 1, calledAt: 1, reason: 'login', access, refreshToken: 'r', ...more }
}

export function tombstone(revision: string, more: Partial<Tombstone> = {}): Tombstone {
  return { revision, id: 'a', version: 1, calledAt: 2, ended: 'logout', ...more }
}

/** Without the members that have no value: whether they cross a wire is nobody's business. */
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

async function eventually<T>(look: () => Promise<T>, holds: (value: T) => boolean): Promise<T> {
  for (let tries = 0; ; tries++) {
    const value = await look()
    if (holds(value) || tries > 100) return value
    await new Promise((resolve) => void setTimeout(resolve, 20))
  }
}

/** `make` is called for each test. Every test gets stores that are empty. */
export function contract(
  name: string,
  make: () => Promise<Subject>,
  has: readonly (keyof Subject)[] = [],
): void {
  describe(`${name} keeps the contract of a store`, () => {
    let subject: Subject
    beforeEach(async () => {
      subject = await make()
    })

    test('an empty cell takes what is committed into an empty one, and shows it everywhere', async () => {
      const [one, other] = [await subject.open(), await subject.open()]
      expect((await one.read()).record).toBeNull()
      const next = live('1')
      const before = Date.now()
      const done = await one.commit(next, null)
      expect(plain(done.record)).toEqual(plain(next))
      expect(plain((await one.read()).record)).toEqual(plain(next))
      expect(plain((await other.read()).record)).toEqual(plain(next))
      expect(done.problem).toBeUndefined()
      expect(done.now).toBeGreaterThan(before - 60_000)
      expect(done.now).toBeLessThan(Date.now() + 60_000)
    })

    test('a commit that counts on another revision leaves what stands, and tells it', async () => {
      const [one, other] = [await subject.open(), await subject.open()]
      await one.commit(live('1'), null)
      expect((await other.commit(live('2'), null)).record?.revision).toBe('1')
      expect((await other.commit(live('2'), '0')).record?.revision).toBe('1')
      expect((await one.read()).record?.revision).toBe('1')
      expect((await other.commit(live('2'), '1')).record?.revision).toBe('2')
      expect((await one.read()).record?.revision).toBe('2')
    })

    test('of two that commit at once on the same revision one is done', async () => {
      const contexts = [await subject.open(), await subject.open()]
      await contexts[0]?.commit(live('0'), null)
      for (let round = 0; round < 20; round++) {
        const before = (await contexts[0]?.read())?.record?.revision ?? null
        const names = [`${round}a`, `${round}b`]
        const cells = await Promise.all(
          contexts.map((context, index) => context.commit(live(String(names[index])), before)),
        )
        const done = cells.filter(({ record }, index) => record?.revision === names[index])
        expect(done).toHaveLength(1)
        expect(cells[0]?.record?.revision).toBe(cells[1]?.record?.revision)
      }
    })

    test('no commit is lost, however many contend', async () => {
      const contexts = [await subject.open(), await subject.open(), await subject.open()]
      await Promise.all(contexts.map((context) => context.contend(25)))
      expect((await contexts[0]?.read())?.record?.version).toBe(75)
    })

    test('a tombstone stands where the session stood, and is kept as it is', async () => {
      const [one, other] = [await subject.open(), await subject.open()]
      await one.commit(live('1'), null)
      await one.commit(tombstone('2'), '1')
      expect(plain((await other.read()).record)).toEqual(plain(tombstone('2')))
      expect(JSON.stringify((await other.read()).record)).not.toContain('signature')
      expect((await other.commit(live('3', { id: 'b' }), '2')).record?.revision).toBe('3')
    })

    test('who watches is told of each change, with what changed and never a token', async () => {
      const [one, other] = [await subject.open(), await subject.open()]
      await one.watch()
      await other.watch()
      await one.commit(live('1'), null)
      await one.commit(live('no'), '0')
      await other.commit(live('2', { version: 2 }), '1')
      await one.commit(tombstone('3', { version: 2 }), '2')
      const told = [
        { revision: '1', id: 'a', version: 1, calledAt: 1 },
        { revision: '2', id: 'a', version: 2, calledAt: 1 },
        { revision: '3', id: 'a', version: 2, calledAt: 2, ended: 'logout' },
      ]
      for (const context of [one, other]) {
        const notices = await eventually(
          () => context.notices(),
          ({ length }) => length >= told.length,
        )
        // Where others have to read, they are told so; what is told is told in order.
        const known = notices.filter((notice) => notice !== null)
        expect(plain(known)).toEqual(
          told.filter(({ revision }) => known.some((one) => one.revision === revision)),
        )
        expect(notices.length).toBeGreaterThanOrEqual(told.length)
      }
    })

    test('what a notice tells of can be read by the time it comes', async () => {
      const [one, other] = [await subject.open(), await subject.open()]
      await other.watch()
      await one.commit(live('1'), null)
      await eventually(
        () => other.notices(),
        ({ length }) => length > 0,
      )
      expect((await other.read()).record?.revision).toBe('1')
    })

    test('who watches no more is told nothing more, and can still commit and tell', async () => {
      const [one, other] = [await subject.open(), await subject.open()]
      await one.watch()
      await other.watch()
      await one.unwatch()
      await one.commit(live('1'), null)
      await eventually(
        () => other.notices(),
        ({ length }) => length > 0,
      )
      expect(await one.notices()).toEqual([])
      expect(await other.notices()).toHaveLength(1)
    })

    test('two keys are two cells', async () => {
      const [one, other] = [await subject.open(), await subject.open('other')]
      await other.watch()
      await one.commit(live('1'), null)
      expect((await other.read()).record).toBeNull()
      await other.commit(live('2', { id: 'b' }), null)
      await one.commit(tombstone('3'), '1')
      expect((await other.read()).record?.revision).toBe('2')
      expect((await other.notices()).map((notice) => notice?.id)).toEqual(['b'])
    })

    if (has.includes('plant')) {
      for (const what of ['foreign', 'damaged', 'older'] as const) {
        test(`content that is ${what} counts as empty, is reported, and gives way`, async () => {
          const context = await subject.open()
          await context.commit(live('1'), null)
          await subject.plant?.[what]?.()
          const before = (await subject.reported?.()) ?? 0
          expect((await context.read()).record).toBeNull()
          expect((await context.read()).record).toBeNull()
          expect((await subject.reported?.()) ?? 1).toBe(before + 1)
          expect((await context.commit(live('2'), '1')).record).toBeNull()
          expect((await context.commit(live('2'), null)).record?.revision).toBe('2')
          expect((await context.read()).record?.revision).toBe('2')
        })
      }
    }

    if (has.includes('newer')) {
      test('content of a newer version is an error, and stays as it is', async () => {
        const context = await subject.open()
        await context.commit(live('1'), null)
        await subject.newer?.()
        await expect(context.read()).rejects.toThrow('newer version')
        await expect(context.commit(live('2'), '1')).rejects.toThrow('newer version')
        await expect(context.commit(live('2'), null)).rejects.toThrow('newer version')
        await expect(context.read()).rejects.toThrow('newer version')
      })
    }

    if (has.includes('denied')) {
      test('where it is denied the cell lives in memory, and says why', async () => {
        const context = await subject.denied?.()
        const cell = await context?.read()
        expect(cell?.record).toBeNull()
        expect(cell?.problem).toBeDefined()
        await context?.watch()
        expect((await context?.commit(live('1'), null))?.record?.revision).toBe('1')
        expect((await context?.commit(live('2'), null))?.record?.revision).toBe('1')
        expect((await context?.commit(live('2'), '1'))?.problem).toBeDefined()
        expect((await context?.read())?.record?.revision).toBe('2')
        expect((await context?.notices())?.map((notice) => notice?.revision)).toEqual(['1', '2'])
      })
    }

    if (has.includes('fill')) {
      test('a new session that finds no room lives in memory, and is written when there is room', async () => {
        const [one, other] = [await subject.open(), await subject.open()]
        await one.commit(live('1'), null)
        const empty = await subject.fill?.()
        // Larger than what it replaces, whose room counts.
        const refreshToken = 'r'.repeat(1000)
        const cell = await one.commit(live('2', { id: 'b', calledAt: 2, refreshToken }), '1')
        expect(cell.record?.revision).toBe('2')
        expect(cell.problem).toBeDefined()
        expect(
          (await one.commit(live('3', { id: 'b', calledAt: 2, version: 2, refreshToken }), '2')).record
            ?.revision,
        ).toBe('3')
        expect((await one.read()).record?.revision).toBe('3')
        // The session that was replaced is not to be found by a reload.
        expect((await other.read()).record?.id).not.toBe('a')
        await empty?.()
        const written = await one.commit(live('4', { id: 'b', calledAt: 2, version: 3 }), '3')
        expect([written.record?.revision, written.problem]).toEqual(['4', undefined])
        expect((await other.read()).record?.revision).toBe('4')
      })

      test('a logout that finds no room is one all the same', async () => {
        const [one, other] = [await subject.open(), await subject.open()]
        await one.commit(live('1'), null)
        const empty = await subject.fill?.()
        const cell = await one.commit(tombstone('2'), '1')
        expect(cell.record?.revision).toBe('2')
        expect(JSON.stringify((await other.read()).record)).not.toContain('signature')
        await empty?.()
        expect((await one.read()).record).toSatisfy((record) => record === null || 'ended' in record)
      })
    }
  })
}
