import { afterAll, beforeAll } from 'vitest'
import { type Flask, startFlask } from '../servers/flask.ts'
import { alike } from './flask-alike.ts'
import { realFlask } from './flask-real.ts'
import { stories } from './stories.ts'

let flask: Flask
beforeAll(async () => {
  flask = await startFlask()
  console.log(`The stories run over ${flask.title}, at ${flask.origin}`)
}, 300_000)
afterAll(() => flask?.stop())

stories(realFlask(() => flask, 'default'))
stories(realFlask(() => flask, 'default', 'cookies'))
// As much again, for other words and one more hook, which are held against the fake’s below; CONTRIBUTING.md tells when.
if (process.env.STAYFRESH_STORIES === 'all') {
  stories(realFlask(() => flask, 'tutorial'))
  stories(realFlask(() => flask, 'default', 'implicit'))
}

alike(() => flask)
