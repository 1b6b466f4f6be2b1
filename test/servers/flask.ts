/** The Flask applications beside this file: one process, and in it an application for each scene. */
import { startPython } from './python.ts'

/** How an application is set up. */
export interface FlaskSetup {
  /** The library's own texts, or the loaders of the well-known tutorial. Default: the library's. */
  dialect?: 'default' | 'tutorial'
  /** `split`: only the refresh token is a cookie. Default `headers`. */
  tokens?: 'headers' | 'cookies' | 'split'
  /** What is done to a refresh token that was used. Default `reusable`. */
  rotation?: 'reusable' | 'single-use' | 'rotating'
  /** Life of access tokens in ms. Default: the library's. */
  lifetime?: number
  /** A token that expires within so many ms is replaced on any answer. Default: none is. */
  implicit?: number
  /** The library's own settings. */
  config?: Record<string, unknown>
}

export interface FlaskApp {
  /** Where it lives, with a slash at the end. */
  readonly url: string
  /** How far its time is ahead of this machine's, in ms. */
  setOffset(milliseconds: number): Promise<void>
  /** Puts what was given out to a user so far on the blocklist, or one token by its id. */
  revoke(which: { sub: string } | { jti: string }): Promise<void>
  /** Whether the library would let this token in. */
  honours(token: string): Promise<boolean>
}

export interface Flask {
  readonly origin: string
  /** What it is, with versions. */
  readonly title: string
  open(setup?: FlaskSetup): Promise<FlaskApp>
  stop(): Promise<void>
}

/** Everybody who reads the stories knows it, so that they can sign tokens of their own. */
export const SECRET = 'known to everybody who reads the stories'

export async function startFlask(): Promise<Flask> {
  const { origin, versions, control, stop } = await startPython({
    name: 'Flask-JWT-Extended',
    module: 'flask_jwt_extended',
    packages: { apt: 'python3-python-flask-jwt-extended', pip: 'flask-jwt-extended' },
    script: new URL('flask/serve.py', import.meta.url),
  })
  const { flask, library, pyjwt } = versions
  return {
    origin,
    title: `Flask ${flask} with Flask-JWT-Extended ${library} (PyJWT ${pyjwt})`,
    async open(setup = {}) {
      const { app } = await control({ open: { secret: SECRET, ...setup } })
      return {
        url: `${origin}${app}/`,
        setOffset: async (offset) => void (await control({ app, offset })),
        revoke: async (revoke) => void (await control({ app, revoke })),
        honours: async (token) => (await control({ app, honours: token })).honoured === true,
      }
    },
    stop,
  }
}
