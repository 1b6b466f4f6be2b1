/** What the benchmarks use of refresh-fetch, which comes without types. */
declare module 'refresh-fetch' {
  type Sent = (input: string | Request, init?: RequestInit) => Promise<{ response: Response; body: unknown }>
  export const fetchJSON: Sent
  export function configureRefreshFetch(options: {
    fetch: Sent
    shouldRefreshToken(error: { response?: Response; body?: { msg?: string } }): boolean
    refreshToken(): Promise<void>
  }): Sent
}
