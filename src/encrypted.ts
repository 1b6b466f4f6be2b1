/** The entry `stayfresh/encrypted`: encryption at rest, for any store. */
export { type EncryptedOptions, type EncryptionKey, encrypted } from './stores/encrypted.ts'
