/**
 * `<stayfresh-timeline>`: the timeline as an element, in a shadow root of its own. It shows a story that it is given, and
 * a line about the session.
 */
import type { Session } from '../types.ts'
import type { Story } from './items.ts'
import { style } from './style.ts'
import { createTimeline, type Timeline } from './timeline.ts'
import { duration } from './words.ts'

/** The element. */
export interface TimelineElement extends HTMLElement {
  /** What it draws: to be set before it is put into the document. */
  story: Story | undefined
  /** What it says of who is signed in. */
  session: (() => Session | null | undefined) | undefined
}

const OWN = `
:host {
  display: block;
  color-scheme: light dark;
  font: 14px / 1.45 system-ui, sans-serif;
  color: var(--ink);
}
:host([docked]) {
  position: fixed;
  z-index: 2147483647;
  inset: auto 0 0 0;
}
* { box-sizing: border-box; }
section {
  background: var(--card);
  border-top: 1px solid var(--line-strong);
  box-shadow: 0 -6px 20px -12px rgb(20 30 26 / 35%);
}
header { display: flex; align-items: center; gap: 10px; padding: 5px 12px; }
header .who { flex: 1; min-width: 0; overflow: hidden; color: var(--muted); text-overflow: ellipsis; white-space: nowrap; }
button {
  padding: 2px 10px;
  border: 1px solid var(--line-strong);
  border-radius: 6px;
  background: transparent;
  color: inherit;
  font: inherit;
  cursor: pointer;
}
button[aria-pressed="true"] { background: var(--ink); color: var(--card); }
:focus-visible { outline: 2px solid var(--focus); outline-offset: 1px; }
.timeline { margin: 0; }
.how, .empty { margin: 0; padding: 4px 12px 6px; color: var(--muted); font-size: 12px; }
[hidden] { display: none !important; }
`

const NAME = 'stayfresh-timeline'

/** Makes the element, which is defined at the first. */
export function createPanel(): TimelineElement {
  if (!customElements.get(NAME)) customElements.define(NAME, elementClass())
  return document.createElement(NAME) as TimelineElement
}

// Made when it is wanted: where there is no document there is no HTMLElement either.
function elementClass(): CustomElementConstructor {
  return class extends HTMLElement implements TimelineElement {
    story: Story | undefined
    session: TimelineElement['session']
    #timeline: Timeline | undefined
    #clock: ReturnType<typeof setInterval> | undefined
    #unlisten: (() => void) | undefined

    connectedCallback(): void {
      const { story } = this
      // jsdom has nothing to draw with: an application under test may attach it all the same.
      if (!story || this.#timeline || typeof ResizeObserver !== 'function') return
      const root = this.shadowRoot ?? this.attachShadow({ mode: 'open' })
      const sheet = new CSSStyleSheet()
      sheet.replaceSync(style + OWN)
      root.adoptedStyleSheets = [sheet]

      const who = make('span', { class: 'who' })
      const pause = make('button', { type: 'button', 'aria-pressed': 'false' }, 'Pause')
      const fold = make(
        'button',
        { type: 'button', 'aria-expanded': 'true', 'aria-controls': 'body' },
        'Hide',
      )
      const tip = make('div', { class: 'tip', role: 'status', hidden: '' })
      const host = make('div', {
        class: 'timeline',
        role: 'application',
        'aria-label': 'Timeline of requests',
        'aria-describedby': 'how',
      })
      host.append(tip)
      const how = make(
        'p',
        { class: 'how', id: 'how' },
        'Point at a bar, or step through them with ← and →. Requests are told by their paths; 401s that come again are taken for replays.',
      )
      const body = make('div', { id: 'body' })
      body.append(host, how)
      const header = make('header', {})
      header.append(make('strong', {}, 'stayfresh'), who, pause, fold)
      const section = make('section', { 'aria-label': 'stayfresh timeline' })
      section.append(header, body)
      root.replaceChildren(section)

      const timeline = createTimeline(host, tip, story)
      this.#timeline = timeline
      let paused = false
      // What nobody sees need not be drawn.
      const still = (): void => {
        timeline.paused = paused || body.hidden !== false
      }
      pause.onclick = () => {
        paused = !paused
        pause.setAttribute('aria-pressed', String(paused))
        pause.textContent = paused ? 'Go on' : 'Pause'
        still()
      }
      fold.onclick = () => {
        body.hidden = !body.hidden
        fold.setAttribute('aria-expanded', String(!body.hidden))
        fold.textContent = body.hidden ? 'Show' : 'Hide'
        still()
      }
      const say = (): void => {
        const text = sessionLine(this.session?.())
        if (who.textContent !== text) who.textContent = text
      }
      say()
      this.#unlisten = story.onItem(say)
      this.#clock = setInterval(say, 500)
    }

    disconnectedCallback(): void {
      clearInterval(this.#clock)
      this.#unlisten?.()
      this.#timeline?.dispose()
      this.#timeline = undefined
    }
  }
}

function make<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Record<string, string>,
  text = '',
): HTMLElementTagNameMap[Name] {
  const element = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value)
  element.textContent = text
  return element
}

function sessionLine(session: Session | null | undefined): string {
  if (!session) return session === null ? 'nobody is signed in' : '…'
  const { subject = 'somebody', version, fresh, status, expiresAt } = session
  const left = expiresAt === undefined ? undefined : expiresAt - Date.now()
  const ends = left === undefined ? '' : left > 0 ? ` · ${duration(left)} left` : ' · run out'
  return `${subject} · v${version}${fresh ? ' · fresh' : ''}${status === 'active' ? ends : ' · expired'}`
}
