/**
 * Sessions that outlive a page. Safe to import anywhere: on a server both stores are empty and read-only.
 *
 * @module stayfresh/browser
 */
export { type BrowserStoreOptions, browserStore } from './stores/browser.ts'
export { type TabStoreOptions, tabStore } from './stores/tab.ts'
