/**
 * `npm run size`, in `npm test`: bytes of each entry, minified and gzipped, against its limit. esbuild is there anyway;
 * size-limit would do the same with a dozen more packages.
 */
import { builtinModules } from 'node:module'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'

/** What the main entry was meant to weigh; why it does not is in docs/decisions/0004-size.md. */
export const GOAL = 5_000

// What was reached, in bytes min+gzip; each grows only with a reason (docs/decisions/0004-size.md).
const LIMITS: Record<string, { contents: string; limit: number }> = {
  stayfresh: { contents: "export { createAuth, flaskJwt } from 'stayfresh'", limit: 22_290 },
  'stayfresh, browserStore': {
    contents:
      "export { createAuth, flaskJwt } from 'stayfresh'; export { browserStore } from 'stayfresh/browser'",
    limit: 25_520,
  },
  'stayfresh, all presets': { contents: "export * from 'stayfresh'", limit: 31_490 },
  'stayfresh/ky': { contents: "export * from 'stayfresh/ky'", limit: 1_050 },
  'stayfresh/browser': { contents: "export * from 'stayfresh/browser'", limit: 5_070 },
  'stayfresh/encrypted': { contents: "export * from 'stayfresh/encrypted'", limit: 2_630 },
  'stayfresh/node': { contents: "export * from 'stayfresh/node'", limit: 3_460 },
  'stayfresh/react': { contents: "export * from 'stayfresh/react'", limit: 950 },
  'stayfresh/devtools': { contents: "export * from 'stayfresh/devtools'", limit: 12_700 },
  'stayfresh/redis': { contents: "export * from 'stayfresh/redis'", limit: 5_430 },
  'stayfresh/testing': { contents: "export * from 'stayfresh/testing'", limit: 15_500 },
}

export interface Bytes {
  min: number
  gzip: number
}

/** What a browser would load for it. `external`: what is not counted. */
export async function bytesOf(contents: string, external: string[] = []): Promise<Bytes> {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: new URL('..', import.meta.url).pathname },
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    write: false,
    external: [...builtinModules, ...external],
    logLevel: 'error',
  })
  const code = outputFiles[0]?.contents ?? new Uint8Array()
  return { min: code.length, gzip: gzipSync(code, { level: 9 }).length }
}

export async function entries(): Promise<({ title: string; limit: number } & Bytes)[]> {
  const external = ['ky', 'redis', 'ioredis', 'hono', 'jose', 'msw', 'react']
  const weigh = async ([title, { contents, limit }]: [string, (typeof LIMITS)[string]]) => ({
    title,
    limit,
    ...(await bytesOf(contents, external)),
  })
  return Promise.all(Object.entries(LIMITS).map(weigh))
}

if (import.meta.main) {
  for (const { title, min, gzip, limit } of await entries()) {
    const line = `size: ${title.padEnd(24)} ${min} B min, ${gzip} B min+gzip (limit ${limit})`
    console.log(gzip > limit ? `${line}: too large` : line)
    if (gzip > limit) process.exitCode = 1
  }
}
