import {
  type FileIndex,
  type FileLimits,
  type FilePart,
  type FileRecord,
  fileRecord,
  storedFilePart,
} from '../file.ts';
import type { RedisConnection } from './connection.ts';
import type { RedisKeys } from './keys.ts';
import { withStoreErrors } from './store-error.ts';

/**
 * The files of a tenant: a sorted set of `<id> <bytes>` by when they go, which is short, so that it can be summed up.
 * `room(bytes, without)` says whether so many more have room; `without` does not count.
 */
const ROOM = `
local time = redis.call('TIME')
local now = math.floor(time[1] * 1000 + time[2] / 1000)
local function memberOf(id)
  for _, member in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
    if string.match(member, '^%S+') == id then return member end
  end
end
local function hasRoom(bytes, maxFiles, maxBytes, without)
  local files, sum = 0, 0
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. now, '+inf')) do
    if member ~= without then
      files = files + 1
      sum = sum + string.match(member, '%d+$')
    end
  end
  return files < tonumber(maxFiles) and sum + bytes <= tonumber(maxBytes)
end
local function enter(id, bytes, expires, without)
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
  if without then redis.call('ZREM', KEYS[2], without) end
  redis.call('ZADD', KEYS[2], expires, id .. ' ' .. bytes)
  local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')[2]
  redis.call('PEXPIREAT', KEYS[2], last)
end
`;

/** KEYS 1 file, 2 files. ARGV 1 id, 2 record, 3 bytes, 4 expires ms, 5 max files, 6 max bytes. */
const CREATE_LUA = `
${ROOM}
if not hasRoom(ARGV[3], ARGV[5], ARGV[6]) then return 0 end
redis.call('HSET', KEYS[1], 'record', ARGV[2])
redis.call('PEXPIREAT', KEYS[1], ARGV[4])
enter(ARGV[1], ARGV[3], ARGV[4])
return 1
`;

/** KEYS 1 file, 2 files. ARGV 1 id, 2 number, 3 part, 4 bytes, 5 max files, 6 max bytes. */
const PUT_PART_LUA = `
${ROOM}
local record = redis.call('HGET', KEYS[1], 'record')
if not record or cjson.decode(record).status ~= 'uploading' then return 0 end
local standing = redis.call('HGET', KEYS[1], 'part:' .. ARGV[2])
local member = memberOf(ARGV[1])
local bytes = (member and string.match(member, '%d+$') or 0) - (standing and cjson.decode(standing).bytes or 0) + ARGV[4]
if not hasRoom(bytes, ARGV[5], ARGV[6], member) then return 0 end
redis.call('HSET', KEYS[1], 'part:' .. ARGV[2], ARGV[3])
enter(ARGV[1], bytes, redis.call('PTTL', KEYS[1]) + now, member)
return 1
`;

/** KEYS 1 file, 2 files. ARGV 1 id, 2 record, 3 bytes, 4 expires ms; 'delete' in place of the record takes it away. */
const END_LUA = `
${ROOM}
local member = memberOf(ARGV[1])
if ARGV[2] == 'delete' then
  redis.call('DEL', KEYS[1])
  if member then redis.call('ZREM', KEYS[2], member) end
  return 1
end
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'record', ARGV[2])
redis.call('PEXPIREAT', KEYS[1], ARGV[4])
enter(ARGV[1], ARGV[3], ARGV[4], member)
return 1
`;

/** What is known of files, in the slot of their tenant. */
export class RedisFileIndex implements FileIndex {
  readonly #redis: Connection;
  readonly #keys: RedisKeys;

  constructor({ redis, keys }: { redis: RedisConnection; keys: RedisKeys }) {
    redis.defineCommand('onqueueCreateFile', { lua: CREATE_LUA, numberOfKeys: 2 });
    redis.defineCommand('onqueuePutFilePart', { lua: PUT_PART_LUA, numberOfKeys: 2 });
    redis.defineCommand('onqueueEndFile', { lua: END_LUA, numberOfKeys: 2 });
    this.#redis = redis as Connection;
    this.#keys = keys;
  }

  async read(tenant: string, id: string): Promise<FileRecord | null> {
    const text = await withStoreErrors(() => this.#redis.hget(this.#keys.file(tenant, id), 'record'));
    return text === null ? null : fileRecord.parse(JSON.parse(text));
  }

  async create(tenant: string, file: FileRecord, { maxFiles, maxFilesBytes }: FileLimits): Promise<boolean> {
    const { id, bytes = 0, expires_ms: expiresMs } = file;
    const record = JSON.stringify(file);
    return (
      (await withStoreErrors(() =>
        this.#redis.onqueueCreateFile(...this.#at(tenant, id), id, record, bytes, expiresMs, maxFiles, maxFilesBytes),
      )) === 1
    );
  }

  async putPart(tenant: string, id: string, part: FilePart, { maxFiles, maxFilesBytes }: FileLimits): Promise<boolean> {
    const text = JSON.stringify(part);
    const limits = [maxFiles, maxFilesBytes] as const;
    return (
      (await withStoreErrors(() =>
        this.#redis.onqueuePutFilePart(...this.#at(tenant, id), id, part.number, text, part.bytes, ...limits),
      )) === 1
    );
  }

  async parts(tenant: string, id: string): Promise<FilePart[]> {
    const fields = await withStoreErrors(() => this.#redis.hgetall(this.#keys.file(tenant, id)));
    return Object.entries(fields)
      .filter(([field]) => field.startsWith('part:'))
      .map(([, text]) => storedFilePart.parse(JSON.parse(String(text))))
      .toSorted((a, b) => a.number - b.number);
  }

  async complete(tenant: string, file: FileRecord): Promise<void> {
    const { id, bytes = 0, expires_ms: expiresMs } = file;
    await withStoreErrors(() =>
      this.#redis.onqueueEndFile(...this.#at(tenant, id), id, JSON.stringify(file), bytes, expiresMs),
    );
  }

  async delete(tenant: string, id: string): Promise<void> {
    await withStoreErrors(() => this.#redis.onqueueEndFile(...this.#at(tenant, id), id, 'delete', 0, 0));
  }

  #at(tenant: string, id: string): [file: string, files: string] {
    return [this.#keys.file(tenant, id), this.#keys.files(tenant)];
  }
}

type Command = (...args: (string | number)[]) => Promise<number>;
type Connection = RedisConnection & Record<'onqueueCreateFile' | 'onqueuePutFilePart' | 'onqueueEndFile', Command>;
