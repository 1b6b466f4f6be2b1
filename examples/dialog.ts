/**
 * The password dialog without a framework: a `<dialog>` that asks until the password is right, is cancelled, or is not
 * needed any more. The requests that need the password wait for the promise it gives.
 *
 * ```ts
 * auth.on('reauthRequired', ({ session, signal, waitUntil }) => {
 *   waitUntil(passwordDialog({ username: session.subject, signal, submit: auth.reauthenticate }))
 * })
 * ```
 */
import { isAuthError, type UsernamePassword } from 'stayfresh'

export interface PasswordDialogOptions {
  /** What stands in the field of the name at first, where the server's `sub` is the name. */
  username?: string | undefined
  /** Of the event: aborted by a logout, a login, the password given in another tab. */
  signal: AbortSignal
  /** `auth.reauthenticate`. */
  submit(credentials: UsernamePassword): Promise<unknown>
}

/** Settles when it is closed, however that came; the client then looks at the session. */
export function passwordDialog({ username = '', signal, submit }: PasswordDialogOptions): Promise<void> {
  const dialog = document.createElement('dialog')
  dialog.innerHTML = `<form>
  <h2>Please confirm that it is you</h2>
  <label>Name <input name="username" autocomplete="username" required></label>
  <label>Password <input name="password" type="password" autocomplete="current-password" required autofocus></label>
  <p role="alert"></p>
  <button>Confirm</button> <button type="button">Cancel</button>
</form>`
  const part = <Kind extends Element>(selector: string): Kind => dialog.querySelector(selector) as Kind
  const form = part<HTMLFormElement>('form')
  const problem = part('p')
  const confirm = part<HTMLButtonElement>('button')
  // Not in the HTML above: what a server says of a user is no markup.
  part<HTMLInputElement>('[name=username]').value = username

  return new Promise((resolve) => {
    const close = (): void => dialog.close()
    dialog.addEventListener('close', () => {
      signal.removeEventListener('abort', close)
      dialog.remove()
      resolve()
    })
    part('[type=button]').addEventListener('click', close)
    form.addEventListener('submit', async (event) => {
      event.preventDefault()
      const given = new FormData(form)
      confirm.disabled = true
      try {
        await submit({ username: String(given.get('username')), password: String(given.get('password')) })
        close()
      } catch (error) {
        const said = isAuthError(error, 'login_refused') && error.serverMessage
        problem.textContent = said || (error as Error).message
      }
      confirm.disabled = false
    })
    document.body.append(dialog)
    dialog.showModal()
    // A listener before this one may have signed out.
    if (signal.aborted) close()
    else signal.addEventListener('abort', close)
  })
}
