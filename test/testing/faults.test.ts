import { describe, expect, test } from 'vitest'
import { ConnectionDropped, type Fault, type FaultAnswer } from '../../src/testing/index.ts'
import { bench } from './support.ts'

/** Whether a promise is still open after many turns of the event loop. */
async function isPending(promise: Promise<unknown>): Promise<boolean> {
  let pending = true
  const settle = (): void => {
    pending = false
  }
  promise.then(settle, settle)
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve))
  return pending
}

async function single(
  fault: Fault,
): Promise<ReturnType<typeof bench> & { token: string; spent: () => boolean }> {
  const b = bench({ refresh: 'single-use' })
  const { refresh_token: token } = await b.login()
  b.backend.clearLog()
  b.backend.fault('refresh', fault)
  return { ...b, token, spent: () => !b.backend.isHonoured(token) }
}

describe('a dropped connection', () => {
  test.each([
    ['drop', false],
    ['drop-after', true],
  ] as const)('%s: processed is %s', async (fault, processed) => {
    const { backend, send, spent, token } = await single(fault)
    const error = await send('/refresh', { method: 'POST', token }).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(ConnectionDropped)
    expect(error).toBeInstanceOf(TypeError)
    expect(error).toMatchObject({ name: 'TypeError', message: 'fetch failed' })
    expect(spent()).toBe(processed)
    expect(backend.log).toMatchObject([
      { fault, processed, status: processed ? 200 : undefined, delivered: false },
    ])
  })
})

describe('a hanging request', () => {
  test.each([
    ['hang', false],
    ['hang-after', true],
  ] as const)(
    '%s: never answers, rejects when its signal aborts, processed is %s',
    async (fault, processed) => {
      const { backend, send, spent, token } = await single(fault)
      const controller = new AbortController()
      const answer = send('/refresh', { method: 'POST', token, signal: controller.signal })
      expect(await isPending(answer)).toBe(true)
      expect(spent()).toBe(processed)
      controller.abort()
      await expect(answer).rejects.toMatchObject({ name: 'AbortError' })
      expect(backend.log).toMatchObject([{ fault, processed, delivered: false }])
    },
  )
})

