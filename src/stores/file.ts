/**
 * The session in a directory: shared by the processes of one machine, and there after a restart. A commit is the
 * creation of the next number's file by hard link, which fails if that name stands: no lock, so that nobody who was
 * killed or frozen holds anybody up, and nobody has to judge whether a lock is stale. It knows nothing of the
 * protocol but this: a record may hold a claim, and a claim whose process is gone is nobody's.
 */
import { randomUUID } from 'node:crypto'
import { mkdirSync, readdirSync, statSync, unwatchFile, watch, watchFile } from 'node:fs'
import * as fs from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { badOption } from '../errors.ts'
import { report } from '../events.ts'
import { describe } from '../token.ts'
import type { Cell, Notice, Store, StoreRecord } from '../types.ts'
import { type Holder, isGone, me } from './holder.ts'
import { claimOf, FORMAT, isExpected, newer, noticeOf, type Written } from './record.ts'

interface WrittenHere extends Written {
  readonly holder?: Holder | undefined
}

/** The file with the highest number, and what it says; `problem`: why it counts as empty. */
interface Found {
  readonly number: number
  readonly written: WrittenHere | null
  readonly problem?: Error | undefined
}

// A name stands, emptied, until so many newer ones do. Who has created a file and finds fewer newer ones than half
// of that knows that nobody can have removed, and so freed, the name that he took.
const NAMES = 64
// The first number that counts as none: only a file that somebody else has put there can lead to it.
const BEYOND = 1e15
// What a process that was killed in the middle of a commit has left, in ms.
const LEFT_BEHIND = 60_000
// How often it is looked for changes where watching is denied, in ms.
const LOOK = 1000
// What it takes to write a file, in ms.
const A_MOMENT = 50
// Where others can write they can plant links, to have another file read or emptied, and pipes, which hold up whoever
// opens them. (Windows knows neither flag.)
const { O_RDONLY, O_WRONLY, O_TRUNC, O_NOFOLLOW = 0, O_NONBLOCK = 0 } = fs.constants
const ITSELF = O_RDONLY | O_NOFOLLOW | O_NONBLOCK
const EMPTIED = O_WRONLY | O_TRUNC | O_NOFOLLOW | O_NONBLOCK
// Gone since it was seen, or none: a link, a directory, a socket.
const NO_FILE = /^(ENOENT|ELOOP|EISDIR|ENXIO)$/

/**
 * A store in a directory of its own, for command-line tools and workers on one machine: one refresh for all
 * processes, and a login or logout in one is one in each. The files can be read by their owner alone (mode 0600).
 * The file system has to know hard links, as all but FAT do.
 *
 * @param path the directory; made if it is missing (mode 0700), watched while a client uses it. Relative to the
 * working directory at the time of the call.
 * @throws {TypeError} an `AuthError` of code `invalid_option` for a path that is none
 * @example
 * ```ts
 * const auth = createAuth({ baseUrl, backend: flaskJwt(), store: fileStore(join(homedir(), '.local/state/my-tool')) })
 * ```
 */
