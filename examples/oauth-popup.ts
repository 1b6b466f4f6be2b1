/**
 * OAuth 2 with PKCE (RFC 7636) in a popup: it gets the code that `oauth2()` exchanges. The page at `redirectUri`, of this
 * origin and registered at the authorization server, holds nothing but a call of `finish()`.
 *
 * ```ts
 * button.onclick = async () => auth.login(await authorize(client))
 * auth.on('reauthRequired', ({ acrValues, maxAge, signal, waitUntil }) => {
 *   const parameters = { prompt: 'login', acr_values: acrValues, max_age: maxAge?.toString() }
 *   const again = () => authorize({ ...client, parameters, signal })
 *   waitUntil(clickOn('Sign in again', signal).then(again).then(auth.reauthenticate))
 * })
 * ```
 */
import type { TokenRequest } from 'stayfresh'

export interface Authorization {
  authorizationEndpoint: string
  clientId: string
  redirectUri: string
  scope?: string | undefined
  /** Further ones of the request, such as `acr_values`, `max_age`, `prompt`. */
  parameters?: Readonly<Record<string, string | undefined>> | undefined
  /** Gives up waiting, and closes the popup. */
  signal?: AbortSignal | undefined
}

const CHANNEL = 'oauth-popup'

/** What `auth.login` and `auth.reauthenticate` take. To be called in the tick of a click, or the popup is blocked. */
export async function authorize(authorization: Authorization): Promise<TokenRequest> {
  const { authorizationEndpoint, clientId, redirectUri, scope, parameters, signal } = authorization
  // Before the first await. Empty: where it leads is not known yet.
  const popup = open('', '_blank', 'popup,width=500,height=700')
  if (!popup) throw new Error('The popup was blocked')
  try {
    const [state, verifier] = [random(), random()]
    const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier))
    const url = new URL(authorizationEndpoint)
    const request = {
      ...parameters,
      response_type: 'code',
      client_id: clientId,
      redirect_uri: redirectUri,
      scope,
      state,
      code_challenge: base64url(new Uint8Array(digest)),
      code_challenge_method: 'S256',
    }
    for (const [name, value] of Object.entries(request)) if (value) url.searchParams.set(name, value)
    const answered = answerTo(state, signal)
    popup.location.href = url.href
    const answer = await answered
    const code = answer.get('code')
    if (!code) throw new Error(answer.get('error_description') ?? answer.get('error') ?? 'No code came')
    return { grant_type: 'authorization_code', code, redirect_uri: redirectUri, code_verifier: verifier }
  } finally {
    popup.close()
  }
}

/** In the page at `redirectUri`. */
export function finish(): void {
  // Not by `opener`: many servers cut that off (Cross-Origin-Opener-Policy), and `popup.closed` says nothing then.
  const channel = new BroadcastChannel(CHANNEL)
  channel.postMessage(location.search)
  channel.close()
}

/** Waits for the answer that has our `state`: another one is another tab's, or somebody else's. */
function answerTo(state: string, signal?: AbortSignal): Promise<URLSearchParams> {
  const channel = new BroadcastChannel(CHANNEL)
  const answered = new Promise<URLSearchParams>((resolve, reject) => {
    channel.onmessage = ({ data }) => {
      const answer = new URLSearchParams(String(data))
      if (answer.get('state') === state) resolve(answer)
    }
    const give = (): void => reject(signal?.reason)
    if (signal?.aborted) give()
    signal?.addEventListener('abort', give)
  })
  return answered.finally(() => channel.close())
}

function random(): string {
  return base64url(crypto.getRandomValues(new Uint8Array(32)))
}

function base64url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes)).replace(/[+/=]/g, (one) => ({ '+': '-', '/': '_' })[one] ?? '')
}
