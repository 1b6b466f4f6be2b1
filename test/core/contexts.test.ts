/** Two clients on one store: what a second tab or process is to the first. */
import { describe, expect, test, vi } from 'vitest'
import { type Cell, type LiveRecord, memoryStore, type Store, type StoreRecord } from '../../src/index.ts'
import { noticeOf } from '../../src/stores/record.ts'
import { handStore, mint, ok, serve } from './by-hand.ts'
import {
  alice,
  bob,
  deferred,
  failure,
  hour,
  minute,
  pass,
  type Room,
  room,
  second,
  settle,
  statuses,
  summary,
  type Told,
  times,
  virtualTime,
} from './support.ts'

virtualTime()

interface Two extends Room {
  other: ReturnType<Room['another']>['auth']
  /** What the other context was told, since both were there. */
  otherTold: Told[]
}

async function two(signedIn = true, options?: Parameters<typeof room>[0]): Promise<Two> {
  const first = room(options)
  if (signedIn) await first.signIn()
  const { auth: other, told: otherTold } = first.another()
  return { ...first, other, otherTold }
}

describe('what happens in one context reaches the other', () => {
  test('a login', async () => {
    const { auth, other, told, otherTold, tokens, inHand } = await two(false)
    expect(other.session).toBeNull()
    const { id } = await auth.login(alice)
    await settle()
    expect(other.session).toMatchObject({ id, subject: 'alice', version: 1 })
    expect(summary(told)).toEqual(['loggedIn: login'])
    expect(summary(otherTold)).toEqual(['loggedIn: login (elsewhere)'])
    expect((await other.fetch('protected')).status).toBe(200)
    expect(tokens('protected')).toEqual([inHand().access])
  })

  test('a refresh', async () => {
    const { auth, other, told, otherTold, backend } = await two()
    await auth.refresh()
    await settle()
    expect(other.session).toMatchObject({ version: 2 })
    expect(summary(told)).toEqual(['tokenRefreshed: requested'])
    expect(summary(otherTold)).toEqual(['tokenRefreshed: requested (elsewhere)'])
    await pass(16 * minute)
    await other.fetch('protected')
    expect(backend.count('refresh')).toBe(2)
    expect(auth.session).toMatchObject({ version: 3 })
  })

  test('a re-authentication', async () => {
    const { auth, other, otherTold, signInStale } = await two(false)
    await signInStale()
    await settle()
    otherTold.length = 0
    expect(other.session).toMatchObject({ fresh: false })
    await auth.reauthenticate(alice)
    await settle()
    expect(other.session).toMatchObject({ fresh: true, version: 3 })
    expect(summary(otherTold)).toEqual(['tokenRefreshed: reauthenticated (elsewhere)'])
    expect((await other.fetch('fresh')).status).toBe(200)
  })

  test('a logout, and nothing goes out with the token from then on', async () => {
    const { auth, other, told, otherTold, tokens } = await two()
    await auth.logout()
    await settle()
    expect(other.session).toBeNull()
    expect(summary(told)).toEqual(['loggedOut: logout'])
    expect(summary(otherTold)).toEqual(['loggedOut: logout (elsewhere)'])
    expect((await other.fetch('protected')).status).toBe(401)
    expect(tokens('protected')).toEqual([undefined])
  })

  test('a logout, though nobody there has come to rest since', async () => {
    const { auth, other, tokens } = await two()
    void auth.logout()
    const response = other.fetch('protected')
    expect((await response).status).toBe(401)
    expect(tokens('protected')).toEqual([undefined])
  })

  test('another user: the first is out before the second is in', async () => {
    const { auth, other, otherTold, tokens, inHand } = await two()
    await auth.login(bob)
    await settle()
    expect(other.session).toMatchObject({ subject: 'bob' })
    expect(summary(otherTold)).toEqual(['loggedOut: replaced (elsewhere)', 'loggedIn: login (elsewhere)'])
    expect(await (await other.fetch('protected')).json()).toMatchObject({ sub: 'bob' })
    expect(tokens('protected')).toEqual([inHand().access])
  })

  test('the end of a session that nobody could save', async () => {
    const { auth, other, backend, otherTold } = await two()
    await pass(16 * minute)
    backend.revoke({ sub: 'alice' })
    await auth.fetch('protected')
    await settle()
    expect(other.session).toBeNull()
    expect(summary(otherTold)).toEqual(['loggedOut: session_expired (elsewhere)'])
  })
})

