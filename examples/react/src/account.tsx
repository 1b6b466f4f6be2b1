import type { ReactNode } from 'react'
import { useSession } from 'stayfresh/react'
import { auth } from './auth.ts'
import { Title } from './router.tsx'

export function Account(): ReactNode {
  const session = useSession(auth)
  if (!session) return null
  const { subject, fresh, version, expiresAt } = session
  return (
    <main>
      <Title>Account</Title>
      <dl>
        <dt>User</dt>
        <dd>{subject}</dd>
        <dt>Access token</dt>
        <dd>
          {fresh ? 'fresh: got with the password' : 'refreshed'}, number {version}
          {expiresAt !== undefined && `, until ${new Date(expiresAt).toLocaleTimeString()}`}
        </dd>
      </dl>
    </main>
  )
}
