/** `npm run demo` as a person gets it: a process of its own, over real HTTP, with the built package. */
import { test as base, expect, vi } from 'vitest'
import { freePort, occupy, start } from './support.ts'

// Each waits for tokens to run out, and has a process and a port of its own.
const test = base.concurrent
vi.setConfig({ testTimeout: 60_000 })

test('the demo runs every step and ends with exit code 0', async () => {
  const port = await freePort()
  const demo = start('demo.ts', ['--once'], { PORT: String(port) })
  expect(await demo.ended, demo.output()).toBe(0)

  const output = demo.output()
  const titles = [...output.matchAll(/^ {1,2}(\d+) {2}(.+)$/gm)].map(
    ([, number, title]) => `${number} ${title}`,
  )
  expect(titles).toEqual([
    '1 Login',
    '2 A call',
    '3 Expiry',
    '4 Fifty at once, on an expired token',
    '5 Expired early, at the server',
    '6 A late 401',
    '7 A body replayed',
    '8 A fresh-only route, answered by a password',
    '9 A refused refresh',
    '10 A new login, and a logout that revokes both tokens',
  ])
  expect(output).toMatch(/ 50 × GET +\/api\/protected +access#3 +200 /)
  expect(output).toContain('51 requests, 1 refresh in')
  expect(output).toContain('101 requests, 1 refresh in')
  expect(output).toContain('All 10 steps came out right')
  expect(output).not.toContain('✗')

  expect(output).not.toMatch(/eyJ[\w-]+\./)
  expect(output).not.toContain('Bearer')
  expect(output).not.toContain('\u001b')
  expect(Math.max(...output.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100)
})

test('where the port is taken it takes the next free one and says so, and stays up until Ctrl+C', async () => {
  const taken = await occupy()
  const demo = start('demo.ts', [], { PORT: String(taken.port) })
  try {
    await demo.printed('(Ctrl+C stops it)')
    const [, said, next] = /Port (\d+) is taken; .* one, (\d+):/s.exec(demo.output()) ?? []
    expect(said).toBe(String(taken.port))
    expect(Number(next)).toBeGreaterThan(taken.port)
    expect(demo.output()).toContain(`The server stays up at http://127.0.0.1:${next}/`)
    const page = await fetch(`http://127.0.0.1:${next}/`)
    expect(await page.text()).toContain('POST   /api/login')
    // From here on a person plays: what was for the steps alone is over.
    const settings = await fetch(`http://127.0.0.1:${next}/demo`)
    expect(await settings.json()).toMatchObject({ accessLifetime: 25_000, pace: 'normal' })
  } finally {
    demo.child.kill('SIGINT')
    await taken.free()
  }
  expect(await demo.ended).toBe(0)
})

test('a client that refreshes twice ends it with exit code 1', async () => {
  const sabotage = `const plain = fetch
    globalThis.fetch = async (...given) => {
      if (String(given[0]).endsWith('/refresh')) await plain(...given)
      return plain(...given)
    }`
  const preload = `--import=data:text/javascript,${encodeURIComponent(sabotage)}`
  const demo = start('demo.ts', ['--once'], { PORT: '0', NODE_OPTIONS: preload })
  expect(await demo.ended).toBe(1)
  expect(demo.output()).toMatch(/✗ 3 requests, 2 refreshes in \d+ ms; expected 2 requests, 1 refresh/)
  expect(demo.output()).toMatch(/✗ 2 of 10 steps came out right/)
  expect(demo.output()).not.toMatch(/eyJ[\w-]+\./)
})

test('Ctrl+C in the middle ends it at once', async () => {
  const demo = start('demo.ts', ['--once'], { PORT: String(await freePort()) })
  await demo.printed('Expiry')
  demo.child.kill('SIGINT')
  expect(await demo.ended).toBe(130)
  expect(demo.output()).toContain('Interrupted.')
})

test('the server starts alone, and Ctrl+C ends it', async () => {
  const server = start('server.ts', [], { PORT: String(await freePort()) })
  await server.printed('Ctrl+C stops it')
  const [, api = ''] = /live under (\S+);/.exec(server.output()) ?? []
  expect((await fetch(`${api}whoami`)).status).toBe(401)
  server.child.kill('SIGINT')
  expect(await server.ended).toBe(0)
})

test.each(['demo.ts', 'server.ts'])('%s says what PORT takes', async (script) => {
  const demo = start(script, [], { PORT: 'eighty' })
  expect(await demo.ended).not.toBe(0)
  expect(demo.output()).toContain('PORT takes a whole number from 0 to 65535, got "eighty"')
  expect(demo.output()).not.toContain('    at ')
})
