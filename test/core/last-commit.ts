/**
 * A process of its own for store-away.test.ts: it refreshes, the commit of what came fails once, and there is nothing
 * left to do. Prints the refresh token that its store holds when it ends.
 */
import { createAuth, flaskJwt, type LiveRecord, memoryStore, type Store } from '../../src/index.ts'
import { mint, ok, serve } from './by-hand.ts'

const inner = memoryStore()
let failed = false
const store: Store = {
  ...inner,
  commit(next, expected) {
    if (next.version === 2 && !failed) {
      failed = true
      throw new Error('out of order')
    }
    return inner.commit?.(next, expected) ?? inner.read()
  },
}
let given = 0
const server = serve(() => ok({ access_token: mint('alice'), refresh_token: `refresh-${given++}` }))
const auth = createAuth({ baseUrl: 'https://api.test/', backend: flaskJwt(), fetch: server.fetch, store })
process.on('exit', () => {
  const { record } = inner.read() as { record: LiveRecord }
  console.log(record.refreshToken)
})
await auth.login({ username: 'alice', password: '' })
await auth.refresh()
