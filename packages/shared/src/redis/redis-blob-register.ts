import type { BlobKey, BlobRegister } from '../blob-store.ts';
import type { RedisConnection } from './connection.ts';
import type { RedisKeys } from './keys.ts';
import { withStoreErrors } from './store-error.ts';

/** A blob whose record has not ended is looked at again so much later. */
const PUT_OFF_MS = 86_400_000;

/**
 * KEYS 1 register. ARGV 1 prefix, 2 limit. Returns the members whose time has come, up to the limit. One that belongs to a job that has not ended is
 * put off in place: the scripts that end it say when its blobs go.
 */
const DUE_LUA = `
local time = redis.call('TIME')
local now = math.floor(time[1] * 1000 + time[2] / 1000)
local due = {}
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[2])) do
  local tenant, job = string.match(member, '^(%S+) (job_[^.]+)')
  local state = job and redis.call('HGET', ARGV[1] .. 'job:' .. tenant .. ':' .. job, 'state')
  if state == 'queued' or state == 'running' then
    redis.call('ZADD', KEYS[1], now + ${PUT_OFF_MS}, member)
  else
    due[#due + 1] = member
  end
end
return due
`;

/** KEYS 1 register. ARGV members. */
const FORGET_LUA = `
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
for _, member in ipairs(ARGV) do
  local at = redis.call('ZSCORE', KEYS[1], member)
  if at and tonumber(at) <= now then redis.call('ZREM', KEYS[1], member) end
end
`;

/** KEYS 1 register. ARGV 1 member, 2 ttl ms. Never sooner than it stands there: a record may have it by now. */
const INTEND_LUA = `
local time = redis.call('TIME')
return redis.call('ZADD', KEYS[1], 'GT', math.floor(time[1] * 1000 + time[2] / 1000) + ARGV[2], ARGV[1])
`;

/** A sorted set per partition: `<tenant> <name>` by when the blob goes. */
export class RedisBlobRegister implements BlobRegister {
  readonly #redis: Connection;
  readonly #keys: RedisKeys;

  constructor({ redis, keys }: { redis: RedisConnection; keys: RedisKeys }) {
    redis.defineCommand('onqueueBlobsDue', { lua: DUE_LUA, numberOfKeys: 1 });
    redis.defineCommand('onqueueForgetBlobs', { lua: FORGET_LUA, numberOfKeys: 1 });
    redis.defineCommand('onqueueIntendBlob', { lua: INTEND_LUA, numberOfKeys: 1 });
    this.#redis = redis as Connection;
    this.#keys = keys;
  }

  async intend(partition: number, key: BlobKey, ttlMs: number): Promise<void> {
    await withStoreErrors(() => this.#redis.onqueueIntendBlob(this.#keys.blobs(partition), memberOf(key), ttlMs));
  }

  async due(partition: number, limit: number): Promise<BlobKey[]> {
    const prefix = this.#keys.partition(partition);
    const members = await withStoreErrors(() =>
      this.#redis.onqueueBlobsDue(this.#keys.blobs(partition), prefix, limit),
    );
    return (members as string[]).map(toKey);
  }

  async forget(partition: number, keys: readonly BlobKey[]): Promise<void> {
    if (keys.length === 0) return;
    await withStoreErrors(() => this.#redis.onqueueForgetBlobs(this.#keys.blobs(partition), ...keys.map(memberOf)));
  }

  async release(partition: number, key: BlobKey): Promise<void> {
    await withStoreErrors(() => this.#redis.zadd(this.#keys.blobs(partition), 'XX', 0, memberOf(key)));
  }
}

type CommandName = 'onqueueBlobsDue' | 'onqueueForgetBlobs' | 'onqueueIntendBlob';
type Connection = RedisConnection & Record<CommandName, Command>;
type Command = (...args: (string | number)[]) => Promise<unknown>;

function memberOf({ tenant, name }: BlobKey): string {
  return `${tenant} ${name}`;
}

function toKey(member: string): BlobKey {
  const blank = member.indexOf(' ');
  return { tenant: member.slice(0, blank), name: member.slice(blank + 1) };
}
