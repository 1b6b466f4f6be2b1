/**
 * The timeline: time runs to the left, one lane per tab, and what concerns all of them runs through all lanes. It
 * draws what the log holds, and decides nothing.
 *
 * Everything lies in a group that is moved as time goes by; a thing is drawn anew only when it changes.
 */
import {
  type AskItem,
  type CallItem,
  type CauseItem,
  type Item,
  type MarkItem,
  type RefreshItem,
  real,
  type Story,
  type TokenItem,
} from './items.ts'
import { describe, tabName } from './words.ts'

const SVG = 'http://www.w3.org/2000/svg'

// Heights, in px.
const TOKEN = { y: 8, height: 20 }
const REFRESH = { y: 38, height: 16 }
const LANES = 66
const PAD = 10
const ROW = 14
const BAR = 9
const ROWS = { least: 5, most: 10 }
const STRIP = 18
const AXIS = 26

export interface Timeline {
  /** Whether time stands still, for somebody who wants to look. */
  paused: boolean
  /** Draws nothing any more. */
  dispose(): void
}

interface Drawn {
  readonly back: SVGGElement
  readonly front: SVGGElement
  row: number
}

type Attributes = Record<string, string | number | undefined>

function el<Name extends keyof SVGElementTagNameMap>(
  name: Name,
  attributes: Attributes = {},
  ...children: (Node | string)[]
): SVGElementTagNameMap[Name] {
  const element = document.createElementNS(SVG, name)
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined) element.setAttribute(key, typeof value === 'number' ? value.toFixed(1) : value)
  }
  element.append(...children)
  return element
}

