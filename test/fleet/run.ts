/** `npm run test:fleet`: two minutes of trouble for 32 processes over each store, and what became of it. */
import { parseArgs } from 'node:util'
import { faults, makeTrouble, print } from './trouble.ts'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '120' },
    processes: { type: 'string', default: '32' },
    only: { type: 'string' },
  },
})
const [seconds, processes] = [Number(values.seconds), Number(values.processes)]
const kinds = [
  ['redis', true],
  ['redis', false],
  ['file', true],
  ['file', false],
] as const

for (const [kind, grace] of kinds) {
  const title = `${kind}, ${grace ? 'a server with a reuse grace' : 'a server that forgives nothing'}`
  if (values.only && !title.includes(values.only)) continue
  console.log(`\n${title}: ${processes} processes for ${seconds} s`)
  const options = { kind, grace, processes, seconds, log: (line: string) => console.log(`  ${line}`) }
  const tally = await makeTrouble(options)
  print('the tally', tally)
  const wrong = faults(tally, options)
  for (const line of wrong) console.log(`  WRONG: ${line}`)
  if (wrong.length) process.exitCode = 1
}
