/**
 * The stories: what an application lives through with its server, told once and run over every server and
 * transport there is. See `server.ts` for what a server has to bring.
 */
import { describe, expect, test, vi } from 'vitest'
import { type AuthError, isAuthError } from '../../src/index.ts'
import { life, type Role, type Scene, type Server } from './server.ts'
import { type Stage, type StageOptions, setUp, summary, times, until } from './support.ts'

// Other servers and processes answer, on a machine that may be busy.
vi.setConfig({ testTimeout: 60_000 })

const failure = (promise: Promise<unknown>): Promise<AuthError> =>
  promise.then(
    () => {
      throw new Error('It came through')
    },
    (error) => error,
  )

const statuses = (responses: readonly Response[]): number[] => responses.map(({ status }) => status)
const second = 1000

const count = async (scene: Scene, role?: Role): Promise<number> => (await scene.seen(role)).length

/** What a server can't bring is no story of its: it isn't told, rather than skipped. */
const where = <Tell extends (...given: never[]) => unknown>(able: boolean | undefined, tell: Tell): Tell =>
  able ? tell : ((() => {}) as unknown as Tell)

export function stories(server: Server): void {
  const { abilities } = server
  const rotates = (rotation: (typeof abilities.rotations)[number]): boolean =>
    abilities.rotations.includes(rotation)
  const stage = (options?: StageOptions): Promise<Stage> => setUp(server, options)

  describe(server.name, () => {
    describe('signing in', () => {
      test('a login brings a session, and calls go out with its token', async () => {
        const { auth, scene, told, inHand } = await stage()
        expect(auth.session).toBeNull()
        const session = await auth.login(scene.alice)
        const subject = abilities.tellsSubject ? expect.any(String) : undefined
        expect(session).toMatchObject({ version: 1, status: 'active', subject })
        expect(auth.session).toBe(session)
        const response = await auth.fetch(scene.paths.plain)
        expect(response.status).toBe(200)
        expect(summary(told)).toEqual(['loggedIn: login'])
        const [login, ...more] = await scene.seen()
        expect([login?.role, login?.token]).toEqual(['login', undefined])
        const call = more.pop()
        expect([call?.role, call?.token]).toEqual(['plain', inHand().access])
        expect(more.length).toBe(abilities.asksWho ? 1 : 0)
      })

      test('a wrong password is refused with the server’s own answer, and nobody is signed in', async () => {
        const { auth, scene, told } = await stage()
        const error = await failure(auth.login({ ...scene.alice, password: 'wrong' }))
        if (!isAuthError(error, 'login_refused')) throw error
        // RFC 6749 section 5.2 has it a 400.
        expect([400, 401]).toContain(error.status)
        expect(error.serverMessage).toEqual(expect.any(String))
        expect(await error.response.text()).toContain(error.serverMessage)
        expect(auth.session).toBeNull()
        expect(told).toEqual([])
      })

      test('nobody signed in: a call goes out without a token, and its 401 comes back', async () => {
        const { auth, scene, told } = await stage()
        const response = await auth.fetch(scene.paths.plain)
        expect([response.status, response.bodyUsed]).toEqual([401, false])
        const asked = abilities.asksWho ? [{ role: undefined, token: undefined }] : []
        expect(await scene.seen()).toMatchObject([...asked, { role: 'plain', token: undefined }])
        expect(told).toEqual([])
      })
    })

    where(abilities.clock, describe)('expiry', () => {
      test('a token past its exp is refreshed before the call goes out', async () => {
        const { auth, scene, told, signIn, pass } = await stage({ stopped: true })
        const { id } = await signIn()
        await pass(life + second)
        expect((await auth.fetch(scene.paths.plain)).status).toBe(200)
        expect((await scene.seen()).map(({ role }) => role)).toEqual(['refresh', 'plain'])
        expect(summary(told)).toEqual(['tokenRefreshed: expired'])
        expect(auth.session).toMatchObject({ id, version: 2 })
      })

      test('200 requests at once on a token past its exp cost 201', async () => {
        const { auth, scene, signIn, pass } = await stage({ stopped: true })
        await signIn()
        await pass(life + second)
        const responses = await Promise.all(times(200, () => auth.fetch(scene.paths.plain)))
        expect(new Set(statuses(responses))).toEqual(new Set([200]))
        expect(await count(scene)).toBe(201)
        expect(await count(scene, 'refresh')).toBe(1)
      })

      test('a session outlives its expiry as often as it comes', async () => {
        const { auth, scene, signIn, pass } = await stage({ stopped: true })
        const { id } = await signIn()
        for (const round of [1, 2, 3, 4]) {
          await pass(life + second)
          const responses = await Promise.all(times(3, () => auth.fetch(scene.paths.plain)))
          expect(statuses(responses)).toEqual([200, 200, 200])
          expect(await count(scene, 'refresh')).toBe(round)
          expect(auth.session).toMatchObject({ id, version: round + 1, status: 'active' })
        }
      })
    })

    describe('tokens that the server turned down early', () => {
      test('200 requests at once draw one refresh, and all of them are answered', async () => {
        const { auth, scene, told, signIn } = await stage()
        await signIn()
        await scene.expireEarly()
        const responses = await Promise.all(times(200, () => auth.fetch(scene.paths.plain)))
        expect(new Set(statuses(responses))).toEqual(new Set([200]))
        expect(await count(scene, 'refresh')).toBe(1)
        expect(summary(told)).toEqual(['tokenRefreshed: rejected'])
      })

      test('a 401 that comes late is replayed with the token in hand and refreshes nothing', async () => {
        const { auth, scene, signIn, inHand } = await stage()
        await signIn()
        const { access: old } = inHand()
        await scene.expireEarly()
        const held = await scene.hold('plain', 'answer')
        const late = auth.fetch(scene.paths.plain)
        await held.there
        expect((await auth.fetch(scene.paths.fresh)).status).toBe(abilities.stepUp === 'claim' ? 401 : 200)
        expect(await count(scene, 'refresh')).toBe(1)
        const { access: renewed } = inHand()
        held.release()
        expect((await late).status).toBe(200)
        expect(await count(scene, 'refresh')).toBe(1)
        expect((await scene.seen('plain')).map(({ token }) => token)).toEqual([old, renewed])
      })

      test('a token that works on one call and not on the next costs one refresh each time', async () => {
        const { auth, scene, signIn } = await stage()
        await signIn()
        for (const round of [1, 2, 3]) {
          await scene.expireEarly()
          expect((await auth.fetch(scene.paths.plain)).status).toBe(200)
          expect((await auth.fetch(scene.paths.plain)).status).toBe(200)
          expect(await count(scene, 'refresh')).toBe(round)
        }
      })

      test.each<[string, () => BodyInit, string | undefined]>([
        ['text', () => '{"name":"tea","note":"ünïcode ✓"}', 'application/json'],
        ['bytes', () => Uint8Array.from({ length: 70_000 }, (_, at) => (at * 7) % 256), undefined],
        ['a form', () => new URLSearchParams({ a: 'ä', b: '&=' }), undefined],
        ['a blob', () => new Blob(['some ', 'parts'], { type: 'text/plain' }), undefined],
      ])('a POST whose body is %s is replayed byte for byte', async (_, body, type) => {
        const { auth, scene, signIn } = await stage()
        await signIn()
        await scene.expireEarly()
        const headers = type === undefined ? undefined : { 'content-type': type }
        const response = await auth.fetch(scene.paths.plain, { method: 'POST', body: body(), headers })
        expect(response.status).toBe(200)
        const expected = Buffer.from(await new Response(body()).arrayBuffer()).toString('base64')
        expect(((await response.json()) as { base64: string }).base64).toBe(expected)
        expect((await scene.seen('plain')).map(({ method, status }) => [method, status])).toEqual([
          ['POST', 401],
          ['POST', 200],
        ])
      })

      test('a multipart form is replayed with its parts', async () => {
        const { auth, scene, signIn } = await stage()
        await signIn()
        await scene.expireEarly()
        const body = new FormData()
        body.set('name', 'tea')
        body.set('file', new File(['the leaves'], 'leaves.txt', { type: 'text/plain' }))
        const response = await auth.fetch(scene.paths.plain, { method: 'POST', body })
        const echo = (await response.json()) as { content_type: string; base64: string }
        const sent = new Response(Buffer.from(echo.base64, 'base64'), {
          headers: { 'content-type': echo.content_type },
        })
        const form = await sent.formData()
        expect(form.get('name')).toBe('tea')
        expect(await (form.get('file') as File).text()).toBe('the leaves')
        expect(await count(scene, 'plain')).toBe(2)
      })

      test('a Request with a body is replayed byte for byte, and the caller’s stays as it was given', async () => {
        const { auth, scene, signIn } = await stage()
        await signIn()
        await scene.expireEarly()
        const request = new Request(new URL(scene.paths.plain, scene.baseUrl), {
          method: 'PUT',
          body: 'a body of its own',
          headers: { 'x-mine': 'kept' },
        })
        const response = await auth.fetch(request)
        expect(await response.json()).toMatchObject({ method: 'PUT', body: 'a body of its own' })
        expect(request.headers.has('authorization')).toBe(false)
      })

      test('a stream is never sent twice: its 401 comes back, and the next call has a good token', async () => {
        const { auth, scene, signIn } = await stage()
        await signIn()
        await scene.expireEarly()
        const body = new Blob(['once']).stream()
        const init = { method: 'POST', body, duplex: 'half' }
        const response = await auth.fetch(scene.paths.plain, init)
        expect([response.status, response.bodyUsed]).toEqual([401, false])
        expect(await response.json()).toEqual(scene.refusals.expired)
        expect((await auth.fetch(scene.paths.plain)).status).toBe(200)
        expect((await scene.seen('plain')).map(({ status }) => status)).toEqual([401, 200])
        expect(await count(scene, 'refresh')).toBe(1)
      })

      test('a call that must not be replayed gets its 401, and the next one has a good token', async () => {
        const { auth, scene, signIn } = await stage()
        await signIn()
        await scene.expireEarly()
        const response = await auth.fetch(scene.paths.plain, { method: 'POST', body: 'x', replay: false })
        expect([response.status, await response.json()]).toEqual([401, scene.refusals.expired])
        expect((await auth.fetch(scene.paths.plain)).status).toBe(200)
        expect((await scene.seen('plain')).map(({ status }) => status)).toEqual([401, 200])
      })

      test('an aborted call is let go at once, and the refresh goes on for the others', async () => {
        const { auth, scene, signIn } = await stage()
        await signIn()
        await scene.expireEarly()
        const held = await scene.hold('refresh', 'answer')
        const controller = new AbortController()
        const aborted = auth.fetch(scene.paths.plain, { signal: controller.signal })
        const other = auth.fetch(scene.paths.plain)
        await held.there
        controller.abort(new Error('changed my mind'))
        await expect(aborted).rejects.toThrow('changed my mind')
        held.release()
        expect((await other).status).toBe(200)
        expect(await count(scene, 'refresh')).toBe(1)
      })
    })

    where(abilities.clock, describe)('rotation', () => {
      test.for((['rotating', 'rotating-reuse-detection'] as const).filter(rotates))(
        '%s: each refresh token is used once, and the family lives',
        async (rotation) => {
          const { auth, scene, signIn, pass, inHand } = await stage({ stopped: true, rotation })
          const { id } = await signIn()
          for (const round of [1, 2, 3, 4, 5]) {
            // By turns: past its exp, and turned down before it.
            if (round % 2) await pass(life + second)
            else await scene.expireEarly()
            const responses = await Promise.all(times(20, () => auth.fetch(scene.paths.plain)))
            expect(new Set(statuses(responses))).toEqual(new Set([200]))
            expect(await count(scene, 'refresh')).toBe(round)
          }
          const spent = (await scene.seen('refresh')).map(({ token }) => token)
          expect(new Set(spent).size).toBe(5)
          expect(await scene.reuses()).toBe(0)
          expect(await scene.honours(inHand().refresh)).toBe(true)
          expect(auth.session).toMatchObject({ id, version: 6 })
        },
      )

      where(abilities.grace && rotates('rotating-reuse-detection'), test)(
        'an exchange whose answer was lost is tried once more, and the family lives by the server’s grace',
        async () => {
          const { auth, scene, signIn, pass, inHand } = await stage({
            stopped: true,
            rotation: 'rotating-reuse-detection',
            reuseGrace: 10_000,
          })
          const { id } = await signIn()
          await pass(life + second)
          await scene.fault('refresh', 'drop-after')
          expect(await failure(auth.fetch(scene.paths.plain))).toMatchObject({ code: 'refresh_unavailable' })
          expect((await auth.fetch(scene.paths.plain)).status).toBe(200)
          expect(auth.session).toMatchObject({ id, status: 'active' })
          expect(await scene.honours(inHand().refresh)).toBe(true)
          expect(await scene.reuses()).toBe(0)
        },
      )

      where(rotates('single-use'), test)(
        'a refresh token that dies at its use is used once; at the next expiry the password is asked for',
        async () => {
          const { auth, scene, told, signIn, pass, inHand } = await stage({
            stopped: true,
            rotation: 'single-use',
          })
          await signIn()
          const { refresh } = inHand()
          // Close to the end nothing is refreshed ahead: it would cost the one refresh there is.
          await pass(life - 3 * second)
          expect((await auth.fetch(scene.paths.plain)).status).toBe(200)
          expect(await count(scene, 'refresh')).toBe(0)
          await pass(4 * second)
          expect((await auth.fetch(scene.paths.plain)).status).toBe(200)
          expect(summary(told)).toEqual(['tokenRefreshed: expired'])
          await pass(life + second)
          const responses = await Promise.all(times(5, () => auth.fetch(scene.paths.plain)))
          expect(statuses(responses)).toEqual([401, 401, 401, 401, 401])
          expect(summary(told)).toEqual([
            'tokenRefreshed: expired',
            'reauthRequired: session_expired',
            'loggedOut: session_expired',
          ])
          expect((await scene.seen('refresh')).map(({ token }) => token)).toEqual([refresh])
          expect(auth.session).toBeNull()
        },
      )

      where(rotates('single-use'), test)('a spent single-use session goes on by the password', async () => {
        const { auth, scene, signIn, pass, onAsk } = await stage({ stopped: true, rotation: 'single-use' })
        const { id } = await signIn()
        onAsk(() => auth.reauthenticate(scene.alice))
        for (const version of [2, 3, 4]) {
          await pass(life + second)
          expect((await auth.fetch(scene.paths.plain)).status).toBe(200)
          // In turns: the refresh token, the password, the refresh token that came with it.
          expect(auth.session).toMatchObject({ id, version })
        }
        expect(await count(scene, 'refresh')).toBe(2)
        expect(await count(scene, 'login')).toBe(1)
      })
    })

    where(abilities.stepUp && abilities.clock, describe)('step-up', () => {
      /** Signed in with a token that is not fresh any more. */
      async function stale(): Promise<Stage & { id: string }> {
        const staged = await stage({ stopped: true })
        const { id } = await staged.signIn()
        await staged.pass(life + second)
        await staged.auth.fetch(staged.scene.paths.plain)
        await staged.scene.clear()
        staged.told.length = 0
        return { ...staged, id }
      }

      test('a fresh token from a login passes', async () => {
        const { auth, scene, told, signIn } = await stage()
        await signIn()
        expect((await auth.fetch(scene.paths.fresh)).status).toBe(200)
        expect(told).toEqual([])
      })

      test('many requests draw one ask; the password makes the session fresh and all are replayed', async () => {
        const { auth, scene, told, onAsk, id } = await stale()
        expect(auth.session).toMatchObject({ fresh: false, version: 2 })
        onAsk(() => auth.reauthenticate(scene.alice))
        const post = { method: 'POST', body: 'transfer' }
        const asked = new Promise<object>((resolve) => void auth.on('reauthRequired', resolve))
        const responses = await Promise.all(times(10, () => auth.fetch(scene.paths.fresh, post)))
        expect(await asked).toMatchObject(scene.asksFor ?? { acrValues: undefined, maxAge: undefined })
        expect(new Set(statuses(responses))).toEqual(new Set([200]))
        expect(await responses[0]?.json()).toMatchObject({ method: 'POST', body: 'transfer' })
        expect(summary(told)).toEqual([
          'reauthRequired: fresh_token_required',
          'tokenRefreshed: reauthenticated',
        ])
        expect(auth.session).toMatchObject({ id, version: 3, status: 'active' })
        expect(auth.session?.fresh).toBe(abilities.stepUp === 'claim')
        expect(await count(scene, 'refresh')).toBe(0)
        expect(await count(scene, 'fresh')).toBe(20)
      })

      test('a dialog that is dismissed gives each caller its own 401', async () => {
        const { auth, scene, told, onAsk, id } = await stale()
        onAsk(() => Promise.resolve())
        const responses = await Promise.all(times(4, () => auth.fetch(scene.paths.fresh)))
        for (const response of responses) {
          expect([response.status, response.bodyUsed]).toEqual([401, false])
          expect(await response.json()).toEqual(scene.refusals.stale)
        }
        expect(new Set(responses).size).toBe(4)
        expect(summary(told)).toEqual(['reauthRequired: fresh_token_required'])
        expect(await count(scene, 'fresh')).toBe(4)
        // The session is as good as before.
        expect(auth.session).toMatchObject({ id, version: 2, status: 'active' })
        expect((await auth.fetch(scene.paths.plain)).status).toBe(200)
      })

      test('nobody listening: the 401 comes back, and no refresh is burned on it', async () => {
        const { auth, scene, id } = await stale()
        const response = await auth.fetch(scene.paths.fresh)
        expect([response.status, await response.json()]).toEqual([401, scene.refusals.stale])
        expect((await scene.seen()).map(({ role }) => role)).toEqual(['fresh'])
        expect(auth.session).toMatchObject({ id, version: 2 })
      })

      where(abilities.stepUp === 'claim', test)('auth: "fresh" asks before anything is sent', async () => {
        const { auth, scene, told, onAsk } = await stale()
        const sentBefore: number[] = []
        onAsk(async () => {
          sentBefore.push(await count(scene))
          await auth.reauthenticate(scene.alice)
        })
        const init = { method: 'DELETE', auth: 'fresh' } as const
        const responses = await Promise.all(times(3, () => auth.fetch(scene.paths.fresh, init)))
        expect(statuses(responses)).toEqual([200, 200, 200])
        expect(sentBefore).toEqual([0])
        expect(summary(told)[0]).toBe('reauthRequired: fresh_token_required')
        expect(await count(scene, 'fresh')).toBe(3)
      })

      where(abilities.tellsSubject, test)(
        'an ask answered with another user’s password changes nothing',
        async () => {
          const { auth, scene, onAsk, id } = await stale()
          const failures: AuthError[] = []
          onAsk(async () => void failures.push(await failure(auth.reauthenticate(scene.bob))))
          const response = await auth.fetch(scene.paths.fresh)
          expect([response.status, await response.json()]).toEqual([401, scene.refusals.stale])
          expect(failures).toMatchObject([{ code: 'subject_mismatch' }])
          expect(auth.session).toMatchObject({ id, version: 2 })
          const tokens = (await scene.seen('fresh')).map(({ token }) => token)
          expect(new Set(tokens).size).toBe(1)
        },
      )
    })

    describe('a refresh token that is refused', () => {
      where(abilities.clock, test)(
        'past the exp: one ask, then signed out, and each caller has its own 401',
        async () => {
          const { auth, scene, told, signIn, pass } = await stage({ stopped: true })
          await signIn()
          await pass(life + second)
          await scene.revoke('alice')
          const responses = await Promise.all(times(5, () => auth.fetch(scene.paths.plain)))
          for (const response of responses) {
            expect([response.status, response.bodyUsed]).toEqual([401, false])
            expect(await response.json()).toEqual(scene.refusals.expired)
          }
          expect(new Set(responses).size).toBe(5)
          expect(summary(told)).toEqual(['reauthRequired: session_expired', 'loggedOut: session_expired'])
          expect(auth.session).toBeNull()
          expect(await count(scene, 'refresh')).toBe(1)
          // The refused token is gone for good, and so is the session.
          expect((await auth.fetch(scene.paths.plain)).status).toBe(401)
          expect((await scene.seen()).at(-1)).toMatchObject({ role: 'plain', token: undefined })
          expect(await count(scene, 'refresh')).toBe(1)
        },
      )

      where(abilities.faults, test)('after a 401 of its own: each caller gets that very one', async () => {
        const { auth, scene, told, signIn } = await stage()
        await signIn()
        await scene.expireEarly()
        await scene.fault('refresh', 'refuse')
        const responses = await Promise.all(times(3, () => auth.fetch(scene.paths.plain)))
        for (const response of responses) {
          expect([response.status, response.bodyUsed]).toEqual([401, false])
          expect(await response.json()).toEqual(scene.refusals.expired)
        }
        expect(summary(told)).toEqual(['reauthRequired: session_expired', 'loggedOut: session_expired'])
        expect(auth.session).toBeNull()
        expect((await scene.seen()).map(({ role }) => role).sort()).toEqual([
          ...times(3, () => 'plain'),
          'refresh',
        ])
      })

      where(abilities.faults, test)('a 401 that says nothing is no refusal: the session lives', async () => {
        const { auth, scene, told, signIn } = await stage()
        await signIn()
        await scene.expireEarly()
        await scene.fault('refresh', { status: 401 })
        expect(await failure(auth.fetch(scene.paths.plain))).toMatchObject({ code: 'refresh_unavailable' })
        expect(summary(told)).toEqual(['refreshFailed: status'])
        expect((await auth.fetch(scene.paths.plain)).status).toBe(200)
      })

      where(abilities.clock, test)(
        'the password brings the session back, and what waited is replayed',
        async () => {
          const { auth, scene, told, signIn, pass, onAsk } = await stage({ stopped: true })
          const { id } = await signIn()
          await pass(life + second)
          await scene.revoke('alice')
          const during: unknown[] = []
          onAsk(async () => {
            during.push(auth.session?.status)
            await auth.reauthenticate(scene.alice)
          })
          const responses = await Promise.all(times(5, () => auth.fetch(scene.paths.plain)))
          expect(statuses(responses)).toEqual([200, 200, 200, 200, 200])
          expect(during).toEqual(['expired'])
          expect(summary(told)).toEqual([
            'reauthRequired: session_expired',
            'tokenRefreshed: reauthenticated',
          ])
          expect(auth.session).toMatchObject({ id, status: 'active' })
        },
      )

      where(abilities.faults, test)('while the access token still works nobody is signed out', async () => {
        const { auth, scene, told, signIn, inHand } = await stage()
        const session = await signIn()
        await scene.fault('refresh', 'refuse')
        await auth.refresh()
        expect(auth.session).toMatchObject({ id: session.id, status: 'active' })
        expect((await auth.fetch(scene.paths.plain)).status).toBe(200)
        // The refused token is dead, and never sent again.
        await auth.refresh()
        expect(await count(scene, 'refresh')).toBe(1)
        expect(inHand().refresh).toBe('')
        expect(told).toEqual([])
      })

      where(abilities.tellsRevoked, test)(
        'a token that was revoked is asked for, not refreshed',
        async () => {
          const { auth, scene, told, signIn } = await stage()
          await signIn()
          await scene.revoke('alice')
          const responses = await Promise.all(times(3, () => auth.fetch(scene.paths.plain)))
          for (const response of responses) {
            expect([response.status, await response.json()]).toEqual([401, scene.refusals.revoked])
          }
          expect(summary(told)).toEqual(['reauthRequired: token_revoked', 'loggedOut: token_revoked'])
          expect(await count(scene, 'refresh')).toBe(0)
        },
      )
    })

    describe('signing out', () => {
      test('is done here before it returns, and at the server when its promise resolves', async () => {
        const { auth, scene, told, signIn, inHand } = await stage()
        await signIn()
        const { access, refresh } = inHand()
        const done = auth.logout()
        expect(auth.session).toBeNull()
        expect(summary(told)).toEqual(['loggedOut: logout'])
        await done
        expect(await scene.honours(access)).toBe(abilities.revokes === 'refresh')
        expect(await scene.honours(refresh)).toBe(abilities.revokes === 'access')
        const given = (await scene.seen('logout')).map(({ token }) => token)
        const both = {
          both: [refresh, access],
          access: [access],
          refresh: [refresh],
          together: [access],
        }
        expect(given).toEqual(both[abilities.revokes])
        expect((await auth.fetch(scene.paths.plain)).status).toBe(401)
        expect((await scene.seen('plain')).map(({ token }) => token)).toEqual([undefined])
      })

      where(abilities.faults, test)('works with the server down', async () => {
        const { auth, scene, told, signIn } = await stage()
        await signIn()
        await scene.fault('*', 'drop', Number.POSITIVE_INFINITY)
        const done = auth.logout()
        expect(auth.session).toBeNull()
        await expect(done).resolves.toBeUndefined()
        expect(summary(told)).toEqual(['loggedOut: logout'])
      })

      where(abilities.clock, test)(
        'during a refresh: nobody is signed in, and the tokens that come late are revoked',
        async () => {
          const { auth, scene, told, signIn, pass } = await stage({ stopped: true, rotation: 'rotating' })
          await signIn()
          await pass(life + second)
          const held = await scene.hold('refresh', 'answer')
          const waiting = failure(auth.fetch(scene.paths.plain))
          await held.there
          const done = auth.logout()
          expect(auth.session).toBeNull()
          held.release()
          expect(await waiting).toMatchObject({ code: 'session_changed' })
          await done
          // The server answered 200, so there are tokens that nobody has: they must not live on.
          const late = abilities.revokes === 'both' ? 4 : 2
          await until(async () => {
            const logouts = await scene.seen('logout')
            return logouts.length === late && logouts.every(({ status }) => status !== undefined)
          })
          for (const { token } of await scene.seen('logout')) {
            expect(await scene.honours(token ?? '')).toBe(false)
          }
          expect(await count(scene, 'plain')).toBe(0)
          expect(auth.session).toBeNull()
          expect(summary(told)).toEqual(['loggedOut: logout'])
        },
      )

      test('a call that was out there gets its own 401, and is not replayed', async () => {
        const { auth, scene, signIn, inHand } = await stage()
        await signIn()
        const { access } = inHand()
        await scene.expireEarly()
        const held = await scene.hold('plain', 'answer')
        const pending = auth.fetch(scene.paths.plain)
        await held.there
        await auth.logout()
        held.release()
        const response = await pending
        expect([response.status, await response.json()]).toEqual([401, scene.refusals.expired])
        expect((await scene.seen('plain')).map(({ token }) => token)).toEqual([access])
        expect(await count(scene, 'refresh')).toBe(0)
      })
    })

    describe('another user', () => {
      test('a call in flight gets its own 401; nothing of the first user’s goes out as the second', async () => {
        const { auth, scene, told, signIn, inHand } = await stage()
        const { subject: first } = await signIn()
        const { access: token } = inHand()
        await scene.expireEarly()
        const held = await scene.hold('plain', 'answer')
        const pending = auth.fetch(scene.paths.plain, { method: 'POST', body: 'of alice' })
        await held.there
        const { subject } = await auth.login(scene.bob)
        if (abilities.tellsSubject) expect(subject).not.toBe(first)
        held.release()
        const response = await pending
        expect([response.status, await response.json()]).toEqual([401, scene.refusals.expired])
        expect((await scene.seen('plain')).map((seen) => seen.token)).toEqual([token])
        expect(await count(scene, 'refresh')).toBe(0)
        expect(summary(told)).toEqual(['loggedOut: replaced', 'loggedIn: login'])
        // And the second user's own calls are the second user's.
        const { sub } = (await (await auth.fetch(scene.paths.plain)).json()) as { sub: string }
        expect(sub).toEqual(abilities.tellsSubject ? subject : scene.bob.username)
      })

      where(abilities.clock && !abilities.serial, test)(
        'a call that waited for its token is not sent',
        async () => {
          const { auth, scene, signIn, pass } = await stage({ stopped: true })
          await signIn()
          await pass(life + second)
          const held = await scene.hold('refresh', 'answer')
          const waiting = times(3, () => failure(auth.fetch(scene.paths.plain)))
          await held.there
          const { id } = await auth.login(scene.bob)
          held.release()
          for (const error of await Promise.all(waiting))
            expect(error).toMatchObject({ code: 'session_changed' })
          expect(await count(scene, 'plain')).toBe(0)
          expect(auth.session).toMatchObject({ id, version: 1 })
        },
      )

      where(abilities.clock && abilities.tellsSubject && !abilities.serial, test)(
        'the same user again: what waited goes out with the new token',
        async () => {
          const { auth, scene, signIn, pass, inHand } = await stage({ stopped: true })
          const { id } = await signIn()
          await pass(life + second)
          const held = await scene.hold('refresh', 'answer')
          const waiting = auth.fetch(scene.paths.plain)
          await held.there
          expect((await auth.login(scene.alice)).id).not.toBe(id)
          held.release()
          expect((await waiting).status).toBe(200)
          expect((await scene.seen('plain')).map(({ token }) => token)).toEqual([inHand().access])
        },
      )
    })

    where(abilities.faults && abilities.clock, describe)('a refresh that fails', () => {
      test('503, then an answer: one exchange, and nobody noticed', async () => {
        const { auth, scene, told, signIn } = await stage()
        await signIn()
        await scene.expireEarly()
        await scene.fault('refresh', { status: 503 }, 2)
        const responses = await Promise.all(times(5, () => auth.fetch(scene.paths.plain)))
        expect(statuses(responses)).toEqual([200, 200, 200, 200, 200])
        expect((await scene.seen('refresh')).map(({ status }) => status)).toEqual([503, 503, 200])
        expect(summary(told)).toEqual(['tokenRefreshed: rejected'])
      })

      test('429 with a Retry-After inside the bound is waited for', async () => {
        const { auth, scene, signIn } = await stage()
        await signIn()
        await scene.expireEarly()
        await scene.fault('refresh', { status: 429, headers: { 'retry-after': '1' } })
        expect((await auth.fetch(scene.paths.plain)).status).toBe(200)
        const [first, second, ...more] = await scene.seen('refresh')
        expect(more).toEqual([])
        // Timers may fire a millisecond early.
        expect((second?.time ?? 0) - (first?.time ?? 0)).toBeGreaterThanOrEqual(995)
      })

      test('429 with a Retry-After beyond the bound: calls fail at once until it is over', async () => {
        const { auth, scene, told, signIn, pass } = await stage({ stopped: true })
        const session = await signIn()
        await pass(life + second)
        await scene.fault('refresh', { status: 429, headers: { 'retry-after': '120' } })
        const retryAt = Date.now() + 120_000
        for (const error of await Promise.all(times(3, () => failure(auth.fetch(scene.paths.plain))))) {
          if (!isAuthError(error, 'refresh_unavailable')) throw error
          expect(Math.abs(error.retryAt - retryAt)).toBeLessThan(1000)
        }
        await pass(60_000)
        const error = await failure(auth.fetch(scene.paths.plain))
        if (!isAuthError(error, 'refresh_unavailable')) throw error
        expect(Math.abs(error.retryAt - retryAt)).toBeLessThan(1000)
        expect(await count(scene, 'refresh')).toBe(1)
        expect(await count(scene, 'plain')).toBe(0)
        expect(summary(told)).toEqual(['refreshFailed: status'])
        expect(auth.session).toMatchObject({ id: session.id, version: 1, status: 'active' })
        await pass(61_000)
        expect((await auth.fetch(scene.paths.plain)).status).toBe(200)
        expect(await count(scene, 'refresh')).toBe(2)
      })

      test.each([
        ['a 500', { status: 500 }, 'status'],
        ['a 403', { status: 403 }, 'status'],
        ['a 404', { status: 404 }, 'status'],
        ['a connection dropped before', 'drop', 'network'],
        ['a connection dropped after', 'drop-after', 'network'],
        ['no answer at all', 'hang', 'timeout'],
        ['a page instead of an answer', 'not-json', 'bad_answer'],
      ] as const)('%s keeps the session, and the next call succeeds', async (_, fault, reason) => {
        // Where the token is spent, a lost answer is a lost token, but for a server's grace.
        const rotation = fault === 'drop-after' ? 'reusable' : undefined
        const { auth, scene, told, signIn, pass } = await stage({
          stopped: true,
          // A server on a busy machine is slow, too; only where none answers is the bound what is waited for.
          client: { refreshTimeout: fault === 'hang' ? 500 : 5000 },
          rotation,
        })
        const { id } = await signIn()
        await pass(life + second)
        await scene.fault('refresh', fault)
        const before = Date.now()
        for (const error of await Promise.all(times(3, () => failure(auth.fetch(scene.paths.plain))))) {
          if (!isAuthError(error, 'refresh_unavailable')) throw error
          expect(error.retryAt).toBeGreaterThanOrEqual(before)
        }
        expect(auth.session).toMatchObject({ id, version: 1, status: 'active' })
        expect(told).toMatchObject([{ type: 'refreshFailed', reason, origin: 'this context' }])
        expect(await count(scene, 'plain')).toBe(0)
        expect(await count(scene, 'refresh')).toBe(1)
        await pass(1)
        expect((await auth.fetch(scene.paths.plain)).status).toBe(200)
        expect(auth.session).toMatchObject({ id, version: 2, status: 'active' })
      })

      test('a call whose own token was turned down is told so too, never with its 401', async () => {
        const { auth, scene, signIn } = await stage()
        const { id } = await signIn()
        await scene.expireEarly()
        await scene.fault('refresh', { status: 500 })
        expect(await failure(auth.fetch(scene.paths.plain))).toMatchObject({ code: 'refresh_unavailable' })
        expect(auth.session).toMatchObject({ id, status: 'active' })
        expect((await auth.fetch(scene.paths.plain)).status).toBe(200)
      })

      test('a call’s own network error is its caller’s, and nobody else’s business', async () => {
        const { auth, scene, told, signIn } = await stage()
        await signIn()
        await scene.fault('plain', 'drop')
        const error = await failure(auth.fetch(scene.paths.plain))
        expect(error).toBeInstanceOf(TypeError)
        expect(isAuthError(error)).toBe(false)
        expect(told).toEqual([])
        expect((await auth.fetch(scene.paths.plain)).status).toBe(200)
      })
    })

    describe('another origin', () => {
      test('a redirect takes no token along, and what a stranger answers says nothing of ours', async () => {
        const { auth, scene, told, signIn } = await stage()
        const { id } = await signIn()
        const response = await auth.fetch(scene.elsewhere.redirect)
        expect([response.status, await response.json()]).toEqual([401, scene.refusals.expired])
        expect(await scene.elsewhere.tokens()).toEqual([undefined])
        expect(await count(scene, 'refresh')).toBe(0)
        expect(told).toEqual([])
        expect(auth.session).toMatchObject({ id, version: 1 })
      })
    })
  })
}
