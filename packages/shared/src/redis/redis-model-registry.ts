import { type ModelDescriptor, modelDescriptor } from '../model-descriptor.ts';
import type { ModelRegistry, PublishedModel } from '../ports.ts';
import type { RedisConnection } from './connection.ts';
import type { RedisKeys } from './keys.ts';
import { translateStoreError } from './store-error.ts';

/** KEYS 1 ready. ARGV 1 ttl ms, 2 worker, 3… `<name>/<version>`. Times are Redis': a worker's clock may be wrong. */
const BEAT_LUA = `
local time = redis.call('TIME')
local now = math.floor(time[1] * 1000 + time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local mine = '@' .. ARGV[2]
for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if string.sub(member, -#mine) == mine then redis.call('ZREM', KEYS[1], member) end
end
for i = 3, #ARGV do redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[i] .. mine) end
`;

/** KEYS 1 models, 2 ready. Returns {descriptors, members that are ready now}. */
const LIST_LUA = `
local time = redis.call('TIME')
local now = math.floor(time[1] * 1000 + time[2] / 1000)
return {redis.call('HVALS', KEYS[1]), redis.call('ZRANGEBYSCORE', KEYS[2], now, '+inf')}
`;

export interface RedisModelRegistryOptions {
  redis: RedisConnection;
  keys: RedisKeys;
  /** A descriptor that this version does not understand, most likely from a newer worker; it is left out. */
  onUnreadable?: (text: string) => void;
}

/** Descriptors stay when their workers go; readiness is a lease that workers renew. */
export class RedisModelRegistry implements ModelRegistry {
  readonly #redis: RedisConnection;
  readonly #keys: RedisKeys;
  readonly #onUnreadable: (text: string) => void;

  constructor({ redis, keys, onUnreadable = () => {} }: RedisModelRegistryOptions) {
    this.#redis = redis;
    this.#keys = keys;
    this.#onUnreadable = onUnreadable;
  }

  async publish(descriptor: ModelDescriptor): Promise<void> {
    await this.#guard(() => this.#redis.hset(this.#keys.models, memberOf(descriptor), JSON.stringify(descriptor)));
  }

  async beat(worker: string, versions: readonly { name: string; version: string }[], ttlMs: number): Promise<void> {
    const members = versions.map(memberOf);
    await this.#guard(() => this.#redis.eval(BEAT_LUA, 1, this.#keys.ready, ttlMs, worker, ...members));
  }

  async list(): Promise<PublishedModel[]> {
    const [descriptors, ready] = (await this.#guard(() =>
      this.#redis.eval(LIST_LUA, 2, this.#keys.models, this.#keys.ready),
    )) as [string[], string[]];
    const workers = new Map<string, number>();
    for (const member of ready) {
      const version = member.slice(0, member.lastIndexOf('@'));
      workers.set(version, (workers.get(version) ?? 0) + 1);
    }
    return descriptors.flatMap((text) => {
      const descriptor = modelDescriptor.safeParse(JSON.parse(text));
      if (!descriptor.success) {
        this.#onUnreadable(text);
        return [];
      }
      return [{ descriptor: descriptor.data, readyWorkers: workers.get(memberOf(descriptor.data)) ?? 0 }];
    });
  }

  async #guard<T>(command: () => Promise<T>): Promise<T> {
    try {
      return await command();
    } catch (error) {
      throw translateStoreError(error);
    }
  }
}

function memberOf({ name, version }: { name: string; version: string }): string {
  return `${name}/${version}`;
}
