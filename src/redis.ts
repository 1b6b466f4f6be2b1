/** The entry `stayfresh/redis`: sessions that many machines share. */
export { type RedisClient, type RedisStoreOptions, redisStore } from './stores/redis.ts'
