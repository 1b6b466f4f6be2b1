/** docs/examples.md shows the examples as they are: each has its section, each line of code stands in its file. */
import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const root = new URL('../../', import.meta.url)
const read = (path: string): string => readFileSync(new URL(path, root), 'utf8')
const page = read('docs/examples.md')
const lineOf = (text: string): string => text.trim().replace(/^\* */, '')

// docs/react.md has its own, with elements in them.
const elsewhere = /^(react|svelte\.ts|vue\.ts|who\.svelte)$/
const examples = readdirSync(new URL('examples/', root)).filter((name) => !elsewhere.test(name))

test.each(examples)('examples/%s is shown word for word', (name) => {
  const sections = page.split(/^## /m).filter((section) => section.includes(`(../examples/${name})`))
  expect(sections.length).toBeGreaterThan(0)
  const known = new Set(
    sections
      .flatMap((section) =>
        [...section.matchAll(/\(\.\.\/(examples\/[\w.-]+)\)/g)].map(([, path]) => path as string),
      )
      .flatMap((path) => read(path).split('\n').map(lineOf)),
  )
  const shown = sections.flatMap((section) => section.match(/(?<=```ts\n)[\s\S]*?(?=```)/g) ?? []).join('')
  const lines = shown
    .split('\n')
    .map(lineOf)
    .filter((line) => line)
  expect(lines.length).toBeGreaterThan(2)
  expect(lines.filter((line) => !known.has(line))).toEqual([])
})
