/** Whoever is called by the client, and what they do meanwhile: listeners, dialogs, steps of a login. */
import { describe, expect, test, vi } from 'vitest'
import { createAuth, flaskJwt, type LiveRecord, memoryStore } from '../../src/index.ts'
import { handStore, mint, ok, refuse, serve } from './by-hand.ts'
import {
  alice,
  baseUrl,
  bob,
  type Client,
  deferred,
  failure,
  pass,
  reported,
  room,
  second,
  settle,
  summary,
  virtualTime,
} from './support.ts'

virtualTime()

describe('a listener', () => {
  test.each(['reportError', 'console.error'])(
    'that throws silences nobody, though %s throws too',
    async (where) => {
      const rethrow = (error: unknown): never => {
        throw error
      }
      if (where === 'reportError') vi.stubGlobal('reportError', rethrow)
      else vi.spyOn(console, 'error').mockImplementation(rethrow)
      const { auth } = room()
      const told: string[] = []
      auth.on('loggedIn', () => {
        throw new Error('a listener of the application’s')
      })
      for (const type of ['loggedIn', 'tokenRefreshed', 'loggedOut'] as const) {
        auth.on(type, () => void told.push(type))
      }
      await auth.login(alice)
      await auth.refresh()
      await auth.logout()
      expect(told).toEqual(['loggedIn', 'tokenRefreshed', 'loggedOut'])
    },
  )
})

describe('a dialog', () => {
  test('6: that is still open for who was signed in before is over, and who is signed in now gets his own', async () => {
    const { auth, backend, signInStale } = room()
    await signInStale()
    const asked: (string | undefined)[] = []
    const signals: AbortSignal[] = []
    auth.on('reauthRequired', ({ session: { subject }, signal, waitUntil }) => {
      asked.push(subject)
      signals.push(signal)
      waitUntil(subject === 'bob' ? auth.reauthenticate(bob) : new Promise(() => {}))
    })
    const first = auth.fetch('fresh')
    await settle()
    await auth.login(bob)
    backend.expireAccessTokens()
    await auth.fetch('protected')
    const next = auth.fetch('fresh')
    await settle()
    expect(asked).toEqual(['alice', 'bob'])
    expect(signals[0]?.aborted).toBe(true)
    expect((await next).status).toBe(200)
    expect((await first).status).toBe(401)
  })
})

describe('what the application hands over', () => {
  test('as options on a prototype is refused at once, and not lost', () => {
    class Config {
      get baseUrl(): string {
        return baseUrl
      }
      get backend(): ReturnType<typeof flaskJwt> {
        return flaskJwt()
      }
    }
    expect(() => createAuth(new Config())).toThrow(expect.objectContaining({ code: 'invalid_option' }))
    const inherited = Object.create({ baseUrl, backend: flaskJwt() })
    expect(() => createAuth(inherited)).toThrow(expect.objectContaining({ code: 'invalid_option' }))
  })

  test('to logout() may be null', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    await auth.logout(null as never)
    expect(auth.session).toBeNull()
    expect(backend.sessionAlive('alice')).toBe(false)
  })

  test('of claims comes back frozen all the way down', () => {
    const accessToken = mint('alice', { roles: ['user'], of: { team: { name: 'a' } } })
    const { auth } = room({ client: { initial: { accessToken } } })
    const claims = auth.session?.claims as unknown as { roles: string[]; of: { team: { name: string } } }
    expect(() => claims.roles.push('admin')).toThrow(TypeError)
    expect(() => Object.assign(claims.of.team, { name: 'b' })).toThrow(TypeError)
    expect(auth.session?.claims).toMatchObject({ roles: ['user'], of: { team: { name: 'a' } } })
  })
})

test('8: what is given to a login counts as it was at the call', async () => {
  const store = handStore()
  const { auth, another, backend } = room({ client: { store } })
  const form = { ...alice }
  const login = auth.login(form)
  form.password = ''
  await login
  const { auth: next } = another()
  const again = { ...alice }
  const proof = next.reauthenticate(again)
  again.password = ''
  await proof
  expect(backend.count('login')).toBe(2)
  const tokens = { accessToken: mint('alice') }
  const set = next.setTokens(tokens)
  tokens.accessToken = mint('bob')
  await set
  expect(next.session).toMatchObject({ subject: 'alice' })
})

