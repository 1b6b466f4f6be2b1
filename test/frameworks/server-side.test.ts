/**
 * examples/sveltekit.ts and examples/next.ts in the frameworks themselves: `npx vitest run --project frameworks`. Each app is
 * the example with the files that its first comment shows, in a directory of its own with the packed package: installed from
 * npm, type-checked strictly, built, started for production, and reached under one origin with the API.
 */
import { execFile, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { expect, onTestFinished, test } from 'vitest'
import { all, type Browser, newBrowser, signedInBrowser, startApi } from '../examples/server-side.ts'
import { alice, bob, times, until } from '../examples/support.ts'
import { root, runNpm } from '../package/install.ts'

const svelte = `<script lang="ts">let { data } = $props()</script>{JSON.stringify(data)}`
const route = `import { withAuth } from '../../lib/next'\nexport const`
const apps = {
  sveltekit: {
    packages:
      '@sveltejs/kit@3 @sveltejs/adapter-node@6 @sveltejs/vite-plugin-svelte@7 svelte@5 svelte-check@4 vite@8',
    folder: 'src',
    files: {
      'vite.config.ts': `import adapter from '@sveltejs/adapter-node'\nimport { sveltekit } from '@sveltejs/kit/vite'
        export default { plugins: [sveltekit({ adapter: adapter() })] }`,
      'tsconfig.json':
        '{ "extends": "$app/tsconfig", "include": ["src", "*"], "compilerOptions": { "strict": true } }',
      'src/app.html':
        '<!doctype html><html><head>%sveltekit.head%</head><body>%sveltekit.body%</body></html>',
      'src/routes/+page.svelte': svelte,
      'src/routes/login/+page.server.ts': `export const actions = { default: async ({ locals, request }) => {
        await locals.auth.login(Object.fromEntries(await request.formData())) } }`,
      'src/routes/logout/+page.server.ts':
        'export const actions = { default: ({ locals }) => locals.auth.logout() }',
      'src/routes/part/+server.ts': `export const GET = ({ locals }) => locals.auth.fetch('items')`,
      'src/routes/whole/+page.svelte': svelte,
      'src/routes/whole/+page.server.ts': `export const load = async ({ fetch }) => ({
        parts: await Promise.all([1, 2].map(async () => (await fetch('/part')).text())) })`,
      'src/routes/universal/+page.svelte': svelte,
      'src/routes/universal/+page.ts': `export const load = async ({ fetch }) => (await fetch('/api/items')).json()`,
    },
    build: 'svelte-kit sync && svelte-check --fail-on-warnings && vite build',
    start: ['build/index.js'],
    form: (fields: Record<string, string>): BodyInit => new URLSearchParams(fields),
  },
  next: {
    packages: 'next@16 react@19 react-dom@19 @types/react@19',
    folder: 'lib',
    files: {
      'tsconfig.json': '{ "compilerOptions": { "strict": true } }',
      'app/layout.tsx': `export default function Layout({ children }: LayoutProps<'/'>) {
        return <html><body>{children}</body></html> }`,
      'app/logout/route.ts': `${route} POST = withAuth(API_URL, async (_, auth) => {
        await auth.logout()
        return new Response() })`,
      'app/part/route.ts': `${route} GET = withAuth(API_URL, (_, auth) => auth.fetch('items'))`,
      'app/action/page.tsx': `import { redirect } from 'next/navigation'\nimport { getAuth } from '../../lib/auth'
        async function save() {
          'use server'
          if ((await (await getAuth()).fetch('save', { method: 'POST' })).ok) redirect('/saved') }
        export default function Page() { return <form action={save} /> }`,
    },
    build: 'next build',
    start: ['node_modules/next/dist/bin/next', 'start', '-p', '0', '-H', '127.0.0.1'],
    form: (fields: Record<string, string>): BodyInit => JSON.stringify(fields),
  },
}

/** The files that the first comment of an example shows, each under a line with its name. */
function shown(code: string): Record<string, string> {
  const block = /```ts\n([\s\S]*?) \* ```/.exec(code)?.[1] ?? ''
  const [, ...parts] = block.replace(/^ \* /gm, '').split(/^\/\/ ([\w+./-]+\.tsx?).*$/m)
  return Object.fromEntries(parts.flatMap((part, at) => (at % 2 ? [] : [[part, parts[at + 1] ?? '']])))
}

async function started(name: keyof typeof apps) {
  const { packages, folder, files, build, start, form } = apps[name]
  let inner = ''
  const api = { 'GET items': ({ sub = '' }) => ({ sub }), 'POST save': () => ({}) }
  const site = await startApi({ api, prefix: '/api/' }, ({ url, method, headers: came, body }) => {
    const { pathname, search, host } = new URL(url)
    if (pathname.startsWith('/api/')) return undefined
    const headers = [...came, ['x-forwarded-host', host], ['x-forwarded-proto', 'http']] as [string, string][]
    const init = { method, headers, body, redirect: 'manual', duplex: 'half' } as const
    return fetch(inner + pathname + search, { ...init, signal: AbortSignal.timeout(60_000) })
  })

  const cwd = mkdtempSync(join(tmpdir(), `stayfresh-${name}-`))
  onTestFinished(() => rmSync(cwd, { recursive: true, force: true, maxRetries: 5 }))
  const read = (file: string): string => readFileSync(join(root, 'examples', file), 'utf8')
  const own = [`${name}.ts`, 'request-auth.ts'].map((file) => [`${folder}/${file}`, read(file)])
  const all = {
    'package.json': '{ "private": true, "type": "module" }',
    ...files,
    ...shown(read(`${name}.ts`)),
  }
  for (const [file = '', code = ''] of [...Object.entries(all), ...own]) {
    mkdirSync(dirname(join(cwd, file)), { recursive: true })
    writeFileSync(join(cwd, file), code.replaceAll('API_URL', '(process.env.API_URL as string)'))
  }
  console.log(`npm install ${packages}`)
  await runNpm(cwd, 'pack', root, '--pack-destination', cwd)
  const tarball = readdirSync(cwd).find((file) => file.endsWith('.tgz'))
  await runNpm(cwd, 'install', ...packages.split(' '), 'typescript@6', '@types/node@24', `./${tarball}`)

  console.log(build)
  const PATH = [join(cwd, 'node_modules/.bin'), dirname(process.execPath), process.env.PATH].join(delimiter)
  const served = { API_URL: `${site.url}api/`, HOST: '127.0.0.1', PORT: '0' }
  const behind = { HOST_HEADER: 'x-forwarded-host', PROTOCOL_HEADER: 'x-forwarded-proto' }
  const env: NodeJS.ProcessEnv = { ...process.env, ...served, ...behind, PATH, NODE_ENV: 'production' }
  const options = { cwd, env, timeout: 400_000 }
  await promisify(execFile)('sh', ['-c', build], options).catch(({ stdout, stderr }) => {
    throw new Error(`${build}:\n${stdout}${stderr}`)
  })
  const app = spawn(process.execPath, start, { ...options, stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(() => void app.kill('SIGKILL'))
  let said = ''
  app.stdout.on('data', (more) => {
    said += more
  })
  await until(() => /ready|listening/i.test(said))
  inner = /http:\S+:\d+/.exec(said)?.[0] ?? ''

  const accept = { accept: 'text/html', 'accept-encoding': 'identity' }
  const ask = async (browser: Browser, path: string, body?: BodyInit) => {
    const { headers } = browser.request(path, { headers: accept })
    if (body) headers.set('origin', new URL(site.url).origin)
    const init = { method: body ? 'POST' : 'GET', body, headers, redirect: 'manual' } as const
    const response = await fetch(site.url + path, init)
    return { response, set: browser.take(response), text: await response.text() }
  }
  const page = async (browser: Browser, path = ''): Promise<string> => {
    const { text } = await ask(browser, path)
    return /alice|bob|Missing|revoked/.exec(text)?.[0] ?? text
  }
  const count = (): number[] => [site.backend.count('refresh'), site.backend.reuseDetected]
  const signIn = (as = alice): Promise<Browser> => signedInBrowser({ ...site, url: `${site.url}api/` }, as)
  return { ...site, ask, page, count, form, signIn }
}

/** What holds in each of them. */
async function holds({
  ask,
  page,
  count,
  form,
  signIn,
  backend,
}: Awaited<ReturnType<typeof started>>): Promise<void> {
  console.log('signs in, as somebody else after an expiry, and out')
  const browser = newBrowser()
  for (const user of [alice, bob]) {
    expect((await ask(browser, 'login', form(user))).response.ok).toBe(true)
    expect(await page(browser)).toBe(user.username)
    backend.expireAccessTokens()
  }
  await ask(browser, 'logout', form({}))
  expect([browser.cookies(), backend.sessionAlive('bob'), await page(browser)]).toEqual([
    {},
    false,
    'Missing',
  ])

  for (const refresh of ['rotating-reuse-detection', 'single-use'] as const) {
    console.log(`invariant 1: ten pages and handlers at once cost one exchange (${refresh})`)
    Object.assign(backend.settings, { refresh })
    const reader = await signIn()
    backend.expireAccessTokens()
    const pages = await Promise.all(times(10, (n) => page(reader, n % 2 ? 'part' : '')))
    expect([pages, await page(reader), count()]).toEqual([times(10, () => 'alice'), 'alice', [1, 0]])
  }
  backend.settings.refresh = 'rotating-reuse-detection'

  console.log('invariant 6: of 200 requests of two users, interleaved, each is its own user’s')
  const two = [await signIn(alice), await signIn(bob)] as const
  for (const round of times(10, (n) => n)) {
    if (round === 5) backend.expireAccessTokens()
    const pages = await Promise.all(times(20, (n) => page(two[n % 2] as Browser, n % 3 ? '' : 'part')))
    expect(pages).toEqual(times(20, (n) => (n % 2 ? 'bob' : 'alice')))
  }
  expect(count()).toEqual([2, 0])

  console.log('a refresh token that is refused: nobody, until the next login')
  backend.revoke({ sub: 'alice' })
  expect(await page(two[0])).toMatch(/Missing|revoked/)
  await ask(two[0], 'login', form(alice))
  expect(await page(two[0])).toBe('alice')
}

test('SvelteKit, built: pages, actions, endpoints, what a load fetches; one exchange for all, nobody’s session lost', async () => {
  const app = await started('sveltekit')
  await holds(app)
  const browser = await app.signIn()
  for (const path of ['whole', 'universal']) {
    app.backend.expireAccessTokens()
    app.backend.clearLog()
    const { text, set } = await app.ask(browser, path)
    expect([text.includes('alice'), set, app.count()]).toEqual([true, all, [1, 0]])
  }
}, 900_000)

test('Next, built: pages, route handlers, server actions; one exchange for all, nobody’s session lost or cached', async () => {
  const app = await started('next')
  await holds(app)
  const browser = await app.signIn()
  app.backend.expireAccessTokens()
  const { response, set, text } = await app.ask(browser, 'action')
  expect([response.headers.get('cache-control'), set.sort()]).toEqual(['private, no-store', [...all].sort()])
  const form = new FormData()
  form.set(/\$ACTION_ID_\w+/.exec(text)?.[0] ?? '', '')
  app.backend.expireAccessTokens()
  app.backend.clearLog()
  const saved = await app.ask(browser, 'action', form)
  expect([saved.response.headers.get('location'), saved.set.length, app.count()]).toEqual([
    '/saved',
    4,
    [1, 0],
  ])
  expect(await app.page(browser)).toBe('alice')
}, 900_000)
