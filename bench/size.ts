/** Bytes of what a user bundles, minified and gzipped: `import { createAuth, flaskJwt } from 'stayfresh'`. */
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'

// What was reached; it grows only with a reason (docs/decisions/0004-size.md).
const LIMIT = 16_600

const { outputFiles } = await build({
  stdin: {
    contents: "export { createAuth, flaskJwt } from './dist/index.js'",
    resolveDir: new URL('..', import.meta.url).pathname,
  },
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  write: false,
})
const code = outputFiles[0]?.contents ?? new Uint8Array()
const bytes = gzipSync(code, { level: 9 }).length
console.log(
  `size: createAuth + flaskJwt + memoryStore + jwt-decode: ${code.length} B min, ${bytes} B min+gzip (limit ${LIMIT})`,
)
if (bytes > LIMIT) process.exitCode = 1
