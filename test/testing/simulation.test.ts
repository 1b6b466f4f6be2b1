import { describe, expect, test } from 'vitest'
import { checksum, createBackend } from '../../src/testing/index.ts'
import { bench, payload, segment, start } from './support.ts'

const json = { 'Content-Type': 'application/json' }
const url = 'https://api.test'

/** The value of a promise that settles without any task of the event loop, within so many microtasks. */
async function inMicrotasks<T>(promise: Promise<T>, turns = 200): Promise<T> {
  let settled = false
  promise.finally(() => {
    settled = true
  })
  // No timer and no I/O can run while microtasks follow one another.
  for (let turn = 0; turn < turns && !settled; turn++) await undefined
  if (!settled) throw new Error('not settled within microtasks')
  return promise
}

describe('the fast signer', () => {
  test('settles everything in microtasks', async () => {
    const backend = createBackend({ signer: 'fast', refresh: 'rotating' })
    const body = '{"username":"alice","password":"wonderland"}'
    const login = await inMicrotasks(backend.fetch(`${url}/login`, { method: 'POST', headers: json, body }))
    const tokens = (await inMicrotasks(login.json())) as Record<string, string>
    const Authorization = `Bearer ${tokens.access_token}`
    const toRefresh = { Authorization: `Bearer ${tokens.refresh_token}` }
    for (const [path, init, status] of [
      ['/protected', { headers: { Authorization } }, 200],
      ['/protected', { method: 'POST', headers: { Authorization }, body: new Uint8Array(1e6) }, 200],
      ['/protected', { method: 'POST', headers: { Authorization }, body: new URLSearchParams('a=b') }, 200],
      ['/upload', { method: 'PUT', headers: { Authorization }, body: 'abc' }, 200],
      ['/protected', { headers: { Authorization: `${Authorization}x` } }, 422],
      ['/protected', {}, 401],
      ['/refresh', { method: 'POST', headers: toRefresh }, 200],
      ['/refresh', { method: 'POST', headers: toRefresh }, 401],
      ['/logout', { method: 'DELETE', headers: { Authorization } }, 200],
      ['/nowhere', {}, 404],
    ] as [string, RequestInit, number][]) {
      const response = await inMicrotasks(backend.fetch(url + path, init))
      expect([path, response.status]).toEqual([path, status])
      await inMicrotasks(response.text())
    }
    await inMicrotasks(backend.signIn('bob'))
  })

  test('WebCrypto does not, which is why there is another', async () => {
    await expect(inMicrotasks(createBackend().signIn('alice'))).rejects.toThrow('not settled')
  })

  test('tells a token tampered with, and one of another key', async () => {
    const { ask, backend } = bench({ signer: 'fast' })
    const { accessToken } = await backend.signIn('alice')
    const [head, , signature] = accessToken.split('.')
    const forged = `${head}.${segment(JSON.stringify(payload({ sub: 'bob' })))}.${signature}`
    const foreign = await bench({ signer: 'fast', secret: 'another' }).backend.sign(payload())
    for (const token of [forged, foreign, await bench().backend.sign(payload())]) {
      expect(await ask('/whoami', { token })).toEqual({
        status: 422,
        body: { msg: 'Signature verification failed' },
      })
    }
    expect((await ask('/whoami', { token: await backend.sign(payload()) })).status).toBe(200)
    expect(signature).toHaveLength(43)
  })

  test('an upload has a checksum and no digest', async () => {
    const { ask, backend } = bench({ signer: 'fast' })
    const { accessToken: token } = await backend.signIn('alice')
    expect((await ask('/upload', { token, body: 'abc' })).body).toEqual({
      bytes: 3,
      checksum: checksum(new TextEncoder().encode('abc')),
    })
  })

  test('with ids of one’s own every run is the same', async () => {
    const run = async (): Promise<string> => {
      let id = 0
      const { backend, login, ask } = bench({ signer: 'fast', refresh: 'rotating', uuid: () => `id-${++id}` })
      const { refresh_token: token } = await login()
      await Promise.all([
        ask('/refresh', { method: 'POST', token }),
        ask('/refresh', { method: 'POST', token }),
      ])
      return JSON.stringify([backend.log, backend.issued])
    }
    expect(await run()).toBe(await run())
  })

  test('latency is the only wait, and it is the scheduler’s', async () => {
    const waiting: (() => void)[] = []
    let now = start
    const backend = createBackend({
      signer: 'fast',
      clock: { now: () => now },
      latency: { protected: { before: 20, after: 30 } },
      sleep: (ms) =>
        new Promise<void>((resolve) => {
          waiting.push(() => {
            now += ms
            resolve()
          })
        }),
    })
    const answer = backend.fetch(`${url}/protected`)
    await expect(inMicrotasks(answer)).rejects.toThrow('not settled')
    waiting.shift()?.()
    await expect(inMicrotasks(answer)).rejects.toThrow('not settled')
    waiting.shift()?.()
    expect((await inMicrotasks(answer)).status).toBe(401)
    expect([now, waiting.length]).toEqual([start + 50, 0])
  })
})
