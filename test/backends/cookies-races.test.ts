/** Cookies that come late, each case in the smallest order that shows it: docs/races.md. */
import { describe, expect, test, vi } from 'vitest'
import { type Cell, type FlowContext, isAuthError, memoryStore, type Store } from '../../src/index.ts'
import { type HandStore, handStore } from '../core/by-hand.ts'
import { deferred } from '../core/support.ts'
import { door, later, rejection, virtualTime } from '../support.ts'
import {
  alice,
  base,
  bob,
  type CookieBench,
  type CookieBenchOptions,
  cookieBench,
  lateAnswer,
  post,
  told,
} from './cookies-support.ts'

const implicit = { implicitRefresh: 450_000 } as const

/** Time enough for what can go out to be under way. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** A store over another, that can be away, and whose notices can be held up. */
function unsteady(beneath: Store): { store: Store; away(is: boolean): void; tell(): void } {
  let isAway = false
  const notices: (() => void)[] = []
  const there = (): void => {
    if (isAway) throw new Error('The store is away')
  }
  return {
    away: (is) => {
      isAway = is
    },
    tell: () => {
      for (const notice of notices.splice(0)) notice()
    },
    store: {
      ...beneath,
      read() {
        there()
        return beneath.read()
      },
      commit(next, expected) {
        there()
        return beneath.commit?.(next, expected) as Cell
      },
      watch: (listener) =>
        beneath.watch?.((notice) => void notices.push(() => listener(notice))) as () => void,
    },
  }
}

/** A page of old, or another site of the same server, gives the browser an access cookie of `user`. */
async function replaced({ backend, jar }: CookieBench, user: string): Promise<void> {
  const { accessToken } = await backend.signIn(user)
  const value = backend.issued.find(({ token }) => token === accessToken)?.claims.csrf
  jar.setCookieSync(`access_token_cookie=${accessToken}; HttpOnly; Path=/`, base)
  jar.setCookieSync(`csrf_access_token=${value}; Path=/`, base)
}

