/**
 * The invariants that are about what a server sees, by their numbers in the design: once over the fake backend in
 * this process, once over real HTTP against the demo server. To be read as the specification; what else follows
 * from them, and every order of things, is in test/core and test/model.
 */
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { createAuth, memoryStore, type Store } from '../../src/index.ts'
import { flask, mswTransport, portTransport } from '../stories/flask.ts'
import type { Scene } from '../stories/server.ts'
import { type Client, type Stage, type StageOptions, setUp, summary, times } from '../stories/support.ts'

vi.setConfig({ testTimeout: 30_000 })

/** A second context over the same store: another tab, as it were. */
function another({ scene }: Stage, store: Store): Client {
  const auth = createAuth({ baseUrl: scene.baseUrl, backend: scene.backend as never, store }) as Client
  onTestFinished(() => void auth.dispose())
  return auth
}

const code = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'came through',
    (error) => (error.name === 'AuthError' ? error.code : error.name),
  )

const count = async (scene: Scene, role: 'refresh' | 'plain'): Promise<number> =>
  (await scene.seen(role)).length

const msw = mswTransport()

describe.each([
  ['in one process', msw],
  ['over real HTTP', portTransport],
])('%s', (_, transport) => {
  if (transport === msw) {
    beforeAll(() => msw.start())
    afterAll(() => msw.stop())
  }
  const stage = (options?: StageOptions): Promise<Stage> => setUp(flask(transport, 'default'), options)

  test('invariant 1: whatever asks, and in whichever context, there is one exchange per version', async () => {
    const store = memoryStore()
    const mine = await stage({ client: { store }, rotation: 'rotating-reuse-detection' })
    const { auth, scene, signIn } = mine
    const other = another(mine, store)
    await signIn()
    for (const round of [1, 2, 3]) {
      const rejected = await auth.getAccessToken()
      await scene.expireEarly()
      const calls = times(100, (i) => (i % 2 ? auth : other).fetch(scene.paths.plain))
      await Promise.all([auth.refresh(), other.getAccessToken({ rejected: rejected ?? '' }), other.refresh()])
      for (const response of await Promise.all(calls)) expect(response.status).toBe(200)
      expect(await count(scene, 'refresh')).toBe(round)
    }
    expect(await scene.reuses()).toBe(0)
  })

  test('invariant 2: a 401 that comes when the refresh is over is replayed with the token in hand', async () => {
    const { auth, scene, signIn } = await stage()
    await signIn()
    await scene.expireEarly()
    const slow = await scene.hold('plain', 'answer')
    const late = auth.fetch(scene.paths.plain)
    await slow.there
    expect((await auth.fetch(scene.paths.plain)).status).toBe(200)
    slow.release()
    expect((await late).status).toBe(200)
    expect(await count(scene, 'refresh')).toBe(1)
  })

  test('invariant 3: a refresh token that was replaced is never sent again', async () => {
    const { auth, scene, signIn } = await stage({ rotation: 'rotating-reuse-detection' })
    await signIn()
    for (const _ of times(5, Number)) {
      await scene.expireEarly()
      await Promise.all(times(10, () => auth.fetch(scene.paths.plain)))
    }
    const sent = (await scene.seen('refresh')).map(({ token }) => token)
    expect(new Set(sent).size).toBe(5)
    expect(sent).toHaveLength(5)
    expect(await scene.reuses()).toBe(0)
  })

  test('invariant 3: a refresh token that was refused is never sent again', async () => {
    const { auth, scene, signIn } = await stage()
    await signIn()
    await scene.expireEarly()
    await scene.fault('refresh', 'refuse')
    expect((await auth.fetch(scene.paths.plain)).status).toBe(401)
    expect((await auth.fetch(scene.paths.plain)).status).toBe(401)
    expect(await code(auth.refresh())).toBe('not_signed_in')
    expect(await count(scene, 'refresh')).toBe(1)
  })

  test('invariant 3: where nobody knows what became of an exchange, the token is tried once more', async () => {
    const { auth, scene, signIn } = await stage({ rotation: 'rotating-reuse-detection', reuseGrace: 60_000 })
    await signIn()
    await scene.expireEarly()
    await scene.fault('refresh', 'drop-after')
    expect(await code(auth.fetch(scene.paths.plain))).toBe('refresh_unavailable')
    expect((await auth.fetch(scene.paths.plain)).status).toBe(200)
    const [first, again] = (await scene.seen('refresh')).map(({ token }) => token)
    expect(again).toBe(first)
    expect(await scene.reuses()).toBe(0)
  })

  test('invariant 5: a logout during a refresh: nobody is signed in, and what the refresh brings is revoked', async () => {
    const store = memoryStore()
    const mine = await stage({ client: { store }, rotation: 'rotating' })
    const { auth, scene, told, signIn, inHand } = mine
    const other = another(mine, store)
    await signIn()
    const before = inHand()
    await scene.expireEarly()
    const answer = await scene.hold('refresh', 'answer')
    const waiting = code(auth.fetch(scene.paths.plain))
    await answer.there
    const out = auth.logout()
    expect(auth.session).toBeNull()
    answer.release()
    await out
    await waiting
    await auth.refresh().catch(() => {})
    expect([auth.session, other.session]).toEqual([null, null])
    expect(summary(told)).toEqual(['loggedOut: logout'])
    const issued = (await scene.seen('refresh')).length
    expect(issued).toBe(1)
    expect(await scene.honours(before.refresh)).toBe(false)
    // The revocation of the late answer goes its own way.
    await expect.poll(async () => (await scene.seen('logout')).length).toBeGreaterThanOrEqual(3)
  })

  test('invariant 5: of a logout and a login the last called wins, in whichever order they are answered', async () => {
    const { auth, scene, signIn } = await stage()
    await signIn()
    const slow = await scene.hold('login', 'answer')
    const early = code(auth.login(scene.alice))
    await slow.there
    void auth.logout()
    expect(await early).toBe('session_changed')
    slow.release()
    expect(auth.session).toBeNull()
    const out = auth.logout()
    const session = await auth.login(scene.bob)
    await out
    expect(auth.session).toBe(session)
  })

  test('invariant 6: after a login as somebody else no request of the first goes out as the second', async () => {
    const { auth, scene, signIn } = await stage()
    await signIn()
    await scene.expireEarly()
    const exchange = await scene.hold('refresh', 'answer')
    // Sent and turned down; and one that is not sent yet, for it wants a token of a longer life.
    const pending = auth.fetch(scene.paths.plain)
    await exchange.there
    const unsent = code(auth.getAccessToken({ minValidity: 1 }))
    await auth.login(scene.bob)
    exchange.release()
    expect((await pending).status).toBe(401)
    expect(await unsent).toBe('session_changed')
    const sent = await scene.seen('plain')
    expect(sent).toHaveLength(1)
  })

  test('invariant 9: an abort frees its caller at once, and nobody else notices', async () => {
    const { auth, scene, signIn } = await stage()
    await signIn()
    await scene.expireEarly()
    const exchange = await scene.hold('refresh', 'answer')
    const controller = new AbortController()
    const first = code(auth.fetch(scene.paths.plain, { signal: controller.signal }))
    await exchange.there
    const second = auth.fetch(scene.paths.plain)
    controller.abort()
    // The exchange is still held: the caller is free all the same.
    expect(await first).toBe('AbortError')
    exchange.release()
    expect((await second).status).toBe(200)
    expect(await count(scene, 'refresh')).toBe(1)
  })
})
