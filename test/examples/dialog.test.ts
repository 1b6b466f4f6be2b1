// @vitest-environment jsdom
/** The dialog without a framework, in a document; jsdom has no modal dialogs, so that those few lines are ours. */
import { beforeEach, expect, test, vi } from 'vitest'
import { passwordDialog } from '../../examples/dialog.ts'
import { alice, type Room, room, statuses, times } from '../core/support.ts'

beforeEach(() => {
  document.body.replaceChildren()
  Object.assign(HTMLDialogElement.prototype, {
    showModal(this: HTMLDialogElement) {
      this.open = true
    },
    // As a browser does: nothing where it is closed.
    close(this: HTMLDialogElement) {
      if (!this.open) return
      this.open = false
      this.dispatchEvent(new Event('close'))
    },
  })
})

/** A client whose token is not fresh, and requests that need one: the dialog is open for them. */
async function asked(): Promise<Room & { waiting: Promise<Response>[]; dialog: HTMLDialogElement }> {
  const here = room()
  await here.signInStale()
  const { auth } = here
  auth.on('reauthRequired', ({ session, signal, waitUntil }) => {
    waitUntil(passwordDialog({ username: session.subject, signal, submit: auth.reauthenticate }))
  })
  const waiting = times(3, () => auth.fetch('fresh'))
  await vi.waitFor(() => expect(dialogs()).toHaveLength(1))
  return { ...here, waiting, dialog: dialogs()[0] as HTMLDialogElement }
}

const dialogs = (): HTMLDialogElement[] => [...document.querySelectorAll<HTMLDialogElement>('dialog[open]')]
const field = (dialog: HTMLDialogElement, name: string): HTMLInputElement =>
  dialog.querySelector(`[name=${name}]`) as HTMLInputElement

function give(dialog: HTMLDialogElement, password: string): void {
  field(dialog, 'password').value = password
  dialog.querySelector('button')?.click()
}

test('one dialog for all that wait; with the password they go out', async () => {
  const { waiting, dialog } = await asked()
  expect(field(dialog, 'username').value).toBe('alice')
  give(dialog, alice.password)
  expect(await statuses(waiting)).toEqual([200, 200, 200])
  expect(document.querySelector('dialog')).toBe(null)
})

test('a wrong password is told, and can be given again', async () => {
  const { waiting, dialog } = await asked()
  give(dialog, 'wrong')
  const problem = dialog.querySelector('[role=alert]')
  await vi.waitFor(() => expect(problem?.textContent).toBe('Bad username or password'))
  expect(dialogs()).toEqual([dialog])
  give(dialog, alice.password)
  expect(await statuses(waiting)).toEqual([200, 200, 200])
})

test('an error without words of the server tells its own', async () => {
  const { backend, dialog, waiting } = await asked()
  backend.fault('login', { status: 503 })
  give(dialog, alice.password)
  const problem = dialog.querySelector('[role=alert]')
  await vi.waitFor(() => expect(problem?.textContent).toBe('The login could not be completed (503)'))
  dialog.close()
  expect(await statuses(waiting)).toEqual([401, 401, 401])
})

test('cancelled, each gets its own 401', async () => {
  const { waiting, dialog } = await asked()
  dialog.querySelector<HTMLButtonElement>('[type=button]')?.click()
  expect(await statuses(waiting)).toEqual([401, 401, 401])
  expect(dialogs()).toEqual([])
})

test('it closes by itself when somebody signs out', async () => {
  const { auth, waiting } = await asked()
  const all = Promise.allSettled(waiting)
  void auth.logout()
  await vi.waitFor(() => expect(document.querySelector('dialog')).toBe(null))
  await all
})

test('it never stays where it is moot as it opens, and a name is no markup', async () => {
  const signal = AbortSignal.abort()
  const opened = vi.spyOn(HTMLDialogElement.prototype, 'showModal')
  await passwordDialog({ username: '"><img>', signal, submit: async () => {} })
  expect(opened).toHaveBeenCalledOnce()
  const dialog = opened.mock.contexts[0] as HTMLDialogElement
  expect([dialog.open, dialog.querySelector('img'), field(dialog, 'username').value]).toEqual([
    false,
    null,
    '"><img>',
  ])
})
