/**
 * The packed package on Bun, Deno and workerd (what Cloudflare's Workers run on), as npm brings them:
 * `npx vitest run --project frameworks test/frameworks/runtimes.test.ts`.
 */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { startDemoServer } from '../../demo-server/server.ts'
import { installPacked, LIVED, type Project, root, runNpm } from '../package/install.ts'

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const start = performance.now()
  while (!(await holds())) {
    if (performance.now() - start > 20_000) throw new Error(`Not in 20 s: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

const run = promisify(execFile)
const place = join(root, '.tmp/runtimes')
const binary = (name: string): string => join(place, 'node_modules/.bin', name)
const commands = { bun: [binary('bun')], deno: [binary('deno'), 'run', '-A'] }

let project: Project
beforeAll(async () => {
  mkdirSync(place, { recursive: true })
  console.log('npm install bun deno workerd, into .tmp/runtimes')
  await runNpm(place, 'install', '--prefix', place, '--no-package-lock', 'bun@1', 'deno@2', 'workerd@1')
  // npm runs no scripts here, and Bun's own fetches its binary.
  await run(process.execPath, ['install.js'], { cwd: join(place, 'node_modules/bun'), timeout: 120_000 })
  project = await installPacked()
  project.link('ky', 'hono', 'jose', 'msw', 'react')
})
afterAll(() => project?.remove())

describe.each(Object.entries(commands))('%s', (_, [path = '', ...args]) => {
  const script = async (file: string): Promise<string> =>
    (await run(path, [...args, file], { cwd: project.directory, timeout: 60_000 })).stdout

  test('a session lives through login, expiry, refresh and logout, in memory and in sealed files', async () => {
    const file = join(project.directory, 'play.ts')
    copyFileSync(join(root, 'test/package/play.ts'), file)
    const saw = JSON.parse((await script(file)).trim().split('\n').at(-1) ?? '')
    expect(saw).toMatchObject({ memory: LIVED, file: LIVED, stalled: [500, 'gone'] })
  })

  test('a process whose session is in files ends by itself, and the next one has it', async () => {
    const { url, close } = await startDemoServer({ port: 0 })
    onTestFinished(close)
    const file = join(project.directory, 'ends.ts')
    writeFileSync(
      file,
      `import { createAuth, flaskJwt } from 'stayfresh'
      import { fileStore } from 'stayfresh/node'
      const store = fileStore(${JSON.stringify(join(project.directory, `ends-${path.length}`))})
      const auth = createAuth({ baseUrl: '${url}api/', backend: flaskJwt(), store })
      await auth.ready
      if (!auth.session) await auth.login({ username: 'alice', password: 'wonderland' })
      else await auth.refresh()
      console.log(auth.session?.version, (await auth.fetch('protected')).status)`,
    )
    expect(await script(file)).toBe('1 200\n')
    expect(await script(file)).toBe('2 200\n')
  })

  test('a text in a Request goes out with its length', async () => {
    const lengths: (string | undefined)[] = []
    const { createServer: serve } = await import('node:http')
    const server = serve((request, response) => {
      lengths.push(request.headers['content-length'])
      request.resume().on('end', () => response.end('{}'))
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    onTestFinished(() => void server.close())
    const url = `http://127.0.0.1:${(server.address() as { port: number }).port}/`
    const file = join(project.directory, 'length.ts')
    writeFileSync(
      file,
      `import { createAuth, flaskJwt } from 'stayfresh'
      const auth = createAuth({ baseUrl: '${url}', backend: flaskJwt(), initial: { accessToken: 'opaque' } })
      for (const body of ['a text', new URLSearchParams({ a: 'b' })])
        await (await auth.fetch(new Request('${url}', { method: 'POST', body }))).text()`,
    )
    await script(file)
    expect(lengths).toEqual(['6', '3'])
  })
})