export function fileStore(path: string | URL): Store {
  const directory = checkPath(path)
  const name = 'fileStore'
  const listeners = new Set<{ listener(notice?: Notice): void }>()
  // The number that was told last, or stood there before anybody watched.
  let told: number | undefined
  // Ends the watching.
  let leave: (() => void) | undefined
  let identity: string | undefined
  // Whether the directory is another one than what was told stood in.
  let anew = false
  let reported = 0
  // By how much the file system's clock, which is the same for all, is ahead of ours, ms; and what ours was set to then.
  let ahead = 0
  let set = -Infinity
  let asking: Promise<void> | undefined

  const now = (): number => Date.now() + ahead
  const fileOf = (number: number): string => join(directory, `${number}.json`)
  const someDraft = (): string => join(directory, `${process.pid}-${randomUUID()}.draft`)

  // --- reading -------------------------------------------------------------------------------------------

  async function numbers(): Promise<number[]> {
    try {
      return numbersIn(await fs.readdir(directory))
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return []
      throw named(error)
    }
  }

  async function find(): Promise<Found> {
    for (let waited = false; ; ) {
      const number = highest(await numbers())
      if (!number) return { number, written: null }
      const bytes = await fs.readFile(fileOf(number), { flag: ITSELF }).catch((error) => {
        if (NO_FILE.test(String(codeOf(error)))) return Buffer.alloc(0)
        throw named(error)
      })
      const written = parse(bytes.toString())
      if (written && written.format > FORMAT) throw newer(name)
      if (written) return { number, written }
      // Superseded while it was being read, most likely: what stood there before is emptied.
      if (highest(await numbers()) !== number) continue
      // Or emptied to make room for what comes next, which is about to be written.
      if (!bytes.length && !waited) {
        waited = true
        await pause(A_MOMENT)
        continue
      }
      return { number, written, problem: await damaged(number, bytes) }
    }
  }

  /** What is none of ours counts as empty, and is kept for a person to look at. */
  async function damaged(number: number, bytes: Buffer): Promise<Error> {
    const kept = join(directory, `${number}.bad`)
    const problem = new Error(
      `${name}: ${fileOf(number)} holds no session; it is ignored, and kept as ${kept}`,
    )
    if (reported !== number) {
      reported = number
      // Never over, or through, what stands under that name.
      await fs.writeFile(kept, bytes, { flag: 'wx', mode: 0o600 }).catch(() => {})
      report(problem)
    }
    return problem
  }

  // --- writing -------------------------------------------------------------------------------------------

  /** Creates a number's file, at once with all that it holds; `false` if it is there already. */
  async function create(number: number, written: WrittenHere): Promise<boolean> {
    // It would be written, and never seen.
    if (number >= BEYOND) throw new Error(`${name}: no number is left after ${fileOf(number - 1)}; remove it`)
    const draft = someDraft()
    await makeDirectory()
    try {
      const file = await fs.open(draft, 'wx', 0o600)
      try {
        // Whatever the umask takes away.
        await file.chmod(0o600)
        await file.writeFile(JSON.stringify(written))
        await file.sync()
      } finally {
        await file.close()
      }
      await fs.link(draft, fileOf(number))
    } catch (error) {
      // Taken by another; or our draft was tidied up, for we slept for so long that much has happened since.
      if (/^(EEXIST|ENOENT)$/.test(String(codeOf(error)))) return false
      throw named(error)
    } finally {
      await fs.unlink(draft).catch(() => {})
    }
    await syncDirectory()
    const top = highest(await numbers())
    // Far behind: we slept before the link, and the name had been freed. What we wrote is not what stands.
    if (top - number > NAMES / 2) return false
    if (top === number) await tidy(number, 'ended' in written.record)
    return true
  }

  const empty = (number: number): Promise<void> => fs.writeFile(fileOf(number), '', { flag: EMPTIED })

  /** Nothing of the past is left to be read; names are left for a while, so that nobody takes them again. */
  async function tidy(top: number, all: boolean): Promise<void> {
    const gone = async (file: string): Promise<void> => fs.unlink(join(directory, file)).catch(() => {})
    try {
      const files = await fs.readdir(directory)
      const old = numbersIn(files).filter((number) => number < top)
      const recent = all ? old : old.filter((number) => number > top - 8)
      // What others have put there is theirs.
      const holds = (number: number): Promise<string> =>
        fs.readFile(fileOf(number), { encoding: 'utf8', flag: ITSELF }).catch(() => ' ')
      const end = async (number: number): Promise<void> => {
        if (parse(await holds(number))) await empty(number).catch(() => {})
      }
      await Promise.all(recent.map(end))
      // From the oldest on, for a name that stands says that all after it do.
      for (const number of old.sort((a, b) => a - b)) {
        if (number <= top - NAMES && !(await holds(number))) await gone(`${number}.json`)
      }
      for (const draft of files.filter((file) => file.endsWith('.draft'))) {
        // Who is about to link his finds that it is gone, and looks again at what stands.
        const left = all || now() - (await fs.stat(join(directory, draft))).mtimeMs > LEFT_BEHIND
        if (left) await gone(draft)
      }
    } catch {
      // The next commit tidies up.
    }
  }

  /**
   * Claims end, and calls are ordered, by one clock; that of this process, or this machine, may be off. Asked for where it is
   * not known, or ours has been set since.
   */
  async function askTime(): Promise<void> {
    if (Math.abs(Date.now() - performance.now() - set) < 2_000) return
    // Who comes meanwhile waits for the same answer.
    asking ??= ask()
    await asking
  }

  async function ask(): Promise<void> {
    const draft = someDraft()
    try {
      const begun = Date.now()
      await fs.writeFile(draft, '', { flag: 'wx' })
      const { mtimeMs } = await fs.stat(draft)
      const here = Date.now()
      // As of now, that of a slow disk: what makes the claims of others end late, not early.
      const off = Math.round(mtimeMs - here)
      // Some systems tell no more than seconds, none every millisecond.
      const exact = mtimeMs % 1000 ? 50 : 2_000
      ahead = off > begun - here - exact && off < exact ? 0 : off
      set = here - performance.now()
    } catch {
      // There is no directory yet, it is full, or for others to write: asked again.
    } finally {
      await fs.unlink(draft).catch(() => {})
      asking = undefined
    }
  }

  async function makeDirectory(): Promise<void> {
    await fs.mkdir(directory, { recursive: true, mode: 0o700 }).catch((error) => {
      throw named(error)
    })
    if (listeners.size) hear()
  }

  /** After a power cut a refresh token that was spent must not be back. */
  async function syncDirectory(): Promise<void> {
    try {
      const handle = await fs.open(directory, 'r')
      await handle.sync().finally(() => handle.close())
    } catch {
      // Not every system lets a directory be opened.
    }
  }

  // --- the cell ------------------------------------------------------------------------------------------

  const cell = ({ written, problem }: Found): Cell => ({
    record: written?.record ?? null,
    now: now(),
    problem,
  })

  async function read(): Promise<Cell> {
    const before = told
    if (listeners.size && !leave) hear()
    const found = await find()
    const { written } = found
    await askTime()
    // Older than what stood there when the watching began: nobody has told us of what came between.
    if (found.number < (told ?? 0)) {
      if (told !== before) return read()
      told = found.number
      void look()
    }
    if (!written || !isGone(written.holder, claimOf(written.record))) return cell(found)
    // Ends the claim of one who is gone, so that nobody waits it out.
    const next = { ...written.record, claim: undefined, revision: randomUUID() }
    return commit(next, written.record.revision).catch(() => cell(found))
  }

  async function commit(next: StoreRecord, expected: string | null): Promise<Cell> {
    const found = await find()
    const stands = found.written?.record
    if (!isExpected(stands, expected)) return cell(found)
    const by = claimOf(next)
    // A claim that stood there before keeps what was known of it. One that comes with a version that did not stand there is
    // written back, by whoever had heard of it.
    const made = by !== undefined && stands?.id === next.id && stands.version === next.version
    const holder = by === claimOf(stands) ? found.written?.holder : made ? me(by) : undefined
    const written = { format: FORMAT, record: next, holder }
    const number = found.number + 1
    const done = await create(number, written).catch(async (error) => {
      if (!stands || 'ended' in stands) throw error
      // No room, say: what is over, or was spent, is not to be found by the next process, and its room will do.
      const over =
        'ended' in next ||
        (isFull(error) &&
          (stands.id !== next.id || (claimOf(stands) && stands.refreshToken !== next.refreshToken)))
      if (!over) throw error
      await empty(found.number)
      return create(number, written)
    })
    if (!done) return cell(await find())
    tell(found)
    tell({ number, written })
    return cell({ number, written })
  }

  // --- being told ----------------------------------------------------------------------------------------

  function tell({ number, written }: Found): void {
    if (number <= (told ?? 0)) return
    const missed = told === undefined ? 0 : number - told - 1
    told = number
    for (const { listener } of [...listeners]) {
      for (let count = 0; count < missed; count++) listener()
      if (written) listener(noticeOf(written.record))
      else listener()
    }
  }

  let looking = false
  let again = false

  /** Tells what stands there now, once however many changes there were. */
  async function look(): Promise<void> {
    again = true
    if (looking) return
    looking = true
    while (again && listeners.size) {
      again = false
      const before = told
      try {
        const found = await find()
        // Numbers begin anew where all files were removed.
        if (anew || (told === before && found.number < (told ?? 0))) told = found.number - 1
        anew = false
        tell(found)
      } catch {
        // Whoever listens looks for it until it can be read.
        for (const { listener } of [...listeners]) listener()
      }
    }
    looking = false
  }

  /** Watches the directory that stands there now: one that was removed is heard of no more. */
  function hear(): void {
    const standing = identityOf(directory)
    if (!standing || (leave && standing === identity)) return
    leave?.()
    anew = identity !== undefined && standing !== identity
    identity = standing
    const seen = (): void => {
      if (identityOf(directory) !== identity) rewatch()
      void look()
    }
    try {
      const watcher = watch(directory, { persistent: false }, seen)
      // Deno heeds no `persistent`, and with each event forgets what it was told.
      const rest = (): void => void setImmediate(() => watcher.unref())
      watcher.on('change', rest).on('error', rewatch)
      watcher.unref()
      leave = () => watcher.close()
    } catch (error) {
      // A system has so many watches, and others may have them all: it is looked at now and then.
      report(named(error))
      watchFile(directory, { persistent: false, interval: LOOK }, seen).unref()
      leave = () => unwatchFile(directory, seen)
    }
  }

  function rewatch(): void {
    leave?.()
    leave = undefined
    if (!listeners.size) return
    try {
      mkdirSync(directory, { recursive: true, mode: 0o700 })
    } catch {
      // It is made by the next commit.
      return
    }
    hear()
    void look()
  }

  return {
    name,
    read,
    commit,
    watch(listener) {
      const entry = { listener }
      if (!listeners.size) {
        try {
          mkdirSync(directory, { recursive: true, mode: 0o700 })
          hear()
          told = highest(numbersIn(readdirSync(directory)))
        } catch {
          // A read says what is wrong.
        }
      }
      listeners.add(entry)
      return () => {
        listeners.delete(entry)
        if (listeners.size) return
        leave?.()
        leave = undefined
      }
    },
  }

  /** What is wrong, by the path that was given. */
  function named(error: unknown): unknown {
    const code = codeOf(error)
    if (code === 'ENOTDIR' || code === 'EEXIST') {
      const message = `fileStore takes a directory, or where one can be made; ${directory} is none`
      return badOption('path', message, error)
    }
    if (code === 'EPERM' || code === 'ENOTSUP' || code === 'ENOSYS') {
      return new Error(`${name}: ${directory} is on a file system without hard links, or denies them`, {
        cause: error,
      })
    }
    return error
  }
}

