/** The demo page: its buttons, its dialog, and what it says. It plays the application; the client is the package's. */
// First: it sets the clock.

import { type AuthEvents, type AuthEventType, type HistoryEntry, isAuthError } from 'stayfresh'
import { type AskItem, type CallItem, real } from '../../src/devtools/items.ts'
import { createTimeline } from '../../src/devtools/timeline.ts'
import { callTitle, callWhy, duration, historyWords, type Words } from '../../src/devtools/words.ts'
import type { Command, Settings } from '../site.ts'
import { type Client, createClient } from './client.ts'
import { clockOffset, onClock, setClock } from './clock.ts'
import { type Log, openRecord } from './record.ts'

const EVENTS: readonly AuthEventType[] = [
  'loggedIn',
  'tokenRefreshed',
  'refreshFailed',
  'reauthRequired',
  'loggedOut',
  'clockSkew',
  'storeUnavailable',
]

const byId = <Type extends HTMLElement = HTMLElement>(id: string): Type => {
  const element = document.getElementById(id)
  if (!element) throw new Error(`The page has no #${id}`)
  return element as Type
}

const log = await openRecord()
const client = createClient(log)
const { auth } = client
document.title = `Tab ${log.tab} · stayfresh`

const timeline = createTimeline(byId('timeline'), byId('tip'), log)
const say = sayer(byId('say'))
const note = createNotes(byId('log'), say)

runApplication(client, log)
await Promise.all([runServer(log), runBrowser(client)])
showSession(client, log)

// --- the application -------------------------------------------------------------------------------------

function runApplication({ auth, call }: Client, log: Log): void {
  const form = byId<HTMLFormElement>('sign-in')
  const error = byId('sign-in-error')

  form.addEventListener('submit', (event) => {
    event.preventDefault()
    const { username, password } = Object.fromEntries(new FormData(form)) as Record<string, string>
    error.textContent = ''
    const submit = form.querySelector('button') as HTMLButtonElement
    submit.disabled = true
    auth
      .login({ username: username ?? '', password: password ?? '' })
      .then(() => byId('call').focus())
      .catch((problem: unknown) => {
        error.textContent = inWords(problem)
      })
      .finally(() => {
        submit.disabled = false
      })
  })

  const on = (id: string, act: () => unknown): void => byId(id).addEventListener('click', () => void act())
  const get = (): Promise<void> => call('get', 'protected').then(noteCall)
  on('call', get)
  on('burst', () => {
    for (let count = 0; count < 5; count++) void get()
  })
  on('step-up', () => call('delete', 'fresh').then(noteCall))
  on('refresh', () => auth.refresh().catch((problem: unknown) => note('failed', notDone(problem))))
  on('logout', () => auth.logout())

  let timer: ReturnType<typeof setInterval> | undefined
  toggle(byId('keep'), (pressed) => {
    clearInterval(timer)
    if (!pressed) return
    void get()
    timer = setInterval(get, 1500)
  })

  auth.on('reauthRequired', (event) => event.waitUntil(askForPassword(event, auth, log)))
}

function noteCall(item: CallItem): void {
  const ok = item.result?.startsWith('2')
  const took = duration((item.end ?? item.at) - item.at)
  const times = item.sends.length === 2 ? ', sent twice' : ''
  const lines = callWhy(item)
  note(ok ? 'call' : 'failed', { title: callTitle(item), lines: [...lines, `${took}${times}`] })
}

const notDone = (problem: unknown): Words => ({ title: 'Not refreshed', lines: [inWords(problem)] })

function inWords(problem: unknown): string {
  if (isAuthError(problem, 'login_refused')) return problem.serverMessage ?? 'The server said no.'
  if (isAuthError(problem, 'refresh_unavailable')) {
    return `refresh_unavailable: it may be tried again in ${duration(Math.max(problem.retryAt - Date.now(), 0))}.`
  }
  if (isAuthError(problem)) return `${problem.code}: ${problem.message}`
  return String(problem)
}

