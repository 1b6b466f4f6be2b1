/** The entry `stayfresh/browser`: sessions that outlive a page. Safe to import anywhere: on a server both are empty. */
export { type BrowserStoreOptions, browserStore } from './stores/browser.ts'
export { type TabStoreOptions, tabStore } from './stores/tab.ts'
