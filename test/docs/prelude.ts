/** What the examples take for granted of the application around them, and of packages that this repository hasn't got. */
export const prelude: string = `
declare module 'redis' {
  export const createClient: (options: { url: string }) => NodeRedis
}

declare module 'lru-cache' {
  export class LRUCache<K, V> {
    constructor(options: { max: number; dispose(value: V): void })
    get(key: K): V | undefined
    set(key: K, value: V): void
  }
}

declare module '@tanstack/react-query' {
  type ReactNode = import('react').ReactNode
  export class QueryClient {}
  export function QueryClientProvider(props: { client: QueryClient; children: ReactNode }): ReactNode
}

declare module 'react-router' {
  export function Navigate(props: { to: string }): import('react').ReactNode
}

declare const auth: import('stayfresh').Auth<
  import('stayfresh').StandardClaims,
  import('stayfresh').UsernamePassword | import('stayfresh').TokenRequest
>
declare const options: import('stayfresh').OAuth2Options
declare const mine: import('stayfresh').Backend
declare const store: import('stayfresh').Store
declare const client: import('stayfresh/redis').RedisClient & { quit(): Promise<unknown> }
declare const server: { close(): void }
declare const backend: import('stayfresh/testing').Backend
declare const newest: import('stayfresh/encrypted').EncryptionKey

interface ImportMeta {
  readonly env: { readonly DEV: boolean }
  readonly hot?: { accept(replaced: () => void): void }
}

declare const vi: typeof import('vitest').vi
declare const expect: typeof import('vitest').expect
declare function load(what: string): Promise<unknown>

declare const root: HTMLElement
declare const button: HTMLButtonElement
declare function App(): import('react').ReactNode

declare const baseUrl: string
declare const url: string
declare const username: string
declare const password: string
declare const credentials: { username: string; password: string }
declare const accessToken: string
declare const refreshToken: string
declare const code: string
declare const redirect_uri: string
declare const code_verifier: string
declare const apikey: string
declare const id: string
declare const key: string
declare const olderKey: string
declare const error: unknown
declare const request: Request
declare const response: Response
declare const bytes: Uint8Array<ArrayBuffer>
declare const signal: AbortSignal
declare const socket: WebSocket
declare const world: { now(): number; sleep(ms: number): Promise<void> }

declare function authorize(request: { acr_values?: string | undefined; max_age?: number | undefined }): Promise<void>
declare function askForCode(): Promise<string>
declare function passwordDialog(options: {
  signal: AbortSignal
  submit(credentials: { username: string; password: string }): Promise<unknown>
}): Promise<void>
declare function show(text: string | undefined): void
declare function render(text: string): void
declare function banner(text: string, until: number): void
declare function retryLater(at: number): void
declare function hash(text: string): string
declare function log(error: Error): void

interface NodeRedis extends RedisClient {
  on(event: 'error', listener: (error: Error) => void): NodeRedis
  connect(): Promise<NodeRedis>
}
type RedisClient = import('stayfresh/redis').RedisClient
declare const createClient: typeof import('openapi-fetch').default & ((options: { url: string }) => NodeRedis)
declare const setupServer: (...handlers: ReturnType<typeof import('stayfresh/testing/msw').handlers>) => {
  listen(): void
}
declare const CookieJar: typeof import('tough-cookie').CookieJar
declare const homedir: () => string
declare const join: (...paths: string[]) => string
declare const process: { env: Record<string, string | undefined>; once(signal: string, act: () => unknown): void }
type paths = Record<string, Record<string, never>>
`
