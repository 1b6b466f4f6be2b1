import { afterAll, beforeAll } from 'vitest'
import { flask, mswTransport } from './flask.ts'
import { stories } from './stories.ts'

const transport = mswTransport()
beforeAll(() => transport.start())
afterAll(() => transport.stop())

// The other dialect is told over a port, and both over the real library.
stories(flask(transport, 'default'))