describe('5: what the user ended', () => {
  test.each<[string, CookieBenchOptions]>([
    ['looks at no value', { preset: { logout: { method: 'POST' } } }],
    ['has none to look at', { server: { csrfProtect: false }, preset: { csrf: false } }],
  ])(
    'what came late is not given back where a login has overwritten it: the logout %s',
    async (_, options) => {
      const held = lateAnswer('/refresh')
      const { auth, who, came } = await cookieBench({ beneath: held.beneath, ...options })
      const refresh = auth.refresh()
      await held.reached
      await auth.logout()
      const login = auth.login(bob)
      held.open()
      await Promise.all([login, refresh])
      expect((await auth.fetch('protected')).status).toBe(200)
      expect([await who(), auth.session?.subject]).toEqual(['bob', 'bob'])
      expect(came().filter((one) => one.includes('logout')).length).toBe(1)
    },
  )

  test('but it is where the login was one step of several, and brought none', async () => {
    const held = lateAnswer('/refresh')
    let steps = false
    const { auth, who, page } = await cookieBench({
      beneath: (next) =>
        held.beneath(async (input, init) =>
          steps && new URL(new Request(input, init).url).pathname === '/login'
            ? Response.json({ mfa_required: true })
            : next(input, init),
        ),
    })
    steps = true
    const refresh = auth.refresh()
    await held.reached
    await auth.logout()
    const login = rejection(auth.login(bob))
    held.open()
    expect(await login).toMatchObject({ code: 'login_incomplete' })
    await refresh
    await expect.poll(who).toBeNull()
    const reloaded = page({ beneath: (next) => next })
    await reloaded.ready
    expect(reloaded.session).toBeNull()
  })

  test('and a token that no cookie holds is taken back whatever has landed', async () => {
    const held = lateAnswer('/login')
    const split = { locations: ['headers', 'cookies'], deliver: 'split' } as const
    const { page, who, backend } = await cookieBench({
      server: split,
      preset: { accessToken: 'memory' },
      as: false,
    })
    const auth = page()
    await auth.login(alice)
    const token = `${await auth.getAccessToken()}`
    const other = page({ store: memoryStore(), beneath: held.beneath })
    await other.setTokens({ accessToken: token })
    const login = other.login(bob)
    await held.reached
    const logout = other.logout()
    held.open()
    await Promise.all([login.catch(() => {}), logout])
    expect(backend.isHonoured(token)).toBe(false)
    expect(await who()).not.toBe('alice')
  })

  test('5: a refresh that waits for a login is not sent once the user has signed out', async () => {
    const held = door('/login')
    const { auth, page, backend, came } = await cookieBench()
    const tab = page({ beneath: held.beneath })
    await tab.fetch('protected')
    backend.clearLog()
    const login = rejection(tab.login(bob))
    await held.reached
    const refresh = tab.refresh()
    await turn()
    await tab.logout()
    held.open()
    await Promise.all([login, refresh])
    expect(came().filter((one) => one.includes('refresh'))).toEqual([])
    expect(auth.session?.subject).toBe('alice')
  })

  test('5: a logout does not wait for a login that is under way', async () => {
    const held = door('/login')
    const { auth, page, came } = await cookieBench()
    const tab = page({ beneath: held.beneath })
    await tab.ready
    const login = rejection(tab.login(bob))
    await held.reached
    await tab.logout()
    expect(came().at(-1)).toBe('DELETE logout 200')
    held.open()
    await login
    expect(auth.session?.subject).toBe('alice')
  })

  /** A password that waits for a refresh, which is on its way. */
  async function passwordBehind(
    tab: CookieBench['auth'],
    reached: Promise<unknown>,
  ): Promise<{ refresh: Promise<unknown>; proof: Promise<unknown> }> {
    await tab.ready
    const refresh = tab.refresh()
    await reached
    const proof = rejection(tab.reauthenticate(alice))
    await turn()
    return { refresh, proof }
  }

  test('5: a password that waits for a refresh is not sent once the user has signed out', async () => {
    const held = door('/refresh')
    const { page, cookies, came } = await cookieBench()
    const tab = page({ beneath: held.beneath })
    const { refresh, proof } = await passwordBehind(tab, held.reached)
    await tab.logout()
    held.open()
    expect(await proof).toMatchObject({ code: 'session_changed' })
    await refresh
    await expect.poll(cookies).toEqual({})
    expect(came().filter((one) => one.includes('login'))).toEqual([])
  })

  test('5: nor once he has signed out in another page', async () => {
    const held = door('/refresh')
    const { auth, page, store, came } = await cookieBench()
    const tab = page({ store, beneath: held.beneath })
    const { refresh, proof } = await passwordBehind(tab, held.reached)
    await auth.logout()
    held.open()
    expect(await proof).toMatchObject({ cause: { message: 'Who is signed in is another by now' } })
    await refresh
    expect(came().filter((one) => one.includes('login'))).toEqual([])
  })

  test('6: nor once somebody else has signed in, in another page', async () => {
    const held = door('/refresh')
    const { page, came } = await cookieBench()
    const store = memoryStore()
    const tab = page({ store, beneath: held.beneath })
    const { refresh, proof } = await passwordBehind(tab, held.reached)
    await page({ store }).login(bob)
    held.open()
    await Promise.all([proof, refresh])
    expect(came().filter((one) => one.includes('login'))).toEqual(['POST login 200'])
    expect(tab.session?.subject).toBe('bob')
  })

  test('6: nor while a login that was called before is not in the store yet, which it would leave with other cookies', async () => {
    const { page, store, came, who } = await cookieBench()
    let write = (): void => {}
    let asked = (): void => {}
    const writing = new Promise<void>((resolve) => {
      asked = resolve
    })
    const slow: Store = {
      ...store,
      async commit(next, expected) {
        asked()
        await new Promise<void>((resolve) => {
          write = resolve
        })
        return store.commit?.(next, expected) as Cell
      },
    }
    const tab = page({ store: slow })
    await tab.ready
    const login = tab.login(bob)
    await writing
    const proof = rejection(tab.reauthenticate(alice))
    for (let turns = 0; turns < 5; turns++) await turn()
    expect(came().filter((one) => one.includes('login'))).toEqual(['POST login 200'])
    write()
    await login
    expect(await proof).toMatchObject({ cause: { message: 'Who is signed in is another by now' } })
    expect([tab.session?.subject, await who()]).toEqual(['bob', 'bob'])
    expect(came().filter((one) => one.includes('login'))).toEqual(['POST login 200'])
  })

  test('but a flow that nobody ends is not waited for', async () => {
    const { auth, who } = await cookieBench()
    const never = rejection(auth.login(() => new Promise<Response>(() => {})))
    await auth.reauthenticate(alice)
    expect([auth.session?.status, await who()]).toEqual(['active', 'alice'])
    auth.dispose()
    expect(await never).toMatchObject({ code: 'disposed' })
  })

  test.each([
    ['that pages can read', {}],
    ['that answers tell', told],
  ])(
    '5: a logout with an empty store signs out whoever the cookies are of, by values %s',
    async (_, server) => {
      const { page, backend, cookies } = await cookieBench({ server })
      const fresh = page()
      await fresh.logout()
      expect([cookies(), backend.sessionAlive('alice')]).toEqual([{}, false])
      expect((await fresh.fetch('protected')).status).toBe(401)
    },
  )

  test('5: so does one after another, of cookies that came late', async () => {
    const bench = await cookieBench()
    await bench.auth.logout()
    await replaced(bench, 'alice')
    expect(await bench.who()).toBe('alice')
    await bench.auth.logout()
    expect([bench.cookies(), await bench.who()]).toEqual([{}, null])
  })

  test('5: and nobody is found by cookies that the server could not be asked to clear', async () => {
    const { page, backend, cookies } = await cookieBench()
    backend.fault('logout', 'drop')
    const store = memoryStore()
    const fresh = page({ store })
    await fresh.logout()
    expect(Object.keys(cookies())).toHaveLength(4)
    expect(store.read()).toMatchObject({ record: { ended: 'logout' } })
    expect((await fresh.fetch('protected')).status).toBe(401)
    expect([fresh.session, backend.count('whoami')]).toEqual([null, 0])
  })

  test('5: nor is anybody who another page finds by them before that logout can be written', async () => {
    const { page, backend } = await cookieBench()
    backend.fault('logout', 'drop')
    const store = memoryStore()
    const mine = unsteady(store)
    const tab = page({ store: mine.store })
    const told: unknown[] = []
    tab.on('loggedIn', (event) => told.push(event))
    mine.away(true)
    await tab.logout()
    const other = page({ store })
    await other.ready
    expect(other.session).toMatchObject({ subject: 'alice' })
    mine.away(false)
    mine.tell()
    await expect.poll(() => store.read()).toMatchObject({ record: { ended: 'logout' } })
    expect([told, tab.session, other.session]).toEqual([[], null, null])
  })

  test('5: a logout under a value that the server has replaced, and no page can read', async () => {
    const { auth, cookies } = await cookieBench({ server: { ...told, ...implicit } })
    later(500_000)
    await auth.fetch('protected')
    await auth.logout()
    expect(cookies()).toEqual({})
  })

  test('5: a call that is answered after the logout, with a new cookie, brings nobody back', async () => {
    const bench = await cookieBench({ server: implicit })
    const held = lateAnswer('/protected')
    const tab = bench.page({ store: bench.store, beneath: held.beneath })
    await tab.ready
    later(500_000)
    const call = tab.fetch('protected')
    await held.reached
    await tab.logout()
    expect(bench.cookies()).toEqual({})
    held.open()
    expect((await call).status).toBe(200)
    await expect.poll(bench.came).toContain('DELETE logout 200')
    await expect.poll(bench.cookies).toEqual({})
    expect(await bench.who()).toBeNull()
  })

  test('5: nor does it end a login that has come in another tab meanwhile', async () => {
    const bench = await cookieBench()
    const held = lateAnswer('/protected')
    const tab = bench.page({ store: bench.store, beneath: held.beneath })
    const other = bench.page({ store: bench.store })
    await Promise.all([tab.ready, other.ready])
    const call = tab.fetch('protected')
    await held.reached
    await tab.logout()
    await other.login(bob)
    bench.backend.clearLog()
    held.open()
    expect((await call).status).toBe(200)
    // What would be sent goes out before this one does.
    await other.fetch('protected')
    expect([bench.came(), await bench.who()]).toEqual([['GET protected 200'], 'bob'])
  })

  describe.each([
    ['that pages can read', {}],
    ['that answers tell', told],
  ])('by values %s', (_, server) => {
    test.each<[string, CookieBenchOptions['preset']]>([
      ['looks at the value', {}],
      ['looks at no value', { logout: { method: 'POST' } }],
    ])(
      '5: of two logins that a logout is faster than, whichever cookies come last are taken back: it %s',
      async (_, preset) => {
        const bench = await cookieBench({ server })
        const [asked, landed] = [door('/login'), deferred()]
        const answers: (() => void)[] = []
        let count = 0
        const tab = bench.page({
          store: bench.store,
          preset,
          beneath: (next) => async (input, init) => {
            if (new URL(new Request(input, init).url).pathname !== '/login') return next(input, init)
            const order = count++
            const response = await asked.beneath(next)(input, init)
            // The cookies of who asked first come last.
            if (order === 0) await landed.promise
            // As a browser does it: the cookies are there before the page hears of the answer.
            for (const one of response.headers.getSetCookie()) bench.jar.setCookieSync(one, base)
            response.headers.delete('set-cookie')
            landed.resolve()
            await new Promise<void>((resolve) => void answers.push(resolve))
            return response
          },
        })
        await tab.ready
        const flow = rejection(
          tab.login(({ fetch }: FlowContext) =>
            fetch('login', {
              method: 'POST',
              headers: { 'content-type': 'application/json' },
              body: JSON.stringify(alice),
            }),
          ),
        )
        await asked.reached
        const login = rejection(tab.login(bob))
        await turn()
        await tab.logout()
        expect(bench.cookies()).toEqual({})
        asked.open()
        await expect.poll(() => answers).toHaveLength(2)
        // That of the flow first.
        answers[1]?.()
        await turn()
        answers[0]?.()
        expect(await Promise.all([login, flow])).toMatchObject(Array(2).fill({ code: 'session_changed' }))
        await expect.poll(bench.cookies).toEqual({})
        expect([await bench.who(), tab.session]).toEqual([null, null])
      },
    )
  })

  test('5: a login that was kept here, the store being away, and lost to a logout elsewhere is taken back', async () => {
    const held = door('/login')
    const { auth, page, store, cookies } = await cookieBench()
    const mine = unsteady(store)
    const tab = page({ store: mine.store, beneath: held.beneath })
    await tab.ready
    const login = tab.login(bob)
    await held.reached
    await auth.logout()
    mine.away(true)
    held.open()
    expect(await login).toMatchObject({ subject: 'bob' })
    mine.away(false)
    await expect.poll(() => tab.session).toBeNull()
    await expect.poll(cookies).toEqual({})
  })

  test('5: so is one whose page had heard of that logout, though the store is away when it comes', async () => {
    const held = door('/login')
    const { auth, page, store, cookies } = await cookieBench()
    const mine = unsteady(store)
    const tab = page({ store: mine.store, beneath: held.beneath })
    await tab.ready
    const login = rejection(tab.login(bob))
    await held.reached
    await auth.logout()
    mine.tell()
    await expect.poll(() => tab.session).toBeNull()
    mine.away(true)
    held.open()
    expect(await login).toMatchObject({ code: 'session_changed' })
    await expect.poll(cookies).toEqual({})
  })

  test.each(['before', 'after'])(
    '5: so is a password, whether the tab hears of the logout %s the store is back',
    async (when) => {
      const held = door('/login')
      const { auth, page, store, cookies } = await cookieBench()
      const mine = unsteady(store)
      const tab = page({ store: mine.store, beneath: held.beneath })
      await tab.ready
      const proof = tab.reauthenticate(alice)
      await held.reached
      await auth.logout()
      mine.away(true)
      held.open()
      expect(await proof).toMatchObject({ version: 2 })
      if (when === 'before') mine.tell()
      mine.away(false)
      await expect.poll(() => tab.session).toBeNull()
      await expect.poll(cookies).toEqual({})
    },
  )

  test('5: a logout that is written late takes nothing back that a login has brought since', async () => {
    const { auth, page, store, who } = await cookieBench()
    const mine = unsteady(store)
    const tab = page({ store: mine.store })
    await tab.ready
    mine.away(true)
    void tab.logout()
    await expect.poll(who).toBeNull()
    await tab.login(alice)
    // It has not heard of either, and takes the cookies up as its own.
    expect((await auth.fetch('protected', post)).status).toBe(200)
    mine.away(false)
    await expect.poll(() => (store.read() as Cell).record?.id).toBe(tab.session?.id)
    await turn()
    expect((await tab.fetch('protected', post)).status).toBe(200)
  })

  test('5: nobody is found by cookies that could not be cleared, though the store has lost the logout', async () => {
    const { page, backend } = await cookieBench()
    let record: Cell['record'] = null
    let lose = (): void => {}
    const cell = (): Cell => ({ record, now: Date.now() })
    const store: Store = {
      name: 'forgetful',
      read: cell,
      commit(next) {
        record = next
        return cell()
      },
      watch(listener) {
        lose = () => {
          record = null
          listener()
        }
        return () => {}
      },
    }
    backend.fault('logout', 'drop')
    const tab = page({ store })
    await tab.logout()
    lose()
    expect((await tab.fetch('protected')).status).toBe(401)
    expect([tab.session, backend.count('whoami')]).toEqual([null, 0])
  })

  /** The store loses all it had, and tells of that. */
  async function lose(store: HandStore): Promise<void> {
    store.record = null
    store.notify()
    await turn()
  }

  test('5: nor after a logout elsewhere that was heard of', async () => {
    const store = handStore()
    const { auth, page, backend, cookies } = await cookieBench({ store })
    const other = page({ store })
    await other.ready
    backend.fault('logout', 'drop')
    await other.logout()
    store.notify()
    await turn()
    await lose(store)
    expect(Object.keys(cookies())).toHaveLength(4)
    expect((await auth.fetch('protected')).status).toBe(401)
    expect([auth.session, backend.count('whoami')]).toEqual([null, 0])
  })

  test('but who signs in on a page that shares no store is found, once the store has lost a session that ran out', async () => {
    const store = handStore()
    const { auth, page, jar } = await cookieBench({ store })
    await auth.logout()
    await auth.login(alice)
    jar.removeAllCookiesSync()
    expect((await auth.fetch('protected')).status).toBe(401)
    expect(store.record).toMatchObject({ ended: 'session_expired' })
    await lose(store)
    await page({ store: memoryStore() }).login(bob)
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(auth.session).toMatchObject({ subject: 'bob' })
  })

  test('5: a logout under a value that was told with a password, of which whoami could not say whose it is', async () => {
    const { auth, backend, cookies } = await cookieBench({ server: told })
    backend.fault('whoami', 'drop', { times: 2 })
    expect(await rejection(auth.reauthenticate(alice))).toMatchObject({ code: 'login_unavailable' })
    await auth.logout()
    expect(cookies()).toEqual({})
  })

  test('5: a refresh that looks whose a value is, while that goes, is not sent once the user has signed out', async () => {
    const { auth, page, jar, came } = await cookieBench()
    await page().login(bob)
    const refresh = auth.refresh()
    await turn()
    jar.setCookieSync('csrf_refresh_token=; Path=/; Max-Age=0', base)
    await auth.logout()
    await refresh
    expect(came().filter((one) => one.includes('refresh'))).toEqual([])
  })
})

