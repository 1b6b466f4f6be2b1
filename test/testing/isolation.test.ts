import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const directory = new URL('../../src/testing/', import.meta.url)
const files = readdirSync(directory).filter((name) => name.endsWith('.ts'))

const allowed = /^(\.\/|hono$|hono\/utils\/encode$|jose\/)/
const allowedToMsw = /^(\.\/|msw\/http$)/

test.each(files)('%s imports nothing of the client and nothing of Node', (name) => {
  const source = readFileSync(new URL(name, directory), 'utf8')
  const imported = Array.from(source.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g), ([, module]) => module)
  for (const module of imported) expect(module).toMatch(name === 'msw.ts' ? allowedToMsw : allowed)
})
