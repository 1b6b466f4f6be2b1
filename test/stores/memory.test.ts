/** The memory store: what shares the object shares the session. */
import { expect, test } from 'vitest'
import { memoryStore, type Store } from '../../src/index.ts'
import type { Notice } from '../../src/types.ts'
import { type Context, contract } from './contract.ts'

function context(store: Store): Context {
  let stop: (() => void) | undefined
  const told: (Notice | null)[] = []
  const commit: NonNullable<Store['commit']> = (next, expected) => {
    if (!store.commit) throw new Error('read-only')
    return store.commit(next, expected)
  }
  return {
    read: async () => store.read(),
    commit: async (next, expected) => commit(next, expected),
    async watch() {
      stop = store.watch?.((notice) => void told.push(notice ?? null))
    },
    unwatch: async () => stop?.(),
    notices: async () => told,
    async contend(rounds) {
      let refused = 0
      let { record } = await store.read()
      for (let done = 0; done < rounds; ) {
        const version = (record?.version ?? 0) + 1
        const revision = `${version}-${Math.random()}`
        await Promise.resolve()
        const next = { revision, id: 'a', version, calledAt: 1, ended: 'logout' } as const
        record = (await commit(next, record?.revision ?? null)).record
        if (record?.revision === revision) done++
        else refused++
      }
      return refused
    },
  }
}

contract('memoryStore', async () => {
  const stores = new Map<string, Store>()
  return {
    async open(key = '') {
      const store = stores.get(key) ?? memoryStore()
      stores.set(key, store)
      return context(store)
    },
  }
})

test('it goes by its name in messages', () => {
  expect(memoryStore().name).toBe('memoryStore')
})
