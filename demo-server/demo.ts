/**
 * `npm run demo`: a session lived through, by the built package, over real HTTP. Afterwards the server stays up;
 * with `--once` it ends, with exit code 0 only if every step came out right.
 */
import { constants } from 'node:os'
import { parseArgs } from 'node:util'
import { createPrinter } from './print.ts'
import { startDemoServer, whereItListens } from './server.ts'
import { watchable } from './site.ts'
import { createWorld, runSteps } from './stage.ts'
import { steps } from './steps.ts'
import { createRecorder } from './wire.ts'

const USAGE = `npm run demo [-- --once]

  --once   ends after the last step: exit code 0 if every step came out right, else 1
  --help   this text

  PORT     where the server listens (4180); the next free port if it is taken
`

async function main(once: boolean): Promise<void> {
  const recorder = createRecorder()
  // The steps count every request: whoever plays by hand comes after them.
  let over = false
  const server = await startDemoServer({ onExchange: recorder.take, ready: () => over })
  const interrupted = new Promise<NodeJS.Signals>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, resolve)
  })

  const printer = createPrinter(process.stdout)
  printer.heading('stayfresh, from login to logout', [
    whereItListens(server),
    'It answers as Flask-JWT-Extended does. Access tokens live for five seconds; refresh tokens rotate, and one that is used twice ends the session.',
  ])
  const world = createWorld(server, recorder)
  const ran = await Promise.race([runSteps(steps, world, printer), interrupted])
  if (typeof ran === 'string') {
    printer.summary(false, 'Interrupted.')
    // At once: the step that was under way would only report what the interruption did to it.
    process.exit(128 + constants.signals[ran])
  }
  process.exitCode = ran ? 0 : 1
  world.auth.dispose()
  if (!once) {
    Object.assign(server.backend.settings, watchable)
    over = true
    printer.plain(`The server stays up at ${server.url} (Ctrl+C stops it).`)
    printer.plain('Open that in a browser, and in two tabs, to play all of this by hand.')
    await interrupted
  }
  await server.close()
}

function options(): { once: boolean; help: boolean } {
  const { values } = parseArgs({
    options: { once: { type: 'boolean', default: false }, help: { type: 'boolean', default: false } },
  })
  return values
}

try {
  const { once, help } = options()
  if (help) console.log(USAGE)
  else await main(once)
} catch (error) {
  const { code = '', message } = error as NodeJS.ErrnoException
  if (!(error instanceof RangeError) && !code.startsWith('ERR_PARSE_ARGS')) throw error
  console.error(`${message}\n\n${USAGE}`)
  process.exitCode = 2
}