const isFull = (error: unknown): boolean => /^(ENOSPC|EDQUOT)$/.test(String(codeOf(error)))

const codeOf = (error: unknown): unknown => (error as NodeJS.ErrnoException | null)?.code

const highest = (numbers: readonly number[]): number => numbers.reduce((a, b) => Math.max(a, b), 0)

function numbersIn(files: readonly string[]): number[] {
  return files.map((file) => Number(/^([1-9]\d{0,14})\.json$/.exec(file)?.[1])).filter((number) => number > 0)
}

/** Which directory it is: the number alone is given again to the next one. `undefined`: there is none to be seen. */
function identityOf(directory: string): string | undefined {
  try {
    const { ino, birthtimeMs } = statSync(directory)
    return `${ino} ${birthtimeMs}`
  } catch {
    // Removed, denied, unmounted: asked in an event, where nobody would catch it.
    return undefined
  }
}

function parse(text: string): WrittenHere | null {
  try {
    const value = JSON.parse(text || 'null') as WrittenHere | null
    const { format = 0, record } = Object(value) as Partial<WrittenHere>
    return format > FORMAT || (format === FORMAT && typeof record?.revision === 'string') ? value : null
  } catch {
    return null
  }
}

function checkPath(path: unknown): string {
  let given = path instanceof URL ? `a URL of ${path.protocol}` : describe(path)
  let plain = path
  try {
    if (path instanceof URL && path.protocol === 'file:') plain = fileURLToPath(path)
  } catch (error) {
    given = `${(path as URL).href}: ${(error as Error).message}`
  }
  if (typeof plain === 'string' && plain && !plain.includes('\0')) return resolve(plain)
  const message = `fileStore takes the path of a directory, a string or a file: URL, got ${given}`
  throw badOption('path', message)
}
