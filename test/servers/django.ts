/** The Django project beside this file. */
import { startPython } from './python.ts'

export interface Django {
  readonly origin: string
  /** What it is, with versions. */
  readonly title: string
  control(told: {
    /** How far its time is ahead of this machine's, in ms. */
    offset?: number
    rotate?: boolean
    /** Life of access tokens in ms. */
    lifetime?: number
    /** Blacklists every refresh token of a user. */
    revoke?: string
    /** Lets alice in, or shuts her out. */
    active?: boolean
  }): Promise<unknown>
  stop(): Promise<void>
}

export async function startDjango(): Promise<Django> {
  const { versions, ...running } = await startPython({
    name: 'Django SimpleJWT',
    module: 'rest_framework_simplejwt',
    packages: { apt: 'python3-djangorestframework-simplejwt', pip: 'djangorestframework-simplejwt' },
    script: new URL('django/serve.py', import.meta.url),
  })
  return { ...running, title: `Django ${versions.django} with SimpleJWT ${versions.simplejwt}` }
}
