/**
 * Encryption at rest, for any store.
 *
 * @module stayfresh/encrypted
 */
export { type EncryptedOptions, type EncryptionKey, encrypted } from './stores/encrypted.ts'
