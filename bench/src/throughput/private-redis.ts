import type { RedisServerOptions } from '@onqueue/launcher';

/**
 * The same for both sides: the platform's default durability. No rewrite of the append-only file, since its fork would
 * hit one side's round and not the other's.
 */
export const REDIS_OPTIONS: RedisServerOptions = {
  appendfsync: 'everysec',
  args: ['--auto-aof-rewrite-percentage', '0', '--save', ''],
};
