/**
 * The browser's clock, to be set off: what `Date` tells, in every tab of this origin. It is imported first, so that
 * nothing has seen the right time. The timeline goes by another clock (`real`), which nothing sets off.
 */

const Real = Date
const KEY = 'demo:clock'

let offset = stored()

function stored(): number {
  const value = Number(localStorage.getItem(KEY))
  return Number.isFinite(value) ? value : 0
}

class SetOff extends Real {
  constructor(...given: unknown[]) {
    super(...((given.length > 0 ? given : [SetOff.now()]) as [number]))
  }
  static override now(): number {
    return Real.now() + offset
  }
}
globalThis.Date = SetOff as DateConstructor

/** How far this browser's clock is ahead, in ms. */
export function clockOffset(): number {
  return offset
}

/** Sets the clock off, in all tabs; it stays so over a reload. */
export function setClock(ms: number): void {
  offset = ms
  if (ms === 0) localStorage.removeItem(KEY)
  else localStorage.setItem(KEY, String(ms))
}

/** Calls back when another tab has set the clock. */
export function onClock(listener: () => void): void {
  addEventListener('storage', ({ key }) => {
    if (key !== KEY && key !== null) return
    offset = stored()
    listener()
  })
}