describe('1: one exchange for both', () => {
  test('when both find the token past its exp', async () => {
    const { auth, other, backend } = await two(true, { server: { refresh: 'rotating-reuse-detection' } })
    for (const round of [1, 2, 3]) {
      await pass(16 * minute)
      const all = times(20, (index) => (index % 2 ? auth : other).fetch('protected'))
      expect(await statuses(all)).toEqual(times(20, () => 200))
      expect(backend.count('refresh')).toBe(round)
    }
    expect(backend.reuseDetected).toBe(0)
    expect(other.session).toEqual(auth.session)
  })

  test('when both had their 401', async () => {
    const { auth, other, backend } = await two(true, { server: { refresh: 'rotating-reuse-detection' } })
    backend.expireAccessTokens()
    const all = times(20, (index) => (index % 2 ? auth : other).fetch('protected'))
    expect(await statuses(all)).toEqual(times(20, () => 200))
    expect(backend.count('refresh')).toBe(1)
  })

  test('when the server is slow, the other waits for it', async () => {
    const { auth, other, backend, hold } = await two(true, {
      server: { refresh: 'rotating-reuse-detection' },
    })
    await pass(16 * minute)
    const held = hold('refresh')
    const mine = auth.fetch('protected')
    await settle()
    const theirs = other.fetch('protected')
    await pass(5 * second)
    expect(backend.count()).toBe(1)
    held.release()
    await pass(second)
    expect(await statuses([mine, theirs])).toEqual([200, 200])
    expect(backend.count('refresh')).toBe(1)
  })

  test('15: and who waits for it keeps the process from its end', async () => {
    const { auth, other, hold } = await two()
    const held = hold('refresh')
    const mine = auth.refresh()
    await settle()
    expect(held.held()).toBe(true)
    const begun = vi.spyOn(globalThis, 'setTimeout')
    const theirs = other.refresh()
    await settle()
    const waits = begun.mock.results.filter((_, index) => begun.mock.calls[index]?.[1] === 250)
    expect(waits.map(({ value }) => value.hasRef())).toEqual([true])
    held.release()
    await Promise.all([mine, theirs])
  })

  test('10: when it never ends, the other fails within its bound, and the session lives', async () => {
    const { auth, other, backend } = await two(true, { client: { refreshTimeout: 3 * second } })
    await pass(16 * minute)
    backend.fault('refresh', 'hang', { times: 2 })
    const mine = failure(auth.fetch('protected'))
    await settle()
    const theirs = failure(other.fetch('protected'))
    await pass(7 * second)
    for (const error of [await mine, await theirs])
      expect(error).toMatchObject({ code: 'refresh_unavailable' })
    await pass(2 * second)
    expect(await statuses([auth.fetch('protected'), other.fetch('protected')])).toEqual([200, 200])
  })

  test('2: a late 401 here, refreshed there, is replayed with what is in hand', async () => {
    const { auth, other, backend, hold } = await two()
    backend.expireAccessTokens()
    const held = hold('protected')
    const late = auth.fetch('protected')
    await settle()
    expect((await other.fetch('optional')).status).toBe(200)
    await settle()
    held.release()
    expect((await late).status).toBe(200)
    expect(backend.count('refresh')).toBe(1)
  })

  test('3: the refresh token that was refused here is not sent there', async () => {
    const { auth, other, backend, inHand } = await two()
    backend.revoke(inHand().refresh)
    await auth.refresh()
    await other.refresh()
    expect(backend.count('refresh')).toBe(1)
    expect(await statuses([auth.fetch('protected'), other.fetch('protected')])).toEqual([200, 200])
  })

  test('with one who was disposed of in the middle', async () => {
    const { auth, other, backend, hold } = await two(true, {
      server: { refresh: 'rotating-reuse-detection' },
    })
    await pass(16 * minute)
    const held = hold('refresh')
    const mine = failure(auth.fetch('protected'))
    await settle()
    const theirs = other.fetch('protected')
    auth.dispose()
    expect(await mine).toMatchObject({ code: 'disposed' })
    held.release()
    await pass(second)
    expect((await theirs).status).toBe(200)
    expect(backend.count('refresh')).toBe(1)
  })
})

test('10: who waited out the claim of one who has died holds nobody up longer than that one did', async () => {
  const { auth, backend, store, signIn, hold } = room({ client: { refreshTimeout: 8 * second } })
  await signIn()
  await pass(16 * minute)
  const { record } = (await store.read()) as { record: LiveRecord }
  const claim = { by: 'dead', until: Date.now() + 5 * second, span: 10 * second }
  await store.commit?.({ ...record, claim, revision: 'claimed' }, record.revision)
  const held = hold('refresh', 'request')
  const waiting = auth.fetch('protected')
  await pass(6 * second)
  expect(held.held()).toBe(true)
  expect((await store.read()).record).toMatchObject({ claim: { span: 10 * second } })
  held.release()
  expect((await waiting).status).toBe(200)
  expect(backend.count('refresh')).toBe(1)
})

