import type { CachedModel, CachedOutput, ResultCache } from '../ports.ts';
import type { RedisConnection } from './connection.ts';
import type { RedisKeys } from './keys.ts';

/**
 * KEYS 1 outputs, 2 ages. ARGV 1 how many are kept, 2 for how many ms, then key and output of each.
 *
 * What is too many goes, oldest first; what is too old goes with the next write, or with everything when nobody writes.
 */
const WRITE_LUA = `
local time = redis.call('TIME')
local now = math.floor(time[1] * 1000 + time[2] / 1000)
for i = 3, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], string.format('%.0f', now) .. ' ' .. ARGV[i + 1])
  redis.call('ZADD', KEYS[2], now, ARGV[i])
end
local function forget(keys)
  if #keys == 0 then return end
  redis.call('HDEL', KEYS[1], unpack(keys))
  redis.call('ZREM', KEYS[2], unpack(keys))
end
local excess = redis.call('ZCARD', KEYS[2]) - ARGV[1]
if excess > 0 then forget(redis.call('ZRANGE', KEYS[2], 0, math.min(excess, 1000) - 1)) end
forget(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[2], 'LIMIT', 0, 1000))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
`;

/** KEYS 1 outputs. ARGV the keys. Returns {now ms, what is kept under each}. */
const READ_LUA = `
local time = redis.call('TIME')
return {math.floor(time[1] * 1000 + time[2] / 1000), redis.call('HMGET', KEYS[1], unpack(ARGV))}
`;

export interface RedisResultCacheOptions {
  redis: RedisConnection;
  keys: RedisKeys;
  partitionOf: (model: string) => number;
}

/** Answers in a hash per version, with their ages in a sorted set beside it. */
export class RedisResultCache implements ResultCache {
  readonly #options: RedisResultCacheOptions;

  constructor(options: RedisResultCacheOptions) {
    this.#options = options;
  }

  async write(
    model: CachedModel,
    outputs: readonly { key: string; output: Record<string, unknown> }[],
    { maxRows, maxAgeMs }: { maxRows: number; maxAgeMs: number },
  ): Promise<void> {
    const { redis } = this.#options;
    const pairs = outputs.flatMap(({ key, output }) => [key, JSON.stringify(output)]);
    await redis.eval(WRITE_LUA, 2, ...this.#keysOf(model), maxRows, maxAgeMs, ...pairs);
  }

  async read(model: CachedModel, keys: readonly string[], maxAgeMs: number): Promise<(CachedOutput | undefined)[]> {
    if (keys.length === 0) return [];
    const [outputs] = this.#keysOf(model);
    const [nowMs, texts] = (await this.#options.redis.eval(READ_LUA, 1, outputs, ...keys)) as [
      number,
      (string | null)[],
    ];
    return texts.map((text) => {
      if (text === null) return undefined;
      const blank = text.indexOf(' ');
      const ageMs = Math.max(0, nowMs - Number(text.slice(0, blank)));
      return ageMs > maxAgeMs ? undefined : { ageMs, output: JSON.parse(text.slice(blank + 1)) };
    });
  }

  #keysOf({ name, version }: CachedModel): [outputs: string, ages: string] {
    const { keys, partitionOf } = this.#options;
    return keys.cachedResults(partitionOf(name), name, version);
  }
}
