// @vitest-environment jsdom
/** `stayfresh/react`, in a DOM: with the real React, its StrictMode, its server, and nothing it warns of. */
import {
  act,
  createElement as h,
  type ReactNode,
  StrictMode,
  Suspense,
  startTransition,
  use,
  useEffect,
  useState,
} from 'react'
import { createRoot, hydrateRoot, type Root } from 'react-dom/client'
import { renderToString } from 'react-dom/server'
import { afterEach, beforeEach, describe, expect, expectTypeOf, onTestFinished, test, vi } from 'vitest'
import {
  type Auth,
  createAuth,
  flaskJwt,
  isAuthError,
  memoryStore,
  type Session,
  type StandardClaims,
  type Store,
  type UsernamePassword,
} from '../src/index.ts'
import { holdReauth, type Reauth, useReauth, useSession } from '../src/react.ts'
import { cookieBench } from './backends/cookies-support.ts'
import {
  alice,
  bob,
  type Client,
  deferred,
  isPending,
  minute,
  pass,
  room,
  settle,
  statuses,
  summary,
  virtualTime,
} from './core/support.ts'

virtualTime()

const wrong: UsernamePassword = { username: 'alice', password: 'guess' }

let warned: unknown[][]
beforeEach(() => {
  vi.stubGlobal('IS_REACT_ACT_ENVIRONMENT', true)
  warned = []
  vi.spyOn(console, 'error').mockImplementation((...words) => void warned.push(words))
})
afterEach(() => expect(warned).toEqual([]))

/** Lets React do what is due after `run`, and all that follows from it. */
const acted = (run: () => unknown = () => {}): Promise<void> =>
  act(async () => {
    await run()
    await settle()
  })

interface Mounted {
  readonly root: Root
  text(): string
  unmount(): Promise<void>
}

/** Renders into a page of its own, until the test is over. */
async function mount(element: ReactNode, { strict = true, html = '' } = {}): Promise<Mounted> {
  const place = document.createElement('div')
  place.innerHTML = html
  let root: Root | undefined
  const whole = strict ? h(StrictMode, null, element) : element
  await acted(() => {
    if (html) root = hydrateRoot(place, whole)
    else {
      root = createRoot(place)
      root.render(whole)
    }
  })
  const mounted = root as Root
  onTestFinished(() => act(() => mounted.unmount()))
  return {
    root: mounted,
    text: () => place.textContent,
    unmount: () => acted(() => mounted.unmount()),
  }
}

/** The same client, and how many of its listeners are left. */
function counted(auth: Client): { auth: Client; listening(): number } {
  let count = 0
  const counting = (stop: () => void): (() => void) => {
    count++
    return () => {
      count--
      stop()
    }
  }
  return {
    auth: Object.create(auth, {
      on: { value: (...args: Parameters<Client['on']>) => counting(auth.on(...args)) },
      subscribe: { value: (...args: Parameters<Client['subscribe']>) => counting(auth.subscribe(...args)) },
    }),
    listening: () => count,
  }
}

const say = (session: Session | null | undefined): string =>
  session ? `${session.subject} ${session.version}${session.fresh ? ' fresh' : ''}` : String(session)

function Who({ auth }: { auth: Client }): ReactNode {
  return h('p', null, `[${say(useSession(auth))}]`)
}

/** A dialog in the test's hand: what it was given last, and what it says. */
function dialog(): { Dialog: (props: { auth: Client }) => ReactNode; ask(): Ask; asks: (Ask | null)[] } {
  const asks: (Ask | null)[] = []
  return {
    asks,
    ask: () => asks.at(-1) as Ask,
    Dialog({ auth }) {
      const ask = useReauth(auth)
      asks.push(ask)
      if (!ask) return h('p', null, '[nothing asked]')
      const { reason, pending, error } = ask
      const words = isAuthError(error, 'login_refused') ? error.serverMessage : error?.message
      return h('p', null, `[${[reason, pending && 'pending', words].filter(Boolean).join(': ')}]`)
    },
  }
}
type Ask = Reauth<StandardClaims, UsernamePassword>

