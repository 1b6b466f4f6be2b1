import { type FormEvent, type ReactNode, useLayoutEffect, useRef } from 'react'
import type { StandardClaims, UsernamePassword } from 'stayfresh'
import { type Reauth, useReauth } from 'stayfresh/react'
import { auth, words } from './auth.ts'

export function PasswordDialog(): ReactNode {
  const ask = useReauth(auth)
  // The key: what was typed for one user is gone when another is asked.
  return ask && <Dialog key={ask.session.id} {...ask} />
}

type Ask = Reauth<StandardClaims, UsernamePassword>

function Dialog({ reason, session, pending, error, submit, dismiss }: Ask): ReactNode {
  const dialog = useRef<HTMLDialogElement>(null)
  useLayoutEffect(() => {
    const { current } = dialog
    current?.showModal()
    // Closed before it is removed, so that the focus goes back to where it was.
    return () => current?.close()
  }, [])

  async function confirm(event: FormEvent<HTMLFormElement>): Promise<void> {
    event.preventDefault()
    const input = event.currentTarget.elements.namedItem('password') as HTMLInputElement
    if (!(await submit({ username: session.subject ?? '', password: input.value }))) input.select()
  }

  // Not onClose: StrictMode closes it once for trial.
  return (
    <dialog ref={dialog} aria-labelledby="ask" onCancel={dismiss}>
      <form onSubmit={confirm}>
        <h2 id="ask">
          {reason === 'fresh_token_required' ? 'Please confirm that it is you' : 'Your session has expired'}
        </h2>
        {/* For password managers. */}
        <input name="username" autoComplete="username" defaultValue={session.subject} readOnly hidden />
        <label>
          Password of {session.subject}
          <input
            name="password"
            type="password"
            autoComplete="current-password"
            required
            aria-invalid={error !== undefined}
            aria-describedby="ask-error"
          />
        </label>
        <p role="alert" id="ask-error">
          {error && words(error)}
        </p>
        <button type="submit" disabled={pending}>
          Confirm
        </button>
        <button type="button" onClick={dismiss}>
          Cancel
        </button>
      </form>
    </dialog>
  )
}