test('3: a refresh token that was refused is not taken up again with an access cookie that was replaced', async () => {
  const bench = await cookieBench()
  const { auth, backend } = bench
  const { token } = backend.issued.find(({ kind }) => kind === 'refresh') ?? { token: '' }
  backend.revoke(token)
  await auth.refresh()
  await replaced(bench, 'alice')
  expect((await auth.fetch('protected', post)).status).toBe(200)
  await auth.refresh()
  expect(backend.count('refresh')).toBe(1)
})

test.each([
  ['a value', {}, {}],
  ['no value', { csrfProtect: false }, { csrf: false }],
] as const)(
  '3: nor is one that is refused while another access cookie is taken up: it is not sent again, under %s',
  async (_, server, preset) => {
    const bench = await cookieBench({ server, preset })
    const { backend, page, store, came } = bench
    const held = lateAnswer('/refresh')
    const tab = page({ store, beneath: held.beneath })
    await tab.ready
    const { token } = backend.issued.find(({ kind }) => kind === 'refresh') ?? { token: '' }
    backend.revoke(token)
    const refresh = tab.refresh()
    await held.reached
    await replaced(bench, 'alice')
    backend.fault('protected', { status: 401, body: { msg: 'Missing cookie "access_token_cookie"' } })
    expect((await tab.fetch('protected', post)).status).toBe(200)
    held.open()
    await refresh
    await tab.refresh()
    expect(came()).toEqual(['POST refresh 401', 'POST protected 401', 'GET whoami 200', 'POST protected 200'])
  },
)

