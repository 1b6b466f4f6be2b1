/** Faults in waiting, and what each does to an answer. */

import { asciiJson, encodeText } from './encoding.ts'
import type { Fault, FaultAnswer, FaultHandle, FaultOptions, LogEntry } from './types.ts'

/**
 * The connection went away without an answer. It looks as undici's own error does, so that clients which go
 * by name and message take it for one.
 *
 * A server on a real port destroys the socket when it sees this; the MSW handlers answer `HttpResponse.error()`.
 *
 * @example
 * ```ts
 * backend.fault('protected', 'drop')
 * await backend.fetch('https://api.test/protected') // rejects with a ConnectionDropped
 * ```
 */
export class ConnectionDropped extends TypeError {
  constructor() {
    super('fetch failed')
  }
}

interface Waiting extends FaultHandle {
  readonly route: string
  readonly fault: Fault
  readonly when: ((entry: LogEntry) => boolean) | undefined
  fired: number
  left: number
}

const NAMED = ['drop', 'drop-after', 'hang', 'hang-after', 'cut-body', 'stall-body', 'not-json']
const MEMBERS = ['status', 'headers', 'body', 'process']
// Those that no body goes with (Fetch standard, null body status).
const EMPTY = [204, 205, 304]

/** One that is misspelt would strike as nothing, or as another, and its test would show nothing. */
function check(fault: unknown, { times = 1, when, ...others }: FaultOptions): void {
  const wrong = (takes: string, given: unknown): TypeError =>
    new TypeError(`fault takes ${takes}, not ${typeof given === 'string' ? `"${given}"` : String(given)}`)
  for (const name of Object.keys(others)) throw wrong('times and when', name)
  if (!(times >= 0)) throw wrong('times, a number', times)
  if (when !== undefined && typeof when !== 'function') throw wrong('when, a function of an entry', when)
  if (NAMED.includes(fault as string)) return
  if (typeof fault !== 'object' || fault === null) {
    throw wrong(`"${NAMED.join('", "')}" or { ${MEMBERS.join(', ')} }`, fault)
  }
  for (const name of Object.keys(fault)) {
    if (!MEMBERS.includes(name)) throw wrong(`{ ${MEMBERS.join(', ')} }`, name)
  }
  const { status, headers, body } = fault as FaultAnswer
  if (!Number.isInteger(status) || status < 200 || status > 599)
    throw wrong('a status from 200 to 599', status)
  if (EMPTY.includes(status) && body !== undefined)
    throw new TypeError(`fault takes no body with a ${status}`)
  // What is no header the platform says itself.
  new Headers(headers)
}

/** See {@link createFaults}. */
export interface Faults {
  add(route: string, fault: Fault, options?: FaultOptions): FaultHandle
  /** The fault for this request, which is then used up. */
  take(entry: LogEntry): Fault | undefined
  clear(): void
}

/** An empty list of faults. */
export function createFaults(): Faults {
  let waiting: Waiting[] = []
  return {
    add(route, fault, options = {}) {
      check(fault, options)
      const { times = 1, when } = options
      const added: Waiting = {
        route,
        fault,
        when,
        fired: 0,
        left: times,
        remove() {
          added.left = 0
          waiting = waiting.filter((other) => other !== added)
        },
      }
      waiting.push(added)
      return added
    },
    take(entry) {
      const struck = waiting.find(
        ({ route, left, when }) =>
          left > 0 &&
          (route === '*' || route === entry.route || route === entry.api) &&
          (when === undefined || when(entry)),
      )
      if (!struck) return undefined
      struck.fired += 1
      struck.left -= 1
      if (struck.left === 0) struck.remove()
      return struck.fault
    },
    clear() {
      for (const each of waiting) each.left = 0
      waiting = []
    },
  }
}

const page: FaultAnswer = {
  status: 200,
  body: '<!doctype html>\n<title>Just a moment</title>\n<p>This page is not what you asked for.</p>\n',
}

/** Whether the server takes the request up although this fault strikes. */
export function isProcessed(fault: Fault | undefined): boolean {
  if (typeof fault === 'object') return fault.process ?? false
  return fault !== 'drop' && fault !== 'hang' && fault !== 'not-json'
}

/** The answer as the caller gets it: the server's, spoiled. `answer` is there if the request was processed. */
export function spoil(
  fault: Fault | undefined,
  answer: Response | undefined,
  request: Request,
): Response | Promise<Response> {
  if (typeof fault === 'object') return substitute(fault)
  switch (fault) {
    case 'drop':
    case 'drop-after':
      throw new ConnectionDropped()
    case 'hang':
    case 'hang-after':
      // The caller's own signal ends this: see `backend.ts`.
      return new Promise<Response>(() => {})
    case 'not-json':
      return substitute(page)
    case 'cut-body':
    case 'stall-body':
      return answer ? breakBody(answer, fault, request.signal) : substitute(page)
    default:
      if (!answer) throw new TypeError('The backend has no answer.')
      return answer
  }
}

function substitute({ status, headers, body }: FaultAnswer): Response {
  const isText = typeof body === 'string'
  const text = body === undefined ? null : isText ? body : `${asciiJson(body)}\n`
  const type = isText ? 'text/html; charset=utf-8' : 'application/json'
  return new Response(text, {
    status,
    headers: { ...(text !== null && { 'Content-Type': type }), ...headers },
  })
}

/** Half of the body, then nothing more. */
function breakBody(answer: Response, how: 'cut-body' | 'stall-body', signal: AbortSignal): Response {
  const source = answer.body?.getReader()
  const body = new ReadableStream<Uint8Array>(
    {
      async start(controller) {
        const first = await source?.read()
        const bytes = first?.value ?? encodeText('{"')
        controller.enqueue(bytes.subarray(0, Math.ceil(bytes.length / 2)))
        if (how === 'stall-body') {
          signal.addEventListener('abort', () => controller.error(signal.reason), { once: true })
        }
      },
      pull(controller) {
        // Only once the first half was taken: an error discards what is still in the queue.
        if (how === 'cut-body') controller.error(new TypeError('terminated'))
      },
    },
    { highWaterMark: 0 },
  )
  return new Response(body, { status: answer.status, headers: answer.headers })
}
