/** The file store: processes of one machine over one directory. */
import { spawnSync } from 'node:child_process'
import fs, {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  watch,
  writeFileSync,
} from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { fileStore } from '../../src/node.ts'
import type { Notice, Store } from '../../src/types.ts'
import { contract, live, tombstone } from './contract.ts'
import { type Agent, contextIn, startAgent, stopAgents } from './processes.ts'

const root = mkdtempSync(join(tmpdir(), 'stayfresh-files-'))
afterAll(() => {
  stopAgents()
  rmSync(root, { recursive: true, force: true })
})

let agents: Agent[] = []
beforeAll(async () => {
  agents = await Promise.all([startAgent(), startAgent(), startAgent()])
})

let count = 0
const somewhere = (): string => join(root, `deep/${count++}`)

/** The newest file of a session. */
function newest(directory: string): string {
  const numbers = readdirSync(directory).flatMap((file) => /^(\d+)\.json$/.exec(file)?.[1] ?? [])
  return join(directory, `${Math.max(...numbers.map(Number))}.json`)
}

for (const seal of [undefined, { keys: [{ id: 'one', key: 'AAECAwQFBgcICQoLDA0ODw==' }] }]) {
  contract(`fileStore${seal ? ', encrypted,' : ''} among processes`, async () => {
    const directory = somewhere()
    let next = 0
    let last: Agent | undefined
    return {
      async open(key = '') {
        last = agents[next++ % agents.length] as Agent
        return contextIn(last, { kind: 'file', path: `${directory}${key}`, seal })
      },
      plant: {
        foreign: async () => writeFileSync(newest(directory), '{"name":"left-pad"}'),
        damaged: async () =>
          writeFileSync(newest(directory), readFileSync(newest(directory)).subarray(0, 40)),
        older: async () => writeFileSync(newest(directory), JSON.stringify({ format: 0, record: live('1') })),
      },
      newer: async () => writeFileSync(newest(directory), JSON.stringify({ format: 2, cell: {} })),
      reported: () => (last as Agent).call('reported'),
    }
  }, ['plant', 'newer'])
}