describe.each(['2024-09-01', '2026-01-01'])('workerd, as of %s', (date) => {
  async function worker() {
    const { url, backend, close } = await startDemoServer({
      port: 0,
      backend: { refresh: 'reusable' },
      serve(pathname) {
        if (pathname !== '/expire') return undefined
        backend.expireAccessTokens()
        return new Response(null, { status: 204 })
      },
    })
    onTestFinished(close)
    const source = join(project.directory, 'worker.ts')
    writeFileSync(
      source,
      `import { createAuth, flaskJwt } from 'stayfresh'
      const make = () => createAuth({ baseUrl: '${url}api/', backend: flaskJwt(), refreshTimeout: 1000 })
      const alice = { username: 'alice', password: 'wonderland' }
      const bob = { username: 'bob', password: 'builder' }
      const shared = make()
      const acts = {
        async whole() {
          const auth = make()
          const saw = []
          await auth.login(alice)
          await fetch('${url}expire', { method: 'POST' })
          const storm = await Promise.all([1, 2, 3].map(() => auth.fetch('protected')))
          saw.push(...storm.map(({ status }) => status))
          await auth.login(bob)
          saw.push((await auth.fetch('protected')).status)
          await auth.logout()
          saw.push((await auth.fetch('protected')).status, auth.session)
          return saw
        },
        login: () => shared.login(alice).then(({ subject }) => subject),
        call: () => shared.fetch('protected').then(({ status }) => status),
        // Answers at once: what it has begun ends with it.
        leave: () => (void shared.fetch('protected').catch(() => {}), new Promise((end) => setTimeout(end, 100, 'left'))),
      }
      export default {
        async fetch(request) {
          try {
            return Response.json(await acts[new URL(request.url).pathname.slice(1)]())
          } catch (error) {
            return Response.json(error.code ?? String(error))
          }
        },
      }`,
    )
    const bundled = await build({
      entryPoints: [source],
      bundle: true,
      write: false,
      format: 'esm',
      target: 'es2022',
    })
    const probe = createServer().listen(0, '127.0.0.1')
    await once(probe, 'listening')
    const { port } = probe.address() as { port: number }
    probe.close()
    writeFileSync(join(project.directory, 'worker.js'), bundled.outputFiles[0]?.text ?? '')
    const config = join(project.directory, 'worker.capnp')
    writeFileSync(
      config,
      `using Workerd = import "/workerd/workerd.capnp";
      const config :Workerd.Config = (
        services = [
          (name = "main", worker = .worker),
          (name = "internet", network = (allow = ["public", "private", "local"])),
        ],
        sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")],
      );
      const worker :Workerd.Worker = (
        modules = [(name = "worker", esModule = embed "worker.js")],
        compatibilityDate = "${date}",
        globalOutbound = "internet",
      );`,
    )
    // What npm calls by that name is a script that runs it: they are ended together.
    const serving = spawn(binary('workerd'), ['serve', config], { stdio: 'inherit', detached: true })
    onTestFinished(async () => {
      const over = once(serving, 'exit')
      process.kill(-(serving.pid as number), 'SIGKILL')
      await over
    })
    const act = (name: string): Promise<unknown> =>
      fetch(`http://127.0.0.1:${port}/${name}`, { signal: AbortSignal.timeout(20_000) }).then((answer) =>
        answer.json(),
      )
    await until('it serves', () =>
      act('').then(
        () => true,
        () => false,
      ),
    )
    return { act, backend }
  }

  test('a session lives through login, expiry, another user and logout', async () => {
    const { act, backend } = await worker()
    expect(await act('whole')).toEqual([200, 200, 200, 200, 401, null])
    const answered = backend.log.filter(({ route, status }) => route === 'protected' && status === 200)
    expect(answered.map(({ token }) => token?.sub)).toEqual(['alice', 'alice', 'alice', 'bob'])
    expect([backend.count('refresh'), backend.sessionAlive('bob')]).toEqual([1, false])
  })

  // Of older dates a promise of a request that has ended never settles, and says nothing.
  test.runIf(date > '2024-10-14')(
    'a refresh that was lost with the request that had begun it holds up nobody for good',
    async () => {
      const { act, backend } = await worker()
      expect(await act('login')).toBe('alice')
      backend.settings.latency = { refresh: { after: 800 } }
      backend.expireAccessTokens()
      expect(await act('leave')).toBe('left')
      await until('a call gets through', async () => (await act('call')) === 200)
    },
  )
})
