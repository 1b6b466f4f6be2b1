/** A process that stands still in mid-refresh, as under a debugger, `docker pause` or a platform between two requests. */
import { execFileSync } from 'node:child_process'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, expect, onTestFinished, test, vi } from 'vitest'
import { startAgent, stopAgents } from '../stores/processes.ts'

vi.setConfig({ testTimeout: 30_000 })

afterAll(stopAgents)

const refreshTimeout = 1_000

test('invariants 1 and 3: the answer that came while a process stood still for longer than refreshTimeout is not lost', async () => {
  const { child, call } = await startAgent()
  onTestFinished(() => void child.kill('SIGKILL'))
  const state = (): string =>
    execFileSync('ps', ['-o', 'stat=', '-p', String(child.pid)], { encoding: 'utf8' })
  const spent: string[] = []
  let live = { access: '', refresh: '' }
  const issue = (): object => {
    const next = spent.length
    live = { access: `access-${next}`, refresh: `refresh-${next}` }
    return { access_token: live.access, refresh_token: live.refresh }
  }
  const server = createServer(async ({ url, headers }, response) => {
    const answer = (status: number, body: object): void => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    }
    const token = headers.authorization?.replace('Bearer ', '')
    if (url === '/login') return answer(200, issue())
    if (url !== '/refresh') return answer(token === live.access ? 200 : 401, { msg: 'Token has expired' })
    spent.push(token as string)
    if (token !== live.refresh) return answer(401, { msg: 'Token has been revoked' })
    child.kill('SIGSTOP')
    await vi.waitUntil(() => state().startsWith('T'))
    answer(200, issue())
    // Its timer has run out by then.
    setTimeout(() => void child.kill('SIGCONT'), 1.5 * refreshTimeout)
  }).listen(0, '127.0.0.1')
  onTestFinished(() => void server.close())
  await new Promise((resolve) => void server.once('listening', resolve))
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`

  const auth = await call<number>('auth', null, { baseUrl, refreshTimeout })
  await call('login', auth)
  live.access = 'another'
  expect(await call('fetch', auth, 'protected')).toMatchObject({ status: 200 })
  expect(spent).toEqual(['refresh-0'])
  expect(await call('session', auth)).toMatchObject({ status: 'active', version: 2 })
})