test.each([
  ['a store that watches', true],
  ['a store that tells nobody', false],
])(
  '3: a claim that was lost between two tries of an exchange, in %s: the token is not sent again',
  async (_, watched) => {
    const { auth, other, backend, store, told, tokens, inHand } = await two(true, {
      client: { store: { ...memoryStore(), ...(!watched && { watch: undefined }) } },
      server: { refresh: 'rotating-reuse-detection' },
    })
    await pass(16 * minute)
    const spent = inHand().refresh
    backend.fault('refresh', { status: 503, headers: { 'retry-after': '2' } })
    const waiting = auth.fetch('protected')
    await pass(second)
    // What a browser's store does where the page that made the claim has been left.
    const { record } = (await store.read()) as { record: LiveRecord }
    expect(record.claim).toBeDefined()
    await store.commit?.({ ...record, claim: undefined, revision: 'given away' }, record.revision)
    expect((await other.fetch('protected')).status).toBe(200)
    await pass(2 * second)
    expect((await waiting).status).toBe(200)
    expect(tokens('refresh')).toEqual([spent, spent])
    expect(summary(told)).toEqual(['tokenRefreshed: expired (elsewhere)'])
    expect(backend.reuseDetected).toBe(0)
  },
)

describe('5: what was ended in one context stays ended', () => {
  test('though the other was refreshing: its late tokens are revoked', async () => {
    const { auth, other, backend, hold } = await two(true, { server: { refresh: 'rotating' } })
    await pass(16 * minute)
    const held = hold('refresh')
    const waiting = failure(other.fetch('protected'))
    await settle()
    expect(held.held()).toBe(true)
    await auth.logout()
    held.release()
    expect(await waiting).toMatchObject({ code: 'session_changed' })
    await settle()
    expect([auth.session, other.session]).toEqual([null, null])
    expect(backend.sessionAlive('alice')).toBe(false)
  })

  test('though the other was signing in before: the last called wins', async () => {
    const { auth, other, backend, hold } = await two(false)
    await auth.login(alice)
    const held = hold('login')
    const login = other.login(bob).catch((error: unknown) => error)
    await pass(second)
    const logout = auth.logout()
    await settle()
    held.release()
    expect(await login).toMatchObject({ code: 'session_changed' })
    await logout
    await settle()
    expect([auth.session, other.session]).toEqual([null, null])
    expect(backend.sessionAlive('bob')).toBe(false)
  })

  test('and a login called after it stands', async () => {
    const { auth, other, hold } = await two()
    const held = hold('logout')
    const logout = auth.logout()
    await pass(second)
    const { id } = await other.login(alice)
    held.release()
    await logout
    await settle()
    expect(auth.session).toMatchObject({ id })
    expect((await auth.fetch('protected')).status).toBe(200)
  })

  test('of two logins the last called stands, whichever is answered last', async () => {
    const { auth, other, backend, hold } = await two(false)
    const held = hold('login')
    const first = failure(auth.login(alice))
    await pass(second)
    const { id } = await other.login(bob)
    held.release()
    expect(await first).toMatchObject({ code: 'session_changed' })
    await settle()
    expect(auth.session).toMatchObject({ id, subject: 'bob' })
    expect(other.session).toMatchObject({ id })
    expect(backend.sessionAlive('alice')).toBe(false)
  })

  test('a newer token that the other got meanwhile is revoked too', async () => {
    const { auth, other, backend } = await two(true, { server: { refresh: 'rotating' } })
    await other.refresh()
    void auth.logout()
    await settle()
    expect(backend.sessionAlive('alice')).toBe(false)
  })
})

