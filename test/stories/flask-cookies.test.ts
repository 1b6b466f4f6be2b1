import { flask, portTransport } from './flask.ts'
import { stories } from './stories.ts'

for (const dialect of ['default', 'tutorial'] as const) {
  for (const mode of ['cookies', 'implicit'] as const) stories(flask(portTransport, dialect, mode))
}
stories(flask(portTransport, 'default', 'hybrid'))
