/** examples/websocket.ts, over a real socket. */
import { expect, onTestFinished, test } from 'vitest'
import { type WebSocket as Socket, WebSocketServer } from 'ws'
import { connect } from '../../examples/websocket.ts'
import { later } from '../support.ts'
import { alice, bob, listen, signedIn, until, verify, withPassword } from './support.ts'

/** A server that takes a token in the first message, and what it saw. */
const setUp = async () => {
  const site = await listen({ refresh: 'rotating-reuse-detection' })
  const { backend, server } = site
  const urls: string[] = []
  const tokens: string[] = []
  const open = new Set<Socket>()
  const sockets = new WebSocketServer({ server })
  /** Turns away whoever comes, before the first message is read. */
  const away = { left: 0 }
  sockets.on('connection', (socket, request) => {
    urls.push(request.url ?? '')
    if (away.left-- > 0) return socket.close(1013)
    socket.once('message', async (data) => {
      const { token } = JSON.parse(String(data))
      tokens.push(token)
      try {
        const { sub } = await verify(backend, token)
        open.add(socket)
        socket.send('{"type":"ready"}')
        socket.send(JSON.stringify({ hello: sub }))
      } catch {
        socket.close(4401)
      }
    })
    socket.on('close', () => open.delete(socket))
  })
  const auth = await signedIn(site)
  const heard: unknown[] = []
  const start = (): (() => void) => {
    const end = connect(auth, 'socket', (message) => heard.push(message))
    onTestFinished(end)
    return end
  }
  /** The server closes all that is open. */
  const closeAll = (code: number): void => {
    for (const socket of open) socket.close(code)
  }
  onTestFinished(() => {
    for (const socket of sockets.clients) socket.terminate()
  })
  return { ...site, auth, urls, tokens, open, heard, away, start, closeAll }
}

const current = async (auth: { getAccessToken(): Promise<string | null> }) => await auth.getAccessToken()

test('invariant 8: the token is in the first message, and in no URL', async () => {
  const { auth, start, heard, tokens, urls } = await setUp()
  start()
  await until(() => heard.length === 1)
  expect(heard).toEqual([{ hello: 'alice' }])
  expect(tokens).toEqual([await current(auth)])
  expect(urls).toEqual(['/socket'])
})

test('a connection that breaks is made again, at growing distances, with the token of that moment', async () => {
  const { auth, start, heard, tokens, urls, away, closeAll, backend } = await setUp()
  start()
  await until(() => heard.length === 1)
  later()
  away.left = 1
  closeAll(1012)
  await until(() => heard.length === 2)
  expect(urls).toHaveLength(3)
  expect(tokens[1]).not.toBe(tokens[0])
  expect(tokens[1]).toBe(await current(auth))
  expect(backend.count('refresh')).toBe(1)
})

test('a server that closes because the token has run out gets a new one, at once', async () => {
  const { start, heard, tokens, closeAll, backend } = await setUp()
  start()
  await until(() => heard.length === 1)
  backend.expireAccessTokens()
  closeAll(4401)
  await until(() => heard.length === 2)
  expect(tokens).toHaveLength(2)
  expect(backend.count('refresh')).toBe(1)
})

test('invariant 1: a token that is turned down at the first message is replaced, once, however many sockets had it', async () => {
  const { start, heard, backend } = await setUp()
  backend.expireAccessTokens()
  start()
  start()
  await until(() => heard.length === 2)
  expect(backend.count('refresh')).toBe(1)
})

test('invariant 4: while the refresh can not be completed it is tried again, and nobody is signed out', async () => {
  const { auth, start, heard, backend } = await setUp()
  later()
  backend.fault('refresh', { status: 500 })
  start()
  await until(() => heard.length === 1)
  expect(auth.session?.subject).toBe('alice')
  expect(backend.count('refresh')).toBe(2)
})

test('where only a password helps it waits for it, and goes on with the token that came', async () => {
  const { auth, start, heard, closeAll, backend } = await setUp()
  start()
  await until(() => heard.length === 1)
  const asks = withPassword(auth)
  backend.revoke({ sub: 'alice' })
  closeAll(4401)
  await until(() => heard.length === 2)
  expect([asks(), auth.session?.subject]).toEqual([1, 'alice'])
})

test('invariant 5: it ends with the logout, and the next user has a connection of his own', async () => {
  const { auth, start, open, heard, tokens, urls } = await setUp()
  start()
  await until(() => heard.length === 1)
  await auth.logout()
  await until(() => open.size === 0)
  await auth.login(bob)
  start()
  await until(() => heard.length === 2)
  expect(heard).toEqual([{ hello: 'alice' }, { hello: 'bob' }])
  expect([urls.length, tokens.length]).toEqual([2, 2])
})

test('invariant 5: a logout while it waits for a token or for its next try: it is not opened again', async () => {
  const { auth, start, urls, away, backend } = await setUp()
  away.left = 1
  start()
  await until(() => urls.length === 1 && away.left === 0)
  later()
  backend.settings.latency = { refresh: { after: 50 } }
  start()
  await until(() => backend.count('refresh') === 1)
  await auth.logout()
  await auth.login(alice)
  await new Promise((resolve) => setTimeout(resolve, 500))
  expect(urls).toHaveLength(1)
})

test('with nobody signed in it is not opened', async () => {
  const { auth, start, urls } = await setUp()
  await auth.logout()
  start()
  await auth.getAccessToken()
  await new Promise((resolve) => setTimeout(resolve, 20))
  expect(urls).toEqual([])
})
