import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const cli = fileURLToPath(new URL('model/races.ts', import.meta.url))

// The same programs each time, so that a red run can be repeated; `npm run test:races` draws new ones.
test('every invariant holds under every order of 10,000 random programs', { timeout: 280_000 }, async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [cli, '--runs', '10000', '--seed', '1'], {
    maxBuffer: 2 ** 26,
  }).catch((error) => error)
  console.log(stdout.slice(stdout.lastIndexOf('\r') + 1))
  expect(stdout).toContain('none broken')
})
