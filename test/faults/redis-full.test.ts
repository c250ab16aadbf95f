import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { closeRedis, connectRedis, type RedisConnection } from '@onqueue/shared/redis';
import { type FaultPlatform, startFaultPlatform } from './support/fault-platform.ts';
import { FaultScene } from './support/fault-scene.ts';
import { sized } from './support/fault-size.ts';
import { inParallel } from './support/in-parallel.ts';
import { onEverySource } from './support/job-sources.ts';
import { quickOrder, slowOrder, underLoad } from './support/load.ts';

onEverySource((source) => {
  let stage: FaultPlatform;
  let redis: RedisConnection;

  beforeAll(async () => {
    // At 100 percent it is Redis that refuses, not the API's own guard.
    stage = await startFaultPlatform({ source, apiEnv: { ONQUEUE_MEMORY_LIMIT_PERCENT: '100' } });
    redis = connectRedis(stage.redis.url, { kind: 'worker' }, () => {});
  });

  afterAll(async () => {
    if (redis) await closeRedis(redis);
    await stage?.close();
  });

  test(
    'a Redis that fills up under load refuses new jobs and lets the accepted ones end',
    async () => {
      const scene = new FaultScene(stage, 'redis-full');
      const { client, history, random } = scene;
      for (let round = 0; round < sized({ small: 1, full: 10 }); round++) {
        await underLoad(scene, sized({ small: 8, full: 32 }), async (load) => {
          await load.untilAcknowledged(random.between(20, 60));
          // A backlog that is still there when nothing is taken any more.
          await inParallel(Array(sized({ small: 40, full: 400 })).keys(), 16, () =>
            client.submit(slowOrder(random.between(30, 60))),
          );
          const usedBytes = Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))?.[1]);
          history.record({ kind: 'fault', what: `maxmemory ${usedBytes}` });
          await redis.config('SET', 'maxmemory', usedBytes + random.between(0, 50_000));
          await load.untilUnanswered();
          // What ends frees some memory: less than nothing is full beyond doubt.
          await redis.config('SET', 'maxmemory', 1);
          await load.untilUnanswered(10);
        });
        expect(await client.submit(quickOrder(0))).toBeUndefined();
        const open = [...client.acknowledged.keys()].filter((id) => !client.ended.has(id));
        await inParallel(open, 16, async (id) => expect(await client.end(id)).toMatchObject({ status: 'succeeded' }));
        expect(await client.submit(quickOrder(0))).toBeUndefined();
        await redis.config('SET', 'maxmemory', 0);
      }
      const refusals = history.lines.map((line) => JSON.parse(line)).filter(({ kind }) => kind === 'refused');
      expect(refusals.length).toBeGreaterThan(10);
      for (const refusal of refusals) expect(refusal).toMatchObject({ status: 503, code: 'storage_full' });
      const { ended, mostAttempts } = await scene.verdict();
      expect(ended).toEqual({ succeeded: client.acknowledged.size });
      expect(mostAttempts).toBe(1);
    },
    sized({ small: 180_000, full: 600_000 }),
  );
});
