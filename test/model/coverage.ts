/** What enough random programs must have gone through: what never occurred was never tested. */

const EXPECTED = [
  ...[
    'get',
    'post',
    'fresh',
    'slow',
    'foreign',
    'burst',
    'login',
    'flow',
    'reauthenticate',
    'logout',
    'setTokens',
  ],
  ...[
    'refresh',
    'getAccessToken',
    'expire early',
    'revoke',
    'fault',
    'fault elsewhere',
    'jump',
    'freeze',
    'thaw',
  ],
  ...['die', 'trap', 'store fault', 'data lost', 'listen', 'dispose', 'time', 'calm'],
]
  .map((op) => `op ${op}`)
  .concat(
    [
      '503',
      '429',
      '500',
      '403',
      '302',
      'drop',
      'drop-after',
      'hang',
      'hang-after',
      'not-json',
      'stall-body',
    ].map((fault) => `fault refresh ${fault}`),
    ['login', 'logout', 'protected'].flatMap((route) =>
      ['drop', 'drop-after', '500'].map((fault) => `fault ${route} ${fault}`),
    ),
    ['fail', 'fail-after', 'hang', 'hang-after'].map((fault) => `store ${fault}`),
    ['read', 'claimed', 'sent', 'stored'].flatMap((at) => [`trap ${at}`, `trap ${at}, death`]),
    ['throws', 'hangs', 'rejects', 'calls', 'refreshes', 'logs out'].map((kind) => `listener ${kind}`),
    ['nobody', 'dismisses', 'proves', 'proves as another', 'signs in anew', 'never answers'].map(
      (manner) => `user ${manner}`,
    ),
    ['none', 'text', 'bytes', 'form', 'params', 'blob', 'request'].map(
      (kind) => `flow: ${kind} body replayed`,
    ),
    [1, 2, 3].map((times) => `flow: sent ${times} times`),
    ['login', 'set_tokens'].map((reason) => `event loggedIn ${reason}`),
    ['ahead', 'expired', 'rejected', 'requested', 'reauthenticated'].map(
      (reason) => `event tokenRefreshed ${reason}`,
    ),
    ['network', 'timeout', 'status', 'bad_answer', 'refresh_limit', 'busy', 'store'].map(
      (reason) => `event refreshFailed ${reason}`,
    ),
    ['fresh_token_required', 'session_expired', 'token_revoked'].map(
      (reason) => `event reauthRequired ${reason}`,
    ),
    ['logout', 'session_expired', 'token_revoked', 'replaced', 'storage_cleared'].map(
      (reason) => `event loggedOut ${reason}`,
    ),
    ['read', 'commit'].map((reason) => `event storeUnavailable ${reason}`),
    ['refresh_unavailable', 'session_changed', 'not_signed_in'].map((code) => `error ${code}`),
    ['login done', 'login login_refused', 'login session_changed', 'reauthenticate done'],
    ['reauthenticate subject_mismatch', 'reauthenticate not_signed_in', 'logout done'],
    ['flow: waited before it was sent', 'flow: late 401, replayed with the token in hand'],
    [
      'flow: another context refreshed for it',
      'refresh granted',
      'refresh refused',
      'aborted',
      'context died',
    ],
    ['reuse detected after an unknown outcome'],
  )

// With cookies nobody has a token in his hands.
const COOKIES = EXPECTED.filter((what) => !/set_?tokens/i.test(what)).concat(
  ['outside', 'ready'].map((op) => `op ${op}`),
  ['cleared', 'access cleared', 'values cleared', 'refreshed', 'login'].map((what) => `outside ${what}`),
  ['login', 'logout', 'whoami'].flatMap((route) =>
    ['drop', 'drop-after', '500', 'hang', 'hang-after', 'not-json', 'stall-body'].map(
      (fault) => `fault ${route} ${fault}`,
    ),
  ),
  ['event loggedIn initial', 'login login_unavailable', 'login login_incomplete'],
  ['protected', 'refresh', 'logout'].map((route) => `cookies: ${route} turned down for its value`),
  ['call', 'refresh', 'login'].map((what) => `cookies: ${what} answered after a logout`),
  [
    'taken for who had gone',
    'cancelled',
    'replaced by the server itself',
    'replayed under another value',
  ].map((what) => `cookies: ${what}`),
)

// There is no cookie of an access token, and nobody is asked whose one is.
const HYBRID = COOKIES.filter(
  (what) => !/whoami|access cleared|protected turned|call answered|by the server|another value/.test(what),
)

/** What never occurred. */
export function missing(
  covered: ReadonlyMap<string, number>,
  mode: 'headers' | 'cookies' | 'hybrid',
): string[] {
  const expected = { headers: EXPECTED, cookies: COOKIES, hybrid: HYBRID }[mode]
  return expected.filter((what) => !covered.has(what))
}
