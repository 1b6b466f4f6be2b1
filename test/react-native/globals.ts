/**
 * React Native's globals in place of Node's, of the packages that it ships: whatwg-fetch over XMLHttpRequest (jsdom's here)
 * and abort-controller, whose signals keep no reason. To be imported before all else, in a process of its own.
 */
import { createRequire } from 'node:module'

/** As React Native has it: a list of parts, with no tag and nothing to iterate. */
class FormData {
  readonly parts: [string, unknown][] = []
  append(name: string, value: unknown): void {
    this.parts.push([name, value])
  }
}

const load = createRequire(import.meta.url)
const { JSDOM } = load('jsdom')
const { XMLHttpRequest, FileReader, Blob } = new JSDOM('', { url: process.argv[2] }).window
for (const name of [
  ...[
    'AbortController',
    'AbortSignal',
    'BroadcastChannel',
    'DOMException',
    'File',
    'Headers',
    'ReadableStream',
  ],
  ...['Request', 'Response', 'TextDecoder', 'fetch', 'structuredClone'],
]) {
  Reflect.deleteProperty(globalThis, name)
}
Object.assign(globalThis, { XMLHttpRequest, FileReader, Blob, FormData })
const { AbortController, AbortSignal } = load('abort-controller')
Object.assign(globalThis, { AbortController, AbortSignal })
load('whatwg-fetch')