describe('useSession', () => {
  test('shows who is signed in, from login to logout', async () => {
    const { auth } = room()
    const { text } = await mount(h(Who, { auth }))
    expect(text()).toBe('[null]')
    await acted(() => auth.login(alice))
    expect(text()).toBe('[alice 1 fresh]')
    // A fresh token stays in use beside the refreshed one.
    await acted(() => auth.refresh())
    expect(text()).toBe('[alice 2 fresh]')
    act(() => void auth.logout())
    expect(text()).toBe('[null]')
    await acted(() => auth.login(bob))
    expect(text()).toBe('[bob 1 fresh]')
  })

  test('is undefined until the store was read, and null after that', async () => {
    const inner = memoryStore()
    const read = deferred()
    const store: Store = {
      name: 'slow',
      read: () => read.promise.then(() => inner.read()),
      commit: (next, expected) => inner.commit?.(next, expected) as never,
    }
    const { auth } = room({ client: { store } })
    const { text } = await mount(h(Who, { auth }))
    expect(text()).toBe('[undefined]')
    await acted(() => read.resolve())
    expect(text()).toBe('[null]')
  })

  test('shows what changed between the first render and the subscription', async () => {
    const { auth, signIn } = room()
    await signIn()
    function Hasty(): ReactNode {
      useEffect(() => void auth.logout(), [])
      return h(Who, { auth })
    }
    const { text } = await mount(h(Hasty), { strict: false })
    expect(text()).toBe('[null]')
  })

  test('follows another auth', async () => {
    const [one, two] = [room(), room()]
    await acted(() => Promise.all([one.auth.login(alice), two.auth.login(bob)]))
    const { root, text } = await mount(h(Who, { auth: one.auth }), { strict: false })
    expect(text()).toBe('[alice 1 fresh]')
    await acted(() => root.render(h(Who, { auth: two.auth })))
    expect(text()).toBe('[bob 1 fresh]')
    await acted(() => one.auth.logout())
    expect(text()).toBe('[bob 1 fresh]')
  })

  test('is not stale in a component that comes when all others have gone', async () => {
    const { auth, signIn } = room()
    await signIn()
    const first = await mount(h(Who, { auth }))
    await first.unmount()
    await auth.logout()
    expect((await mount(h(Who, { auth }))).text()).toBe('[null]')
  })

  test('tells all components of a freshness that time has ended, but none of them in a render', async () => {
    const { auth, signIn } = room()
    await signIn()
    let again = (): void => {}
    function Other(): ReactNode {
      const [, set] = useState(0)
      again = () => set((count) => count + 1)
      return h(Who, { auth })
    }
    const { text } = await mount([h(Who, { auth, key: 1 }), h(Other, { key: 2 })])
    await pass(16 * minute)
    expect(text()).toBe('[alice 1 fresh][alice 1 fresh]')
    await acted(again)
    expect(text()).toBe('[alice 1][alice 1]')
  })

  test('listens once for all components, and not at all when none is left', async () => {
    const { auth, listening } = counted(room().auth)
    const { root, unmount } = await mount([h(Who, { auth, key: 1 }), h(Who, { auth, key: 2 })])
    expect(listening()).toBe(1)
    await acted(() => root.render(h(StrictMode, null, h(Who, { auth, key: 2 }))))
    expect(listening()).toBe(1)
    await unmount()
    expect(listening()).toBe(0)
  })

  test('shows one session throughout, though it changes in the midst of a concurrent render', async () => {
    vi.useRealTimers()
    vi.stubGlobal('IS_REACT_ACT_ENVIRONMENT', false)
    const { auth, signIn } = room()
    await signIn()
    let rendered = 0
    function Slow(): ReactNode {
      const session = useSession(auth)
      rendered++
      // Long enough for React to let others in between.
      for (const start = performance.now(); performance.now() - start < 4; );
      return h('i', null, say(session))
    }
    const place = document.createElement('div')
    const root = createRoot(place)
    onTestFinished(() => root.unmount())
    const seen: string[][] = []
    const done = new Promise<void>((resolve) => {
      new MutationObserver(() => {
        const words = [...place.querySelectorAll('i')].map(({ textContent }) => textContent)
        seen.push([...new Set(words)])
        if (words[0] === 'null') resolve()
      }).observe(place, { childList: true, subtree: true, characterData: true })
    })
    startTransition(() => root.render(Array.from({ length: 30 }, (_, index) => h(Slow, { key: index }))))
    await vi.waitUntil(() => rendered > 2, { interval: 1 })
    expect(rendered).toBeLessThan(30)
    void auth.logout()
    await done
    expect(seen.filter((words) => words.length > 1)).toEqual([])
  })
})

