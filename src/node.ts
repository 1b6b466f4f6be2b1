/** The entry `stayfresh/node`: sessions that the processes of one machine share. */
export { fileStore } from './stores/file.ts'