/** Resolves once the dialog is closed, whatever came of it. */
function askForPassword(
  { reason, session, signal }: AuthEvents['reauthRequired'],
  auth: Client['auth'],
  log: Log,
): Promise<void> {
  const dialog = byId<HTMLDialogElement>('dialog')
  const form = byId<HTMLFormElement>('password')
  const input = byId<HTMLInputElement>('dialog-password')
  const error = byId('dialog-error')
  const username = session.subject ?? ''
  const why: Record<string, string> = {
    fresh_token_required: 'This is worth a second look: type it again, and the call goes on.',
    session_expired: 'Your session has expired. Sign in again, and what you began goes on.',
    token_revoked: 'The server has ended your session. Sign in again, and what you began goes on.',
  }
  byId('dialog-title').textContent = `${username}, your password please`
  byId('dialog-why').textContent = why[reason] ?? reason
  byId<HTMLInputElement>('dialog-user').value = username
  error.textContent = ''
  form.reset()
  const item: AskItem = { kind: 'ask', id: crypto.randomUUID(), tab: log.tab, at: real(), reason }
  log.put(item)

  const over = new AbortController()
  return new Promise<void>((resolve) => {
    const close = (outcome: AskItem['outcome']): void => {
      if (over.signal.aborted) return
      over.abort()
      Object.assign(item, { outcome, end: real() })
      log.put(item)
      if (dialog.open) dialog.close()
      resolve()
    }
    const options = { signal: over.signal }
    form.addEventListener(
      'submit',
      (event) => {
        event.preventDefault()
        error.textContent = ''
        auth
          .reauthenticate({ username, password: input.value })
          .then(() => close('done'))
          .catch((problem: unknown) => {
            if (over.signal.aborted) return
            error.textContent = inWords(problem)
            input.select()
          })
      },
      options,
    )
    byId('dialog-cancel').addEventListener('click', () => close('dismissed'), options)
    dialog.addEventListener('close', () => close('dismissed'), options)
    // A login elsewhere, a logout, too much time: there is nothing left to ask for.
    signal.addEventListener('abort', () => close('dismissed'), options)
    dialog.showModal()
    input.focus()
  })
}

// --- the server ------------------------------------------------------------------------------------------

async function runServer(log: Log): Promise<void> {
  const selects = {
    accessLifetime: byId<HTMLSelectElement>('life'),
    pace: byId<HTMLSelectElement>('pace'),
    refresh: byId<HTMLSelectElement>('refreshing'),
  }

  /** Past the client: this is the hand of the one who plays tricks. */
  async function control(command?: Command): Promise<void> {
    const init = command && {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(command),
    }
    const response = await fetch('/demo', init).catch(() => undefined)
    if (!response?.ok) {
      note('failed', { title: 'The demo server does not answer', lines: ['Is it still running?'] })
      return
    }
    const settings = (await response.json()) as Settings
    for (const [name, select] of Object.entries(selects)) {
      const value = String(settings[name as keyof Settings])
      if (![...select.options].some((option) => option.value === value)) {
        select.add(new Option(name === 'accessLifetime' ? duration(Number(value)) : value, value))
      }
      select.value = value
    }
  }

  for (const [name, select] of Object.entries(selects)) {
    select.addEventListener('change', async () => {
      const value = name === 'accessLifetime' ? Number(select.value) : select.value
      await control({ set: { [name]: value } })
      log.tellSettings()
    })
  }
  for (const [id, what] of [
    ['expire', 'expired'],
    ['revoke', 'revoked'],
  ] as const) {
    byId(id).addEventListener('click', async () => {
      await control({ do: id })
      const now = real()
      const { session } = auth
      const token = session ? `${session.id}:${session.version}` : '–'
      log.put({ kind: 'cause', id: crypto.randomUUID(), tab: log.tab, at: now, end: now, what, token })
      say(what === 'expired' ? 'The server takes the access token no more.' : 'The session is revoked.')
    })
  }
  log.onSettings(() => void control())
  // A refresh that was to fail once may have done so.
  auth.on('tokenRefreshed', () => void control())
  await control()
}

// --- the browser -----------------------------------------------------------------------------------------

function runBrowser(client: Client): void {
  toggle(byId('offline'), (pressed) => {
    client.offline = pressed
    byId('offline').textContent = pressed ? 'Offline' : 'Go offline'
    say(pressed ? 'This tab is offline.' : 'This tab is online.')
  })
  const clock = byId<HTMLSelectElement>('clock')
  const show = (): void => {
    clock.value = String(clockOffset())
    document.body.classList.toggle('off', clockOffset() !== 0)
  }
  clock.addEventListener('change', () => {
    setClock(Number(clock.value))
    show()
  })
  onClock(show)
  show()
  toggle(byId('pause'), (pressed) => {
    timeline.paused = pressed
    byId('pause').textContent = pressed ? 'Go on' : 'Pause'
  })
}

// --- what is shown ---------------------------------------------------------------------------------------

