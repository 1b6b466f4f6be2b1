// @vitest-environment jsdom
/** The composable for Vue in components: mounted, unmounted, drawn by a server and hydrated. */
import type { Auth } from 'stayfresh'
import { expect, onTestFinished, test, vi } from 'vitest'
import { type App, createApp, createSSRApp, defineComponent, h, nextTick } from 'vue'
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
