import { type CircuitState, circuitState, fleetCircuit } from '../circuit-state.ts';
import { type ModelDescriptor, modelDescriptor } from '../model-descriptor.ts';
import type { ModelRegistry, PublishedModel, VersionBeat } from '../ports.ts';
import type { RedisConnection } from './connection.ts';
import type { RedisKeys } from './keys.ts';
import { translateStoreError } from './store-error.ts';

/**
 * KEYS 1 ready, 2 circuits. ARGV 1 ttl ms, 2 worker, then per version `<name>/<version>`, '1' when it is ready, the state of its
 * circuit, and ms until that tries the model again. Times are Redis': a worker's clock may be wrong.
 *
 * The ready set stands apart from the circuits since processes of the previous version read it.
 */
const BEAT_LUA = `
local time = redis.call('TIME')
local now = math.floor(time[1] * 1000 + time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local mine = '@' .. ARGV[2]
for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if string.sub(member, -#mine) == mine then redis.call('ZREM', KEYS[1], member) end
end
local circuits = redis.call('HGETALL', KEYS[2])
for i = 1, #circuits, 2 do
  local isOver = tonumber(string.match(circuits[i + 1], '%d+$')) <= now
  if isOver or string.sub(circuits[i], -#mine) == mine then redis.call('HDEL', KEYS[2], circuits[i]) end
end
for i = 3, #ARGV, 4 do
  if ARGV[i + 1] == '1' then redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[i] .. mine) end
  redis.call('HSET', KEYS[2], ARGV[i] .. mine,
    string.format('%s %.0f %.0f', ARGV[i + 2], now + ARGV[i + 3], now + ARGV[1]))
end
`;

/** KEYS 1 models, 2 ready, 3 circuits. Returns {descriptors, members that are ready now, circuits, now ms}. */
const LIST_LUA = `
local time = redis.call('TIME')
local now = math.floor(time[1] * 1000 + time[2] / 1000)
return {redis.call('HVALS', KEYS[1]), redis.call('ZRANGEBYSCORE', KEYS[2], now, '+inf'), redis.call('HGETALL', KEYS[3]), now}
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

  async beat(worker: string, versions: readonly VersionBeat[], ttlMs: number): Promise<void> {
    const states = versions.flatMap(({ isReady, circuit, retryAfterMs, ...version }) => [
      memberOf(version),
      isReady ? '1' : '0',
      circuit,
      Math.ceil(retryAfterMs),
    ]);
    const { ready, circuits } = this.#keys;
    await this.#guard(() => this.#redis.eval(BEAT_LUA, 2, ready, circuits, ttlMs, worker, ...states));
  }

  async list(): Promise<PublishedModel[]> {
    const { models, ready, circuits } = this.#keys;
    const [descriptors, members, states, nowMs] = (await this.#guard(() =>
      this.#redis.eval(LIST_LUA, 3, models, ready, circuits),
    )) as [string[], string[], string[], number];
    const readyWorkers = groupByVersion(members.map((member) => [member, member]));
    const circuitsOf = groupByVersion(parseCircuits(states, nowMs));
    return descriptors.flatMap((text) => {
      const descriptor = modelDescriptor.safeParse(JSON.parse(text));
      if (!descriptor.success) {
        this.#onUnreadable(text);
        return [];
      }
      const version = memberOf(descriptor.data);
      return [
        {
          descriptor: descriptor.data,
          readyWorkers: readyWorkers.get(version)?.length ?? 0,
          circuit: fleetCircuit(circuitsOf.get(version) ?? []),
        },
      ];
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

/** By `<name>/<version>`, of what members `<name>/<version>@<worker>` have. */
function groupByVersion<T>(entries: readonly (readonly [member: string, value: T])[]): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const [member, value] of entries) {
    const version = member.slice(0, member.lastIndexOf('@'));
    const group = groups.get(version);
    if (group) group.push(value);
    else groups.set(version, [value]);
  }
  return groups;
}

/** Those that are still true, and that this version understands. */
function parseCircuits(hash: readonly string[], nowMs: number) {
  return hash.flatMap((member, index): [string, { state: CircuitState; retryAfterMs: number }][] => {
    if (index % 2 === 1) return [];
    const [text, retryAtMs, endsAtMs] = (hash[index + 1] ?? '').split(' ');
    const state = circuitState.safeParse(text);
    if (!state.success || !(Number(endsAtMs) > nowMs)) return [];
    return [[member, { state: state.data, retryAfterMs: Math.max(0, Number(retryAtMs) - nowMs) }]];
  });
}
