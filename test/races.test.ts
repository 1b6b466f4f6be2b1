import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const cli = fileURLToPath(new URL('model/races.ts', import.meta.url))

// The same programs each time, so that a red run can be repeated; `npm run test:races` draws new ones.
async function run(...options: string[]): Promise<void> {
  const { stdout } = await promisify(execFile)(process.execPath, [cli, ...options], {
    maxBuffer: 2 ** 26,
  }).catch((error) => error)
  console.log(stdout.slice(stdout.lastIndexOf('\r') + 1))
  expect(stdout).toContain('none broken')
}

test('every invariant holds under every order of 10,000 random programs', { timeout: 280_000 }, () =>
  run('--runs', '10000', '--seed', '1'),
)

// Too few for all that is rare, but of seeds by which every fault strikes.
test.each([
  ['tokens in cookies', 'cookies', '47000114'],
  ['the refresh token alone in a cookie', 'hybrid', '1'],
])('and of 1,000 with %s', { timeout: 280_000 }, (_, mode, seed) =>
  run('--mode', mode, '--runs', '1000', '--seed', seed, '--covers', 'op,outside,fault,store,event'),
)
