import { flask, portTransport } from './flask.ts'
import { stories } from './stories.ts'

for (const dialect of ['default', 'tutorial'] as const) stories(flask(portTransport, dialect))
