import { type ReactNode, useEffect, useRef, useState } from 'react'
import { api, words } from './auth.ts'
import { Title } from './router.tsx'

interface Note {
  id: string
  title: string
}

export function Notes(): ReactNode {
  const [notes, setNotes] = useState<Note[]>()
  const [said, setSaid] = useState('')
  const [error, setError] = useState('')
  const [round, setRound] = useState(0)
  const loading = useRef<AbortController>(undefined)

  // biome-ignore lint/correctness/useExhaustiveDependencies: `round` is what asks for the list anew
  useEffect(() => {
    const controller = new AbortController()
    const { signal } = controller
    loading.current = controller
    api
      .get('notes', { signal })
      .json<Note[]>()
      .then((list) => {
        if (!signal.aborted) setNotes(list)
      })
      .catch((error: unknown) => {
        if (!signal.aborted) setError(words(error))
      })
    return () => controller.abort()
  }, [round])

  function reload(): void {
    setSaid('')
    setError('')
    setRound(round + 1)
  }

  async function remove({ id, title }: Note): Promise<void> {
    setSaid('')
    setError('')
    try {
      // With a token that is not fresh the password is asked for first, and the request waits.
      const left = await api.delete(`notes/${id}`, { auth: 'fresh' }).json<Note[]>()
      // A list that is still under way may be from before, and would bring the note back.
      loading.current?.abort()
      setNotes(left)
      setSaid(`“${title}” is deleted.`)
    } catch (error) {
      setError(`“${title}” was not deleted: ${words(error)}`)
    }
  }

  return (
    <main aria-busy={!notes}>
      <Title>Notes</Title>
      <p role="status">{said}</p>
      <p role="alert">{error}</p>
      <ul>
        {notes?.map((note) => (
          <li key={note.id}>
            {note.title}
            <button type="button" onClick={() => remove(note)} aria-label={`Delete “${note.title}”`}>
              Delete
            </button>
          </li>
        ))}
      </ul>
      <button type="button" onClick={reload}>
        Reload
      </button>
    </main>
  )
}
