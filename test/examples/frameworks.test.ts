/** The examples for Vue and Svelte, run by the reactivity of Vue and the compiler and runtime of Svelte. */
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { build, type Plugin } from 'esbuild'
// @ts-expect-error it brings no types
import { JSDOM } from 'jsdom'
import { createBackend } from 'stayfresh/testing'
import { compile } from 'svelte/compiler'
import { get } from 'svelte/store'
import { expect, test, vi } from 'vitest'
import { effect, effectScope } from 'vue'
import { name, auth as ofSvelte, session, whoIsIt } from '../../examples/svelte.ts'
import { useSession } from '../../examples/vue.ts'
import { alice, bob, room } from '../core/support.ts'

test('Vue: the composable follows the session until its scope is gone', async () => {
  vi.stubGlobal('window', globalThis)
  const { auth } = room()
  const scope = effectScope()
  const seen: unknown[] = []
  scope.run(() => {
    const current = useSession(auth)
    effect(() => void seen.push(current.value?.subject))
  })
  await auth.login(alice)
  await auth.logout()
  await auth.login(bob)
  expect(seen).toEqual([undefined, 'alice', undefined, 'bob'])
  scope.stop()
  await auth.logout()
  expect(seen).toHaveLength(4)
})

test('Vue: in a scope on a server nothing is known, and nothing is subscribed to', async () => {
  const { auth, signIn } = room()
  await signIn()
  const subscribe = vi.spyOn(auth, 'subscribe')
  expect(effectScope().run(() => useSession(auth).value)).toBeUndefined()
  expect(subscribe).not.toHaveBeenCalled()
})

test('Svelte: an auth is a store for svelte/store, and for runes', async () => {
  const backend = createBackend({ prefix: '/api/', signer: 'fast' })
  vi.stubGlobal('fetch', backend.fetch)
  const names: string[] = []
  const stop = name.subscribe((now) => void names.push(now))
  expect([get(ofSvelte), session.current, await whoIsIt()]).toEqual([null, null, undefined])
  await ofSvelte.login(alice)
  expect(get(ofSvelte)).toBe(ofSvelte.session)
  expect(session.current).toBe(ofSvelte.session)
  expect(await whoIsIt()).toBe('alice')
  await ofSvelte.logout()
  expect(names).toEqual(['nobody', 'alice', 'nobody'])
  stop()
})

test('Svelte: $auth in a component follows the session until the component is gone', async () => {
  const { auth } = room()
  const listening = { count: 0 }
  const { window } = new JSDOM('', { runScripts: 'outside-only' })
  Object.assign(window, {
    auth: Object.create(auth, {
      subscribe: {
        value: (listener: never) => {
          const stop = auth.subscribe(listener)
          listening.count++
          return () => {
            listening.count--
            stop()
          }
        },
      },
    }),
  })
  window.eval(await bundled())
  const { document, flush, unmount } = window as unknown as {
    document: Document
    flush(): void
    unmount(): Promise<void>
  }
  const text = (): string => {
    flush()
    return document.body.textContent.trim()
  }
  expect(text()).toBe('Please sign in')
  await auth.login(alice)
  expect(text()).toBe('Hello alice Sign out')
  document.querySelector('button')?.click()
  expect(text()).toBe('Please sign in')
  expect(auth.session).toBeNull()
  await unmount()
  expect(listening.count).toBe(0)
})

test.each([
  ['signed in', 'Hello alice Sign out'],
  ['signed out', 'Please sign in'],
])(
  'Svelte: a server draws a login for nobody, and its page is hydrated without a mismatch by who is %s',
  async (state, then) => {
    const { body } = await drawn({ auth: room().auth })
    expect(body.replace(/<!--.*?-->/g, '').trim()).toBe('<p>One moment…</p>')
    const { auth, signIn } = room()
    if (state === 'signed in') await signIn()
    const { window } = new JSDOM(body, { runScripts: 'outside-only' })
    const warned = vi.fn()
    Object.assign(window.console, { warn: warned, error: warned })
    Object.assign(window, { auth })
    window.eval(
      await bundled(`
      import { flushSync, hydrate } from 'svelte'
      import Who from './who.svelte'
      hydrate(Who, { target: document.body, props: { auth } })
      flushSync()`),
    )
    expect(warned.mock.calls).toEqual([])
    expect(window.document.body.textContent.trim()).toBe(then)
  },
)

const examples = fileURLToPath(new URL('../../examples', import.meta.url))

const compiled = (generate: 'client' | 'server'): Plugin => ({
  name: 'svelte',
  setup: ({ onLoad }) =>
    onLoad({ filter: /\.svelte$/ }, async ({ path }) => ({
      contents: compile(await readFile(path, 'utf8'), {
        filename: path,
        generate,
        dev: generate === 'client',
      }).js.code,
    })),
})

const MOUNTED = `
  import { flushSync, mount, unmount } from 'svelte'
  import Who from './who.svelte'
  const who = mount(Who, { target: document.body, props: { auth } })
  Object.assign(window, { flush: flushSync, unmount: () => unmount(who) })`

/** The component, compiled as an application's bundler would have it done. */
async function bundled(contents = MOUNTED): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: examples },
    bundle: true,
    write: false,
    conditions: ['browser', 'development'],
    logLevel: 'error',
    plugins: [compiled('client')],
  })
  return outputFiles[0]?.text ?? ''
}

/** What a server draws of the component. */
async function drawn(props: object): Promise<{ body: string }> {
  const { outputFiles } = await build({
    stdin: {
      contents: "export { render } from 'svelte/server'\nexport { default as Who } from './who.svelte'",
      resolveDir: examples,
    },
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'node',
    logLevel: 'error',
    plugins: [compiled('server')],
  })
  const module = `data:text/javascript;base64,${Buffer.from(outputFiles[0]?.text ?? '').toString('base64')}`
  const { render, Who } = await import(/* @vite-ignore */ module)
  return render(Who, { props })
}
