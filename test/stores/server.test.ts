/** On a server the stores of a browser are empty and read-only: a module-level client leaks nothing between users. */
import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { browserStore, tabStore } from '../../src/browser.ts'
import { createAuth, flaskJwt } from '../../src/index.ts'
import { live } from './contract.ts'

for (const make of [browserStore, tabStore]) {
  test(`${make.name} reads as empty and takes nothing`, async () => {
    const store = make()
    expect((await store.read()).record).toBeNull()
    expect(store.commit).toBeUndefined()
    expect(store.watch).toBeUndefined()
    const auth = createAuth({ baseUrl: 'https://api.test/', backend: flaskJwt(), store })
    expect(auth.session).toBeNull()
    await expect(auth.login({ username: 'alice', password: 'x' })).rejects.toMatchObject({
      code: 'store_read_only',
    })
  })

  test(`${make.name} is that of a server even where the runtime has a sessionStorage`, async () => {
    const given = Object.getOwnPropertyDescriptor(globalThis, 'sessionStorage')
    const text = JSON.stringify({ format: 1, tab: 'x', page: 1, record: live('1') })
    Object.defineProperty(globalThis, 'sessionStorage', {
      configurable: true,
      value: { getItem: () => text },
    })
    try {
      expect((await make().read()).record).toBeNull()
    } finally {
      if (given) Object.defineProperty(globalThis, 'sessionStorage', given)
      else Reflect.deleteProperty(globalThis, 'sessionStorage')
    }
  })

  test(`${make.name} takes null for no options`, async () => {
    expect((await make(null as never).read()).record).toBeNull()
  })

  test(`${make.name} takes a key that is a string, and says so`, () => {
    for (const key of ['', 7, null]) {
      expect(() => make({ key: key as string })).toThrow(/key takes a string/)
    }
  })
}

test.each([browserStore, tabStore])(
  '%o takes no option but its key: a slip would be another session’s',
  (make) => {
    for (const [given, option, message] of [
      [{ keyy: 'a' }, 'options', `${make.name} takes { key }, got keyy`],
      ['a', 'options', `${make.name} takes { key }, got string`],
      [{ key: '' }, 'key', 'key takes a string that is not empty'],
    ] as const)
      expect(() => make(given as never)).toThrow(
        expect.objectContaining({ code: 'invalid_option', option, message }),
      )
    for (const given of [undefined, null, {}, { key: undefined }, { key: 'a' }]) make(given as never)
  },
)

test('with a document in Node, as test runners make one, no channel to other tabs keeps the process alive', () => {
  const at = (file: string): string => new URL(`../../src/${file}`, import.meta.url).href
  const program = `
    globalThis.document = { addEventListener() {} }
    globalThis.addEventListener = globalThis.removeEventListener = () => {}
    const { createAuth, flaskJwt } = await import('${at('index.ts')}')
    const { browserStore } = await import('${at('browser.ts')}')
    const auth = createAuth({ baseUrl: 'https://api.test/', backend: flaskJwt(), store: browserStore() })
    await auth.ready
    console.log(auth.session)
  `
  const { status, stdout, signal } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    timeout: 20_000,
    encoding: 'utf8',
  })
  expect({ status, stdout, signal }).toEqual({ status: 0, stdout: 'null\n', signal: null })
})
