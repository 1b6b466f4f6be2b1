/**
 * ky: a client of your API. `createKy` has the base URL of `auth`, and its requests refresh and replay by
 * themselves; the rest is ky's own: `extend`, `retry`, hooks, errors.
 */
import type { Auth } from 'stayfresh'
import { createKy } from 'stayfresh/ky'

export interface Me {
  sub: string
  fresh: boolean | number
}

export interface Echo {
  sub: string | null
  body: string
}

export function createApi(auth: Auth) {
  const api = createKy(auth).extend({ headers: { 'x-client': 'web' }, timeout: 5_000 })
  return {
    me: () => api.get('whoami').json<Me>(),
    save: (item: { name: string }) => api.post('protected', { json: item }).json<Echo>(),
    // With the token if it can be made good; as nobody if not.
    greet: () => api.get('optional', { auth: 'optional' }).json<Echo>(),
    // Asks for the password before it is sent, if the last one is no longer fresh.
    close: () => api.delete('fresh', { auth: 'fresh' }).json<Echo>(),
    // Never with a token.
    status: () => api.get('optional', { auth: false }).json<Echo>(),
    // A body that is too large to be kept for a second send.
    upload: (file: Blob) =>
      api.post('upload', { body: file, replay: false, timeout: 60_000 }).json<{ bytes: number }>(),
  }
}