describe('whoever is called', () => {
  test.each(['catch', 'then'])(
    'may wait with a promise whose %s is its own: all are told what comes',
    async (own) => {
      const server = serve(({ path }) =>
        path === '/login'
          ? ok({ access_token: mint('alice'), refresh_token: 'spare' })
          : refuse('Fresh token required'),
      )
      const { auth, told } = room({ client: { fetch: server.fetch, reauthTimeout: second } })
      await auth.login(alice)
      const odd = Object.assign(Promise.resolve(), { [own]: () => {} }) as Promise<void>
      auth.on('reauthRequired', (event) => event.waitUntil(odd))
      const call = auth.fetch('account')
      await pass(2 * second)
      expect((await call).status).toBe(401)
      await auth.logout()
      expect(summary(told).at(-1)).toBe('loggedOut: logout')
    },
  )

  test('may give back what ends no watching: a client is disposed of to the end', async () => {
    const errors = reported()
    const watch = () => () => {
      throw new Error('gone')
    }
    const auth = createAuth({ baseUrl, backend: flaskJwt(), store: { ...memoryStore(), watch } }) as Client
    await auth.dispose()
    expect(errors.map(String)).toEqual(['Error: gone'])
    expect(await failure(auth.fetch('items'))).toMatchObject({ code: 'disposed' })
  })

  test('may answer at once, where the caller can go first', async () => {
    const fetch = (() => new Response('here')) as unknown as typeof globalThis.fetch
    const { auth } = room({ client: { fetch, initial: { accessToken: mint('alice') } } })
    const response = await auth.fetch('items', { signal: new AbortController().signal })
    expect(await response.text()).toBe('here')
  })
})

// --- 6

test('5: a subscriber that signs out as the session expires: no password is asked for after that', async () => {
  const { auth, backend, told, signIn } = room()
  await signIn()
  auth.subscribe((session) => {
    if (session?.status === 'expired') void auth.logout()
  })
  const shown: unknown[] = []
  auth.on('reauthRequired', ({ session }) => void shown.push(session))
  backend.revoke({ sub: 'alice' })
  await auth.fetch('protected').catch(() => {})
  await settle()
  expect(shown).toEqual([])
  expect(summary(told)).toEqual(['loggedOut: logout'])
  expect(auth.history.map(({ type }) => type)).not.toContain('reauthRequired')
})

test('5: a listener that signs out while another has just asked for a fresh token: no password is asked for', async () => {
  const { auth, told, signInStale } = room()
  await signInStale()
  auth.on('tokenRefreshed', () => void auth.fetch('protected', { auth: 'fresh' }).catch(() => {}))
  auth.on('tokenRefreshed', () => void auth.logout())
  await auth.refresh().catch(() => {})
  await settle()
  expect(summary(told)).toEqual(['tokenRefreshed: requested', 'loggedOut: logout'])
})

describe('while a password is asked for', () => {
  test('7: a refresh is no login: the request that waits is not sent again, and has its own 401', async () => {
    const { auth, backend, signInStale } = room()
    await signInStale()
    const dialog = deferred()
    auth.on('reauthRequired', ({ waitUntil }) => waitUntil(dialog.promise))
    const waiting = auth.fetch('fresh')
    await settle()
    await auth.refresh()
    dialog.resolve()
    expect((await waiting).status).toBe(401)
    expect(backend.count('fresh')).toBe(1)
  })

  test('5: and nothing else helps, nothing is refreshed: what was revoked does not come back', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    backend.fault('protected', { status: 401, body: { msg: 'Token has been revoked' } })
    const dialog = deferred()
    auth.on('reauthRequired', ({ waitUntil }) => waitUntil(dialog.promise))
    const waiting = auth.fetch('protected')
    await settle()
    expect(auth.session).toMatchObject({ status: 'expired' })
    const asked = auth.refresh().catch(() => {})
    const other = auth.fetch('protected')
    await settle()
    expect(backend.count('refresh')).toBe(0)
    expect(backend.count('protected')).toBe(1)
    dialog.resolve()
    await Promise.all([waiting, other, asked])
    expect(auth.session).toBeNull()
    expect(backend.count('refresh')).toBe(0)
  })
})

