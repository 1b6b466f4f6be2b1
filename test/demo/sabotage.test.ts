/** The demo's checks are real: something that a client must not do comes between it and the server, and is seen. */
import { Writable } from 'node:stream'
import { afterEach, expect, test, vi } from 'vitest'
import { createPrinter } from '../../demo-server/print.ts'
import { type DemoServer, startDemoServer } from '../../demo-server/server.ts'
import { createWorld, runSteps, type Step } from '../../demo-server/stage.ts'
import { steps } from '../../demo-server/steps.ts'
import { createRecorder } from '../../demo-server/wire.ts'

vi.setConfig({ testTimeout: 30_000 })

type Fetch = typeof globalThis.fetch
type Sabotage = (path: string, send: () => Promise<Response>, init: RequestInit) => Promise<Response>

let server: DemoServer | undefined
afterEach(() => server?.close())

/** Runs the login and the steps whose titles begin so. */
async function run(titles: readonly string[], sabotage?: Sabotage): Promise<{ ok: boolean; output: string }> {
  const recorder = createRecorder()
  // Three seconds leave a client two: stamps are whole seconds.
  server = await startDemoServer({ port: 0, backend: { accessLifetime: 3_000 }, onExchange: recorder.take })
  const between: Fetch = (input, init = {}) => {
    const url = new URL(input instanceof Request ? input.url : input)
    return sabotage ? sabotage(url.pathname, () => fetch(input, init), init) : fetch(input, init)
  }
  const chosen = ['Login', ...titles].map(
    (title) => steps.find((step) => step.title.startsWith(title)) as Step,
  )
  const world = createWorld(server, recorder, between)
  let output = ''
  const stream = new Writable({
    write(chunk, _encoding, done) {
      output += chunk
      done()
    },
  })
  const ok = await runSteps(chosen, world, createPrinter(stream))
  world.auth.dispose()
  return { ok, output }
}

test('with nothing in between, the chosen steps come out right', async () => {
  const { ok, output } = await run(['Fifty at once', 'Expired early', 'A body replayed', 'A refused refresh'])
  expect(ok, output).toBe(true)
  expect(output).not.toContain('✗')
})

test('a second refresh is seen', async () => {
  const { ok, output } = await run(['Fifty at once'], async (path, send) => {
    if (path.endsWith('/refresh')) await (await send()).text()
    return send()
  })
  expect(ok).toBe(false)
  expect(output).toMatch(/✗ .* 2 refreshes in .*; expected 51 requests, 1 refresh/)
  expect(output).toContain('1 of 2 steps came out right')
})

test('a call that is sent twice is seen', async () => {
  let calls = 0
  const { ok, output } = await run(['Expired early'], async (path, send) => {
    if (path.endsWith('/protected') && ++calls === 100) await (await send()).text()
    return send()
  })
  expect(ok).toBe(false)
  expect(output).toMatch(/✗ 102 requests, 1 refresh in .*; expected 101 requests, 1 refresh/)
})

test('a refresh that is over only after the late 401 is seen', async () => {
  const { ok, output } = await run(['A late 401'], async (path, send) => {
    if (path.endsWith('/refresh') && server) {
      const { latency } = server.backend.settings
      latency.refresh = { after: 1_200 }
    }
    return send()
  })
  expect(ok).toBe(false)
  expect(output).toMatch(/✗ the 401 came after the refresh was over: expected true, saw false/)
})

test('a replay with another body is seen', async () => {
  let posts = 0
  const { ok, output } = await run(['A body replayed'], (path, send, init) => {
    if (path.endsWith('/protected') && ++posts === 2) init.body = '{}'
    return send()
  })
  expect(ok).toBe(false)
  expect(output).toContain('✗ the same text both times: expected [true,true], saw [true,false]')
})

test('a step that throws is broken off, and those after it are not run', async () => {
  // The client reports what became of the dialog.
  vi.spyOn(console, 'error').mockImplementation(() => {})
  const { ok, output } = await run(['Expired early', 'A fresh-only', 'A refused'], async (path, send) =>
    path.endsWith('/fresh-login') ? new Response(null, { status: 503 }) : send(),
  )
  expect(ok).toBe(false)
  expect(output).toContain('✗ The step broke off')
  expect(output).not.toContain('A refused refresh')
  expect(output).toContain('2 of 4 steps came out right')
})

test('a 401 that is not the one of the server is seen', async () => {
  const { ok, output } = await run(['A refused refresh'], async (path, send) => {
    const response = await send()
    if (path.endsWith('/refresh') || response.status !== 401) return response
    return Response.json({ msg: 'token_expired' }, { status: 401 })
  })
  expect(ok).toBe(false)
  expect(output).toContain("✗ it was the server's own")
})

test('a logout that never reaches the server is seen', async () => {
  const { ok, output } = await run(['A new login'], async (path, send) =>
    path.endsWith('/logout') ? Response.json({ msg: 'Access token revoked' }) : send(),
  )
  expect(ok).toBe(false)
  expect(output).toContain('✗ and honours neither any more: expected [false,false], saw [true,true]')
})
