/** How an answer is read without spending the caller's body, and what is worth reading. */
import { describe, expect, test, vi } from 'vitest'
import { readAnswer } from '../../src/wire.ts'

/** An answer in chunks, and how many of them were asked for. */
function chunked(
  chunks: readonly (string | Uint8Array<ArrayBuffer>)[],
  { status = 401, type = 'application/json', open = false } = {},
): { response: Response; pulled(): number; cancelled(): boolean } {
  let pulled = 0
  let cancelled = false
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>(
    {
      pull(controller) {
        const chunk = chunks[pulled++]
        if (chunk !== undefined)
          controller.enqueue(typeof chunk === 'string' ? new TextEncoder().encode(chunk) : chunk)
        else if (open) return new Promise(() => {})
        else controller.close()
        return undefined
      },
      cancel() {
        cancelled = true
      },
    },
    { highWaterMark: 0 },
  )
  const response = new Response(body, { status, headers: { 'content-type': type } })
  return { response, pulled: () => pulled, cancelled: () => cancelled }
}

describe('an answer', () => {
  test.each([
    'application/json',
    'application/json; charset=utf-8',
    'application/json ; charset=utf-8',
    'application/problem+json',
    'Application/JSON',
  ])('of type %s is read, and the caller’s body is left unread', async (type) => {
    const { response } = chunked(['{"msg":', '"Token has expired"}'], { type })
    expect(await readAnswer(response)).toMatchObject({
      status: 401,
      headers: response.headers,
      body: { msg: 'Token has expired' },
      empty: false,
    })
    expect(response.bodyUsed).toBe(false)
    expect(await response.json()).toEqual({ msg: 'Token has expired' })
  })

  test.each(['text/html', 'application/jsonl', 'application/json5', 'json', ''])(
    'of type %s is not read further than to see that it holds something',
    async (type) => {
      const { response, pulled } = chunked(['{"a":1}', ' ', ' ', ' ', ' '], { type })
      expect(await readAnswer(response)).toMatchObject({ body: undefined, empty: false })
      expect(pulled()).toBeLessThan(3)
    },
  )

  test('that went well and is no JSON is not waited for at all', async () => {
    const { response, pulled } = chunked([], { status: 200, type: 'text/event-stream', open: true })
    expect(await readAnswer(response)).toMatchObject({ status: 200, body: undefined, empty: false })
    expect(pulled()).toBe(0)
  })

  test('of an endpoint of the backend’s is read under any name', async () => {
    for (const status of [200, 401]) {
      const { response } = chunked(['{"a":1}'], { status, type: 'text/html' })
      expect(await readAnswer(response, undefined, true)).toMatchObject({ body: { a: 1 }, empty: false })
    }
  })

  test.each<[string, Response]>([
    ['no body', new Response(null, { status: 401 })],
    ['a body of nothing', chunked([]).response],
    ['a body of nothing, of another type', chunked([], { type: 'text/html' }).response],
    ['a content-length of 0', new Response('lies', { status: 401, headers: { 'content-length': '0' } })],
  ])('with %s is empty', async (_, response) => {
    expect(await readAnswer(response)).toMatchObject({ status: 401, body: undefined, empty: true })
  })

  test('that is no JSON after all is not empty', async () => {
    const { response } = chunked(['<p>hello'])
    expect(await readAnswer(response)).toMatchObject({ body: undefined, empty: false })
  })

  test('in chunks that cut a character is read as one text', async () => {
    const bytes = new TextEncoder().encode('{"msg":"é"}')
    const { response } = chunked([bytes.slice(0, 9), bytes.slice(9)])
    expect(await readAnswer(response)).toMatchObject({ body: { msg: 'é' } })
  })

  test('is read up to 64 KiB, and one byte more is too much', async () => {
    const text = (length: number): string => `"${'x'.repeat(length - 2)}"`
    const fits = chunked([text(65_536)])
    expect(await readAnswer(fits.response)).toMatchObject({ empty: false, body: 'x'.repeat(65_534) })
    const long = chunked([text(65_537)], { open: true })
    expect(await readAnswer(long.response)).toMatchObject({ empty: false, body: undefined })
    const own = chunked([text(65_537)])
    expect(await readAnswer(own.response, undefined, true)).toMatchObject({ body: 'x'.repeat(65_535) })
  })

  test('that is too long is let go of, once the caller has done so, too', async () => {
    const { response, cancelled } = chunked(['x'.repeat(70_000)], { open: true })
    await readAnswer(response)
    await response.body?.cancel()
    expect(cancelled()).toBe(true)
  })

  test('is read no further after an abort, and no listener is left', async () => {
    const { response } = chunked(['{"a":'], { open: true })
    const controller = new AbortController()
    const { signal } = controller
    const [add, remove] = [vi.spyOn(signal, 'addEventListener'), vi.spyOn(signal, 'removeEventListener')]
    const answer = readAnswer(response, signal)
    controller.abort()
    expect(await answer).toMatchObject({ body: undefined })
    expect(remove.mock.calls).toEqual(add.mock.calls)
    expect(add).toHaveBeenCalledTimes(1)
  })
})