function showSession(client: Client, log: Log): void {
  const meter = byId('meter').firstElementChild as HTMLElement
  const seen = new WeakSet<HistoryEntry>()

  function show(): void {
    client.noteSession()
    const { session, history } = client.auth
    byId('sign-in').hidden = session !== null
    document.body.classList.toggle('signed-in', session != null)
    text('who', session === undefined ? '…' : (session?.subject ?? 'nobody'))
    text('version', session ? String(session.version) : '–')
    byId('fresh').hidden = !session?.fresh
    const left = session?.expiresAt === undefined ? undefined : session.expiresAt - Date.now()
    text('left', !session ? '–' : left === undefined ? 'opaque' : left > 0 ? remaining(left) : 'expired')
    const full = life(log) ?? left ?? 1
    meter.style.transform = `scaleX(${session && left !== undefined ? Math.min(Math.max(left / full, 0), 1) : 0})`

    for (const entry of history) {
      if (seen.has(entry)) continue
      seen.add(entry)
      if (entry.type === 'refreshRefused') client.refused()
      note(entry.type, historyWords(entry), entry.at)
    }
  }

  const calls = new Set<string>()
  const refreshes = new Set<string>()
  function count(): void {
    const tabs = log.tabs().filter(({ open }) => open).length
    byId('empty').hidden = calls.size > 0 || auth.session != null
    text(
      'counts',
      `${plural(tabs, 'tab')} · ${plural(calls.size, 'call')} · ${plural(refreshes.size, 'refresh', 'refreshes')}`,
    )
  }

  for (const type of EVENTS) client.auth.on(type, show)
  client.auth.subscribe(show)
  log.onItem((item) => {
    // All that ever was: the log forgets.
    if (item.kind === 'call' && !item.own) calls.add(item.id)
    else if (item.kind === 'refresh') refreshes.add(item.id)
    count()
  })
  log.onTabs(count)
  setInterval(show, 500)
  count()

  byId('copy').addEventListener('click', async () => {
    await navigator.clipboard.writeText(JSON.stringify(client.auth.history, null, 2))
    say('Copied: it holds no token.')
  })
}

/** How long the token in use lives in all, in ms. */
function life(log: Log): number | undefined {
  for (const item of log.items()) {
    if (item.kind === 'token' && item.end === undefined && item.expires) return item.expires - item.at
  }
  return undefined
}

function remaining(ms: number): string {
  if (ms < 90_000) return `${Math.ceil(ms / 1000)} s left`
  return ms < 5_400_000 ? `${Math.round(ms / 60_000)} min left` : `${Math.round(ms / 3_600_000)} h left`
}

/** Writes lines into the list, newest first. */
function createNotes(list: HTMLElement, say: (text: string) => void) {
  return (kind: string, { title, lines }: Words, at = Date.now()): void => {
    const time = document.createElement('time')
    time.dateTime = new Date(at).toISOString()
    time.textContent = new Date(at).toLocaleTimeString('en-GB')
    const head = document.createElement('strong')
    // Calls that went alike are one line, with a count.
    const same = [kind, title, lines.length].join()
    const before = list.firstElementChild as HTMLElement | null
    const times = kind === 'call' && before?.dataset.same === same ? Number(before.dataset.times) + 1 : 1
    if (times > 1) before?.remove()
    head.textContent = times > 1 ? `${title} (${times} times)` : title
    const rest = lines.map((line) => {
      const element = document.createElement('span')
      element.textContent = line
      return element
    })
    const entry = document.createElement('li')
    Object.assign(entry.dataset, { kind, same, times: String(times) })
    entry.append(time, head, ...rest)
    list.prepend(entry)
    while (list.childElementCount > 60) list.lastElementChild?.remove()
    say(title)
  }
}

/** Tells a screen reader; what comes at once is told together. */
function sayer(element: HTMLElement): (text: string) => void {
  let waiting: string[] = []
  return (text) => {
    waiting.push(text)
    if (waiting.length > 1) return
    setTimeout(() => {
      element.textContent = [...new Set(waiting)].join('. ')
      waiting = []
    }, 300)
  }
}

function toggle(button: HTMLElement, change: (pressed: boolean) => void): void {
  button.addEventListener('click', () => {
    const pressed = button.getAttribute('aria-pressed') !== 'true'
    button.setAttribute('aria-pressed', String(pressed))
    change(pressed)
  })
}

function text(id: string, value: string): void {
  const element = byId(id)
  if (element.textContent !== value) element.textContent = value
}

function plural(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`
}
