import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { RedisServer } from '@onqueue/launcher';
import { newJobId } from '@onqueue/shared';
import {
  closeRedis,
  connectRedis,
  RedisCompletionListener,
  type RedisConnection,
  RedisKeys,
} from '@onqueue/shared/redis';
import { ManualClock } from './support/manual-clock.ts';
import { startPrivateRedis } from './support/platform.ts';

const keys = new RedisKeys('oq');
const clock = new ManualClock();

let server: RedisServer;
let redis: RedisConnection;
let subscriber: RedisConnection;
let listener: RedisCompletionListener;

beforeAll(async () => {
  server = await startPrivateRedis();
  redis = connectRedis(server.url, { kind: 'worker' }, () => {});
  subscriber = connectRedis(server.url, { kind: 'subscriber' }, () => {});
  listener = new RedisCompletionListener({ redis: subscriber, keys, clock });
});

afterAll(async () => {
  await closeRedis(redis);
  await closeRedis(subscriber);
  await server.stop();
});

const newId = (partition = 0) => newJobId({ createdAtMs: Date.now(), partition });

/** Watches a job; resolves the next promise whenever it is hinted. */
async function watch(id: string) {
  let resolve = () => {};
  const next = () =>
    new Promise<void>((fulfil) => {
      resolve = fulfil;
    });
  const unwatch = await listener.watch(id, () => resolve());
  return { next, unwatch };
}

test('hints who watches a job that a message names, among others, in its partition', async () => {
  const [mine, other] = [newId(3), newId(3)];
  const { next, unwatch } = await watch(mine);
  const hinted = next();
  await redis.publish(keys.done(3), `${other} ${mine}`);
  await hinted;
  unwatch();
});

test('hints everybody after a reconnect, since what was said meanwhile is lost', async () => {
  const watched = [await watch(newId()), await watch(newId())];
  const hinted = watched.map(({ next }) => next());
  await redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
  await Promise.all(hinted);
  // And the subscription is back.
  const id = newId();
  const later = await watch(id);
  const heard = later.next();
  await redis.publish(keys.done(0), id);
  await heard;
  for (const { unwatch } of [...watched, later]) unwatch();
});

test('hints every 10 s in any case, and no more once it is over', async () => {
  const { next, unwatch } = await watch(newId());
  for (let round = 0; round < 3; round++) {
    const hinted = next();
    await clock.advance(10_000);
    await hinted;
  }
  let hints = 0;
  void next().then(() => hints++);
  unwatch();
  await clock.advance(30_000);
  expect(hints).toBe(0);
});
