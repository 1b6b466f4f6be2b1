/** examples/trpc.ts and examples/trpc-server.ts, over HTTP. */
import { TRPCClientError } from '@trpc/client'
import { initTRPC, TRPCError } from '@trpc/server'
import { fetchRequestHandler } from '@trpc/server/adapters/fetch'
import {
  type Backend as AuthBackend,
  flaskJwt,
  isAuthError,
  type StandardClaims,
  type UsernamePassword,
} from 'stayfresh'
import { describe, expect, test } from 'vitest'
import { createApi, overTrpc } from '../../examples/trpc.ts'
import { createHandler } from '../../examples/trpc-server.ts'
import { later, rejection } from '../support.ts'
import { listen, signedIn, stale, times, until, verify, withPassword } from './support.ts'

interface Options {
  streaming?: boolean
  /** A server as many are: what is wrong with the token is said by each procedure. */
  late?: boolean
  backend?: AuthBackend<StandardClaims, UsernamePassword>
}

const setUp = async ({ streaming = false, late = false, backend = overTrpc(flaskJwt()) }: Options = {}) => {
  const calls: { path: string; status: number }[] = []
  const done: string[] = []
  const checking = (token: string) => verify(site.backend, token)
  const t = initTRPC.context<{ req: Request }>().create()
  const checked = t.procedure.use(async ({ ctx, next }) => {
    const token = ctx.req.headers.get('authorization')?.slice(7) ?? ''
    const user = await checking(token).catch(({ message }: Error) => {
      throw new TRPCError({ code: 'UNAUTHORIZED', message })
    })
    return next({ ctx: { user } })
  })
  const router = t.router({
    greet: t.procedure.query(() => 'Hello stranger'),
    me: checked.query(({ ctx }) => ctx.user.sub),
    save: checked.input(String).mutation(({ input }) => {
      done.push(input)
      return input
    }),
  })
  const handle = late
    ? (req: Request) =>
        fetchRequestHandler({ endpoint: '/trpc', req, router, createContext: () => ({ req }) })
    : createHandler(checking)
  const site = await listen({ refresh: 'rotating-reuse-detection' }, (req) => {
    const { pathname } = new URL(req.url)
    if (!pathname.startsWith('/trpc')) return undefined
    return handle(req).then((response) => {
      calls.push({ path: pathname.slice(6), status: response.status })
      return response
    })
  })
  const auth = await signedIn(site, { backend })
  return { ...site, site, auth, calls, done, api: createApi(auth, `${site.url}trpc`, streaming) }
}

describe.each([
  ['in batches', false],
  ['in a stream of them', true],
])('queries %s', (_, streaming) => {
  test('invariant 1: past the expiry cost one refresh', async () => {
    const { api, backend, calls } = await setUp({ streaming })
    later()
    expect(await Promise.all(times(10, () => api.me.query()))).toEqual(times(10, () => 'alice'))
    expect([backend.count('refresh'), calls.length]).toEqual([1, 1])
  })

  test('that meet a 401 are refreshed and replayed', async () => {
    const { api, backend, calls } = await setUp({ streaming })
    backend.expireAccessTokens()
    expect(await Promise.all([api.me.query(), api.greet.query()])).toEqual(['alice', 'Hello alice'])
    expect([backend.count('refresh'), calls.map(({ status }) => status)]).toEqual([1, [401, 200]])
  })

  test('of a session that has ended are refused, each with the server’s words', async () => {
    const { api, backend } = await setUp({ streaming })
    backend.revoke({ sub: 'alice' })
    for (const error of await Promise.all([rejection(api.me.query()), rejection(api.greet.query())])) {
      expect(error instanceof TRPCClientError && error.data).toMatchObject({ code: 'UNAUTHORIZED' })
      expect((error as Error).message).toBe('Token has been revoked')
    }
  })
})

