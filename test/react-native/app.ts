/** What an application does under React Native's globals. Prints what came of it, one line of JSON a step. */
import './globals.ts'
import { createAuth, flaskJwt } from '../../src/index.ts'

const baseUrl = process.argv[2] as string
const alice = { username: 'alice', password: 'wonderland' }

const bodies: unknown[] = []
const native = globalThis.fetch
const fetch: typeof native = (input, init) => {
  // What whatwg-fetch's Request was made of.
  bodies.push((input as { _bodyInit?: unknown })._bodyInit)
  return native(input, init)
}
const auth = createAuth({ baseUrl, backend: flaskJwt(), fetch })
const told: string[] = []
for (const type of ['tokenRefreshed', 'refreshFailed', 'reauthRequired', 'loggedOut'] as const)
  auth.on(type, ({ reason }) => void told.push(`${type}: ${reason}`))

const outcome = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    (value) => value,
    (error) => error?.code ?? error?.name ?? `${error}`,
  )
const status = (promise: Promise<Response>): Promise<unknown> =>
  outcome(promise.then((given) => given.status))
/** What the server is to do next. */
const server = (what: string): Promise<unknown> => native(`${baseUrl}set/${what}`, { method: 'POST' })

const steps: Record<string, () => Promise<unknown>> = {
  async login() {
    await auth.login(alice)
    return auth.session?.subject
  },
  call: () => status(auth.fetch('protected')),
  async refresh() {
    await server('expired')
    return status(auth.fetch('protected'))
  },
  request: () => status(auth.fetch(new Request(`${baseUrl}protected`, { method: 'POST', body: 'text' }))),
  async form() {
    const form = new FormData()
    form.append('photo', 'a file')
    await auth.fetch('protected', { method: 'POST', body: form })
    return bodies.at(-1) === form
  },
  flow: () =>
    outcome(
      auth
        .login(({ fetch }) =>
          fetch('login', {
            method: 'POST',
            headers: { 'content-type': 'application/json' },
            body: JSON.stringify(alice),
          }),
        )
        .then(({ subject }) => subject),
    ),
  aborted() {
    const controller = new AbortController()
    const call = auth.fetch('protected', { signal: controller.signal })
    controller.abort()
    return outcome(call)
  },
  'login, logout': async () => {
    const login = outcome(auth.login(alice))
    await auth.logout()
    return login
  },
  async redirected() {
    await auth.login(alice)
    await server('expired')
    await server('redirect')
    return [await status(auth.fetch('protected')), auth.session?.status, told.splice(0)]
  },
  async refused() {
    await server('refuse')
    return [await status(auth.fetch('protected')), auth.session, told.splice(0)]
  },
}

for (const [name, step] of Object.entries(steps)) console.log(JSON.stringify([name, await outcome(step())]))
process.exit()
