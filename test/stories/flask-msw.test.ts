import { afterAll, beforeAll } from 'vitest'
import { flask, mswTransport } from './flask.ts'
import { stories } from './stories.ts'

const transport = mswTransport()
beforeAll(() => transport.start())
afterAll(() => transport.stop())

for (const dialect of ['default', 'tutorial'] as const) stories(flask(transport, dialect))
