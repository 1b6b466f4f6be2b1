/**
 * The server of the example, inside Vite's, so that both are one origin and one command: the fake Flask-JWT-Extended of
 * `stayfresh/testing`, with notes. Any user of it is `alice`, whose password is `wonderland`.
 */
import { getRequestListener } from '@hono/node-server'
import { type Backend, createBackend } from 'stayfresh/testing'
import type { Connect, Plugin } from 'vite'

const PREFIX = '/api/'

interface Note {
  readonly id: string
  readonly title: string
}

/** The plugin; `api.backend` has the handles of the fake backend, for tests. */
export function notes(): Plugin<{ backend: Backend }> {
  const backend = createBackend({
    prefix: PREFIX,
    // Short, so that there is something to see: refreshes, and a deletion that asks for the password.
    accessLifetime: 30_000,
    refresh: 'rotating-reuse-detection',
  })
  let all: Note[] = ['Buy milk', 'Call Bob', 'Water the plants'].map((title, at) => ({
    id: `${at + 1}`,
    title,
  }))

  async function serve(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url)
    const [path, id] = /^notes(?:\/(\w+))?$/.exec(pathname.slice(PREFIX.length)) ?? []
    if (path === undefined) return backend.fetch(request)
    // As `@jwt_required()` and `@jwt_required(fresh=True)` would: the backend's own routes judge the token.
    const route = request.method === 'DELETE' ? 'fresh' : 'protected'
    const judged = await backend.fetch(
      new Request(new URL(PREFIX + route, request.url), { headers: request.headers }),
    )
    if (!judged.ok) return judged
    if (request.method === 'DELETE') all = all.filter((note) => note.id !== id)
    return Response.json(all)
  }

  const listener = getRequestListener(serve, { overrideGlobalObjects: false })
  const use = ({ middlewares }: { middlewares: Connect.Server }): void => {
    middlewares.use((incoming, outgoing, next) => {
      if (incoming.url?.startsWith(PREFIX)) void listener(incoming, outgoing)
      else next()
    })
  }
  return { name: 'notes', api: { backend }, configureServer: use, configurePreviewServer: use }
}
