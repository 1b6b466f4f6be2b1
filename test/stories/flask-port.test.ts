import { beforeAll } from 'vitest'
import { flask, portTransport } from './flask.ts'
import { stories } from './stories.ts'

beforeAll(() => console.log('The stories run over the demo server, in both dialects, each on a real port'))

for (const dialect of ['default', 'tutorial'] as const) stories(flask(portTransport, dialect))
