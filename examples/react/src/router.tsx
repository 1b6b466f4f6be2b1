/**
 * A router of its own: the example has three pages, and its guard is a component, which would be the same with
 * react-router or wouter. Some lines are lighter than either.
 */
import { type MouseEvent, type ReactNode, useEffect, useRef, useSyncExternalStore } from 'react'

const listeners = new Set<() => void>()
let moved = false

function subscribe(listener: () => void): () => void {
  listeners.add(listener)
  addEventListener('popstate', listener)
  return () => {
    listeners.delete(listener)
    removeEventListener('popstate', listener)
  }
}

/** Path and query of the page. */
export const useLocation = (): string =>
  useSyncExternalStore(subscribe, () => location.pathname + location.search)

export function navigate(to: string, { replace = false } = {}): void {
  // With the origin: a path that begins with two slashes would be another site's.
  const url = location.origin + to
  if (replace) history.replaceState(null, '', url)
  else history.pushState(null, '', url)
  moved = true
  for (const listener of listeners) listener()
}

export function Redirect({ to }: { to: string }): ReactNode {
  useEffect(() => navigate(to, { replace: true }), [to])
  return null
}

export function Link({ to, children }: { to: string; children: ReactNode }): ReactNode {
  const here = useLocation() === to
  const follow = (event: MouseEvent): void => {
    // A new tab or window is the browser's business.
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
    event.preventDefault()
    navigate(to)
  }
  return (
    <a href={to} onClick={follow} aria-current={here ? 'page' : undefined}>
      {children}
    </a>
  )
}

/** The title and heading of a page. It takes the focus, so that who does not see the page is told of the new one. */
export function Title({ children }: { children: string }): ReactNode {
  const heading = useRef<HTMLHeadingElement>(null)
  useEffect(() => {
    if (moved) heading.current?.focus()
  }, [])
  return (
    <>
      <title>{`${children} – Notes`}</title>
      <h1 ref={heading} tabIndex={-1}>
        {children}
      </h1>
    </>
  )
}
