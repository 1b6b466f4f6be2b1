import { afterAll, beforeAll } from 'vitest'
import { type Django, startDjango } from '../servers/django.ts'
import { simpleJwtServer } from './simple-jwt.ts'
import { stories } from './stories.ts'

let django: Django
beforeAll(async () => {
  django = await startDjango()
  console.log(`The stories run over ${django.title}, at ${django.origin}`)
}, 300_000)
afterAll(() => django?.stop())

stories(simpleJwtServer(() => django))
