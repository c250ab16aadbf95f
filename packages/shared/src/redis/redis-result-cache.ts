import type { CachedModel, CachedOutput, KeptAnswer, ResultCache } from '../ports.ts';
import { sourceId } from '../result-reuse.ts';
import type { RedisConnection } from './connection.ts';
import type { RedisKeys } from './keys.ts';
import { storedOrigin } from './origins.ts';

/** What another source answered is nobody's answer any more. KEYS 1 outputs, 2 ages; 'source' as a local. */
const OPEN_LUA = `
if source ~= '' and redis.call('HGET', KEYS[1], '#') ~= source then
  redis.call('DEL', KEYS[1], KEYS[2])
  redis.call('HSET', KEYS[1], '#', source)
end
`;

/**
 * KEYS 1 outputs, 2 ages, 3 origins. ARGV 1 how many are kept, 2 for how many ms, 3 their source or '', 4 how many origins, then the id and JSON
 * of each; then per answer its key, for how many ms it is given again or '', what made it, and the answer (scripts/cached-rows.ts).
 *
 * What is too many goes, oldest first; what is too old goes with the next write, or with everything when nobody writes.
 */
const WRITE_LUA = `
local time = redis.call('TIME')
local now = math.floor(time[1] * 1000 + time[2] / 1000)
local source = ARGV[3]
${OPEN_LUA}
local first = 5 + ARGV[4] * 2
for i = 5, first - 1, 2 do redis.call('HSETNX', KEYS[3], ARGV[i], ARGV[i + 1]) end
for i = first, #ARGV, 4 do
  local head = string.format('%.0f', now)
  if ARGV[i + 1] ~= '' then head = head .. ';' .. string.format('%.0f', now + ARGV[i + 1]) .. ';' .. ARGV[i + 2] end
  redis.call('HSET', KEYS[1], ARGV[i], head .. ' ' .. ARGV[i + 3])
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

  async open(model: CachedModel, source: string): Promise<void> {
    const lua = `local source = ARGV[1]\n${OPEN_LUA}`;
    await this.#options.redis.eval(lua, 2, ...this.#keysOf(model), sourceId(source));
  }

  async write(
    model: CachedModel,
    answers: readonly KeptAnswer[],
    { maxRows, maxAgeMs, source }: { maxRows: number; maxAgeMs: number; source?: string | undefined },
  ): Promise<void> {
    const { redis, keys, partitionOf } = this.#options;
    const origins = new Map<string, string>();
    const entries = answers.flatMap((answer) => {
      if (!answer.reuse) return [answer.key, '', '', json(answer)];
      const { ttlMs, origin, batch } = answer.reuse;
      const stored = storedOrigin(origin);
      origins.set(stored.id, stored.json);
      const maker = 'error' in answer ? '!' : stored.id;
      return [answer.key, Math.round(ttlMs), `${maker};${batch.batch_size};${batch.worker}`, json(answer)];
    });
    await redis.eval(
      WRITE_LUA,
      3,
      ...this.#keysOf(model),
      keys.origins(partitionOf(model.name)),
      maxRows,
      maxAgeMs,
      source === undefined ? '' : sourceId(source),
      origins.size,
      ...[...origins].flat(),
      ...entries,
    );
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
      const [writtenMs, , maker] = text.slice(0, blank).split(';');
      const ageMs = Math.max(0, nowMs - Number(writtenMs));
      return ageMs > maxAgeMs || maker === '!' ? undefined : { ageMs, output: JSON.parse(text.slice(blank + 1)) };
    });
  }

  #keysOf({ name, version }: CachedModel): [outputs: string, ages: string] {
    const { keys, partitionOf } = this.#options;
    return keys.cachedResults(partitionOf(name), name, version);
  }
}

function json(answer: KeptAnswer): string {
  return JSON.stringify('error' in answer ? answer.error : answer.output);
}
