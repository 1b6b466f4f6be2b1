/**
 * A WebSocket that authenticates in its first message, for a token never goes into a URL. The server answers `ready`, or
 * closes with 4401 if it turns the token down: now, or when it has run out. Each reconnect has the token of that moment.
 * With the logout it ends; open the next one on `loggedIn`.
 */
import { type Auth, isAuthError } from 'stayfresh'

const REFUSED = 4401

/** Gives back what ends it. */
export function connect(auth: Auth, path: string, onMessage: (message: unknown) => void): () => void {
  const url = new URL(path, auth.baseUrl)
  url.protocol = url.protocol.replace('http', 'ws')
  const ended = new AbortController()
  const end = (): void => ended.abort()
  const stop = auth.on('loggedOut', end)

  async function run(): Promise<void> {
    let rejected: string | undefined
    for (let failures = 0; !ended.signal.aborted; failures++) {
      // With jitter, so that after an outage not all come at once.
      const pause = Math.min(200 * 2 ** failures, 30_000) * (0.5 + Math.random() / 2)
      if (failures) await sleep(pause, ended.signal)
      let token: string | null
      try {
        token = await auth.getAccessToken({ rejected })
      } catch (error) {
        if (isAuthError(error, 'refresh_unavailable')) continue
        // Somebody else has signed in, or the client was disposed of.
        return
      }
      if (token === null || ended.signal.aborted) return
      const { ready, code } = await talk(url, token, onMessage, ended.signal)
      rejected = code === REFUSED ? token : undefined
      // A token that has run out is no failure.
      if (ready) failures = rejected ? -1 : 0
    }
  }

  void run().finally(stop)
  return end
}

/** One connection until it is closed: whether the server took the token, and why it ended. */
function talk(url: URL, token: string, onMessage: (message: unknown) => void, signal: AbortSignal) {
  return new Promise<{ ready: boolean; code: number }>((resolve) => {
    const socket = new WebSocket(url)
    const close = (): void => socket.close()
    signal.addEventListener('abort', close)
    let ready = false
    socket.onopen = () => socket.send(JSON.stringify({ type: 'authenticate', token }))
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data)
      if (message.type === 'ready') ready = true
      else if (!signal.aborted) onMessage(message)
    }
    socket.onclose = ({ code }) => {
      signal.removeEventListener('abort', close)
      resolve({ ready, code })
    }
  })
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(wake, ms)
    signal.addEventListener('abort', wake)
    function wake(): void {
      clearTimeout(timer)
      signal.removeEventListener('abort', wake)
      resolve()
    }
  })
}
