/** Signals: who is freed by them, and what is left on them. */

import { getEventListeners } from 'node:events'
import { expect, test, vi } from 'vitest'
import { mint, ok, serve } from './by-hand.ts'
import { deferred, failure, isPending, room, settle, statuses, times, virtualTime } from './support.ts'

virtualTime()

test('a signal that thousands of calls share has one listener, and none when they are over', async () => {
  const fresh = deferred<Response>()
  const server = serve(({ path }) => (path === '/refresh' ? fresh.promise : ok()))
  const { auth } = room({ client: { fetch: server.fetch, initial: { refreshToken: 'spare' } } })
  const { signal } = new AbortController()
  const listening = () => getEventListeners(signal, 'abort').length
  const calls = times(100, () => auth.fetch('protected', { signal }))
  await settle()
  expect(listening()).toBe(1)
  fresh.resolve(ok({ access_token: mint('alice') }))
  expect(await statuses(calls)).toEqual(times(100, () => 200))
  expect(listening()).toBe(0)
})

test('9: an abort frees each that waits on a signal still, though others who waited on it are over', async () => {
  const answers = [deferred<Response>(), deferred<Response>(), deferred<Response>()]
  const fetch = async (input: unknown) => answers[Number(String(input).at(-1))]?.promise as Promise<Response>
  const { auth } = room({ client: { fetch, initial: { accessToken: mint('alice') } } })
  const controller = new AbortController()
  const call = (index: number) => auth.fetch(`items/${index}`, { signal: controller.signal })
  const over = call(0)
  const waiting = failure(call(1))
  answers[0]?.resolve(ok())
  await over
  const later = failure(call(2))
  controller.abort()
  expect(await Promise.all([isPending(waiting), isPending(later)])).toEqual([false, false])
  expect(await Promise.all([waiting, later])).toMatchObject(times(2, () => ({ name: 'AbortError' })))
})

test('a call that is over leaves no listener behind, on whatever signal', async () => {
  const listen = vi.spyOn(EventTarget.prototype, 'addEventListener')
  const server = serve(({ path }) => (path === '/refresh' ? ok({ access_token: mint('alice') }) : ok()))
  const { auth } = room({ client: { fetch: server.fetch, initial: { refreshToken: 'spare' } } })
  const { signal } = new AbortController()
  expect(await statuses(times(3, () => auth.fetch('protected', { signal })))).toEqual(times(3, () => 200))
  const heard = new Set(listen.mock.contexts as EventTarget[])
  expect(heard.size).toBeGreaterThan(1)
  expect([...heard].flatMap((target) => getEventListeners(target, 'abort'))).toEqual([])
})

test('an abort whose signal keeps no reason is an AbortError', async () => {
  const { auth, signIn, hold } = room()
  await signIn()
  const held = hold('protected')
  const controller = new AbortController()
  Object.defineProperty(controller.signal, 'reason', { value: undefined })
  const call = failure(auth.fetch('protected', { signal: controller.signal }))
  await settle()
  controller.abort()
  expect(await call).toMatchObject({ name: 'AbortError', message: 'The call was aborted' })
  held.release()
  expect(await failure(auth.fetch('protected', { signal: controller.signal }))).toMatchObject({
    name: 'AbortError',
  })
})