test('a mutation is replayed, and done once', async () => {
  const { api, backend, calls } = await setUp()
  backend.expireAccessTokens()
  expect(await Promise.all([api.save.mutate('a'), api.save.mutate('b')])).toEqual(['alice: a', 'alice: b'])
  expect(backend.count('refresh')).toBe(1)
  expect(calls.filter(({ status }) => status === 200).map(({ path }) => path)).toEqual(['save', 'save'])
})

test('a step-up asks once: of a mutation, and of one query among others', async () => {
  const { api, auth, site } = await setUp()
  await stale(site, auth)
  const asks = withPassword(auth)
  expect(await Promise.all([api.me.query(), api.secret.query()])).toEqual(['alice', 'The secret of alice'])
  expect(asks()).toBe(1)
  await stale(site, auth)
  expect(await api.close.mutate()).toBe('alice is gone')
  expect(asks()).toBe(2)
})

describe('where each procedure checks the token', () => {
  test('a batch is a 207, which is looked into and replayed', async () => {
    const { api, backend, calls } = await setUp({ late: true })
    backend.expireAccessTokens()
    expect(await Promise.all([api.me.query(), api.greet.query()])).toEqual(['alice', 'Hello stranger'])
    expect([backend.count('refresh'), calls.map(({ status }) => status)]).toEqual([1, [207, 200]])
  })

  test('with the plain backend the error comes back instead', async () => {
    const { api, backend } = await setUp({ late: true, backend: flaskJwt() })
    backend.expireAccessTokens()
    const [me] = await Promise.allSettled([api.me.query(), api.greet.query()])
    expect(me).toMatchObject({ status: 'rejected', reason: { message: 'Token has expired' } })
    expect(backend.count('refresh')).toBe(0)
  })

  test('mutations go one by one: what was done is not done again', async () => {
    const { api, backend, done } = await setUp({ late: true })
    backend.expireAccessTokens()
    await Promise.all([api.save.mutate('a'), api.save.mutate('b')])
    expect(done.sort()).toEqual(['a', 'b'])
  })

  test('a stream has begun with a 200 by then, and the error comes back; what runs out by its exp is refreshed before', async () => {
    const { api, backend, calls } = await setUp({ late: true, streaming: true })
    later()
    expect(await api.me.query()).toBe('alice')
    backend.expireAccessTokens()
    const error = await rejection(api.me.query())
    expect(error instanceof TRPCClientError && error.data).toMatchObject({ httpStatus: 401 })
    expect([backend.count('refresh'), calls.map(({ status }) => status)]).toEqual([1, [200, 200]])
  })
})

test('invariant 4: a refresh that can not be completed is no sign-out: the AuthError is the cause', async () => {
  const { api, auth, backend } = await setUp()
  later()
  backend.fault('refresh', { status: 500 })
  const error = (await rejection(api.me.query())) as Error
  expect(isAuthError(error.cause, 'refresh_unavailable')).toBe(true)
  expect(auth.session?.subject).toBe('alice')
})

test('invariant 5: a logout while calls wait for a refresh: none of them goes out', async () => {
  const { api, auth, backend, calls } = await setUp()
  later()
  backend.settings.latency = { refresh: { after: 50 } }
  const waiting = [rejection(api.me.query()), rejection(api.save.mutate('a'))]
  await until(() => backend.count('refresh') === 1)
  await auth.logout()
  for (const error of await Promise.all(waiting)) {
    expect(isAuthError((error as Error).cause, 'session_changed')).toBe(true)
  }
  expect(calls).toEqual([])
})

test('an error is found behind a transformer, and beside results; what is not of the token is left alone', () => {
  const { classify } = overTrpc(flaskJwt())
  const answer = (...body: unknown[]) => ({ status: 207, headers: new Headers(), body, empty: false })
  const error = (message: string, httpStatus: number) => ({ json: { message, data: { httpStatus } } })
  const result = { data: { json: 'alice' } }
  expect(classify(answer({ result }, { error: error('Token has expired', 401) }))).toBe('expired')
  expect(classify(answer({ result }, { error: error('Fresh token required', 401) }))).toBe('step_up')
  expect(classify(answer({ result }, { error: error('No such item', 404) }, null))).toBe('other')
})