describe('useReauth', () => {
  /** Signed in with a token that is not fresh, and a dialog that is mounted. */
  async function asking(
    given = room(),
  ): Promise<ReturnType<typeof room> & ReturnType<typeof dialog> & Mounted> {
    await given.signInStale()
    const one = dialog()
    return { ...given, ...one, ...(await mount(h(one.Dialog, { auth: given.auth }))) }
  }

  test('asks once for all requests, says what the server said of a wrong password, and lets them go with the right one', async () => {
    const { auth, told, text, ask } = await asking()
    expect(text()).toBe('[nothing asked]')
    const waiting = [auth.fetch('fresh'), auth.fetch('fresh', { method: 'POST', body: 'a' })]
    await acted()
    expect(text()).toBe('[fresh_token_required]')
    expect(ask()).toMatchObject({ session: auth.session, pending: false, error: undefined })

    let accepted: unknown
    await acted(async () => {
      accepted = await ask().submit(wrong)
    })
    expect(accepted).toBe(false)
    expect(text()).toBe('[fresh_token_required: Bad username or password]')
    expect(await isPending(Promise.race(waiting))).toBe(true)
    await acted(async () => {
      accepted = await ask().submit(alice)
    })
    expect(accepted).toBe(true)
    expect(text()).toBe('[nothing asked]')
    expect(await statuses(waiting)).toEqual([200, 200])
    expect(summary(told)).toEqual(['reauthRequired: fresh_token_required', 'tokenRefreshed: reauthenticated'])
  })

  test('a flow that throws what has no text is told of as any other', async () => {
    const { auth, ask } = await asking()
    void auth.fetch('fresh')
    await acted()
    let accepted: unknown
    await acted(async () => {
      accepted = await ask().submit(() => Promise.reject(Object.create(null)))
    })
    expect([accepted, ask().pending, ask().error?.message]).toEqual([false, false, 'unreadable'])
  })

  test('is pending meanwhile, without the error of before, and sends a password that was submitted twice once', async () => {
    const { auth, backend, text, ask, hold } = await asking()
    const waiting = auth.fetch('fresh')
    await acted()
    await acted(() => ask().submit(wrong))
    const { release } = hold('login')
    const twice: Promise<boolean>[] = []
    await acted(() => {
      twice.push(ask().submit(alice), ask().submit(alice))
    })
    expect(text()).toBe('[fresh_token_required: pending]')
    await acted(release)
    expect(await Promise.all(twice)).toEqual([true, true])
    expect(backend.count('login')).toBe(2)
    expect((await waiting).status).toBe(200)
  })

  test('dismissed, every request gets the 401 of its own', async () => {
    const { auth, text, ask } = await asking()
    const waiting = [auth.fetch('fresh'), auth.fetch('fresh')]
    await acted()
    await acted(() => ask().dismiss())
    expect(text()).toBe('[nothing asked]')
    for (const response of await Promise.all(waiting)) {
      expect([response.status, await response.json()]).toEqual([401, { msg: 'Fresh token required' }])
    }
  })

  test('dismissed while a password is under way, the requests do not wait for it', async () => {
    const { auth, text, ask, hold } = await asking()
    const waiting = auth.fetch('fresh')
    await acted()
    const { release } = hold('login')
    const { submit, dismiss } = ask()
    let submitted: Promise<boolean> | undefined
    await acted(() => {
      submitted = submit(wrong)
    })
    await acted(dismiss)
    expect((await waiting).status).toBe(401)
    await acted(release)
    expect(await submitted).toBe(false)
    expect(text()).toBe('[nothing asked]')
  })

  test('unmounted while an ask is open, it holds no request up', async () => {
    const { auth, unmount } = await asking()
    const waiting = auth.fetch('fresh')
    await acted()
    await unmount()
    expect((await waiting).status).toBe(401)
  })

  test('hidden by a boundary that suspends, it holds no request up: nobody could answer', async () => {
    const { auth, signInStale } = room()
    await signInStale()
    const { Dialog } = dialog()
    let waiting: Promise<Response> | undefined
    let load = (): void => {}
    function Data(): ReactNode {
      const [loading, set] = useState(false)
      load = () => {
        waiting = auth.fetch('fresh')
        set(true)
      }
      return loading && h('b', null, use(waiting as Promise<Response>).status)
    }
    const page = h(Suspense, { fallback: 'loading' }, h(Dialog, { auth }), h(Data))
    const { text } = await mount(page, { strict: false })
    await acted(() => load())
    expect((await waiting)?.status).toBe(401)
    await acted()
    expect(text()).toBe('[nothing asked]401')
  })

  test('listens only while it is mounted: before and after, the 401 goes back at once', async () => {
    const { signInStale, auth: original } = room()
    await signInStale()
    const { auth, listening } = counted(original)
    expect((await auth.fetch('fresh')).status).toBe(401)
    const { Dialog } = dialog()
    const { unmount } = await mount([h(Dialog, { auth, key: 1 }), h(Dialog, { auth, key: 2 })])
    const waiting = auth.fetch('fresh')
    await acted()
    await unmount()
    expect((await waiting).status).toBe(401)
    expect(listening()).toBe(0)
    expect((await auth.fetch('fresh', { method: 'POST' })).status).toBe(401)
  })

  test('hears of what the effects of the same commit ask for', async () => {
    const { auth, signInStale } = room()
    await signInStale()
    const { Dialog } = dialog()
    function Eager(): ReactNode {
      // Nobody answers, until the clock is the real one again.
      useEffect(() => void auth.fetch('fresh', { auth: 'fresh' }).catch(() => {}), [])
      return null
    }
    const { text } = await mount([h(Eager, { key: 1 }), h(Dialog, { auth, key: 2 })])
    expect(text()).toBe('[fresh_token_required]')
  })

  test('several components show one ask, any of them answers, and it stays while one of them does', async () => {
    const { auth, told, signInStale } = room()
    await signInStale()
    const [one, two] = [dialog(), dialog()]
    const { root, text } = await mount(h(one.Dialog, { auth, key: 1 }))
    const waiting = auth.fetch('fresh')
    await acted()
    const both = [h(one.Dialog, { auth, key: 1 }), h(two.Dialog, { auth, key: 2 })]
    await acted(() => root.render(h(StrictMode, null, both)))
    expect(text()).toBe('[fresh_token_required][fresh_token_required]')
    expect(two.ask()).toBe(one.ask())
    await acted(() => root.render(h(StrictMode, null, both.slice(1))))
    expect(text()).toBe('[fresh_token_required]')
    await acted(() => two.ask().submit(alice))
    expect((await waiting).status).toBe(200)
    expect(told.filter(({ type }) => type === 'reauthRequired')).toHaveLength(1)
  })

  test('two asks in a row: nothing of the first is left in the second, and its functions do nothing more', async () => {
    const { auth, backend, text, ask } = await asking()
    const first = auth.fetch('fresh')
    await acted()
    await acted(() => ask().submit(wrong))
    const { submit, dismiss } = ask()
    await acted(dismiss)
    expect((await first).status).toBe(401)
    const second = auth.fetch('fresh', { method: 'DELETE' })
    await acted()
    expect(text()).toBe('[fresh_token_required]')
    await acted(dismiss)
    expect(await submit(alice)).toBe(false)
    expect(backend.count('login')).toBe(1)
    expect(await isPending(second)).toBe(true)
    await acted(() => ask().submit(alice))
    expect((await second).status).toBe(200)
  })

  test('a logout in another tab closes it, and what is submitted then is not sent', async () => {
    const given = await asking()
    const { auth, backend, text, ask } = given
    const waiting = auth.fetch('fresh')
    await acted()
    const { submit } = ask()
    await acted(() => given.another().auth.logout())
    expect(text()).toBe('[nothing asked]')
    expect((await waiting).status).toBe(401)
    expect(await submit(alice)).toBe(false)
    expect(backend.count('login')).toBe(0)
  })

  test('the password given in another tab closes it, and the request goes out', async () => {
    const given = await asking()
    const waiting = given.auth.fetch('fresh')
    await acted()
    const { auth } = given.another()
    await acted(() => auth.refresh())
    expect(given.text()).toBe('[fresh_token_required]')
    await acted(() => auth.reauthenticate(alice))
    expect(given.text()).toBe('[nothing asked]')
    expect((await waiting).status).toBe(200)
  })

  test('a login beside it closes it', async () => {
    const { auth, text } = await asking()
    const waiting = auth.fetch('fresh')
    await acted()
    await acted(() => auth.login(alice))
    expect(text()).toBe('[nothing asked]')
    expect((await waiting).status).toBe(200)
  })

  test('reauthTimeout closes it, and so does dispose()', async () => {
    for (const end of [() => pass(5 * minute), (auth: Client) => auth.dispose()]) {
      const { auth, text } = await asking()
      const waiting = auth.fetch('fresh')
      waiting.catch(() => {})
      await acted()
      expect(text()).toBe('[fresh_token_required]')
      await acted(() => end(auth))
      expect(text()).toBe('[nothing asked]')
      expect(await isPending(waiting)).toBe(false)
    }
  })

  test('an expired session shows as such while its user is asked; it goes on with the password, and is over without', async () => {
    for (const goesOn of [true, false]) {
      const { auth, backend, text, ask } = await asking()
      await pass(16 * minute)
      backend.revoke({ sub: 'alice' })
      const waiting = auth.fetch('protected')
      await acted()
      expect(text()).toBe('[session_expired]')
      expect(ask().session.status).toBe('expired')
      const { id } = ask().session
      await acted(() => (goesOn ? ask().submit(alice) : ask().dismiss()))
      expect(text()).toBe('[nothing asked]')
      expect((await waiting).status).toBe(goesOn ? 200 : 401)
      expect(auth.session?.id).toBe(goesOn ? id : undefined)
    }
  })

  test('takes a flow, and the error of one that throws no Error', async () => {
    const { auth, ask } = await asking()
    const waiting = auth.fetch('fresh')
    await acted()
    await acted(() =>
      ask().submit(() => {
        throw 'no passkey'
      }),
    )
    expect(ask().error).toMatchObject({ message: 'no passkey', cause: 'no passkey' })
    const { signal } = ask()
    await acted(() =>
      ask().submit(({ fetch }) =>
        fetch('login', {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify(alice),
        }),
      ),
    )
    expect((await waiting).status).toBe(200)
    expect(signal.aborted).toBe(true)
  })

  test('an ask that a listener before it makes moot is not shown', async () => {
    const { auth, signInStale } = room()
    await signInStale()
    auth.on('reauthRequired', () => void auth.logout())
    const { Dialog, asks } = dialog()
    await mount(h(Dialog, { auth }))
    await acted(() => auth.fetch('fresh'))
    expect(asks.filter(Boolean)).toEqual([])
  })
})

