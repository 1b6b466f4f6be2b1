/** A client on a scene, and what the stories look at. */
import { onTestFinished, vi } from 'vitest'
import {
  type Auth,
  type AuthOptions,
  createAuth,
  type LiveRecord,
  memoryStore,
  type Session,
  type StandardClaims,
} from '../../src/index.ts'
import { record, type Told } from '../common.ts'
import type { Credentials, Scene, SceneOptions, Server } from './server.ts'

export { record, type Told, times, until } from '../common.ts'

export type Client = Auth<StandardClaims, Credentials>

/** `type: reason` of each event. */
export const summary = (told: readonly Told[]): string[] =>
  told.map(({ type, reason }) => `${type}: ${reason}`)

export interface Stage {
  scene: Scene
  auth: Client
  told: Told[]
  /** The tokens of the session, as the store has them. */
  inHand(): { access: string; refresh: string }
  /** Signs alice in, and forgets what it took. */
  signIn(): Promise<Session>
  /** Time goes by for both; the client's clocks stand still otherwise, but for its timers. */
  pass(milliseconds: number): Promise<void>
  /** Answers a `reauthRequired` with a dialog. */
  onAsk(dialog: () => Promise<unknown>): void
}

export interface StageOptions extends SceneOptions {
  client?: Partial<AuthOptions<StandardClaims, Credentials>>
  /** Stops the client's clocks, to be moved by `pass`. */
  stopped?: boolean
}

export async function setUp(
  server: Server,
  { client, stopped, ...options }: StageOptions = {},
): Promise<Stage> {
  if (stopped) {
    vi.useFakeTimers({ toFake: ['Date', 'performance'] })
    onTestFinished(() => void vi.useRealTimers())
  }
  const scene = await server.open(options)
  const store = client?.store ?? memoryStore()
  const auth = createAuth<StandardClaims, Credentials>({
    baseUrl: scene.baseUrl,
    backend: scene.backend as never,
    store,
    ...client,
  })
  const told = record(auth)
  onTestFinished(async () => {
    auth.dispose()
    await scene.close()
  })
  return {
    scene,
    auth,
    told,
    inHand() {
      const { record } = store.read() as { record: LiveRecord }
      // Without the mark of a refresh cookie that may be another's (docs/decisions/0025).
      const refresh = record.refreshToken?.replace(/^~~/, '') ?? ''
      return { access: record.access?.token ?? '', refresh }
    },
    async signIn() {
      const session = await auth.login(scene.alice)
      await scene.clear()
      told.length = 0
      return session
    },
    async pass(milliseconds) {
      vi.advanceTimersByTime(milliseconds)
      await scene.pass(milliseconds)
    },
    onAsk(dialog) {
      auth.on('reauthRequired', (event) => event.waitUntil(dialog()))
    },
  }
}
