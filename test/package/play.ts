/**
 * What a user's own script would be: it stands in a project of its own beside the installed package, is run by Node as it
 * is, and knows nothing of this repository. It says what it saw as JSON, and ends by itself.
 */
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createAuth, flaskJwt, isAuthError, memoryStore } from 'stayfresh'
import { encrypted } from 'stayfresh/encrypted'
import { createKy } from 'stayfresh/ky'
import { fileStore } from 'stayfresh/node'
import { createBackend } from 'stayfresh/testing'

// The server, on a real port.
const backend = createBackend({ refresh: 'rotating-reuse-detection' })
const server = createServer(async (request, response) => {
  const answer = await backend.fetch(await asRequest(request))
  response.writeHead(answer.status, Object.fromEntries(answer.headers))
  response.end(Buffer.from(await answer.arrayBuffer()))
})
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`

async function asRequest(request: IncomingMessage): Promise<Request> {
  const { url = '/', method = 'GET', headers } = request
  const chunks = await request.toArray()
  const body = chunks.length ? Buffer.concat(chunks) : undefined
  return new Request(new URL(url, baseUrl), { method, headers: headers as Record<string, string>, body })
}

const key = Buffer.alloc(32, 7).toString('base64')
const stores = {
  memory: memoryStore(),
  file: encrypted(fileStore(join(import.meta.dirname, `session-${process.versions.node}`)), {
    keys: [{ id: 'one', key }],
  }),
}
const manifest = readFileSync(fileURLToPath(import.meta.resolve('stayfresh/package.json')), 'utf8')
const entries = Object.keys(JSON.parse(manifest).exports).filter((entry) => !entry.endsWith('.json'))
const saw: Record<string, unknown> = { node: process.versions.node, entries: [] }
for (const entry of entries) {
  const module = await import(`stayfresh${entry.slice(1)}`)
  if (Object.keys(module).length) (saw.entries as string[]).push(entry)
}
for (const [name, store] of Object.entries(stores)) {
  backend.clearLog()
  const auth = createAuth({ baseUrl, backend: flaskJwt(), store, refreshAhead: false })
  const events: string[] = []
  for (const type of ['loggedIn', 'tokenRefreshed', 'loggedOut'] as const)
    auth.on(type, () => events.push(type))

  const refused = await auth.login({ username: 'alice', password: 'wrong' }).catch((error) => error)
  await auth.login({ username: 'alice', password: 'wonderland' })
  const before = await auth.fetch('protected')
  // Expiry, as the server sees it: a 401, one refresh for all, and replays.
  backend.expireAccessTokens()
  const storm = await Promise.all(Array.from({ length: 20 }, () => auth.fetch('protected')))
  const throughKy = await createKy(auth).get('protected').json<{ msg?: string }>()
  const refreshes = backend.count('refresh')
  await auth.logout()
  const after = await auth.fetch('protected')
  saw[name] = {
    refused: isAuthError(refused, 'login_refused') && refused.status,
    before: before.status,
    storm: [...new Set(storm.map(({ status }) => status))],
    throughKy: typeof throughKy,
    refreshes,
    after: after.status,
    alive: backend.sessionAlive('alice'),
    session: auth.session,
    events,
  }
  auth.dispose()
}
server.close()
server.closeAllConnections()

// An error whose body stalls, and a caller who leaves when it was given up: Node 22 ended the process by that.
const stalling = createServer((_, response) => {
  response.writeHead(500, { 'content-type': 'application/json' })
  response.write('{"msg":')
})
await new Promise<void>((resolve) => stalling.listen(0, '127.0.0.1', resolve))
const elsewhere = createAuth({
  baseUrl: `http://127.0.0.1:${(stalling.address() as AddressInfo).port}/`,
  backend: flaskJwt(),
  initial: { accessToken: 'opaque' },
  refreshTimeout: 100,
})
const leaving = new AbortController()
const stalled = await elsewhere.fetch('items', { signal: leaving.signal })
leaving.abort()
saw.stalled = [
  stalled.status,
  await stalled.text().then(
    () => 'whole',
    () => 'gone',
  ),
]
stalling.close()
stalling.closeAllConnections()
console.log(JSON.stringify(saw))