test('3: a refresh token that was spent is not taken up again from what whoami tells', async () => {
  const preset = { refreshToken: 'single-use' } as const
  const { page, came } = await cookieBench({ server: { ...told, refresh: 'single-use' }, preset })
  const tab = page()
  await tab.fetch('protected')
  expect(await tab.refresh()).toMatchObject({ version: 2 })
  await tab.refresh()
  expect(came().filter((one) => one.includes('refresh'))).toEqual(['POST refresh 200'])
})

test('4: a refresh token that came with an answer of which nobody could tell whose it is is not lost', async () => {
  const { page, backend, came } = await cookieBench({ server: { ...told, refresh: 'rotating' } })
  const tab = page()
  await tab.fetch('protected')
  backend.clearLog()
  backend.fault('whoami', 'drop')
  expect(isAuthError(await rejection(tab.refresh()), 'refresh_unavailable')).toBe(true)
  later()
  expect((await tab.fetch('protected', post)).status).toBe(200)
  expect(came().filter((one) => one.includes('refresh'))).toEqual([
    'POST refresh 200',
    'POST refresh 401',
    'POST refresh 200',
  ])
})

test('4: a page in place of the answer of whoami doesn’t say that nobody is signed in', async () => {
  const { page, backend } = await cookieBench()
  const tab = page()
  backend.fault('whoami', 'not-json')
  expect(isAuthError(await rejection(tab.fetch('protected')), 'refresh_unavailable')).toBe(true)
  expect((await tab.fetch('protected', post)).status).toBe(200)
})

