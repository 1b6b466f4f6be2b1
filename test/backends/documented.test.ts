/** The configurations in docs/backends.md are those that the recorded answers are read with: word for word. */
import { readFileSync } from 'node:fs'
import { runInNewContext } from 'node:vm'
import { transformSync } from 'esbuild'
import { describe, expect, test } from 'vitest'
import { type Backend, bearer, createAuth, flaskJwt } from '../../src/index.ts'
import { createBackend, fakeTokens } from '../../src/testing/index.ts'
import { contract } from './contract.ts'
import { tables } from './recorded.ts'

const page = readFileSync(new URL('../../docs/backends.md', import.meta.url), 'utf8')
const headings: Record<string, string> = {
  'ASP.NET MapIdentityApi': 'ASP.NET Core Identity',
  'tymon/jwt-auth': 'Laravel',
  Directus: 'Directus',
  Strapi: 'Strapi 5',
  'Supabase Auth': 'Supabase Auth',
}

describe('docs/backends.md', () => {
  for (const [name, heading] of Object.entries(headings)) {
    const table = tables.find(({ backend }) => backend.name === name)
    const [, section = ''] = page.split(`\n### ${heading}`)
    const [, code = ''] = /```ts\n(.*?)```/s.exec(section) ?? []
    if (!table) throw new Error(`No recorded answers for ${name}`)
    const { code: plain } = transformSync(`found = ${code}`, { loader: 'ts' })
    const scope = { bearer, apikey: 'public-anon-key', found: undefined as never }
    runInNewContext(plain, scope)
    contract({
      ...table,
      backend: { ...(scope.found as Backend<never, never>), name: `${heading}, as documented` },
    })
  }

  test.each([
    ['flaskJwt()', /```ts\n(const flask = .*?)```/s, 'overGraphql', { message: 'Token has expired' }],
    ['bearer()', /`(\{ \.\.\.bearer\([^`]*)`/, '', { extensions: { code: 'UNAUTHENTICATED' } }],
  ])('GraphQL’s errors that come with a 200 are refreshed over %s', async (_, block, name, error) => {
    const [, code = ''] = block.exec(page) ?? []
    const { code: plain } = transformSync(name ? `${code}\nfound = ${name}` : `found = ${code}`, {
      loader: 'ts',
    })
    const scope = { bearer, flaskJwt, found: undefined as never }
    runInNewContext(plain, scope)
    const { accessToken, refreshToken } = fakeTokens()
    const server = createBackend({ api: { 'POST graphql': ({ sub }) => ({ data: { me: sub } }) } })
    const old = `Bearer ${accessToken}`
    const auth = createAuth({
      baseUrl: 'https://api.test/',
      backend: scope.found as ReturnType<typeof flaskJwt>,
      initial: { accessToken, refreshToken },
      fetch: async (input, init) => {
        const request = new Request(input, init)
        if (request.url.endsWith('/refresh')) return Response.json({ access_token: fakeTokens().accessToken })
        if (request.headers.get('authorization') !== old) return server.fetch(request)
        return Response.json({ errors: [error], data: { me: null } })
      },
    })
    const response = await auth.fetch('graphql', { method: 'POST', body: '{"query":"{ me }"}' })
    expect([await response.json(), auth.session?.version]).toEqual([{ data: { me: 'alice' } }, 2])
  })

  test('has a section for each preset and each configuration', () => {
    for (const heading of ['`flaskJwt()`', '`simpleJwt()`', '`djRestAuth()`', '`oauth2()`', '`bearer()`']) {
      expect(page).toContain(`\n## ${heading}\n`)
    }
    for (const heading of Object.values(headings)) expect(page).toContain(`\n### ${heading}`)
  })
})
