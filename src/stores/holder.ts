/** Who has made a claim in a store of files, and whether that process still lives. It knows no files of a store. */
import { readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'

/** The process that made a claim, as far as another one can find out whether it still lives. */
export interface Holder {
  /** Of which claim. */
  readonly by: string
  readonly pid: number
  /** When it began, in the system's own count: a process id is given out again. */
  readonly since: string | undefined
  /** Where that process id means something: a machine since its start, and in it a space of process ids. */
  readonly space: string
}

/** This process, for a claim. */
export const me = (by: string): Holder => ({
  by,
  pid: process.pid,
  since: stat('self')?.since,
  space: space(),
})

/** Whether the process that made the claim `by` is gone, as far as can be told from here. */
export function isGone(holder: Holder | undefined, by: string | undefined): boolean {
  if (!holder || holder.by !== by || holder.space !== space()) return false
  const { pid, since } = holder
  const seen = stat(pid)
  // Another process by now, or one that has ended and that nobody has asked for its exit code.
  if (seen) return seen.since !== since || /[ZX]/.test(seen.state)
  try {
    process.kill(pid, 0)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH'
  }
}

/** What Linux says of a process; `undefined` elsewhere, and of one that is gone. */
function stat(pid: number | 'self'): { state: string; since: string | undefined } | undefined {
  try {
    // After the name, which may hold anything, in brackets: the state is the 3rd field, the start the 22nd.
    const [state = '', ...rest] =
      readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? []
    return { state, since: rest[18] }
  } catch {
    return undefined
  }
}

/** Containers may share a directory, and each counts its processes for itself. */
function space(): string {
  try {
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()} ${readlinkSync('/proc/self/ns/pid')}`
  } catch {
    return hostname()
  }
}
