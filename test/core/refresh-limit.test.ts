/** How often is refreshed at the most, and who is told. */
import { expect, test, vi } from 'vitest'
import { createAuth, flaskJwt } from '../../src/index.ts'
import { mint, ok, refuse, serve } from './by-hand.ts'
import { alice, baseUrl, pass, room, start, summary, times, virtualTime } from './support.ts'

virtualTime()

test('13: no more exchanges are begun than the limit has, however little time one takes', async () => {
  let [wall, exact] = [start, 0.2]
  vi.spyOn(Date, 'now').mockImplementation(() => Math.floor(wall))
  vi.spyOn(performance, 'now').mockImplementation(() => exact)
  const server = serve(({ path }) => {
    wall += 0.3
    exact += 0.3
    return ok({ access_token: mint('alice'), refresh_token: path })
  })
  const auth = createAuth({ baseUrl, backend: flaskJwt(), fetch: server.fetch })
  await auth.login(alice)
  for (let count = 0; count < 20; count++) {
    wall += 0.1
    exact += 0.1
    await auth.refresh().catch(() => {})
  }
  expect(server.tokens('/refresh')).toHaveLength(5)
})

test('the refresh limit is told once, however many calls meet it', async () => {
  const server = serve(({ path }) =>
    path === '/refresh'
      ? ok({ access_token: mint('alice') })
      : path === '/login'
        ? ok({ access_token: mint('alice'), refresh_token: 'spare' })
        : refuse('Token has expired'),
  )
  const { auth, told } = room({ client: { fetch: server.fetch } })
  await auth.login(alice)
  for (const _ of times(20, Number)) expect((await auth.fetch('protected')).status).toBe(401)
  expect(server.tokens('/refresh')).toHaveLength(5)
  expect(summary(told).filter((one) => one.startsWith('refreshFailed'))).toEqual([
    'refreshFailed: refresh_limit',
  ])
})

test('the refresh limit is told, though a failure came just before', async () => {
  let n = 0
  const server = serve(({ path }) => {
    if (path === '/refresh') {
      if (++n === 5) return new Response(null, { status: 500 })
      return ok({ access_token: mint('alice') })
    }
    return path === '/login'
      ? ok({ access_token: mint('alice'), refresh_token: 'spare' })
      : Response.json({ msg: 'Token has expired' }, { status: 401 })
  })
  const { auth, told } = room({ client: { fetch: server.fetch } })
  await auth.login(alice)
  for (const _ of times(20, Number)) await auth.fetch('protected').catch(() => {})
  expect(summary(told).filter((one) => one.startsWith('refreshFailed'))).toContain(
    'refreshFailed: refresh_limit',
  )
})

test('13: a token that a socket turns down time and again fails no call that it is good for', async () => {
  const { auth, signIn } = room()
  await signIn()
  for (let count = 0; count < 6; count++) {
    await pass(100)
    const given = (await auth.getAccessToken()) as string
    await auth.getAccessToken({ rejected: given }).catch(() => {})
  }
  expect((await auth.fetch('protected')).status).toBe(200)
})

test('13: a socket whose server turns down every token is told when it may come again, and is given none of them twice', async () => {
  const { auth, signIn } = room()
  await signIn()
  const given = [await auth.getAccessToken()]
  let refused: unknown
  for (let count = 0; count < 30 && !refused; count++) {
    await pass(10)
    await auth.getAccessToken({ rejected: given.at(-1) as string }).then(
      (token) => given.push(token),
      ({ code }) => {
        refused = code
      },
    )
  }
  expect(refused).toBe('refresh_unavailable')
  expect(new Set(given).size).toBe(given.length)
})