describe('holdReauth', () => {
  test('has an ask wait for the component that shows it, and StrictMode does not dismiss it', async () => {
    const { auth, backend, signInStale } = room()
    await signInStale()
    onTestFinished(holdReauth(auth))
    const waiting = auth.fetch('fresh')
    expect(await isPending(waiting)).toBe(true)
    const { Dialog, ask } = dialog()
    const { text, unmount } = await mount(h(Dialog, { auth }))
    expect(text()).toBe('[fresh_token_required]')
    await acted(() => ask().submit(alice))
    expect((await waiting).status).toBe(200)
    // It is not the component's end that ends the holding.
    await unmount()
    backend.expireAccessTokens()
    expect(await isPending(auth.fetch('fresh'))).toBe(true)
  })

  test('undone, it lets go what nobody shows', async () => {
    const { auth, signInStale } = room()
    await signInStale()
    const undo = holdReauth(auth)
    const waiting = auth.fetch('fresh')
    expect(await isPending(waiting)).toBe(true)
    undo()
    expect((await waiting).status).toBe(401)
    expect((await auth.fetch('fresh', { method: 'POST' })).status).toBe(401)
  })
})

describe('HTML from a server', () => {
  test('is hydrated without a mismatch, though the page knows who is signed in', async () => {
    const { auth, signInStale } = room()
    await signInStale()
    const { Dialog } = dialog()
    const page = h(StrictMode, null, h(Who, { auth }), h(Dialog, { auth }))
    const html = renderToString(page)
    expect(html).toBe('<p>[undefined]</p><p>[nothing asked]</p>')
    onTestFinished(holdReauth(auth))
    const waiting = auth.fetch('fresh')
    await settle()
    const { text } = await mount(page, { html, strict: false })
    expect(text()).toBe('[alice 2][fresh_token_required]')
    await acted(() => auth.logout())
    expect(text()).toBe('[null][nothing asked]')
    expect((await waiting).status).toBe(401)
  })
})

