/** examples/oauth-popup.ts: the popup and the authorization server are ours, what goes between them is not. */
import { createHash } from 'node:crypto'
import { createAuth, oauth2 } from 'stayfresh'
import { createBackend, fakeTokens } from 'stayfresh/testing'
import { expect, onTestFinished, test, vi } from 'vitest'
import { authorize, finish } from '../../examples/oauth-popup.ts'
import { rejection } from '../support.ts'

const client = {
  authorizationEndpoint: 'https://id.test/authorize?tenant=1',
  clientId: 'web',
  redirectUri: 'https://app.test/callback',
}

/** A browser whose popups are led where `grant` says, with the parameters that they were opened with. */
function setUp(grant: (asked: URLSearchParams) => Record<string, string> | undefined) {
  const challenges = new Map<string, string>()
  const popups: { asked?: URLSearchParams; close: ReturnType<typeof vi.fn> }[] = []
  vi.stubGlobal('open', () => {
    const popup: (typeof popups)[number] = { close: vi.fn() }
    popups.push(popup)
    return Object.assign(popup, {
      location: {
        set href(href: string) {
          const asked = new URL(href).searchParams
          popup.asked = asked
          challenges.set('the-code', `${asked.get('code_challenge')}`)
          const answer = grant(asked)
          if (!answer) return
          vi.stubGlobal('location', { search: `?${new URLSearchParams(answer)}` })
          finish()
        },
      },
    })
  })
  const backend = createBackend({ dialect: 'oauth2', api: { 'GET items': ({ sub }) => [sub] } })
  const auth = createAuth({
    baseUrl: 'https://api.test/',
    backend: oauth2({ tokenEndpoint: 'token', clientId: client.clientId }),
    fetch: async (input, init) => {
      const request = new Request(input, init)
      if (!request.url.endsWith('/token')) return backend.fetch(request)
      const form = new URLSearchParams(await request.text())
      const proof = createHash('sha256')
        .update(`${form.get('code_verifier')}`)
        .digest('base64url')
      const good =
        challenges.get(`${form.get('code')}`) === proof && form.get('redirect_uri') === client.redirectUri
      if (!good) return Response.json({ error: 'invalid_grant' }, { status: 400 })
      const { accessToken, refreshToken } = fakeTokens()
      return Response.json({
        access_token: accessToken,
        refresh_token: refreshToken,
        token_type: 'Bearer',
      })
    },
  })
  onTestFinished(() => void auth.dispose())
  return { auth, popups }
}

const granted = (asked: URLSearchParams) => ({ code: 'the-code', state: `${asked.get('state')}` })

test('signs in by the code that comes back to the popup, which is closed', async () => {
  const { auth, popups } = setUp(granted)
  await auth.login(await authorize({ ...client, scope: 'openid items' }))
  expect(await (await auth.fetch('items')).json()).toEqual(['alice'])
  expect(popups.map(({ close }) => close.mock.calls.length)).toEqual([1])
  expect(Object.fromEntries(popups[0]?.asked ?? [])).toMatchObject({
    tenant: '1',
    response_type: 'code',
    client_id: 'web',
    redirect_uri: 'https://app.test/callback',
    scope: 'openid items',
    code_challenge: expect.stringMatching(/^[\w-]{43}$/),
    code_challenge_method: 'S256',
  })
})

test('re-authenticates by the same popup, with what the server asks for', async () => {
  const { auth, popups } = setUp(granted)
  const { id } = await auth.login(await authorize(client))
  const parameters = { prompt: 'login', acr_values: 'gold', max_age: undefined }
  const session = await authorize({ ...client, parameters }).then(auth.reauthenticate)
  expect([session.id, session.version]).toEqual([id, 2])
  const asked = popups.map(({ asked }) => asked)
  expect([asked[1]?.get('acr_values'), asked[1]?.has('max_age')]).toEqual(['gold', false])
  // Each request has its own.
  for (const one of ['state', 'code_challenge']) {
    expect(new Set(asked.map((popup) => popup?.get(one))).size).toBe(2)
  }
})

test('a server’s refusal is told in its own words', async () => {
  const { popups } = setUp((asked) => ({
    error: 'access_denied',
    error_description: 'Not today',
    state: `${asked.get('state')}`,
  }))
  expect(await rejection(authorize(client))).toMatchObject({ message: 'Not today' })
  expect(popups[0]?.close).toHaveBeenCalledOnce()
})

test('an answer with another state is none', async () => {
  const answers = [{ code: 'stolen', state: 'another' }]
  setUp(() => answers[0])
  const gone = new AbortController()
  const waiting = rejection(authorize({ ...client, signal: gone.signal }))
  await new Promise((resolve) => setTimeout(resolve, 50))
  gone.abort()
  expect(await waiting).toMatchObject({ name: 'AbortError' })
})

test('is given up by its signal, and says so where the popup is blocked', async () => {
  const { popups } = setUp(() => undefined)
  expect(await rejection(authorize({ ...client, signal: AbortSignal.abort() }))).toMatchObject({
    name: 'AbortError',
  })
  expect(popups[0]?.close).toHaveBeenCalledOnce()
  // In the tick of the click.
  void rejection(authorize({ ...client, signal: AbortSignal.abort() }))
  expect(popups).toHaveLength(2)
  vi.stubGlobal('open', () => null)
  expect(await rejection(authorize(client))).toMatchObject({ message: 'The popup was blocked' })
})