describe('a broken body', () => {
  test('cut-body: processed, the head arrives, the body breaks off in the middle', async () => {
    const { send, spent, token } = await single('cut-body')
    const response = await send('/refresh', { method: 'POST', token })
    expect([response.status, response.headers.get('Content-Type')]).toEqual([200, 'application/json'])
    const reader = response.body?.getReader()
    const first = await reader?.read()
    expect(new TextDecoder().decode(first?.value)).toMatch(/^\{"access_token":"/)
    await expect(reader?.read()).rejects.toThrow(new TypeError('terminated'))
    expect(spent()).toBe(true)
  })

  test('cut-body: reading it whole rejects', async () => {
    const { send, token } = await single('cut-body')
    await expect((await send('/refresh', { method: 'POST', token })).json()).rejects.toThrow(TypeError)
  })

  test('stall-body: processed, the head arrives, the body never ends until the signal aborts', async () => {
    const { send, spent, token } = await single('stall-body')
    const controller = new AbortController()
    const response = await send('/refresh', { method: 'POST', token, signal: controller.signal })
    const body = response.text()
    expect(await isPending(body)).toBe(true)
    controller.abort()
    await expect(body).rejects.toMatchObject({ name: 'AbortError' })
    expect(spent()).toBe(true)
  })
})

describe('an answer from elsewhere', () => {
  test('not-json: 200 with a page, not processed', async () => {
    const { backend, send, spent, token } = await single('not-json')
    const response = await send('/refresh', { method: 'POST', token })
    expect([response.status, response.headers.get('Content-Type')]).toEqual([200, 'text/html; charset=utf-8'])
    await expect(response.json()).rejects.toThrow(SyntaxError)
    expect(spent()).toBe(false)
    expect(backend.log).toMatchObject([{ processed: false, status: 200, delivered: true }])
  })

  test.each([
    [{ status: 503, headers: { 'retry-after': '2' } }, '', null],
    [{ status: 502, body: '<h1>Bad gateway</h1>' }, '<h1>Bad gateway</h1>', 'text/html; charset=utf-8'],
    [{ status: 429, body: { error: 'slow down' } }, '{"error":"slow down"}\n', 'application/json'],
    [{ status: 401, body: 'x', headers: { 'Content-Type': 'text/plain' } }, 'x', 'text/plain'],
    [{ status: 204 }, '', null],
  ] as [FaultAnswer, string, string | null][])('%o is given as it is', async (fault, text, type) => {
    const { send, spent, token } = await single(fault)
    const response = await send('/refresh', { method: 'POST', token })
    expect(response.status).toBe(fault.status)
    expect(response.headers.get('Content-Type')).toBe(type)
    expect(response.headers.get('Retry-After')).toBe(fault.headers?.['retry-after'] ?? null)
    expect(await response.text()).toBe(text)
    expect(spent()).toBe(false)
  })

  test('with process the request is processed first', async () => {
    const { backend, send, spent, token } = await single({ status: 504, process: true })
    expect((await send('/refresh', { method: 'POST', token })).status).toBe(504)
    expect(spent()).toBe(true)
    expect(backend.log).toMatchObject([{ processed: true, status: 504 }])
  })
})

describe('which requests it strikes', () => {
  test('one by default, several if told, on the named route alone', async () => {
    const { backend, send } = bench()
    backend.fault('protected', { status: 500 })
    backend.fault('optional', { status: 500 }, { times: 2 })
    const statuses: number[] = []
    for (const path of ['/optional', '/protected', '/optional', '/protected', '/optional']) {
      statuses.push((await send(path)).status)
    }
    expect(statuses).toEqual([500, 500, 500, 401, 200])
    expect([backend.faultsFired(), backend.faultsFired('optional'), backend.faultsFired('refresh')]).toEqual([
      3, 2, 0,
    ])
  })

  test('faults on one route strike in the order given', async () => {
    const { backend, send } = bench()
    backend.fault('protected', { status: 501 })
    backend.fault('*', { status: 502 })
    backend.fault('protected', { status: 503 })
    const statuses: number[] = []
    for (let request = 0; request < 4; request++) statuses.push((await send('/protected')).status)
    expect(statuses).toEqual([501, 502, 503, 401])
  })

  test('* strikes every route, unknown ones too', async () => {
    const { backend, send } = bench()
    const handle = backend.fault('*', { status: 500 }, { times: Infinity })
    for (const path of ['/protected', '/login', '/nowhere']) expect((await send(path)).status).toBe(500)
    expect([handle.fired, handle.left]).toEqual([3, Infinity])
    handle.remove()
    expect((await send('/nowhere')).status).toBe(404)
  })

  test('a condition sees headers and tokens, and leaves the fault in waiting', async () => {
    const { backend, login, send } = bench()
    const { access_token: token } = await login()
    const handle = backend.fault(
      'protected',
      { status: 500 },
      { when: (entry) => entry.token?.sub === 'alice' },
    )
    expect((await send('/protected')).status).toBe(401)
    expect([handle.fired, handle.left]).toEqual([0, 1])
    expect((await send('/protected', { token })).status).toBe(500)
    expect([handle.fired, handle.left]).toEqual([1, 0])
  })

  test('cleared faults strike no more', async () => {
    const { backend, send } = bench()
    const handle = backend.fault('protected', { status: 500 }, { times: 5 })
    await send('/protected')
    backend.clearFaults()
    expect((await send('/protected')).status).toBe(401)
    expect([handle.fired, handle.left]).toEqual([1, 0])
  })

  test('of requests at once it strikes the first to come', async () => {
    const { backend, send } = bench()
    backend.fault('optional', { status: 500 })
    const answers = await Promise.all([send('/optional'), send('/optional')])
    expect(answers.map(({ status }) => status)).toEqual([500, 200])
  })
})

describe('what is no fault', () => {
  test.each<[unknown, unknown, string]>([
    [
      'timeout',
      {},
      'fault takes "drop", "drop-after", "hang", "hang-after", "cut-body", "stall-body", "not-json" or { status, headers, body, process }, not "timeout"',
    ],
    [503, {}, 'or { status, headers, body, process }, not 503'],
    [undefined, {}, 'or { status, headers, body, process }, not undefined'],
    [null, {}, 'or { status, headers, body, process }, not null'],
    [{ stauts: 500 }, {}, 'fault takes { status, headers, body, process }, not "stauts"'],
    [{}, {}, 'fault takes a status from 200 to 599, not undefined'],
    [{ status: '503' }, {}, 'fault takes a status from 200 to 599, not "503"'],
    [{ status: 600 }, {}, 'fault takes a status from 200 to 599, not 600'],
    [{ status: 204, body: {} }, {}, 'fault takes no body with a 204'],
    ['drop', { time: 2 }, 'fault takes times and when, not "time"'],
    ['drop', { times: Number.NaN }, 'fault takes times, a number, not NaN'],
    ['drop', { when: true }, 'fault takes when, a function of an entry, not true'],
  ])('%o with %o is refused at once, with a word for what is taken', (fault, options, message) => {
    const { backend } = bench()
    expect(() => backend.fault('refresh', fault as Fault, options as object)).toThrow(message)
  })

  test('headers that are none are refused, too', () => {
    const { backend } = bench()
    expect(() => backend.fault('refresh', { status: 503, headers: { 'no header': '1' } })).toThrow(TypeError)
  })
})
