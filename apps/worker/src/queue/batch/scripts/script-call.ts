import type { RedisConnection } from '@onqueue/shared/redis';

/** A script of ours: KEYS 1 names the partition's node, everything else is in ARGV. */
export type ScriptCall = (key: string, ...args: readonly (string | number)[]) => Promise<unknown>;

/** Loads a script under a name; a connection has each name once. */
export function bindScript(redis: RedisConnection, name: string, lua: string): ScriptCall {
  redis.defineCommand(name, { lua, numberOfKeys: 1 });
  const command = (redis as unknown as Record<string, ScriptCall | undefined>)[name];
  if (!command) throw new Error(`ioredis did not define ${name}. This is a bug.`);
  return command.bind(redis);
}