/** A test of types alone: `check` is compiled, and not run. */
function types(title: string, check: () => unknown): void {
  test(title, () => expect(check).toBeTypeOf('function'))
}

describe('the types', () => {
  interface Claims {
    sub: string
    role: 'admin' | 'user'
    csrf: string
  }
  interface Credentials {
    email: string
    code: number
  }
  const own = (): Auth<Claims, Credentials> =>
    createAuth({ baseUrl: '/', backend: flaskJwt<Claims, Credentials>() })

  types('of claims come from auth', () => {
    const session = useSession(own())
    expectTypeOf(session).toEqualTypeOf<Session<Claims> | null | undefined>()
    expectTypeOf(session?.claims.role).toEqualTypeOf<'admin' | 'user' | undefined>()
    // @ts-expect-error never in a snapshot
    session?.claims.csrf
    const standard = useSession(createAuth({ baseUrl: '/', backend: flaskJwt() }))
    expectTypeOf(standard).toEqualTypeOf<Session<StandardClaims> | null | undefined>()
    // @ts-expect-error an auth
    useSession({})
  })

  types('of credentials, too', () => {
    const ask = useReauth(own())
    expectTypeOf(ask).toEqualTypeOf<Reauth<Claims, Credentials> | null>()
    // @ts-expect-error null while nothing is asked
    ask.submit
    if (!ask) return
    expectTypeOf(ask.session.claims.role).toEqualTypeOf<'admin' | 'user' | undefined>()
    expectTypeOf(ask.submit({ email: 'a', code: 1 })).toEqualTypeOf<Promise<boolean>>()
    void ask.submit(async ({ fetch, signal }) => fetch('passkey', { signal }))
    // @ts-expect-error they are Credentials
    void ask.submit({ username: 'alice', password: 'wonderland' })
    if (isAuthError(ask.error, 'login_refused')) expectTypeOf(ask.error.status).toEqualTypeOf<number>()
    // @ts-expect-error read-only
    ask.pending = true
  })
})

describe('auth.ready', () => {
  test('may be what a page suspends on, with tokens in cookies, too: it is one promise', async () => {
    for (const down of [false, true]) {
      const { page, backend } = await cookieBench()
      backend.clearLog()
      const auth = page()
      if (down) backend.fault('whoami', 'drop', { times: 100 })
      function Who(): ReactNode {
        use(auth.ready)
        return say(useSession(auth))
      }
      const { text } = await mount(h(Suspense, { fallback: 'loading' }, h(Who)))
      await acted()
      expect(text()).toBe(down ? 'null' : 'alice 1 fresh')
      expect(backend.count('whoami')).toBe(1)
    }
  })
})