test('a session found by its cookies is not refreshed where the server has no route for it', async () => {
  const preset = { whoami: undefined, refresh: false } as const
  const { page, backend } = await cookieBench({ server: implicit, preset })
  const tab = page()
  expect((await tab.fetch('protected', post)).status).toBe(200)
  later()
  expect((await tab.fetch('protected', post)).status).toBe(401)
  expect(backend.count('refresh')).toBe(0)
})

test('a cookie that was gone when its token ran out, and has been replaced since, is taken up, and nothing refreshed', async () => {
  const held = lateAnswer('/protected')
  const bench = await cookieBench()
  const { page, backend, came } = bench
  // Found by its cookies, so that it is known how long they last.
  const tab = page({ beneath: held.beneath })
  await tab.ready
  backend.clearLog()
  backend.fault('protected', { status: 401, body: { msg: 'Missing cookie "access_token_cookie"' } })
  const call = tab.fetch('protected', post)
  await held.reached
  later()
  await replaced(bench, 'alice')
  held.open()
  expect((await call).status).toBe(200)
  expect(came()).toEqual(['POST protected 401', 'GET whoami 200', 'POST protected 200'])
})

test('4: a dialog that is dismissed ends no session whose cookie was replaced meanwhile', async () => {
  const preset = { refresh: false } as const
  const bench = await cookieBench({ server: implicit, preset })
  const { auth, backend } = bench
  const other = bench.page({ store: bench.store })
  await other.ready
  backend.expireAccessTokens()
  let dismiss = (): void => {}
  const asked = new Promise<void>((resolve) => {
    auth.on('reauthRequired', (event) => {
      event.waitUntil(
        new Promise<void>((close) => {
          dismiss = close
        }),
      )
      resolve()
    })
  })
  const call = auth.fetch('protected')
  await asked
  await replaced(bench, 'alice')
  expect((await other.fetch('protected', post)).status).toBe(200)
  dismiss()
  await call
  expect(auth.session).toMatchObject({ status: 'active' })
})

