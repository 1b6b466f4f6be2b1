/** examples/server-sent-events.ts, over HTTP. */
import { expect, onTestFinished, test, vi } from 'vitest'
import { openEvents } from '../../examples/server-sent-events.ts'
import { later } from '../support.ts'
import { listen, signedIn, until } from './support.ts'

interface Stream {
  token: string | null
  lastId: string | null
  send(data: string): void
  /** As a server does when the token has run out. */
  end(): void
}

const setUp = async () => {
  const streams: Stream[] = []
  const urls: string[] = []
  const away = { left: 0 }
  let count = 0
  let gone = 0
  const site = await listen({ refresh: 'rotating-reuse-detection' }, (request, backend) => {
    const { pathname, search } = new URL(request.url)
    if (pathname !== '/events') return undefined
    urls.push(pathname + search)
    const authorization = request.headers.get('authorization')
    const lastId = request.headers.get('last-event-id')
    const answer = async (): Promise<Response> => {
      if (away.left-- > 0) return new Response(null, { status: 503 })
      const checked = await backend.fetch('http://x/protected', {
        headers: { authorization: authorization ?? '' },
      })
      if (!checked.ok) return checked
      const encoder = new TextEncoder()
      const body = new ReadableStream({
        start(controller) {
          controller.enqueue(encoder.encode('retry: 10\n\n'))
          streams.push({
            token: authorization,
            lastId,
            send: (data) => controller.enqueue(encoder.encode(`id: ${++count}\ndata: ${data}\n\n`)),
            end: () => controller.close(),
          })
        },
        cancel() {
          gone++
        },
      })
      return new Response(body, { headers: { 'content-type': 'text/event-stream' } })
    }
    return answer()
  })
  const auth = await signedIn(site)
  const heard: string[] = []
  const errors: unknown[] = []
  const start = (): (() => void) => {
    const close = openEvents(
      auth,
      'events',
      ({ data }) => heard.push(data),
      ({ code, message }) => errors.push({ code, message }),
    )
    onTestFinished(close)
    return close
  }
  return { ...site, auth, streams, urls, away, heard, errors, start, gone: () => gone }
}

test('invariant 8: the token is in a header, and in no URL', async () => {
  const { auth, start, streams, urls, heard } = await setUp()
  start()
  await until(() => streams.length === 1)
  streams[0]?.send('one')
  await until(() => heard.length === 1)
  expect(streams[0]?.token).toBe(`Bearer ${await auth.getAccessToken()}`)
  expect(urls).toEqual(['/events'])
})

test('a stream that the server closes when the token has run out goes on where it was, with a new one', async () => {
  const { start, streams, heard, backend } = await setUp()
  start()
  await until(() => streams.length === 1)
  streams[0]?.send('one')
  await until(() => heard.length === 1)
  later()
  streams[0]?.end()
  await until(() => streams.length === 2)
  streams[1]?.send('two')
  await until(() => heard.length === 2)
  expect(heard).toEqual(['one', 'two'])
  expect(streams.map(({ lastId }) => lastId)).toEqual([null, '1'])
  expect(streams[1]?.token).not.toBe(streams[0]?.token)
  expect(backend.count('refresh')).toBe(1)
})

test('invariant 1: a token that is turned down is replaced before the stream is open, once for all streams', async () => {
  const { start, streams, errors, backend } = await setUp()
  backend.expireAccessTokens()
  start()
  start()
  await until(() => streams.length === 2)
  expect(backend.count('refresh')).toBe(1)
  expect(errors).toEqual([])
})

test('a server or a refresh that is away for a moment is tried again', async () => {
  const { auth, start, streams, away, backend } = await setUp()
  start()
  await until(() => streams.length === 1)
  later()
  backend.fault('refresh', { status: 500 })
  away.left = 1
  streams[0]?.end()
  // EventSource waits as long as before the first event says otherwise: the `retry` of the stream.
  await until(() => streams.length === 2)
  expect(auth.session?.subject).toBe('alice')
  expect(backend.count('refresh')).toBe(2)
})

test('invariant 5: it ends with the logout: the connection is closed, and not opened again', async () => {
  const { auth, start, streams, heard, gone } = await setUp()
  start()
  await until(() => streams.length === 1)
  await auth.logout()
  await until(() => gone() === 1)
  await new Promise((resolve) => setTimeout(resolve, 50))
  expect([streams.length, heard]).toEqual([1, []])
})

test('it ends with the client: once that is disposed of, nothing is tried again', async () => {
  const { auth, start, streams } = await setUp()
  const fetch = vi.spyOn(auth, 'fetch')
  start()
  await until(() => streams.length === 1)
  await auth.dispose()
  streams[0]?.end()
  // One try finds it out. The stream's `retry` is 10 ms.
  await until(() => fetch.mock.calls.length === 2)
  await new Promise((resolve) => setTimeout(resolve, 100))
  expect(fetch).toHaveBeenCalledTimes(2)
})

test('a session that has ended elsewhere is the end of the stream, with its 401', async () => {
  const { auth, start, streams, errors, backend } = await setUp()
  start()
  await until(() => streams.length === 1)
  backend.revoke({ sub: 'alice' })
  streams[0]?.end()
  await until(() => auth.session === null)
  await new Promise((resolve) => setTimeout(resolve, 50))
  expect(streams).toHaveLength(1)
  expect(errors.every((error) => !JSON.stringify(error).includes('eyJ'))).toBe(true)
})