describe('6: a request goes out as who made it', () => {
  test('though another signed in elsewhere while it was out: its 401 comes back', async () => {
    const { auth, other, backend, hold, tokens, inHand } = await two()
    const { access } = inHand()
    backend.expireAccessTokens()
    const held = hold('protected')
    const late = auth.fetch('protected', { method: 'POST', body: 'of alice' })
    await settle()
    await other.login(bob)
    await settle()
    held.release()
    const response = await late
    expect([response.status, await response.json()]).toEqual([401, { msg: 'Token has expired' }])
    expect(tokens('protected')).toEqual([access])
    expect(backend.count('refresh')).toBe(0)
  })

  test('though another signed in elsewhere while it waited: it is not sent', async () => {
    const { auth, other, backend, hold } = await two()
    await pass(16 * minute)
    const held = hold('refresh')
    const waiting = failure(auth.fetch('protected'))
    await settle()
    await other.login(bob)
    held.release()
    expect(await waiting).toMatchObject({ code: 'session_changed' })
    expect(backend.count('protected')).toBe(0)
    await settle()
    expect(auth.session).toMatchObject({ subject: 'bob' })
  })

  test('6: after another user, what may be cached is loaded anew', async () => {
    const seen: (string | undefined)[] = []
    const given = room()
    const { auth: third } = given.another({
      fetch: (input, init) => {
        if (String(input).endsWith('protected')) seen.push(init?.cache)
        return given.backend.fetch(input, init)
      },
    })
    await third.login(alice)
    await third.fetch('protected')
    await third.login(bob)
    await third.fetch('protected')
    await third.fetch('protected', { cache: 'no-store' })
    expect(seen).toEqual([undefined, 'reload', 'no-store'])
  })
})

describe('a store that tells nobody of changes, with nobody signed in', () => {
  const silent = (): { room: Room; reads(): number } => {
    const { read, commit } = memoryStore()
    let reads = 0
    const counted: Store = { name: 'silent', read: () => (++reads && read()) as never, commit }
    return { room: room({ client: { store: counted } }), reads: () => reads }
  }

  test('is asked after a 401 who has signed in meanwhile', async () => {
    const { auth, another } = silent().room
    await another().auth.login(alice)
    expect(auth.session).toBeNull()
    expect((await auth.fetch('protected')).status).toBe(401)
    await settle()
    expect(auth.session).toMatchObject({ subject: 'alice' })
    expect((await auth.fetch('protected')).status).toBe(200)
  })

  test('is not asked after any other answer', async () => {
    const { room, reads } = silent()
    const before = reads()
    expect((await room.auth.fetch('optional')).status).toBe(200)
    await settle()
    expect(reads()).toBe(before)
  })

  test('one that tells is not asked at all', async () => {
    const store = memoryStore()
    const read = vi.spyOn(store, 'read')
    const { auth } = room({ client: { store } })
    const before = read.mock.calls.length
    expect((await auth.fetch('protected')).status).toBe(401)
    await settle()
    expect(read.mock.calls.length).toBe(before)
  })
})

describe('11: what has moved on unheard of, and has run out since, is no token to go with', () => {
  /** A context that has not heard of a refresh elsewhere, whose token has run out, too. */
  const behind = async () => {
    const { auth, another, backend, routes } = room({
      server: { accessLifetime: 5 * minute, refresh: 'rotating' },
      client: { store: { ...memoryStore(), watch: undefined } as never },
    })
    await auth.login(alice)
    const { auth: other } = another()
    await other.ready
    await pass(4 * minute)
    await other.refresh()
    await pass(hour)
    backend.clearLog()
    return { auth, backend, routes }
  }
  const stream = (): RequestInit =>
    ({
      method: 'POST',
      body: new Response('x').body,
      duplex: 'half',
    }) as RequestInit

  test('getAccessToken() makes it good, and refresh() refreshes', async () => {
    const { auth, backend } = await behind()
    expect(backend.isHonoured(String(await auth.getAccessToken()))).toBe(true)
    const { auth: late, routes } = await behind()
    await late.refresh()
    expect(late.session?.expiresAt).toBeGreaterThan(Date.now())
    expect(routes()).toEqual(['refresh'])
  })

  test.each([
    ['a stream', stream],
    ['what is not to be replayed', () => ({ method: 'POST', body: 'x', replay: false })],
    ['a plain call', () => ({})],
  ])('%s is sent once', async (_, init) => {
    const { auth, routes } = await behind()
    expect((await auth.fetch('protected', init())).status).toBe(200)
    expect(routes()).toEqual(['refresh', 'protected'])
  })
})

