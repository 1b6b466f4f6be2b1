/** What runs in the page of `kit.test.ts`: the test kit and the devtools, as a user's test in a browser imports them. */
import { setupWorker } from 'msw/browser'
import { createAuth, flaskJwt } from 'stayfresh'
import { attachDevtools } from 'stayfresh/devtools'
import { createBackend, fakeTokens } from 'stayfresh/testing'
import { handlers } from 'stayfresh/testing/msw'

const all = { attachDevtools, createAuth, createBackend, fakeTokens, flaskJwt, handlers, setupWorker }

declare global {
  var kit: typeof all
}
globalThis.kit = all