test('1: a refresh that waited for a password does not spend its cookies before they are in the store', async () => {
  const memory = memoryStore()
  const bench = await cookieBench({ store: memory })
  const atLogin = door('/login')
  const atStore = door('/')
  const hold = atStore.beneath(async () => new Response())
  const store: Store = {
    ...memory,
    async commit(next, expected) {
      if ('reason' in next && next.reason === 'reauthenticated') await hold(base)
      return memory.commit?.(next, expected) as Cell
    },
  }
  const tab = bench.page({ store, beneath: atLogin.beneath })
  await tab.ready
  const proof = tab.reauthenticate(alice)
  await atLogin.reached
  const refresh = tab.refresh()
  await turn()
  atLogin.open()
  await atStore.reached
  for (let turns = 0; turns < 5; turns++) await turn()
  atStore.open()
  await Promise.all([proof, refresh])
  expect(bench.came()).toEqual(['POST login 200', 'GET whoami 200'])
})

test('1: who asks for the refresh of the session before takes no place from the one that is under way', async () => {
  const { page, store, backend, jar } = await cookieBench()
  const atWhoami = lateAnswer('/whoami')
  const atRefresh = door('/refresh')
  const tab = page({ store, beneath: (next) => atWhoami.beneath(atRefresh.beneath(next)) })
  await tab.ready
  await jar.removeAllCookies()
  const call = tab.fetch('protected')
  await atWhoami.reached
  await page({ store }).login(bob)
  backend.fault('refresh', { status: 500 })
  const first = rejection(tab.refresh())
  await atRefresh.reached
  atWhoami.open()
  expect((await call).status).toBe(401)
  const second = rejection(tab.refresh())
  await turn()
  atRefresh.open()
  expect([await first, await second]).toMatchObject(Array(2).fill({ code: 'refresh_unavailable' }))
  expect(backend.count('refresh')).toBe(1)
})