describe('what has moved on unheard of, and has run out since', () => {
  const behind = async (refreshLifetime: number): Promise<Room> => {
    const made = room({
      server: { accessLifetime: 5 * minute, refreshLifetime, refresh: 'rotating' },
      client: { store: { ...memoryStore(), watch: undefined } as never },
    })
    await made.auth.login(alice)
    const { auth: other } = made.another()
    await other.ready
    await pass(4 * minute)
    await other.refresh()
    await pass(hour)
    made.told.length = 0
    return made
  }

  test('is refreshed by one attempt, and told once if that fails', async () => {
    const { auth, told, backend } = await behind(24 * hour)
    backend.fault('refresh', { status: 500 })
    expect(await failure(auth.fetch('protected'))).toMatchObject({ code: 'refresh_unavailable' })
    expect(summary(told).filter((one) => one.startsWith('refreshFailed'))).toEqual(['refreshFailed: status'])
  })

  test.each(['refresh', 'getAccessToken'] as const)(
    'is asked about if that is refused: %s()',
    async (how) => {
      const { auth, told } = await behind(30 * minute)
      await auth[how]()
      expect(summary(told)).toContain('reauthRequired: session_expired')
      expect(auth.session).toBeNull()
    },
  )
})

test('10: contexts of which each thinks that its session replaced the other’s agree in the end', async () => {
  const cell = handStore()
  cell.trip = { there: 5, back: 0 }
  let commits = 0
  let deaf = false
  const tell = (): void => {
    if (!deaf && cell.record) cell.notify(noticeOf(cell.record))
  }
  const store: Store = {
    ...cell,
    read: () => cell.read(),
    async commit(next, expected) {
      const answer = (await cell.commit?.(next, expected)) as Cell
      if (answer.record === next) {
        commits++
        tell()
      }
      return answer
    },
  }
  const { auth: one, another } = room({ client: { store, fetch: serve(() => ok()).fetch } })
  const { auth: two } = another()
  await pass(100)
  void one.setTokens({ accessToken: mint('alice') })
  await pass(100)
  const before = cell.record as StoreRecord
  // Who missed the logout thinks that alice was replaced; who has called it, that she signed out. And her login was the later
  // one of the two, by a clock that was set back.
  deaf = true
  void one.logout()
  await pass(100)
  deaf = false
  vi.setSystemTime(Date.now() - hour)
  void one.setTokens({ accessToken: mint('bob') })
  await pass(100)
  cell.record = { ...before, revision: 'back' }
  tell()
  await pass(10 * second)
  const then = commits
  await pass(minute)
  expect([commits, one.session?.subject]).toEqual([then, two.session?.subject])
})

test('10: contexts of which each took the other’s session for the one that was replaced don’t write theirs over the other’s for ever', async () => {
  const store = handStore()
  const { auth, another } = room({ client: { store } })
  const { commit } = store
  const written: StoreRecord[] = []
  store.commit = async (next, expected) => {
    written.push(next)
    // Who writes for ever would keep the test from its end.
    if (written.length > 20) return new Promise(() => {})
    const cell = await (commit?.(next, expected) ?? store.read())
    if (cell.record?.revision === next.revision) store.notify(noticeOf(next))
    return cell
  }
  await auth.login(alice)
  const before = store.record as LiveRecord
  await pass(second)
  const { id } = await auth.login(bob)
  // Knows of bob alone, until somebody who has not heard of him writes alice back into a store that lost its data.
  const { auth: newer } = another()
  await newer.ready
  written.length = 0
  store.record = { ...before, revision: 'theirs' }
  store.notify()
  await pass(second)
  expect(written.length).toBeLessThan(2)
  expect(auth.session).toMatchObject({ id })
})

test.each([
  ['watches', true],
  ['does not watch', false],
])(
  '11: a refresh that was under way keeps the fresh token of a password elsewhere, over a store that %s',
  async (_, watches) => {
    const store = memoryStore()
    let gate: ReturnType<typeof deferred> | undefined
    let spent = 0
    const server = serve(async ({ path }) => {
      if (path === '/login') return ok({ access_token: mint('alice'), refresh_token: 'r0' })
      if (path === '/fresh-login') return ok({ access_token: mint('alice', { fresh: true }) })
      if (path !== '/refresh') return ok()
      await gate?.promise
      return ok({ access_token: mint('alice'), refresh_token: `r${++spent}` })
    })
    const shared: Store = watches ? store : { ...store, watch: undefined as never }
    const { auth, another } = room({
      client: { store: shared, fetch: server.fetch },
      preset: { reauth: { path: 'fresh-login' } },
    })
    await auth.login(alice)
    const { auth: other } = another()
    await other.ready
    await pass(16 * minute)
    gate = deferred()
    const call = other.fetch('items')
    await settle()
    await auth.reauthenticate(alice)
    gate.resolve(undefined)
    await call
    const { record } = store.read() as { record: LiveRecord }
    expect([record.version, record.refreshToken, record.fresh !== undefined]).toEqual([3, 'r1', true])
  },
)
