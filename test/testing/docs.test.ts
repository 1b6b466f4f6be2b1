/**
 * What `docs/testing.md` shows is what runs: each of its code blocks stands in a test beside this one, to the letter, and
 * imports what it needs from where that test does.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const here = new URL('guide/', import.meta.url)
// Without indentation: a block stands for itself there, and inside a test here.
const flat = (text: string): string => text.replace(/^[ \t]+/gm, '').trim()

const IMPORT = /^import \{(.*)\} from '(.*)'$/gm

interface Piece {
  readonly code: string
  /** Where its names come from: `stayfresh createAuth`. */
  readonly imports: string[]
}

const pieceOf = (text: string): Piece => ({
  code: flat(text.replace(IMPORT, '')),
  imports: Array.from(text.matchAll(IMPORT)).flatMap(([, names = '', from]) =>
    names.split(',').map((name) => `${from} ${name.replace('type ', '').trim()}`),
  ),
})

const tests = readdirSync(here).map((name) => pieceOf(readFileSync(new URL(name, here), 'utf8')))
const guide = readFileSync(new URL('../../docs/testing.md', import.meta.url), 'utf8')
const blocks = Array.from(guide.matchAll(/^```ts\n([\s\S]*?)^```$/gm), ([, block = '']) => block)

test('the guide has code', () => {
  expect(blocks.length).toBeGreaterThan(10)
})

test.each(blocks)('a block of the guide runs: %s', (block) => {
  const { code, imports } = pieceOf(block)
  const found = tests.filter((test) => test.code.includes(code))
  expect(found).toHaveLength(1)
  expect(found[0]?.imports).toEqual(expect.arrayContaining(imports))
})
