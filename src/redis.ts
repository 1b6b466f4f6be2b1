/**
 * Sessions that many machines share.
 *
 * @module stayfresh/redis
 */
export { type RedisClient, type RedisStoreOptions, redisStore } from './stores/redis.ts'
