import { flask, portTransport } from './flask.ts'
import { stories } from './stories.ts'

stories(flask(portTransport, 'default', 'cookies'))
stories(flask(portTransport, 'default', 'implicit'))
stories(flask(portTransport, 'tutorial', 'cookies'))
stories(flask(portTransport, 'tutorial', 'implicit'))
stories(flask(portTransport, 'default', 'hybrid'))
