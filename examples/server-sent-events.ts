/**
 * Server-sent events over `auth.fetch`, by the `eventsource` package: the browser's own `EventSource` can send no
 * header, and a token never goes into a URL. Each time the stream ends (the server closes it when the token runs out) it
 * is opened again with the token of that moment and `Last-Event-ID`; with the logout, or `auth.dispose()`, it ends for good.
 */
import { EventSource } from 'eventsource'
import { type Auth, isAuthError } from 'stayfresh'

/** Gives back what ends it. */
export function openEvents(
  auth: Auth,
  path: string,
  onMessage: (event: MessageEvent) => void,
  onError: (error: { code?: number; message?: string }) => void = () => {},
): () => void {
  const source = new EventSource(new URL(path, auth.baseUrl), {
    async fetch(url, init) {
      const response = await auth.fetch(url, init).catch((error: unknown) => {
        // No event tells of it, and an EventSource would try for ever.
        if (isAuthError(error, 'disposed')) close()
        throw error
      })
      // To an EventSource any answer but a 200 is the end; what is only away for a moment is to be tried again.
      if (response.status === 429 || response.status >= 500)
        throw new Error(`The stream is away: ${response.status}`)
      return response
    },
  })
  const stop = auth.on('loggedOut', close)
  source.addEventListener('message', onMessage)
  source.addEventListener('error', onError)
  function close(): void {
    stop()
    source.close()
  }
  return close
}
