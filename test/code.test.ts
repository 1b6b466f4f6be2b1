/** The code before it runs. Beside the other tests, so that it takes none of their time; alone: `npm run check`. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('..', import.meta.url))

test.each([
  ['Biome finds nothing to format, and nothing to warn of', '@biomejs/biome/bin/biome', 'check', '.'],
  [
    'the source, the tests, the demo, the benchmarks and the examples type-check',
    'typescript7/bin/tsc',
    '-p',
    '.',
  ],
  [
    'what is no entry for Node alone type-checks without its types',
    'typescript7/bin/tsc',
    '--noEmit',
    '-p',
    'src',
  ],
])('%s', { timeout: 120_000 }, async (_, path, ...args) => {
  const said = await new Promise<string>((resolve) => {
    const command = [`node_modules/${path}`, ...args]
    execFile(process.execPath, command, { cwd: root, maxBuffer: 2 ** 24 }, (error, stdout, stderr) =>
      resolve(error ? `${error.message}\n${stdout}${stderr}` : ''),
    )
  })
  expect(said).toBe('')
})
