/** What a store gives back, or throws: odd, unreadable, too much. */
import { describe, expect, test, vi } from 'vitest'
import {
  bearer,
  type Cell,
  createAuth,
  flaskJwt,
  flaskJwtCookies,
  type LiveRecord,
  memoryStore,
  type Store,
  type StoreRecord,
} from '../../src/index.ts'
import { lifeOf } from '../../src/stores/life.ts'
import { leaks } from '../support.ts'
import { handStore, jwt, mint, ok, serve } from './by-hand.ts'
import {
  alice,
  baseUrl,
  bob,
  deferred,
  minute,
  opaque,
  pass,
  reported,
  room,
  settle,
  summary,
  times,
  virtualTime,
} from './support.ts'

virtualTime()

describe('a store', () => {
  const make = (more: object): Store => ({ ...memoryStore(), ...more }) as Store

  test.each(['commit', 'watch', 'end'])('whose %s is no function is refused at the door', (name) => {
    for (const value of [null, 5, {}]) {
      expect(() => createAuth({ baseUrl, backend: flaskJwt(), store: make({ [name]: value }) })).toThrow(
        'store takes a store',
      )
    }
  })

  test.each([
    [
      'throws',
      () => {
        throw new Error('no watching here')
      },
    ],
    ['rejects', () => Promise.reject(new Error('no watching here'))],
  ])('whose watch() %s is used without it, and that is reported', async (_, watch) => {
    const errors = reported()
    const { auth, signIn } = room({ client: { store: make({ watch }) } })
    await signIn()
    expect(auth.session).toMatchObject({ subject: 'alice' })
    await settle()
    expect(String(errors)).toContain('no watching here')
  })

  test.each([
    [
      'throws',
      () => {
        throw new Error('no watching here')
      },
    ],
    ['rejects', () => Promise.reject(new Error('no watching here'))],
  ])('whose watch() %s is asked again after a 401, as one that can’t be watched', async (_, watch) => {
    reported()
    const store = make({ watch })
    const { auth, another } = room({ client: { store } })
    const elsewhere = another({ store: make({ read: store.read, commit: store.commit, watch: undefined }) })
    await elsewhere.auth.login(alice)
    await auth.fetch('protected')
    await settle()
    expect((await auth.fetch('protected')).status).toBe(200)
  })

  test('whose driver makes a number of a revision is read all the same', async () => {
    let record = null as StoreRecord | null
    const store: Store = {
      name: 'mine',
      read: () => ({ record: record && { ...record, revision: 5 as never }, now: Date.now() }),
      commit(next) {
        record = next
        return { record, now: Date.now() }
      },
    }
    const { another, signIn } = room({ client: { store } })
    await signIn()
    expect(another().auth.session).toMatchObject({ subject: 'alice' })
  })

  test('whose end() and whose end of watching reject rejects nowhere else', async () => {
    const errors = reported()
    const unhandled = vi.fn()
    process.on('unhandledRejection', unhandled)
    const reject = async (): Promise<never> => Promise.reject(new Error('not over'))
    const { auth, signIn } = room({ client: { store: make({ end: reject, watch: () => reject }) } })
    await signIn()
    await auth.logout()
    await auth.dispose()
    await settle()
    process.off('unhandledRejection', unhandled)
    expect(unhandled).not.toHaveBeenCalled()
    expect(String(errors)).toContain('not over')
  })

  test.each([() => undefined, async () => undefined])(
    'that answers nothing is told to be away: %o',
    async (read) => {
      const { auth } = room({ client: { store: { name: 'mine', read: read as never } } })
      await auth.ready
      expect(auth.history).toMatchObject([{ type: 'storeUnavailable', reason: 'read' }])
    },
  )

  test('whose record has no revision counts as empty', async () => {
    let record = { id: 'i', version: 1, calledAt: 1, access: { token: opaque } } as StoreRecord | undefined
    const now = Date.now()
    const store: Store = {
      name: 'mine',
      read: () => ({ record: record ?? null, now }),
      commit(next) {
        record = next
        return { record, now }
      },
    }
    const { auth } = room({ client: { store } })
    await auth.ready
    expect(auth.session).toBeNull()
    await auth.login(alice)
    expect(auth.session).toMatchObject({ subject: 'alice' })
  })
})

describe('a store', () => {
  test('that forgets to say what time it is, is no store that can be asked, and costs no refresh for each call', async () => {
    const store = handStore(() => undefined as never)
    const { auth, told, backend } = room({ client: { store, initial: { accessToken: mint('alice') } } })
    await auth.ready
    expect(told).toMatchObject([
      { error: { message: 'handStore: now takes ms since the epoch, got undefined' } },
    ])
    await Promise.allSettled(times(5, () => auth.fetch('protected')))
    expect(backend.count('refresh')).toBe(0)
  })

  test('that has null for what is not there holds the session all the same', async () => {
    const store = handStore()
    const { auth, another, backend } = room({ client: { store } })
    await auth.login(alice)
    const none = { fresh: null, claim: null, retryAt: null, failures: null, begun: null, due: null }
    store.record = { ...none, ...(store.record as LiveRecord) } as never
    for (const [name, value] of Object.entries(store.record as object))
      if (value === undefined) Object.assign(store.record as object, { [name]: null })
    const next = another().auth
    await next.ready
    expect(next.session).toMatchObject({ subject: 'alice', status: 'active' })
    backend.expireAccessTokens()
    expect((await next.fetch('protected')).status).toBe(200)
    expect(backend.count('refresh')).toBe(1)
  })
})