test('5: a listener that signs out when it hears that a session was replaced: nothing more is told of the new one', async () => {
  const { auth, told, backend } = room()
  await auth.login(alice)
  told.length = 0
  auth.on('loggedOut', ({ reason }) => {
    if (reason === 'replaced') void auth.logout()
  })
  await auth.login(bob).catch(() => {})
  await settle()
  expect(auth.session).toBeNull()
  expect(summary(told)).toEqual(['loggedOut: replaced', 'loggedOut: logout'])
  expect(backend.sessionAlive('bob')).toBe(false)
})

for (const how of ['own', 'server'] as const) {
  test(`a refresh elsewhere closes no dialog that a caller who needs a fresh token has joined: told by its ${how}`, async () => {
    const store = handStore()
    const one = mint('alice', { fresh: false })
    const two = mint('alice', { fresh: false })
    const three = mint('alice', { fresh: true })
    const there = deferred()
    const server = serve(async ({ path, token }) => {
      if (path === '/login') return ok({ access_token: three, refresh_token: 'spare' })
      if (path === '/fresh') {
        if (how === 'server' && token === one) await there.promise
        return token === three ? ok() : refuse('Fresh token required')
      }
      return token === one ? refuse('Token has been revoked') : ok()
    })
    const auth = createAuth({ baseUrl, backend: flaskJwt(), fetch: server.fetch, store })
    await auth.setTokens({ accessToken: one, refreshToken: 'spare' })
    auth.on('reauthRequired', (event) => {
      event.waitUntil(
        new Promise<void>((resolve) => {
          // The dialog closes when it is moot; else the person types.
          const timer = setTimeout(() => void auth.reauthenticate(alice).then(() => resolve()), 5000)
          event.signal.addEventListener('abort', () => {
            clearTimeout(timer)
            resolve()
          })
        }),
      )
    })
    const early = how === 'server' ? auth.fetch('fresh', { method: 'POST' }) : undefined
    await settle()
    const plain = auth.fetch('items')
    await settle()
    expect(auth.session).toMatchObject({ status: 'expired' })
    const fresh = early ?? auth.fetch('fresh', { method: 'POST', auth: 'fresh' })
    await settle()
    there.resolve()
    await settle()
    const held = store.record as LiveRecord
    store.record = {
      ...held,
      version: 2,
      reason: 'expired',
      revision: 'theirs',
      access: { token: two, at: Date.now() },
    }
    store.notify()
    await settle()
    await pass(20_000)
    expect((await plain).status).toBe(200)
    expect((await fresh).status).toBe(200)
  })
}

test('nor does the claim of who is about to refresh what a password has brought', async () => {
  const store = handStore()
  const record: LiveRecord = {
    id: 'session',
    version: 2,
    revision: 'stands',
    calledAt: Date.now(),
    reason: 'reauthenticated',
    subject: 'alice',
    access: { token: mint('alice', { fresh: false }) },
    refreshToken: 'spare',
  }
  store.record = record
  const server = serve(() => ok())
  const auth = createAuth({ baseUrl, backend: flaskJwt(), fetch: server.fetch, store })
  await auth.ready
  let dialog: AbortSignal | undefined
  auth.on('reauthRequired', ({ signal, waitUntil }) => {
    dialog = signal
    waitUntil(new Promise(() => {}))
  })
  void auth.fetch('fresh', { auth: 'fresh' }).catch(() => {})
  await settle()
  store.record = {
    ...record,
    claim: { by: 'them', until: Date.now() + 5000, span: 5000 },
    revision: 'claimed',
  }
  store.notify()
  await settle()
  expect(dialog?.aborted).toBe(false)
})
