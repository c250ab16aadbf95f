import { once } from 'node:events';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type RedisServer, startRedisServer } from '@onqueue/launcher';
import { closeRedis, connectRedis, gatherWrites } from '@onqueue/shared/redis';
import type { Redis } from 'ioredis';

let server: RedisServer;
beforeAll(async () => {
  server = await startRedisServer();
});
afterAll(() => server.stop());

/** How often the socket is handed bytes to send. */
function countWrites(redis: Redis): () => number {
  const socket = redis.stream as unknown as Record<'_write' | '_writev', (...args: unknown[]) => void>;
  let writes = 0;
  for (const name of ['_write', '_writev'] as const) {
    const write = socket[name].bind(socket);
    socket[name] = (...args) => {
      writes += 1;
      write(...args);
    };
  }
  return () => writes;
}

test('commands of one turn leave together, in order, and are answered each', async () => {
  const redis = connectRedis(server.url, { kind: 'worker' }, () => {}) as Redis;
  gatherWrites(redis);
  await redis.ping();
  const writes = countWrites(redis);
  const answers = await Promise.all(Array.from({ length: 50 }, (_, index) => redis.rpush('list', index)));
  expect(answers).toEqual(Array.from({ length: 50 }, (_, index) => index + 1));
  expect(writes()).toBe(1);
  expect(await redis.lrange('list', 0, -1)).toEqual(Array.from({ length: 50 }, (_, index) => String(index)));
  expect(writes()).toBe(2);
  await closeRedis(redis);
});

test('a connection that breaks is made anew, and what was under way is sent again', async () => {
  const redis = connectRedis(server.url, { kind: 'worker' }, () => {}) as Redis;
  gatherWrites(redis);
  await redis.ping();
  const answered = Promise.all(Array.from({ length: 10 }, (_, index) => redis.set(`key${index}`, 'x')));
  const ready = once(redis, 'ready');
  redis.stream.destroy();
  await ready;
  expect(await answered).toEqual(Array.from({ length: 10 }, () => 'OK'));
  const writes = countWrites(redis);
  await Promise.all([redis.get('key1'), redis.get('key2')]);
  expect(writes()).toBe(1);
  await closeRedis(redis);
});
