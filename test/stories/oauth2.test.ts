import { readFileSync } from 'node:fs'
import { beforeAll } from 'vitest'
import { oauth2Server } from './oauth2.ts'
import { stories } from './stories.ts'

beforeAll(() => {
  const { version } = JSON.parse(
    readFileSync(new URL('../../node_modules/oidc-provider/package.json', import.meta.url), 'utf8'),
  )
  console.log(
    `The stories run over oidc-provider ${version} and a resource server beside it, each on a real port`,
  )
})

stories(oauth2Server)
