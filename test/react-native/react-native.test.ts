/** Under the fetch, the forms and the signals that React Native ships; not on a device. */
import { execFile } from 'node:child_process'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, onTestFinished, test, vi } from 'vitest'
import { mint } from '../core/by-hand.ts'

vi.setConfig({ testTimeout: 60_000 })

test('under React Native’s own globals a session lives through all that an application does', async () => {
  let live: unknown
  let refreshing = ''
  const issue = (): object => {
    live = mint('alice', { fresh: true })
    return { access_token: live, refresh_token: 'spare' }
  }
  const server = createServer((request, response) => {
    const { url = '', headers } = request
    const answer = (status: number, body: object, more?: object): void => {
      response.writeHead(status, { 'content-type': 'application/json', ...more }).end(JSON.stringify(body))
    }
    const set = url.split('/set/')[1]
    if (set === 'expired') live = undefined
    else if (set) refreshing = set
    if (set) return answer(200, {})
    if (url === '/login') return answer(200, issue())
    if (url === '/logout') return answer(200, {})
    if (url === '/elsewhere') return answer(401, { msg: 'Token has been revoked' })
    if (url === '/refresh') {
      if (refreshing === 'redirect') return answer(307, {}, { location: '/elsewhere' })
      return refreshing === 'refuse' ? answer(401, { msg: 'Token has expired' }) : answer(200, issue())
    }
    const known = headers.authorization === `Bearer ${live}`
    answer(known ? 200 : 401, known ? {} : { msg: 'Token has expired' })
  }).listen(0, '127.0.0.1')
  onTestFinished(() => void server.close())
  await new Promise((resolve) => void server.once('listening', resolve))
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  const app = join(import.meta.dirname, 'app.ts')
  const { stdout } = await promisify(execFile)(process.execPath, [app, baseUrl], { timeout: 50_000 })
  const lines = stdout.trim().split('\n')
  expect(Object.fromEntries(lines.map((line) => JSON.parse(line)))).toEqual({
    login: 'alice',
    call: 200,
    refresh: 200,
    request: 200,
    form: true,
    flow: 'alice',
    aborted: 'AbortError',
    'login, logout': 'session_changed',
    redirected: ['refresh_unavailable', 'active', expect.arrayContaining(['refreshFailed: network'])],
    refused: [401, null, ['reauthRequired: session_expired', 'loggedOut: session_expired']],
  })
})
