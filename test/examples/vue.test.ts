// @vitest-environment jsdom
/** The composable for Vue in components: mounted, unmounted, drawn by a server and hydrated. */
import type { Auth } from 'stayfresh'
import { expect, onTestFinished, test, vi } from 'vitest'
import {
  type App,
  createApp,
  createSSRApp,
  defineAsyncComponent,
  defineComponent,
  h,
  nextTick,
  onMounted,
  onUpdated,
  ref,
} from 'vue'
import { renderToString } from 'vue/server-renderer'
import { useSession } from '../../examples/vue.ts'
import { alice, room } from '../core/support.ts'

const Who = defineComponent({
  props: { auth: { type: Object, required: true } },
  setup({ auth }) {
    // biome-ignore lint/correctness/useHookAtTopLevel: Vue calls it once, and no hook of React's is meant
    const session = useSession(auth as Auth)
    return () => {
      const { value } = session
      if (value === undefined) return h('p', 'One moment…')
      return value ? h('div', `Hello ${value.subject}`) : h('form', 'Please sign in')
    }
  },
})

function place(app: App, html = ''): HTMLElement {
  const element = document.createElement('main')
  element.innerHTML = html
  app.mount(element)
  onTestFinished(() => app.unmount())
  return element
}

test.each(['signed in', 'signed out'])(
  'a page of a server is hydrated without a mismatch by who is %s',
  async (state) => {
    const { auth, signIn } = room()
    if (state === 'signed in') await signIn()
    const warned = [vi.spyOn(console, 'warn'), vi.spyOn(console, 'error')]
    // The server's HTML is the same for everybody.
    const html = await renderToString(createSSRApp(Who, { auth: room().auth }))
    expect(html).toBe('<p>One moment…</p>')
    const page = place(createSSRApp(Who, { auth }), html)
    await nextTick()
    expect(page.textContent).toBe(state === 'signed in' ? 'Hello alice' : 'Please sign in')
    expect(warned.flatMap((spy) => spy.mock.calls)).toEqual([])
  },
)

test('a component that comes once the page stands shows who is signed in from its first render', async () => {
  const { auth, signIn } = room()
  await signIn()
  const drawn: unknown[] = []
  const Late = defineComponent(() => {
    const session = useSession(auth)
    return () => h('p', String(drawn.push(session.value?.subject)))
  })
  const here = ref(false)
  place(createApp(defineComponent(() => () => h('main', here.value ? [h(Late)] : []))))
  here.value = true
  await nextTick()
  expect(drawn).toEqual(['alice'])
})

test('a part of a page that is hydrated late, when the rest stands, begins as the server drew it', async () => {
  const { auth, signIn } = room()
  await signIn()
  const warned = [vi.spyOn(console, 'warn'), vi.spyOn(console, 'error')]
  const Slow = (ready: Promise<void>, known: Auth) => {
    const Part = defineAsyncComponent(() => ready.then(() => Who))
    return defineComponent({ setup: () => () => h('section', [h(Part, { auth: known })]) })
  }
  const html = await renderToString(createSSRApp(Slow(Promise.resolve(), room().auth)))
  expect(html).toBe('<section><p>One moment…</p></section>')
  let load = (): void => {}
  const page = place(createSSRApp(Slow(new Promise((resolve) => (load = resolve)), auth)), html)
  await nextTick()
  load()
  await vi.waitFor(() => expect(page.textContent).toBe('Hello alice'))
  expect(warned.flatMap((spy) => spy.mock.calls)).toEqual([])
})

test.each(['onMounted', 'onUpdated'] as const)('called in %s it follows the session, too', async (moment) => {
  const { auth, signIn } = room()
  await signIn()
  const seen: unknown[] = []
  const subscribe = vi.spyOn(auth, 'subscribe')
  const turn = ref(0)
  const app = createApp(
    defineComponent({
      setup() {
        ;({ onMounted, onUpdated })[moment](() => {
          // biome-ignore lint/correctness/useHookAtTopLevel: as above
          if (!seen.length) seen.push(useSession(auth).value?.subject)
        })
        return () => h('p', turn.value)
      },
    }),
  )
  place(app)
  turn.value++
  await nextTick()
  expect(seen).toEqual(['alice'])
  expect(subscribe).toHaveBeenCalledOnce()
})

test('a server subscribes to nothing, whoever is signed in', async () => {
  const { auth, signIn } = room()
  await signIn()
  const subscribe = vi.spyOn(auth, 'subscribe')
  expect(await renderToString(createSSRApp(Who, { auth }))).toBe('<p>One moment…</p>')
  expect(subscribe).not.toHaveBeenCalled()
})

test('a component follows the session until it is unmounted, and no longer', async () => {
  const { auth } = room()
  const ends: ReturnType<typeof vi.fn>[] = []
  const counted = Object.create(auth, {
    subscribe: {
      value: (listener: never) => {
        const end = vi.fn(auth.subscribe(listener))
        ends.push(end)
        return end
      },
    },
  })
  const app = createApp(Who, { auth: counted })
  const page = place(app)
  await nextTick()
  expect(page.textContent).toBe('Please sign in')
  await auth.login(alice)
  await nextTick()
  expect(page.textContent).toBe('Hello alice')
  app.unmount()
  expect(ends.map(({ mock }) => mock.calls.length)).toEqual([1])
})
