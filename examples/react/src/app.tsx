import { Fragment, type ReactNode, useEffect, useState } from 'react'
import type { LogoutReason } from 'stayfresh'
import { useSession } from 'stayfresh/react'
import { Account } from './account.tsx'
import { auth } from './auth.ts'
import { Login } from './login.tsx'
import { Notes } from './notes.tsx'
import { PasswordDialog } from './password-dialog.tsx'
import { Link, Redirect, Title, useLocation } from './router.tsx'

export function App(): ReactNode {
  const location = useLocation()
  const { pathname, searchParams } = new URL(window.location.origin + location)
  return (
    <>
      <Banner />
      {pathname === '/login' ? (
        <Login next={searchParams.get('next')} />
      ) : (
        <Guard location={location}>
          <Menu />
          {pathname === '/' && <Notes />}
          {pathname === '/account' && <Account />}
          {pathname !== '/' && pathname !== '/account' && <Title>There is nothing here</Title>}
        </Guard>
      )}
      {/* Beside the pages: it outlives them, and is there before their first request. */}
      <PasswordDialog />
    </>
  )
}

/** Lets in who is signed in; who is not comes back here after the login. */
function Guard({ location, children }: { location: string; children: ReactNode }): ReactNode {
  const session = useSession(auth)
  if (session === undefined) return <p aria-busy="true">One moment…</p>
  if (session === null) return <Redirect to={`/login?next=${encodeURIComponent(location)}`} />
  // The key: what was loaded for one user is gone when another has signed in.
  return <Fragment key={session.id}>{children}</Fragment>
}

function Menu(): ReactNode {
  const session = useSession(auth)
  return (
    <header>
      <nav aria-label="Pages">
        <Link to="/">Notes</Link> <Link to="/account">Account</Link>
      </nav>
      <span>Signed in as {session?.subject}</span>
      <button type="button" onClick={() => auth.logout()}>
        Sign out
      </button>
    </header>
  )
}

const WHY: Partial<Record<LogoutReason, string>> = {
  session_expired: 'Your session has expired. Please sign in again.',
  token_revoked: 'Your session was ended by the server. Please sign in again.',
}

/** Says that a session has run out: while its user is asked for the password, and after they declined. */
function Banner(): ReactNode {
  const session = useSession(auth)
  const [ended, setEnded] = useState<LogoutReason>()
  useEffect(() => auth.on('loggedOut', ({ reason }) => setEnded(reason)), [])
  const text = session
    ? session.status === 'expired' && 'Your session has expired. Your password is needed to go on.'
    : ended && WHY[ended]
  return (
    <p role="status" className="banner">
      {text}
    </p>
  )
}
