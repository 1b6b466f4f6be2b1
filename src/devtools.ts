/**
 * A client's timeline in the developer's hand, in the console or as a panel. It stands on what
 * `auth` tells anybody and on the platform's own resource timings; no other entry knows of it.
 *
 * @module stayfresh/devtools
 */
import { createPanel, type TimelineElement } from './devtools/panel.ts'
import { type Printing, printTo } from './devtools/print.ts'
import { type RequestOptions, type Seen, watchRequests } from './devtools/requests.ts'
import { tellStory, type Watched } from './devtools/story.ts'

/**
 * What {@link attachDevtools} takes.
 *
 * @example
 * ```ts
 * const options: DevtoolsOptions = { panel: true, refresh: /token\/refresh/ }
 * ```
 */
export interface DevtoolsOptions extends RequestOptions {
  /**
   * `true`: a panel at the foot of the page, in place of the console's groups. An element: the panel goes into it.
   * Default `false`.
   */
  readonly panel?: boolean | Element | undefined
  /** Where the groups go. Default: the global `console`. */
  readonly console?: Printing | undefined
}

/**
 * Shows what a client does: its events, the state of its session, and its requests, with what was before where that is
 * still known. It holds and shows no token, and cuts query strings.
 *
 * Requests are those of the platform's resource timings: what was answered elsewhere (a `fetch` option of your own, a mock
 * in Node) is not among them. Their paths tell a refresh from a call; `refresh` says otherwise.
 *
 * @param client What `createAuth` gave.
 * @returns What detaches it again.
 * @throws TypeError for an option that is none, and for a panel where there is no document.
 *
 * @example
 * ```ts
 * if (import.meta.env.DEV) {
 *   const { attachDevtools } = await import('stayfresh/devtools')
 *   attachDevtools(auth, { panel: true })
 * }
 * ```
 */
export function attachDevtools<Claims>(client: Watched<Claims>, options: DevtoolsOptions = {}): () => void {
  const { panel = false, console: out = console, refresh, requests } = options
  if (typeof client?.subscribe !== 'function')
    throw new TypeError('attachDevtools takes what createAuth gave')
  if (refresh !== undefined && !(refresh instanceof RegExp)) {
    throw new TypeError(`refresh takes a RegExp for paths, got ${typeof refresh}`)
  }
  if (requests !== undefined && typeof requests !== 'function') {
    throw new TypeError(`requests takes a function of a URL, got ${typeof requests}`)
  }
  if (typeof panel !== 'boolean' && !(typeof Element === 'function' && panel instanceof Element)) {
    throw new TypeError(`panel takes true, false or an element, got ${typeof panel}`)
  }
  if (panel && typeof document === 'undefined') throw new TypeError('panel needs a document')
  const parent = panel === true ? (document.body as HTMLElement | null) : panel
  if (parent === null) throw new TypeError('panel: true needs a body, and the document has none yet')

  const { auth, end } = onlooker(client)
  let request: (seen: Seen) => void = () => {}
  const watching = watchRequests(
    () => auth.baseUrl,
    (seen) => request(seen),
    { refresh, requests },
  )
  if (!parent) {
    const printer = printTo(out, auth, watching.flush)
    request = printer.request
    return () => {
      printer.end()
      watching.end()
      end()
    }
  }
  const story = tellStory(auth)
  request = story.request
  const element: TimelineElement = createPanel()
  element.story = story
  element.session = () => auth.session
  if (panel === true) element.toggleAttribute('docked', true)
  parent.append(element)
  return () => {
    element.remove()
    story.end()
    watching.end()
    end()
  }
}

/**
 * The client as who subscribes knows it. To read `auth.session` may change something: who looks finds that a token is no
 * longer fresh, and all are told, so that what is amiss without these tools would not be with them.
 */
function onlooker<Claims>(client: Watched<Claims>): { auth: Watched; end(): void } {
  let session: Watched<Claims>['session']
  const end = client.subscribe((now) => {
    session = now
  })
  // Of claims nothing is shown.
  const auth = {
    get session() {
      return session
    },
    get history() {
      return client.history
    },
    get baseUrl() {
      return client.baseUrl
    },
    on: (...given: Parameters<typeof client.on>) => client.on(...given),
    subscribe: (listener: Parameters<typeof client.subscribe>[0]) => client.subscribe(listener),
  } as Watched
  return { auth, end }
}
