/**
 * Stands before a real server, which is left as it is: notes what comes and what is answered, and does what goes wrong
 * between a client and a server. On a port of its own, so that a second one is another origin.
 */
import { Agent, createServer, type IncomingHttpHeaders, request as send } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import type { Fault, Hold, Role, Seen } from '../stories/server.ts'

/** A request as it is about to be forwarded; what is changed in it is what the server gets. */
export interface Passing {
  readonly method: string
  readonly path: string
  readonly role: Role | undefined
  headers: IncomingHttpHeaders
  body: Buffer
}

export interface FrontOptions {
  /** The server's origin. */
  readonly target: string
  /** Which role a request plays, by its method, path and body. */
  roleOf(method: string, path: string, body: string): Role | undefined
  /** The token in a request's body or its cookies; without one, it is the bearer token that counts. */
  tokenIn?(role: Role | undefined, body: string, headers: IncomingHttpHeaders): string | undefined
  /** Called before a request is forwarded. */
  passing?(passing: Passing): void
  /** Called with what the server answered. */
  answered?(role: Role | undefined, status: number, body: string, headers: IncomingHttpHeaders): void
  /** Sees to it that the server refuses the token. Default: another stands in its place, which the server never gave. */
  refuse?(passing: Passing): Promise<void>
}

export interface Front {
  readonly origin: string
  readonly seen: readonly Note[]
  clear(): void
  fault(role: Role | '*', fault: Fault, times?: number): void
  hold(role: Role, what: 'request' | 'answer'): Hold
  close(): Promise<void>
}

/** `order`: among the requests of all fronts. */
export type Note = { -readonly [Member in keyof Seen]: Seen[Member] } & { readonly order: number }

let arrived = 0

export async function startFront(options: FrontOptions): Promise<Front> {
  const agent = new Agent({ keepAlive: true, maxSockets: 32 })
  const seen: Note[] = []
  let faults: { role: Role | '*'; fault: Fault; times: number }[] = []
  const holds = new Map<string, () => Promise<void>>()

  function faultOf(role: Role | undefined): Fault | undefined {
    const found = faults.find((one) => one.role === '*' || one.role === role)
    if (found && --found.times <= 0) faults = faults.filter((one) => one !== found)
    return found?.fault
  }
  const held = (role: Role | undefined, what: string): Promise<void> | undefined =>
    holds.get(`${role} ${what}`)?.()

  function forward({ method, path, headers, body }: Passing): Promise<{
    status: number
    headers: IncomingHttpHeaders
    body: Buffer
  }> {
    return new Promise((resolve, reject) => {
      const { 'transfer-encoding': _, ...kept } = headers
      const out = send(
        new URL(path, options.target),
        {
          agent,
          method,
          headers: { ...kept, host: new URL(options.target).host, 'content-length': body.byteLength },
        },
        (answer) => {
          const { statusCode: status = 0, headers } = answer
          buffer(answer).then((body) => resolve({ status, headers, body }), reject)
        },
      )
      out.on('error', reject)
      out.end(body)
    })
  }

  const server = createServer(async (request, response) => {
    const { method = '', url: path = '', headers } = request
    const body = await buffer(request)
    const text = body.toString()
    const role = options.roleOf(method, path, text)
    const bearer = /^Bearer (.+)$/.exec(headers.authorization ?? '')?.[1]
    const note: Note = {
      role,
      method,
      token: options.tokenIn?.(role, text, headers) ?? bearer,
      status: undefined,
      time: Date.now(),
      order: ++arrived,
    }
    seen.push(note)
    await held(role, 'request')
    const fault = faultOf(role)
    if (fault === 'drop') return void request.socket.destroy()
    if (fault === 'hang') return
    if (fault === 'not-json') {
      note.status = 200
      response.writeHead(200, { 'content-type': 'text/html' }).end('<h1>Welcome to this network</h1>')
      return
    }
    if (typeof fault === 'object') {
      note.status = fault.status
      response.writeHead(fault.status, { ...fault.headers, 'content-length': 0 }).end()
      return
    }
    const { to } = Object.fromEntries(new URL(path, options.target).searchParams)
    if (path.startsWith('/redirect?') && to) {
      note.status = 302
      response.writeHead(302, { location: to }).end()
      return
    }
    const passing: Passing = { method, path, role, headers: { ...headers }, body }
    if (fault === 'refuse') await (options.refuse?.(passing) ?? replaceToken(passing, note.token))
    options.passing?.(passing)
    try {
      const answer = await forward(passing)
      note.status = answer.status
      options.answered?.(role, answer.status, answer.body.toString(), answer.headers)
      await held(role, 'answer')
      if (fault === 'drop-after') return void request.socket.destroy()
      const { connection: _, 'transfer-encoding': __, ...kept } = answer.headers
      // A HEAD tells a length and has no body.
      response.writeHead(
        answer.status,
        method === 'HEAD' ? kept : { ...kept, 'content-length': answer.body.length },
      )
      response.end(answer.body)
    } catch {
      request.socket.destroy()
    }
  })
  const origin = await listen(server)

  return {
    origin,
    seen,
    clear: () => void seen.splice(0),
    fault: (role, fault, times = 1) => void faults.push({ role, fault, times }),
    hold(role, what) {
      const key = `${role} ${what}`
      let release = (): void => {}
      const released = new Promise<void>((resolve) => {
        release = resolve
      })
      const there = new Promise<void>((resolve) => {
        holds.set(key, () => {
          holds.delete(key)
          resolve()
          return released
        })
      })
      return { there, release }
    },
    async close() {
      agent.destroy()
      await stop(server)
    },
  }
}

/** A token that the server has never given, in the place of the one that came: its refusal is its own. */
function replaceToken(passing: Passing, token: string | undefined): void {
  if (!token) return
  const other = `never-given-${'x'.repeat(20)}`
  if (passing.headers.authorization) passing.headers.authorization = `Bearer ${other}`
  passing.body = Buffer.from(passing.body.toString().replace(token, other))
}

/** An origin where every answer is the same 401, and what came there. */
export async function startStranger(
  refusal: object,
): Promise<{ origin: string; tokens: (string | undefined)[]; close(): Promise<void> }> {
  const tokens: (string | undefined)[] = []
  const server = createServer((request, response) => {
    tokens.push(request.headers.authorization ?? request.headers.cookie)
    request.resume()
    response.writeHead(401, { 'content-type': 'application/json' }).end(JSON.stringify(refusal))
  })
  const origin = await listen(server)
  return { origin, tokens, close: () => stop(server) }
}

type Server = ReturnType<typeof createServer>

/** Listens on a free port of loopback; gives back the origin. */
export function listen(server: Server): Promise<string> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    })
  })
}

export function stop(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}
