import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import type { RedisServer } from '@onqueue/launcher';
import { closeRedis, connectRedis, type RedisConnection, RedisKeys, RedisResultCache } from '@onqueue/shared/redis';
import { startPrivateRedis } from './support/platform.ts';
import { until } from './support/until.ts';

const fraud = { name: 'fraud', version: '1' };
const HOUR_MS = 3_600_000;

let server: RedisServer;
let redis: RedisConnection;
let cache: RedisResultCache;

beforeAll(async () => {
  server = await startPrivateRedis();
  redis = connectRedis(server.url, { kind: 'worker' }, () => {});
  cache = new RedisResultCache({ redis, keys: new RedisKeys('oq'), partitionOf: () => 0 });
});

afterAll(async () => {
  await closeRedis(redis);
  await server.stop();
});

beforeEach(() => redis.flushall());

const write = (keys: string[], { maxRows = 100, maxAgeMs = HOUR_MS } = {}) =>
  cache.write(
    fraud,
    keys.map((key) => ({ key, output: { from: key } })),
    { maxRows, maxAgeMs },
  );
const read = async (...keys: string[]) => (await cache.read(fraud, keys, HOUR_MS)).map((found) => found?.output.from);

test('keeps what was written, the last of each key, and nothing of other versions', async () => {
  await write(['a', 'b']);
  await cache.write(fraud, [{ key: 'a', output: { from: 'later' } }], { maxRows: 100, maxAgeMs: HOUR_MS });
  expect(await read('b', 'c', 'a')).toEqual(['b', undefined, 'later']);
  expect(await cache.read({ name: 'fraud', version: '2' }, ['a'], HOUR_MS)).toEqual([undefined]);
  expect(await cache.read(fraud, [], HOUR_MS)).toEqual([]);
});

test('keeps as many as it may, the newest', async () => {
  for (const key of ['a', 'b', 'c', 'd']) {
    await write([key], { maxRows: 2 });
    // Ages are told apart by milliseconds.
    await until('a millisecond has passed', async () => ((await cache.read(fraud, [key], HOUR_MS))[0]?.ageMs ?? 0) > 1);
  }
  expect(await read('a', 'b', 'c', 'd')).toEqual([undefined, undefined, 'c', 'd']);
  expect(await redis.hlen('oq:{0}:cached:fraud:1')).toBe(2);
  expect(await redis.zcard('oq:{0}:cached-ages:fraud:1')).toBe(2);
});

test('answers nothing that is older than asked for, and forgets all when nobody writes any more', async () => {
  await write(['a']);
  await until('it is too old', async () => (await cache.read(fraud, ['a'], 5))[0] === undefined);
  expect(await read('a')).toEqual(['a']);
  await write(['b'], { maxAgeMs: 50 });
  await until('everything is gone', async () => (await redis.keys('*')).length === 0);
});