describe('fileStore', () => {
  test('makes its directory for its owner alone, and files that only the owner can read, whatever the umask', async () => {
    const path = somewhere()
    const before = process.umask(0)
    try {
      const store = fileStore(path)
      await store.commit?.(live('1'), null)
      expect(statSync(path).mode & 0o777).toBe(0o700)
      expect(statSync(newest(path)).mode & 0o777).toBe(0o600)
      process.umask(0o777)
      await store.commit?.(live('2'), '1')
      expect(statSync(newest(path)).mode & 0o777).toBe(0o600)
    } finally {
      process.umask(before)
    }
    expect((await fileStore(pathToFileURL(path)).read()).record?.revision).toBe('2')
  })

  test('leaves no token of the past to be read, and nothing that a killed process has left', async () => {
    const path = somewhere()
    const store = fileStore(path)
    let expected: string | null = null
    for (let round = 0; round < 100; round++) {
      const revision = `r${round}`
      await store.commit?.(live(revision), expected)
      expected = revision
    }
    const holding = (): string[] => readdirSync(path).filter((file) => statSync(join(path, file)).size > 0)
    expect(holding()).toEqual(['100.json'])
    expect(readdirSync(path).length).toBeLessThanOrEqual(64)
    await store.commit?.(tombstone('end'), expected)
    expect(holding()).toEqual(['101.json'])
    expect(readFileSync(join(path, '101.json'), 'utf8')).not.toContain('signature')
  })

  test('invariant 5: on a full disk a logout is one all the same, and a session that was replaced is not found again', async () => {
    const path = somewhere()
    const store = fileStore(path) as Required<Store>
    const found = async (): Promise<string | undefined> => (await fileStore(path).read()).record?.revision
    await store.commit(live('1'), null)
    // A disk takes another file's content for each that is emptied. (A real one that is small enough needs root.)
    let room = 0
    const { open, writeFile } = fs.promises
    onTestFinished(() => {
      Object.assign(fs.promises, { open, writeFile })
      syncBuiltinESMExports()
    })
    fs.promises.open = async (...args) => {
      const file = await open(...args)
      const write = file.writeFile.bind(file)
      file.writeFile = async (...what) => {
        if (room-- <= 0) throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' })
        return write(...what)
      }
      return file
    }
    fs.promises.writeFile = async (file, text, ...more) => {
      await writeFile(file, text, ...more)
      if (text === '') room = 1
    }
    syncBuiltinESMExports()
    // The same session goes on as it stood: what is in its place could be lost.
    await expect(store.commit(live('2', { version: 2 }), '1')).rejects.toThrow('ENOSPC')
    expect(await found()).toBe('1')
    // What has been exchanged is worth nothing any more, and this process may be about to end.
    const claim = { by: 'me', until: 1, span: 1 }
    room = 1
    await store.commit(live('1 claimed', { claim }), '1')
    const rotated = live('1 rotated', { version: 2, refreshToken: 'rotated' })
    expect((await store.commit(rotated, '1 claimed')).record?.revision).toBe('1 rotated')
    expect(await found()).toBe('1 rotated')
    room = 0
    expect((await store.commit(live('2', { id: 'b' }), '1 rotated')).record?.revision).toBe('2')
    expect(await found()).toBe('2')
    room = 0
    expect((await store.commit(tombstone('3', { id: 'b' }), '2')).record?.revision).toBe('3')
    expect(await found()).toBe('3')
    // That it ended stays said, so that nobody writes it back.
    room = 0
    await expect(store.commit(live('4', { id: 'c' }), '3')).rejects.toThrow('ENOSPC')
    expect(await found()).toBe('3')
  })

  test('files of others that have a number for a name stay as they are', async () => {
    const path = somewhere()
    mkdirSync(path, { recursive: true })
    for (const name of [1, 2, 3]) writeFileSync(join(path, `${name}.json`), `{"invoice":${name}}`)
    const { error } = console
    console.error = () => {}
    onTestFinished(() => {
      console.error = error
    })
    const store = fileStore(path) as Required<Store>
    let expected: string | null = null
    for (let round = 0; round < 80; round++) {
      await store.commit(live(`r${round}`), expected)
      expected = `r${round}`
    }
    await store.commit(tombstone('end'), expected)
    for (const name of [1, 2, 3])
      expect(readFileSync(join(path, `${name}.json`), 'utf8')).toBe(`{"invoice":${name}}`)
    expect(readdirSync(path).length).toBeLessThanOrEqual(64 + 4)
  })

  test('a file of the highest number that counts leaves no place for another: nothing is said to be done', async () => {
    const path = somewhere()
    const store = fileStore(path) as Required<Store>
    await store.commit(live('1'), null)
    renameSync(newest(path), join(path, `${'9'.repeat(15)}.json`))
    const full = /^fileStore: no number is left after .*9{15}\.json; remove it$/
    await expect(store.commit(live('2'), '1')).rejects.toThrow(full)
    expect((await store.read()).record?.revision).toBe('1')
    // What is over is not to be found by the next process all the same.
    await expect(store.commit(tombstone('end'), '1')).rejects.toThrow(full)
    const { error } = console
    console.error = () => {}
    onTestFinished(() => {
      console.error = error
    })
    expect((await fileStore(path).read()).record).toBeNull()
  })

  test('an end leaves no draft of a process that was killed in the middle of a commit', async () => {
    const path = somewhere()
    const store = fileStore(path) as Required<Store>
    await store.commit(live('1'), null)
    writeFileSync(join(path, '7-1.draft'), JSON.stringify({ format: 1, record: live('2') }))
    await store.commit(live('3', { version: 2 }), '1')
    expect(readdirSync(path)).toContain('7-1.draft')
    await store.commit(tombstone('4'), '3')
    expect(readdirSync(path)).not.toContain('7-1.draft')
  })

  test('a process that slept through many commits, before its own, has not committed', async () => {
    // What such a process does last is the link of a name that was free again when it woke.
    const path = somewhere()
    const store = fileStore(path)
    let expected: string | null = null
    for (let round = 0; round < 80; round++) {
      await store.commit?.(live(`r${round}`), expected)
      expected = `r${round}`
    }
    expect(readdirSync(path)).not.toContain('2.json')
    writeFileSync(join(path, '2.json'), JSON.stringify({ format: 1, record: live('old') }))
    expect((await store.read()).record?.revision).toBe('r79')
    await store.commit?.(live('next'), 'r79')
    expect((await store.read()).record?.revision).toBe('next')
  })

  test('a damaged file is kept beside, and who uses the store is told', async () => {
    const path = somewhere()
    const store = fileStore(path)
    await store.commit?.(live('1'), null)
    writeFileSync(newest(path), 'not json')
    const errors: unknown[] = []
    const { error } = console
    console.error = (given) => void errors.push(given)
    onTestFinished(() => {
      console.error = error
    })
    const cell = await store.read()
    expect(cell.record).toBeNull()
    expect(String(cell.problem)).toContain('holds no session')
    expect(errors.map(String)).toEqual([expect.stringContaining('1.bad')])
    expect(readFileSync(join(path, '1.bad'), 'utf8')).toBe('not json')
    expect(statSync(join(path, '1.bad')).mode & 0o777).toBe(0o600)
    expect((await store.commit?.(live('2'), null))?.record?.revision).toBe('2')
    expect((await store.read()).problem).toBeUndefined()
    expect(readFileSync(join(path, '1.bad'), 'utf8')).toBe('not json')
  })

  test('links and pipes that others have planted are neither followed nor waited for', async () => {
    const path = somewhere()
    const store = fileStore(path)
    await store.commit?.(live('1'), null)
    const [precious, mine] = [`${path}-precious`, `${path}-mine`]
    writeFileSync(precious, JSON.stringify({ format: 1, record: live('planted') }))
    writeFileSync(mine, 'mine')
    symlinkSync(precious, join(path, '2.json'))
    symlinkSync(mine, join(path, '2.bad'))
    const { error } = console
    console.error = () => {}
    onTestFinished(() => {
      console.error = error
    })
    expect((await store.read()).record).toBeNull()
    expect((await store.commit?.(live('2'), null))?.record?.revision).toBe('2')
    expect(readFileSync(precious, 'utf8')).toContain('planted')
    expect(readFileSync(mine, 'utf8')).toBe('mine')
    expect(spawnSync('mkfifo', [join(path, '9.json')]).status).toBe(0)
    // Each that waited would take one of the few threads that read files for this whole process.
    const cells = await Promise.all(Array.from({ length: 6 }, () => store.read()))
    expect(cells.map(({ record }) => record)).toEqual([null, null, null, null, null, null])
    expect((await store.commit?.(live('3'), null))?.record?.revision).toBe('3')
  })

  test('a directory that is removed, and made again, is still watched', async () => {
    const path = somewhere()
    const [one, other] = [fileStore(path), fileStore(path)]
    const told: (Notice | undefined)[] = []
    const waiting: (() => void)[] = []
    const stop = one.watch?.((notice) => {
      told.push(notice)
      for (const wake of waiting.splice(0)) wake()
    })
    onTestFinished(() => stop?.())
    const until = async (revision: string): Promise<void> => {
      while (told.at(-1)?.revision !== revision)
        await new Promise<void>((resolve) => void waiting.push(resolve))
    }
    await other.commit?.(live('1'), null)
    await until('1')
    rmSync(path, { recursive: true })
    await other.commit?.(live('2'), null)
    await until('2')
    await other.commit?.(live('3'), '2')
    await until('3')
  })

  test('a watched directory that can’t be seen any more ends no process, and is watched again when it can', async () => {
    const above = somewhere()
    const path = join(above, 'session')
    const [one, other] = [fileStore(path), fileStore(path)]
    let told = (_: Notice | undefined): void => {}
    onTestFinished(one.watch?.((notice) => told(notice)) as () => void)
    await one.commit?.(live('1'), null)
    // What an event finds there can't be looked at: a loop here, for root may see all that is denied to others.
    const looked = new Promise<void>((resolve) => {
      const events = watch(path, () => setImmediate(resolve))
      onTestFinished(() => events.close())
    })
    renameSync(above, `${above}-away`)
    symlinkSync(above, above)
    writeFileSync(join(`${above}-away`, 'session', 'other'), '')
    await looked
    await expect(one.read()).rejects.toThrow('ELOOP')
    rmSync(above)
    renameSync(`${above}-away`, above)
    await one.commit?.(live('2'), '1')
    const heard = new Promise((resolve) => {
      told = (notice) => notice?.revision === '3' && resolve(undefined)
    })
    await other.commit?.(live('3'), '2')
    await heard
  })

  /** Puts functions in the place of the system's own, until the test is over. */
  function instead<T extends object>(of: T, members: Partial<T>): void {
    const own = Object.fromEntries(Object.keys(members).map((name) => [name, of[name as keyof T]]))
    onTestFinished(() => {
      Object.assign(of, own)
      syncBuiltinESMExports()
    })
    Object.assign(of, members)
    syncBuiltinESMExports()
  }
  const full = (): Error => Object.assign(new Error('EMFILE: too many open files'), { code: 'EMFILE' })

  test('invariant 5: a logout that falls between the first read and the watching is found by that read', async () => {
    const path = somewhere()
    const [one, other] = [fileStore(path), fileStore(path)]
    await other.commit?.(live('1'), null)
    const { readFile } = fs.promises
    let seen = (): void => {}
    let go = (): void => {}
    const reached = new Promise<void>((resolve) => {
      seen = resolve
    })
    const gate = new Promise<void>((resolve) => {
      go = resolve
    })
    let first = true
    const slow = async (...given: Parameters<typeof readFile>): Promise<unknown> => {
      const text = await readFile(...given)
      if (!first) return text
      first = false
      seen()
      await gate
      return text
    }
    instead(fs.promises, { readFile: slow as typeof readFile })
    const reading = one.read()
    await reached
    await other.commit?.(tombstone('2'), '1')
    onTestFinished(one.watch?.(() => {}) as () => void)
    go()
    expect((await reading).record).toMatchObject({ ended: 'logout', revision: '2' })
  })

  test('invariant 5: a change that can’t be looked at is told all the same, for whoever listens to look for', async () => {
    const path = somewhere()
    const one = fileStore(path)
    const other = await contextIn(agents[0] as Agent, { kind: 'file', path })
    await one.commit?.(live('1'), null)
    const heard = new Promise<Notice | undefined>((resolve) => {
      onTestFinished(one.watch?.(resolve) as () => void)
    })
    const readdir = (): Promise<never> => Promise.reject(full())
    instead(fs.promises, { readdir: readdir as never })
    await other.commit?.(tombstone('2'), '1')
    expect(await heard).toBeUndefined()
  })

  test('a watching that could not begin begins with the next read', async () => {
    const path = somewhere()
    const one = fileStore(path)
    const other = await contextIn(agents[0] as Agent, { kind: 'file', path })
    await other.commit?.(live('1'), null)
    let left = 1
    const { mkdirSync } = fs
    const failing = (...given: Parameters<typeof mkdirSync>): string | undefined => {
      if (left--) throw full()
      return mkdirSync(...given) as string | undefined
    }
    instead(fs, { mkdirSync: failing as typeof mkdirSync })
    const heard = new Promise<void>((resolve) => {
      const listener = (notice?: Notice): void => {
        if (notice?.revision === '2') resolve()
      }
      onTestFinished(one.watch?.(listener) as () => void)
    })
    expect((await one.read()).record).toMatchObject({ revision: '1' })
    await other.commit?.(tombstone('2'), '1')
    await heard
  })

  test('where the system has no watch left it is looked at now and then, and said once', async () => {
    const path = somewhere()
    const [one, other] = [fileStore(path), fileStore(path)] as Required<Store>[] as [Required<Store>, Store]
    const { watch } = fs
    const { error } = console
    const errors: unknown[] = []
    onTestFinished(() => {
      Object.assign(fs, { watch })
      console.error = error
      syncBuiltinESMExports()
    })
    console.error = (given) => void errors.push(given)
    const none = Object.assign(new Error('ENOSPC: System limit for number of file watchers reached'), {
      code: 'ENOSPC',
    })
    Object.assign(fs, {
      watch() {
        throw none
      },
    })
    syncBuiltinESMExports()
    const heard = new Promise((resolve) =>
      onTestFinished(one.watch((notice) => notice?.ended && resolve(notice))),
    )
    await one.commit(live('1'), null)
    await one.commit(live('2', { version: 2 }), '1')
    await other.commit?.(tombstone('3', { version: 2 }), '2')
    expect(await heard).toMatchObject({ revision: '3', ended: 'logout' })
    expect(errors).toEqual([none])
  })

  test('the claim of a process that has died is nobody’s, and that of one that lives is its own', async () => {
    const path = somewhere()
    const doomed = await startAgent()
    const context = await contextIn(doomed, { kind: 'file', path })
    const claim = { by: 'me', until: Date.now() + 60_000, span: 60_000 }
    await context.commit(live('0'), null)
    await context.commit(live('1', { claim }), '0')
    const store = fileStore(path)
    expect((await store.read()).record).toMatchObject({ revision: '1', claim })
    // Something else of the record is changed by somebody else: the claim stays its holder's.
    await store.commit?.(live('2', { claim, version: 2 }), '1')
    const ended = new Promise((resolve) => void doomed.child.once('exit', resolve))
    doomed.child.kill('SIGKILL')
    await ended
    const { record } = await store.read()
    expect(record).toMatchObject({ version: 2, refreshToken: 'r' })
    expect(record).not.toHaveProperty('claim.by')
  })

  test('invariant 3: a claim that was lost and written back by another process does not end with that one', async () => {
    const path = somewhere()
    const store = fileStore(path) as Required<Store>
    const claim = { by: 'me', until: Date.now() + 60_000, span: 60_000 }
    await store.commit(live('0'), null)
    await store.commit(live('1', { claim }), '0')
    rmSync(path, { recursive: true })
    // Who holds the session brings it as it was heard of last: with a version that others have not, or to an empty cell.
    for (const found of [null, '2']) {
      const keeper = await startAgent()
      const context = await contextIn(keeper, { kind: 'file', path })
      if (found) await context.commit(live(found), (await store.read()).record?.revision ?? null)
      await context.commit(live('3', { claim, version: 2 }), found)
      const ended = new Promise((resolve) => void keeper.child.once('exit', resolve))
      keeper.child.kill('SIGKILL')
      await ended
      expect((await store.read()).record).toMatchObject({ revision: '3', claim })
    }
  })

  test('a process id that was given to another process is not the holder', async () => {
    const path = somewhere()
    const store = fileStore(path)
    const claim = { by: 'me', until: Date.now() + 60_000, span: 60_000 }
    await store.commit?.(live('0'), null)
    await store.commit?.(live('1', { claim }), '0')
    const written = JSON.parse(readFileSync(newest(path), 'utf8'))
    expect((await store.read()).record).toHaveProperty('claim')
    written.holder.since = '1'
    writeFileSync(newest(path), JSON.stringify(written))
    expect((await store.read()).record).not.toHaveProperty('claim.by')
  })

  test('the claim of another machine, or of a space of process ids that is not ours, is waited for', async () => {
    const path = somewhere()
    const store = fileStore(path)
    const claim = { by: 'me', until: Date.now() + 60_000, span: 60_000 }
    await store.commit?.(live('0'), null)
    await store.commit?.(live('1', { claim }), '0')
    const written = JSON.parse(readFileSync(newest(path), 'utf8'))
    Object.assign(written.holder, { space: 'elsewhere', pid: 2 ** 22, since: '1' })
    writeFileSync(newest(path), JSON.stringify(written))
    expect((await store.read()).record).toMatchObject({ claim: { by: 'me' } })
  })

  test.each([3_600_000, -3_600_000])(
    '12: its time is that of the files: a process whose clock is off by %d ms heeds a claim',
    async (off) => {
      const path = somewhere()
      const other = await startAgent()
      await other.call('clock', off)
      const there = await contextIn(other, { kind: 'file', path })
      const about = (time: unknown): number => Math.abs(Number(time) - Date.now())
      mkdirSync(path)
      expect(about((await there.read()).now)).toBeLessThan(5000)
      const claim = { by: 'me', until: Date.now() + 10_000, span: 10_000 }
      const mine = fileStore(path) as Required<Store>
      await mine.commit(live('1', { claim }), null)
      expect(about((await there.read()).now)).toBeLessThan(5000)
      expect(about((await there.commit(live('2', { claim }), '1')).now)).toBeLessThan(5000)
      // Set right in between, and off again.
      for (const by of [-off, off]) {
        await other.call('clock', by)
        expect(about((await there.read()).now)).toBeLessThan(5000)
      }
    },
  )

  test('keeps no process alive', async () => {
    const agent = await startAgent()
    const path = somewhere()
    const index = await agent.call<number>('open', { kind: 'file', path })
    await agent.call('watch', index)
    const ended = new Promise((resolve) => void agent.child.once('exit', resolve))
    expect(await agent.call('resources')).not.toContain('Timeout')
    agent.child.disconnect()
    await ended
  })

  test('a path that is none is said at once, one that can’t be used when it is used', async () => {
    const urls = ['https://example.test/', 'file:///a%2Fb', 'file:///a%00b'].map((url) => new URL(url))
    for (const path of ['', 7, null, undefined, 'a\0b', ...urls]) {
      expect(() => fileStore(path as string)).toThrow(/fileStore takes the path of a directory/)
    }
    const file = join(root, 'a-file')
    writeFileSync(file, 'mine')
    for (const path of [file, join(file, 'below')]) {
      await expect(fileStore(path).read()).rejects.toMatchObject({ code: 'invalid_option', option: 'path' })
      await expect(fileStore(path).commit?.(live('1'), null)).rejects.toThrow(file)
    }
    expect(readFileSync(file, 'utf8')).toBe('mine')
    // A link that leads nowhere.
    symlinkSync(join(root, 'nowhere', 'at all'), join(root, 'link'))
    await expect(fileStore(join(root, 'link')).commit?.(live('1'), null)).rejects.toThrow(join(root, 'link'))
    mkdirSync(join(root, 'empty'))
    expect((await fileStore(join(root, 'empty')).read()).record).toBeNull()
  })
})
