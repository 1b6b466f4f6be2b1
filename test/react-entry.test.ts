/** `stayfresh/react` as it is built, and where there is no DOM: on a server. */
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { createElement as h, type ReactNode } from 'react'
import { renderToString } from 'react-dom/server'
import { expect, test } from 'vitest'
import { holdReauth, useReauth, useSession } from '../src/react.ts'
import { room } from './core/support.ts'

const resolveDir = fileURLToPath(new URL('..', import.meta.url))

/** What a user bundles, and the packages that it imports. */
async function bundle(contents: string): Promise<{ code: Uint8Array; imports: string[] }> {
  const { outputFiles, metafile } = await build({
    stdin: { contents, resolveDir },
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    write: false,
    metafile: true,
    external: ['react'],
    logLevel: 'error',
  })
  const imports = Object.values(metafile.outputs).flatMap((output) => output.imports.map(({ path }) => path))
  return { code: outputFiles[0]?.contents ?? new Uint8Array(), imports: [...new Set(imports)] }
}

test('the hooks add less than a kilobyte, and React is imported by them alone', async () => {
  const hooks = await bundle("export * from 'stayfresh/react'")
  expect(hooks.imports).toEqual(['react'])
  expect(gzipSync(hooks.code, { level: 9 }).length).toBeLessThan(1_000)
  const main = await bundle("export * from 'stayfresh'")
  expect(main.imports).toEqual([])
})

test('a framework with server components is told that the hooks are for the client', async () => {
  expect(await readFile(new URL('../dist/react.js', import.meta.url), 'utf8')).toMatch(/^'use client';\n/)
})

test('on a server nobody is signed in or asked, whoever the process knows, and no request waits', async () => {
  const { auth, signInStale } = room()
  await signInStale()
  function Page(): ReactNode {
    return h('p', null, String(useSession(auth)), ' ', String(useReauth(auth)))
  }
  expect(renderToString(h(Page))).toBe('<p>undefined<!-- --> <!-- -->null</p>')
  holdReauth(auth)
  expect((await auth.fetch('fresh')).status).toBe(401)
})