describe('6: as who made it', () => {
  test('6: a refresh that is turned down for its value is not tried under that of who has signed in since', async () => {
    const preset = { whoami: undefined }
    const { page, store, who, came } = await cookieBench({ preset })
    const held = door('/refresh')
    const tab = page({ store, preset, beneath: held.beneath })
    const other = page({ store, preset })
    await Promise.all([tab.ready, other.ready])
    const refresh = tab.refresh()
    await held.reached
    await other.login(bob)
    held.open()
    await refresh
    expect(came()).toEqual(['POST login 200', 'POST refresh 401'])
    expect(await who()).toBe('bob')
  })

  test('6: a password of which nobody can tell whose it is changes nothing', async () => {
    const { auth, backend } = await cookieBench()
    const { session } = auth
    backend.fault('whoami', 'drop')
    expect(await rejection(auth.reauthenticate(bob))).toMatchObject({ code: 'login_unavailable' })
    expect(auth.session).toBe(session)
  })

  test.each([
    ['whose token has run out by then', { status: 401, body: { msg: 'Token has expired' } }],
    ['that finds no cookie', { status: 401, body: { msg: 'Missing cookie "access_token_cookie"' } }],
    ['that is asked too often', { status: 429 }],
  ])('6: nor does one after a whoami %s', async (_, answer) => {
    const { auth, backend } = await cookieBench()
    const { session } = auth
    backend.fault('whoami', answer)
    expect(await rejection(auth.reauthenticate(bob))).toMatchObject({ code: 'login_unavailable' })
    expect(auth.session).toBe(session)
  })

  test('6: nor one after a whoami that turns it down with a body that never ends', async () => {
    const { timeout } = AbortSignal
    let stalls = false
    const { auth } = await cookieBench({
      beneath: (next) => (input, init) =>
        stalls && new Request(input).url.endsWith('/whoami')
          ? Promise.resolve(new Response(new ReadableStream(), { status: 401 }))
          : next(input, init),
    })
    const { session } = auth
    stalls = true
    vi.spyOn(AbortSignal, 'timeout').mockImplementation(() => timeout.call(AbortSignal, 20))
    expect(await rejection(auth.reauthenticate(bob))).toMatchObject({ code: 'login_unavailable' })
    expect(auth.session).toBe(session)
  })

  test('6: what whoami says of a login elsewhere is not believed of this one, where answers tell the values', async () => {
    const bench = await cookieBench({ server: told })
    const held = lateAnswer('/login', bench.jar)
    const tab = bench.page({ beneath: held.beneath })
    const login = tab.login(bob)
    await held.reached
    await bench.auth.login(alice)
    held.open()
    expect(await login).toMatchObject({ subject: undefined })
  })

  test('6: nor is a page in place of its answer, of cookies that another’s have replaced', async () => {
    const { auth, page, backend, came } = await cookieBench()
    await page().login(bob)
    backend.clearLog()
    backend.fault('whoami', 'not-json')
    expect((await auth.fetch('protected', post)).status).toBe(401)
    expect(came()).toEqual(['POST protected 401', 'GET whoami 200'])
  })

  test('6: of a login elsewhere whose access cookie a late refresh has replaced the refresh cookie is not the user’s', async () => {
    const bench = await cookieBench()
    const held = lateAnswer('/refresh')
    const tab = bench.page({ store: bench.store, beneath: held.beneath })
    await tab.ready
    const refresh = tab.refresh()
    await held.reached
    await bench.page().login(bob)
    held.open()
    expect(await refresh).toMatchObject({ subject: 'alice', version: 2 })
    later()
    expect(isAuthError(await rejection(tab.fetch('protected', post)), 'refresh_unavailable')).toBe(true)
    expect(tab.session).toMatchObject({ subject: 'alice', version: 2 })
    expect(bench.came().filter((one) => one.includes('protected'))).toEqual([])
  })

  test.each([
    ['login', 'bob', ['bob']],
    ['refresh', 'alice', []],
  ])(
    '6: nor are the cookies of one elsewhere that came between a %s and its page’s hearing of it, whoever its answer names',
    async (what, subject, accepted) => {
      const bench = await cookieBench({ as: what === 'login' ? false : alice })
      const held = lateAnswer(`/${what}`, bench.jar)
      const tab = bench.page({
        store: bench.store,
        beneath: (next) =>
          held.beneath(async (input, init) => {
            const response = await next(input, init)
            const names = new Request(input, init).url.endsWith(`/${what}`)
            return names ? new Response(JSON.stringify({ sub: 'alice' }), response) : response
          }),
      })
      await tab.ready
      const made = Promise.allSettled([what === 'login' ? tab.login(alice) : tab.refresh()])
      await held.reached
      await bench.page().login(bob)
      held.open()
      await made
      await tab.fetch('protected', post)
      expect(tab.session?.subject).toBe(subject)
      const entries = bench.backend.log.filter(({ route, status }) => route === 'protected' && status === 200)
      expect(entries.map(({ token }) => token?.sub)).toEqual(accepted)
    },
  )

  test('6: nor does a refresh under another value than the session’s', async () => {
    const { auth, page, backend } = await cookieBench()
    await page().login(bob)
    backend.fault('whoami', 'drop')
    later()
    expect(isAuthError(await rejection(auth.fetch('protected')), 'refresh_unavailable')).toBe(true)
    expect(auth.session).toMatchObject({ subject: 'alice', version: 1 })
  })

  test.each(['whoami says so', 'nobody can tell'])(
    '6: of a login elsewhere that replaced the cookies of a refresh before it was heard of nothing is taken: %s',
    async (how) => {
      const bench = await cookieBench()
      const held = lateAnswer('/refresh', bench.jar)
      const tab = bench.page({ store: bench.store, beneath: held.beneath })
      await tab.ready
      later()
      const call = rejection(tab.fetch('protected', post))
      await held.reached
      await bench.page().login(bob)
      if (how === 'nobody can tell') bench.backend.fault('whoami', 'drop')
      held.open()
      expect(isAuthError(await call, 'refresh_unavailable')).toBe(true)
      expect(bench.came().filter((one) => one.includes('protected'))).toEqual([])
      expect(await bench.who()).toBe('bob')
    },
  )
})

