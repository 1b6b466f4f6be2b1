/** What `docs/testing.md` shows is what runs: each of its code blocks stands in a test beside this one, to the letter. */
import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const here = new URL('guide/', import.meta.url)
// Without indentation: a block stands for itself there, and inside a test here.
const flat = (text: string): string => text.replace(/^[ \t]+/gm, '').trim()

const tests = readdirSync(here).map((name) => flat(readFileSync(new URL(name, here), 'utf8')))
const guide = readFileSync(new URL('../../docs/testing.md', import.meta.url), 'utf8')
const blocks = Array.from(guide.matchAll(/^```ts\n([\s\S]*?)^```$/gm), ([, block = '']) => block)

test('the guide has code', () => {
  expect(blocks.length).toBeGreaterThan(10)
})

test.each(blocks)('a block of the guide runs: %s', (block) => {
  expect(tests.filter((text) => text.includes(flat(block)))).toHaveLength(1)
})
