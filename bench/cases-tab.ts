/** A tab of bench/cases.ts: a thread with modules of its own, over a session that it shares with another. */
import { parentPort, workerData } from 'node:worker_threads'
import { configurations } from './contestants.ts'

// What a peer tells its user is not for the table.
console.warn = () => {}
const { name, place } = workerData
const client = configurations.find((one) => one.name === name)?.make(place)
parentPort?.once('message', async () => {
  const calls = Array.from({ length: 5 }, () => Promise.resolve(client?.send(`${place.url}items`)))
  const settled = Promise.allSettled(calls)
  parentPort?.postMessage('begun')
  const answers = await settled
  parentPort?.postMessage(answers.filter(({ status }) => status === 'fulfilled').length)
})
parentPort?.postMessage('ready')
