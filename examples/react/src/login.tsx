import { type FormEvent, type ReactNode, useState } from 'react'
import { useSession } from 'stayfresh/react'
import { auth, words } from './auth.ts'
import { Redirect, Title } from './router.tsx'

export function Login({ next }: { next: string | null }): ReactNode {
  const session = useSession(auth)
  const [pending, setPending] = useState(false)
  const [error, setError] = useState('')

  async function submit(event: FormEvent<HTMLFormElement>): Promise<void> {
    event.preventDefault()
    const form = event.currentTarget
    const { username, password } = Object.fromEntries(new FormData(form)) as Record<string, string>
    setPending(true)
    setError('')
    try {
      await auth.login({ username: username ?? '', password: password ?? '' })
    } catch (error) {
      setError(words(error))
      form.querySelector<HTMLInputElement>('[name=password]')?.select()
    }
    setPending(false)
  }

  if (session === undefined) return null
  // After the login, also one in another tab.
  if (session) return <Redirect to={inside(next)} />
  return (
    <main>
      <Title>Sign in</Title>
      <form onSubmit={submit} aria-describedby="login-error">
        <label>
          User name
          <input name="username" autoComplete="username" autoCapitalize="none" required />
        </label>
        <label>
          Password
          <input name="password" type="password" autoComplete="current-password" required />
        </label>
        <p role="alert" id="login-error">
          {error}
        </p>
        <button type="submit" disabled={pending}>
          Sign in
        </button>
        <p className="hint">alice, wonderland</p>
      </form>
    </main>
  )
}

/** A page of ours: whoever wrote the link to the login must not choose another site. */
function inside(next: string | null): string {
  const { origin } = window.location
  const url = URL.parse(next ?? '/', origin)
  return url?.origin === origin ? url.pathname + url.search : '/'
}
