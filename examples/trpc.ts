/**
 * tRPC 11: `fetch: auth.fetch` in any HTTP link, and a backend that looks into what tRPC answers. The server's side is in
 * `trpc-server.ts`.
 *
 * ```ts
 * const auth = createAuth({ baseUrl, backend: overTrpc(flaskJwt()) })
 * const api = createApi(auth, new URL('/trpc', auth.baseUrl).href)
 * ```
 *
 * What a procedure throws stands beside the results of others: in a batch as a 207, which this backend reads; in a stream
 * inside a 200 that has begun, where nothing can be replayed. So let the server check the token before tRPC, as it does
 * there, or use batches.
 */
import { createTRPCClient, httpBatchLink, httpBatchStreamLink, httpLink, splitLink } from '@trpc/client'
import type { Auth, Backend } from 'stayfresh'
import type { AppRouter } from './trpc-server.ts'

interface Shape {
  message: string
  data?: { httpStatus?: number }
}
/** What tRPC answers, or each of a batch; a transformer puts a `json` in between. */
type Envelope = { error?: Shape & { json?: Shape } } | null | undefined

/** Your backend, for a server whose errors come in tRPC's envelope. */
export const overTrpc = <Claims, Credentials>(
  backend: Backend<Claims, Credentials>,
): Backend<Claims, Credentials> => ({
  ...backend,
  inspect: ({ status }) => status >= 400 || status === 207,
  classify(answer) {
    const errors = [answer.body as Envelope].flat().map((one) => one?.error?.json ?? one?.error)
    const message = errors.find((error) => error?.data?.httpStatus === 401)?.message
    return backend.classify(message ? { ...answer, status: 401, body: { msg: message, message } } : answer)
  },
})

/** Queries in batches, or in a stream of them; a mutation alone, so that what was done is not done again. */
export function createApi(auth: Auth, url: string, streaming = false) {
  const options = { url, fetch: auth.fetch }
  return createTRPCClient<AppRouter>({
    links: [
      splitLink({
        condition: ({ type }) => type === 'mutation',
        true: httpLink(options),
        false: streaming ? httpBatchStreamLink(options) : httpBatchLink(options),
      }),
    ],
  })
}
