/**
 * Sessions that the processes of one machine share.
 *
 * @module stayfresh/node
 */
export { fileStore } from './stores/file.ts'