/** Draws into `host`, styled by `style.ts`; `tip` tells what the pointer or the keyboard is at. */
export function createTimeline(host: HTMLElement, tip: HTMLElement, log: Story): Timeline {
  const start = real()
  const still = matchMedia('(prefers-reduced-motion: reduce)')
  const drawn = new Map<string, Drawn>()
  // By id: what is forgotten before it was drawn, as in a tab in the background, is not to be drawn at all.
  const dirty = new Map<string, Item>()
  const rows = new Map<string, Item[]>()
  let anew = true
  let pausedAt: number | undefined
  // While time stands still: what there was then, whatever becomes of it, and what of it is forgotten meanwhile.
  let held: ReadonlyMap<string, Item> | undefined
  const gone = new Set<string>()
  let chosen: Item | undefined
  let byKeyboard = false

  // --- where things are ----------------------------------------------------------------------------------

  let width = 0
  let gutter = 0
  let nowX = 0
  let scale = 0.04
  let lanes: { name: string; open: boolean; y: number; height: number }[] = []
  let bottom = 0

  const shown = (): IterableIterator<Item> => held?.values() ?? log.items()
  const x = (at: number): number => (at - start) * scale
  const lane = (name: string) => lanes.find((one) => one.name === name)

  function measure(): void {
    width = host.clientWidth
    gutter = width < 620 ? 50 : 92
    const plot = width - gutter
    nowX = gutter + plot * (gutter < 60 ? 0.86 : 0.8)
    scale = Math.min(Math.max(plot / 26, 30), 46) / 1000
    let y = LANES
    lanes = log.tabs().map(({ name, open }) => {
      const count = Math.min(Math.max(rows.get(name)?.length ?? 0, ROWS.least), ROWS.most)
      const height = PAD + count * ROW + STRIP
      const one = { name, open, y, height }
      y += height
      return one
    })
    bottom = y
  }

  // --- the frame around it ---------------------------------------------------------------------------------

  const svg = el('svg', { 'aria-hidden': 'true', focusable: 'false' })
  const frame = el('g')
  const back = el('g')
  const front = el('g')
  const over = el('g')
  const labels = el('g')
  const clip = el('rect')
  svg.append(
    el('defs', {}, el('clipPath', { id: 'plot' }, clip), hatch('hatch-wait', 5), hatch('hatch-dead', 5)),
    frame,
    el('g', { 'clip-path': 'url(#plot)' }, back, front, over),
    labels,
  )
  host.prepend(svg)
  host.tabIndex = 0

  function drawFrame(): void {
    svg.setAttribute('width', String(width))
    svg.setAttribute('height', String(bottom + AXIS))
    for (const [key, value] of Object.entries({
      x: gutter,
      y: 0,
      width: width - gutter,
      height: bottom + 2,
    })) {
      clip.setAttribute(key, String(value))
    }
    frame.replaceChildren()
    labels.replaceChildren()
    const narrow = gutter < 60
    const step = narrow ? 4 : 5
    for (let seconds = -step * 12; seconds <= step * 3; seconds += step) {
      const at = nowX + seconds * 1000 * scale
      if (at < gutter + 2 || at > width - 2) continue
      if (seconds !== 0) frame.append(el('line', { class: 'grid', x1: at, x2: at, y1: 4, y2: bottom }))
      const said = seconds === 0 ? 'now' : `${seconds > 0 ? '+' : '−'}${Math.abs(seconds)} s`
      const anchor = at > width - 24 ? 'end' : 'middle'
      const kind = seconds === 0 ? 'tick now' : 'tick'
      labels.append(el('text', { class: kind, x: at, y: bottom + 17, 'text-anchor': anchor }, said))
    }
    frame.append(
      el('rect', { class: 'future', x: nowX, y: 0, width: width - nowX, height: bottom }),
      label('row', TOKEN.y + 14, narrow ? 'Token' : 'Access token'),
      label('row', REFRESH.y + 12, 'Refresh'),
    )
    for (const { name, open, y, height } of lanes) {
      const mine = name === log.tab
      frame.append(
        el('rect', { class: mine ? 'lane mine' : 'lane', x: 0, y, width, height }),
        el('line', { class: 'edge', x1: 0, x2: width, y1: y, y2: y }),
        label('tab', y + 24, tabName(name)),
        label('row', y + 40, open ? (mine && name ? 'this tab' : '') : 'closed'),
      )
    }
    frame.append(el('line', { class: 'edge', x1: 0, x2: width, y1: bottom, y2: bottom }))
    labels.append(el('line', { class: 'now', x1: nowX, x2: nowX, y1: 2, y2: bottom + 4 }))
  }

  const label = (kind: string, y: number, text: string): SVGTextElement =>
    el('text', { class: kind, x: gutter < 60 ? 4 : 14, y }, text)

  // --- things ----------------------------------------------------------------------------------------------

  /** A place in the lane: the first row that is free by then. */
  function rowOf(item: Item): number {
    const taken = rows.get(item.tab) ?? []
    rows.set(item.tab, taken)
    const free = taken.findIndex((last) => last.end !== undefined && last.end + 60 < item.at)
    const row = free < 0 ? Math.min(taken.length, ROWS.most - 1) : free
    if (row >= ROWS.least && row === taken.length) anew = true
    taken[row] = item
    return row
  }

  function draw(item: Item, now: number): void {
    let there = drawn.get(item.id)
    if (!there) {
      const data = {
        class: `item ${item.kind}`,
        'data-id': item.id,
        'data-kind': item.kind,
        'data-tab': item.tab,
        'data-own': item.kind === 'call' ? String(item.own) : undefined,
      }
      there = { back: el('g'), front: el('g', data), row: item.kind === 'call' ? rowOf(item) : 0 }
      drawn.set(item.id, there)
      back.append(there.back)
      const layer = item.kind === 'cause' ? over : front
      layer.append(there.front)
    }
    const state = 'outcome' in item ? item.outcome : 'result' in item ? item.result : undefined
    there.front.setAttribute('data-state', state ?? (item.end === undefined ? 'open' : 'over'))
    there.back.replaceChildren()
    there.front.replaceChildren()
    if (item.kind === 'token') drawToken(item, there, now)
    else if (item.kind === 'refresh') drawRefresh(item, there, now)
    else if (item.kind === 'cause') drawCause(item, there)
    else if (item.kind === 'call') drawCall(item, there, now)
    else if (item.kind === 'ask') drawAsk(item, there, now)
    else drawMark(item, there)
  }

  function drawToken(item: TokenItem, { front }: Drawn, now: number): void {
    const { y, height } = TOKEN
    const from = x(item.at)
    const to = x(item.end ?? item.expires ?? now + 600_000)
    const runs = Math.min(x(now), to)
    const kind = item.fresh ? 'life fresh' : 'life'
    front.append(
      el('rect', { class: `${kind} ahead`, x: from, y, width: Math.max(to - from, 2), height, rx: 4 }),
    )
    if (runs > from) {
      front.append(el('rect', { class: kind, x: from, y, width: Math.max(runs - from, 2), height, rx: 4 }))
    }
    for (const cause of shown()) {
      if (cause.kind !== 'cause' || !item.id.startsWith(cause.token) || cause.at > (item.end ?? Infinity))
        continue
      const dead = x(Math.max(cause.at, item.at))
      front.append(el('rect', { class: 'dead', x: dead, y, width: Math.max(to - dead, 0), height, rx: 4 }))
      break
    }
    const past = item.end === undefined && item.expires !== undefined && item.expires < now
    const said = [`v${item.version}`, item.fresh ? `v${item.version} · fresh` : undefined]
    const text = said.findLast((one) => one !== undefined && one.length * 7 + 10 < runs - from)
    if (text) front.append(el('text', { class: 'on-life', x: from + 7, y: y + 14 }, text))
    if (past) front.append(el('text', { class: 'note', x: to + 6, y: y + 14 }, 'expired'))
  }

  function drawCause({ at, what }: CauseItem, { front }: Drawn): void {
    const { y, height } = TOKEN
    front.append(
      el('line', { class: 'cut', x1: x(at), x2: x(at), y1: y - 4, y2: y + height + 4 }),
      el(
        'text',
        { class: 'note cut-note', x: x(at) + 5, y: y + 14 },
        what === 'expired' ? 'expired early' : 'revoked',
      ),
      el('rect', { class: 'hit', x: x(at) - 5, y: y - 4, width: 12, height: height + 8 }),
    )
  }

  function drawRefresh(item: RefreshItem, { back, front }: Drawn, now: number): void {
    const { y, height } = REFRESH
    const from = x(item.at)
    const long = Math.max(x(item.end ?? now) - from, 3)
    const state = item.outcome ?? 'open'
    back.append(
      el('rect', {
        class: `column ${state}`,
        x: from,
        y: y + height,
        width: long,
        height: bottom - y - height,
      }),
    )
    front.append(el('rect', { class: `cap ${state}`, x: from, y, width: long, height, rx: 3 }))
    let whole = from
    for (const [index, send] of item.sends.entries()) {
      const next = item.sends[index + 1]
      if (send.end === undefined || !next) continue
      whole = x(next.at)
      // Between two tries.
      const pause = x(next.at) - x(send.end)
      front.append(
        el('rect', {
          class: 'pause',
          x: x(send.end),
          y: y + 3,
          width: Math.max(pause, 1),
          height: height - 6,
        }),
      )
    }
    const version = item.version ? `v${item.version - 1} → v${item.version}` : undefined
    const text = { done: version, failed: 'failed', refused: 'refused', open: '' }[state]
    const beside = from + long + 8 + (text?.length ?? 0) * 6
    const next = [...shown()].some(
      (other) => other.kind === 'refresh' && other.at > item.at && x(other.at) < beside,
    )
    if (text) {
      const room = from + long - whole
      const inside = text.length * 6 + 8 < room
      if (inside || !next)
        front.append(
          el(
            'text',
            {
              class: inside ? 'on-cap' : 'note',
              x: inside ? whole + room / 2 : from + long + 5,
              y: y + 12,
              'text-anchor': inside ? 'middle' : 'start',
            },
            text,
          ),
        )
    }
    front.append(el('rect', { class: 'hit', x: from, y, width: long, height }))
  }

  function drawCall(item: CallItem, { front, row }: Drawn, now: number): void {
    const place = lane(item.tab)
    if (!place) return
    const middle = place.y + PAD + row * ROW + ROW / 2
    const from = x(item.at)
    const to = Math.max(x(item.end ?? now), from + 3)
    // What it waits for stands above and below it: a refresh, or a password.
    let since: number | undefined = from
    for (const until of [...item.sends, undefined]) {
      const end = until ? x(until.at) : to
      if (since !== undefined && end - since > 2.5 && !item.own) {
        front.append(el('rect', { class: 'wait', x: since, y: middle - 3, width: end - since, height: 6 }))
      }
      since = until?.end === undefined ? undefined : x(until.end)
    }
    for (const [index, send] of item.sends.entries()) {
      const at = x(send.at)
      const long = Math.max(x(send.end ?? now) - at, 3)
      const kind = item.own ? 'send own' : index > 0 ? 'send replay' : 'send'
      const bar = { x: at, y: middle - BAR / 2, width: long, height: BAR, rx: 2.5 }
      front.append(el('rect', { class: send.offline ? 'send offline' : kind, ...bar }))
      if (index > 0 && long > 13) front.append(again(at + 6.5, middle))
    }
    for (const { end, status, offline } of item.sends) {
      if (end === undefined || (status !== undefined && status < 400)) continue
      front.append(diamond(x(end), middle, status === 401 ? 'refused' : offline ? 'offline' : 'failed'))
    }
    if (item.result !== undefined && Number.isNaN(Number(item.result))) front.append(cross(to + 7, middle))
    front.append(
      el('rect', { class: 'hit', x: from - 4, y: middle - ROW / 2, width: to - from + 14, height: ROW }),
    )
  }

  function drawAsk(item: AskItem, { back, front }: Drawn, now: number): void {
    const place = lane(item.tab)
    if (!place) return
    const from = x(item.at)
    const long = Math.max(x(item.end ?? now) - from, 3)
    const { y, height } = place
    const strip = y + height - STRIP
    back.append(
      el('rect', { class: 'column ask', x: from, y: y + 1, width: long, height: height - STRIP - 1 }),
    )
    front.append(el('rect', { class: 'cap ask', x: from, y: strip, width: long, height: STRIP - 4, rx: 3 }))
    const text = ['password', 'step-up: password'].findLast((one) => one.length * 6.2 + 12 < long)
    if (text) {
      front.append(
        el('text', { class: 'on-cap', x: from + long / 2, y: strip + 10.5, 'text-anchor': 'middle' }, text),
      )
    }
  }

  function drawMark(item: MarkItem, { front }: Drawn): void {
    const place = lane(item.tab)
    if (!place) return
    const at = x(item.at)
    const { y, height } = place
    const middle = y + height - STRIP / 2 - 2
    const said: Record<string, string> = {
      loggedIn: 'signed in',
      loggedOut: 'signed out',
      refreshFailed: 'refresh failed',
      clockSkew: 'clock off',
      storeUnavailable: 'store failed',
    }
    const text = said[item.type] ?? item.type
    front.append(
      el('line', { class: `stem ${item.type}`, x1: at, x2: at, y1: y + 1, y2: middle }),
      item.type === 'refreshFailed' || item.type === 'storeUnavailable'
        ? diamond(at, middle, 'failed')
        : el('circle', { class: `dot ${item.type}`, cx: at, cy: middle, r: 4.5 }),
      el('rect', { class: 'hit', x: at - 7, y: middle - 8, width: 16, height: 16 }),
    )
    if (!crowded(item, text.length * 6.2 + 14)) {
      front.append(el('text', { class: 'note', x: at + 8, y: middle + 3.5 }, text))
    }
  }

  /** Whether another's words stand where these would. */
  function crowded(item: Item, long: number): boolean {
    for (const other of shown()) {
      if (other === item || other.tab !== item.tab || (other.kind !== 'mark' && other.kind !== 'ask'))
        continue
      const from = x(other.at)
      const to = other.kind === 'ask' ? x(other.end ?? other.at) : from
      if (from >= x(item.at) && from < x(item.at) + long) return other.at > item.at || other.id > item.id
      if (to > x(item.at) && from < x(item.at)) return true
    }
    return false
  }

  const diamond = (at: number, y: number, kind: string): SVGElement =>
    el('path', { class: `diamond ${kind}`, d: `M${(at - 5).toFixed(1)} ${y}l5 -5l5 5l-5 5z` })
  const cross = (at: number, y: number): SVGElement =>
    el('path', { class: 'cross', d: `M${(at - 3).toFixed(1)} ${y - 3}l6 6m0 -6l-6 6` })
  const again = (at: number, y: number): SVGElement =>
    el('path', {
      class: 'again',
      d: `M${(at + 2.6).toFixed(1)} ${y - 0.6}a2.6 2.6 0 1 0 -0.9 2.4m0.9 -4.4v2h-2`,
    })

  // --- the pointer and the keyboard ------------------------------------------------------------------------

  function choose(item: Item | undefined, keyboard: boolean): void {
    if (chosen) drawn.get(chosen.id)?.front.classList.remove('chosen')
    chosen = item
    byKeyboard = keyboard
    tip.hidden = !item
    if (!item) return
    drawn.get(item.id)?.front.classList.add('chosen')
    tell()
    follow()
  }

  let told = ''
  function tell(): void {
    if (!chosen) return
    const { title, lines } = describe(chosen, view())
    const text = [title, ...lines].join('\n')
    if (text === told && tip.childElementCount > 0) return
    told = text
    const [head, ...rest] = [title, ...lines].map((line, index) => {
      const element = document.createElement(index === 0 ? 'strong' : 'span')
      element.textContent = line
      return element
    })
    tip.replaceChildren(head as HTMLElement, ...rest)
  }

  /** Keeps the tip beside what it is about. */
  function follow(): void {
    const there = chosen && drawn.get(chosen.id)
    if (!there) return
    const box = there.front.getBoundingClientRect()
    const around = host.getBoundingClientRect()
    const left = Math.max(box.left - around.left, gutter)
    const right = Math.min(box.right - around.left, width)
    if (right < gutter) {
      choose(undefined, false)
      return
    }
    const at = Math.min(Math.max((left + right) / 2 - tip.offsetWidth / 2, 4), width - tip.offsetWidth - 4)
    const above = box.top - around.top - tip.offsetHeight - 8
    const below = box.bottom - around.top + 8
    // Towards the nearer edge of the timeline, where it covers less of it; but within the window.
    const fits = below + around.top + tip.offsetHeight < innerHeight - 4
    const y = (box.top - around.top < bottom / 2 || !fits) && above + around.top > 4 ? above : below
    tip.style.transform = `translate(${at.toFixed(0)}px, ${y.toFixed(0)}px)`
  }

  const at = (event: Event): Item | undefined => {
    const id = (event.target as Element | null)?.closest?.('[data-id]')?.getAttribute('data-id')
    for (const item of shown()) if (item.id === id) return item
    return undefined
  }
  svg.addEventListener('pointerover', (event) => {
    const item = at(event)
    if (item || !byKeyboard) choose(item, false)
  })
  svg.addEventListener('pointerleave', () => {
    if (!byKeyboard) choose(undefined, false)
  })
  svg.addEventListener('click', (event) => choose(at(event), false))

  /** What can be stepped through: in the order of time. */
  function visible(): Item[] {
    const edge = view() - (nowX - gutter) / scale
    return [...shown()]
      .filter((item) => drawn.has(item.id) && (item.end ?? Infinity) > edge + 300)
      .sort((a, b) => a.at - b.at || a.tab.localeCompare(b.tab))
  }
  host.addEventListener('keydown', (event) => {
    const items = visible()
    const index = chosen ? items.indexOf(chosen) : -1
    const steps: Record<string, number> = {
      ArrowLeft: index < 0 ? items.length - 1 : index - 1,
      ArrowRight: index < 0 ? items.length - 1 : index + 1,
      Home: 0,
      End: items.length - 1,
    }
    if (event.key === 'Escape') choose(undefined, false)
    const step = steps[event.key]
    if (step === undefined) return
    event.preventDefault()
    const item = items[Math.min(Math.max(step, 0), items.length - 1)]
    if (item) choose(item, true)
  })
  host.addEventListener('blur', () => choose(undefined, false))

  // --- time ------------------------------------------------------------------------------------------------

  const view = (): number => pausedAt ?? real()

  let disposed = false
  let due: number | undefined
  let timer: ReturnType<typeof setTimeout> | undefined

  /** Draws in the next frame. */
  function soon(): void {
    if (due === undefined && !disposed) due = requestAnimationFrame(tick)
  }

  function renew(): void {
    anew = true
    soon()
  }

  function tick(): void {
    due = undefined
    clearTimeout(timer)
    const now = view()
    if (anew) {
      anew = false
      measure()
      drawFrame()
      for (const item of shown()) dirty.set(item.id, item)
    } else {
      for (const item of shown()) if (item.end === undefined && !held) dirty.set(item.id, item)
    }
    for (const item of dirty.values()) draw(item, now)
    dirty.clear()
    const shift = `translate(${(nowX - x(now)).toFixed(2)} 0)`
    for (const layer of [back, front, over]) layer.setAttribute('transform', shift)
    if (chosen) {
      tell()
      follow()
    }
    if (anew) soon()
    // Thirty frames a second are smooth enough; who wants no motion gets one each second.
    else if (pausedAt === undefined && drawn.size > 0) timer = setTimeout(soon, still.matches ? 1000 : 25)
  }
  soon()

  function remove(id: string): void {
    dirty.delete(id)
    const there = drawn.get(id)
    there?.back.remove()
    there?.front.remove()
    drawn.delete(id)
    if (chosen?.id === id) choose(undefined, false)
  }

  const unlistens = [
    log.onItem((item) => {
      if (item.kind === 'call') {
        const row = drawn.get(item.id)?.row
        const taken = rows.get(item.tab)
        if (row !== undefined && taken?.[row]?.id === item.id) taken[row] = item
      }
      // All is drawn anew when time goes on.
      if (held) return
      dirty.set(item.id, item)
      soon()
      if (chosen?.id === item.id) chosen = item
      // Others make room for it.
      const kind = { cause: 'token', mark: 'mark', ask: 'mark', refresh: 'refresh' }[item.kind as string]
      if (kind) for (const other of shown()) if (other.kind === kind) dirty.set(other.id, other)
    }),
    log.onGone((id) => {
      if (held?.has(id)) gone.add(id)
      else remove(id)
    }),
    log.onTabs(renew),
  ]
  const resized = new ResizeObserver(() => {
    if (host.clientWidth !== width) renew()
  })
  resized.observe(host)

  return {
    get paused() {
      return pausedAt !== undefined
    },
    set paused(on) {
      if (on === (held !== undefined)) return
      pausedAt = on ? real() : undefined
      held = on ? new Map([...log.items()].map((item) => [item.id, item])) : undefined
      if (!on) {
        for (const id of gone) remove(id)
        gone.clear()
        for (const item of log.items()) if (item.id === chosen?.id) chosen = item
      }
      renew()
    },
    dispose() {
      disposed = true
      for (const unlisten of unlistens) unlisten()
      resized.disconnect()
      clearTimeout(timer)
      if (due !== undefined) cancelAnimationFrame(due)
      svg.remove()
    },
  }
}

function hatch(id: string, size: number): SVGPatternElement {
  return el(
    'pattern',
    { id, width: size, height: size, patternUnits: 'userSpaceOnUse', patternTransform: 'rotate(45)' },
    el('rect', { class: `${id} ground`, width: size, height: size }),
    el('line', { class: id, x1: 0, x2: 0, y1: 0, y2: size }),
  )
}