test('4: a page in place of a refresh answer is none, where the page can’t see the cookies', async () => {
  const { auth, backend } = await cookieBench({ server: told })
  later()
  backend.fault('refresh', 'not-json')
  expect(isAuthError(await rejection(auth.fetch('protected')), 'refresh_unavailable')).toBe(true)
  expect(auth.session).toMatchObject({ version: 1 })
  expect((await auth.fetch('protected', post)).status).toBe(200)
})

describe('10: what never ends', () => {
  test('10: a login that is never answered holds up what comes after it for ten seconds, and no longer', async () => {
    const { auth, backend, came } = await cookieBench()
    virtualTime()
    backend.fault('login', 'hang')
    const login = rejection(auth.login(bob))
    await vi.advanceTimersByTimeAsync(11_000)
    await auth.refresh()
    expect(came()).toContain('POST refresh 200')
    await vi.advanceTimersByTimeAsync(30_000)
    expect(await login).toMatchObject({ code: 'login_unavailable' })
  })

  test('5: nor does it keep the cookies of a login that the user ended before it', async () => {
    const { page, backend, cookies } = await cookieBench()
    const held = lateAnswer('/login')
    const tab = page({ beneath: held.beneath })
    virtualTime()
    await tab.logout()
    const ended = rejection(tab.login(alice))
    await held.reached
    await tab.logout()
    backend.fault('login', 'hang')
    const login = rejection(tab.login(bob))
    await turn()
    held.open()
    await expect.poll(() => Object.keys(cookies())).toHaveLength(4)
    expect(await ended).toMatchObject({ code: 'session_changed' })
    await vi.advanceTimersByTimeAsync(31_000)
    expect(await login).toMatchObject({ code: 'login_unavailable' })
    expect(cookies()).toEqual({})
  })

  test('4: a whoami that is not there costs no refresh of cookies that rotate', async () => {
    const { auth, backend, came } = await cookieBench({ server: { refresh: 'rotating' } })
    await auth.fetch('protected')
    for (const round of [1, 2]) {
      backend.fault('whoami', { status: 404 })
      backend.clearLog()
      expect(await auth.refresh(), `round ${round}`).toMatchObject({ subject: 'alice' })
      expect(came()).toEqual(['POST refresh 200', 'GET whoami 404'])
    }
    expect((await auth.fetch('protected', post)).status).toBe(200)
  })

  test('10: a whoami whose body never ends costs no login, over a fetch that heeds no signal', async () => {
    const { auth, backend } = await cookieBench({
      as: false,
      server: told,
      beneath: (next) => (input, init) => next(input, { ...init, signal: null }),
    })
    const { timeout } = AbortSignal
    const soon = vi.spyOn(AbortSignal, 'timeout').mockImplementation(() => timeout.call(AbortSignal, 20))
    backend.fault('whoami', 'stall-body')
    expect(await auth.login(alice)).toMatchObject({ version: 1, subject: undefined })
    soon.mockRestore()
    expect((await auth.fetch('protected', post)).status).toBe(200)
  })
})

test('a refresh that is overtaken by a login of the same user elsewhere is not taken back: the cookies are his', async () => {
  const bench = await cookieBench()
  const held = lateAnswer('/refresh', bench.jar)
  const tab = bench.page({ store: bench.store, beneath: held.beneath })
  const other = bench.page({ store: bench.store })
  await Promise.all([tab.ready, other.ready])
  const refresh = tab.refresh()
  await held.reached
  await other.login(alice)
  held.open()
  await refresh
  expect((await other.fetch('protected', post)).status).toBe(200)
  expect(bench.came().filter((one) => one.includes('logout'))).toEqual([])
})
