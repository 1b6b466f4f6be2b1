/** What a timeline is told, without anything that draws it. */
import { expect, onTestFinished, test, vi } from 'vitest'
import { tellStory } from '../../src/devtools/story.ts'
import { createAuth, flaskJwt } from '../../src/index.ts'
import { createBackend, fakeTokens } from '../../src/testing/index.ts'

function told() {
  const auth = createAuth({
    baseUrl: 'https://api.test/',
    backend: flaskJwt(),
    fetch: createBackend({ signer: 'fast' }).fetch,
    initial: fakeTokens(),
    refreshLimit: { exchanges: 1000, interval: 1 },
  })
  const story = tellStory(auth)
  onTestFinished(() => {
    story.end()
    void auth.dispose()
  })
  return { auth, story }
}

test('what was is forgotten after two minutes, though no request is to be seen', async () => {
  vi.useFakeTimers({ toFake: ['performance', 'Date'] })
  onTestFinished(() => void vi.useRealTimers())
  const { auth, story } = told()
  const gone: string[] = []
  story.onGone((id) => gone.push(id))
  for (let count = 0; count < 50; count++) {
    await auth.refresh()
    vi.advanceTimersByTime(300_000)
  }
  await auth.refresh()
  expect([...story.items()].map(({ kind }) => kind)).toEqual(['token', 'token', 'refresh'])
  expect(new Set(gone).size).toBe(gone.length)
  expect(gone.length).toBeGreaterThan(90)
})

test('who unsubscribes is told of nothing more', async () => {
  const { auth, story } = told()
  const heard = vi.fn()
  const stop = story.onItem(heard)
  await auth.refresh()
  expect(heard).toHaveBeenCalled()
  stop()
  heard.mockClear()
  await auth.refresh()
  expect(heard).not.toHaveBeenCalled()
})