test('a store that has null for what is not there answers a commit with them, too: the session is refreshed', async () => {
  const store = handStore()
  const none = {
    subject: null,
    access: null,
    fresh: null,
    claim: null,
    retryAt: null,
    failures: null,
    due: null,
  }
  const filled = ({ record, ...rest }: Cell): Cell => {
    const there = Object.entries(record ?? {}).filter(([, value]) => value !== undefined)
    return { ...rest, record: record && ({ ...none, ...Object.fromEntries(there) } as never) }
  }
  const { read, commit } = store as Required<Store>
  store.read = async () => filled(await read())
  store.commit = async (next, expected) => filled(await commit(next, expected))
  const server = serve(({ path }) =>
    path === '/refresh' ? ok({ access_token: mint('alice'), refresh_token: 'next' }) : ok(),
  )
  const { auth, told } = room({
    client: { store, fetch: server.fetch, backend: bearer(), initial: { refreshToken: 'opaque' } } as never,
  })
  await auth.ready
  expect((await auth.fetch('protected')).status).toBe(200)
  expect(summary(told)).toEqual(['loggedIn: initial', 'tokenRefreshed: expired'])
})

describe('a refresh token in a cookie that nothing shows', () => {
  const backend = () => flaskJwtCookies({ accessToken: 'memory', csrf: false })
  test('is never spent over a store without commit', async () => {
    const server = serve(({ path }) => (path === '/refresh' ? ok({ access_token: mint('alice') }) : ok()))
    const auth = createAuth({
      baseUrl,
      backend: backend(),
      fetch: server.fetch,
      store: { name: 'ro', read: () => ({ record: null, now: Date.now() }) },
    })
    await auth.ready
    await auth.fetch('protected')
    expect(server.sent.map(({ path }) => path)).not.toContain('/refresh')
  })
  test('5: is taken back with what it brings after a logout', async () => {
    const answer = deferred<Response>()
    const server = serve(({ path }) => (path === '/refresh' ? answer.promise : ok()))
    const auth = createAuth({ baseUrl, backend: backend(), fetch: server.fetch, store: memoryStore() })
    void auth.ready
    await settle()
    expect(server.sent.map(({ path }) => path)).toEqual(['/refresh'])
    const out = auth.logout()
    await settle()
    const access = mint('alice')
    answer.resolve(ok({ access_token: access }))
    await out
    await pass(minute)
    expect(auth.session).toBe(null)
    expect(server.sent.map(({ path }) => path)).toEqual(['/refresh', '/logout', '/logout'])
    expect(server.tokens('/logout')).toContain(access)
  })
})

test('8: a store’s error that quotes what it could not take shows no token, nor does its code', async () => {
  const tokens = ['opaque+ACCESS/1', 'opaque+REFRESH/1']
  const store = handStore()
  store.commit = async (next) => {
    const quoted = JSON.stringify(next)
    const name = `driver for ${tokens[0]}`
    throw Object.assign(new Error(`too long: ${quoted} ${encodeURIComponent(tokens[1] ?? '')}`), {
      code: quoted,
      name,
    })
  }
  const { auth, told } = room({ client: { store } })
  await auth.setTokens({ accessToken: tokens[0] as string, refreshToken: tokens[1] as string })
  expect(summary(told)[0]).toBe('storeUnavailable: commit')
  const { error } = told[0] as unknown as { error: Error & { code: string } }
  expect(leaks(error, ...tokens, ...tokens.map(encodeURIComponent))).toEqual([])
  expect(error.message).toContain('too long')
})

test.each(['calledAt', 'due', 'retryAt', 'ended'])(
  'a record whose %s is of no use counts as none, and gives way to the next login',
  async (field) => {
    const store = handStore()
    const first = room({ client: { store } }).auth
    await first.login(alice)
    first.dispose()
    store.record = {
      ...(store.record as LiveRecord),
      [field]: { toString: 1, valueOf: 1 },
      revision: 'theirs',
    } as never
    const { auth } = room({ client: { store } })
    await auth.ready
    expect(auth.session).toBeNull()
    await auth.login(bob)
    expect(store.record).toMatchObject({ subject: 'bob' })
    expect((await auth.fetch('protected')).status).toBe(200)
  },
)

test('a session whose token can be exchanged long after its end is kept for longer by stores that throw away what is over', () => {
  const token = jwt({ iat: 1, exp: 901 })
  const record = { access: { token }, refreshToken: token } as LiveRecord
  expect(lifeOf(record)).toBeUndefined()
  expect(lifeOf({ ...record, refreshToken: undefined })).toEqual({ iat: 1, exp: 901 })
})

test('a session that has a refresh token alone is kept for as long as that lasts', () => {
  const refreshToken = jwt({ iat: 1, exp: 901 })
  expect(lifeOf({ refreshToken } as LiveRecord)).toEqual({ iat: 1, exp: 901 })
})
