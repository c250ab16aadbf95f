import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type FaultPlatform, startFaultPlatform } from './support/fault-platform.ts';
import { FaultScene } from './support/fault-scene.ts';
import { sized } from './support/fault-size.ts';
import { onEverySource } from './support/job-sources.ts';
import { underLoad } from './support/load.ts';

const TIMEOUT_MS = sized({ small: 180_000, full: 600_000 });
const CLIENTS = sized({ small: 4, full: 16 });

onEverySource((source, isWhole) => {
  let stage: FaultPlatform;

  beforeAll(async () => {
    stage = await startFaultPlatform({ source, redisOptions: { appendfsync: 'always' } });
  });

  afterAll(() => stage?.close());

  test(
    'a Redis that is killed under load and comes back has everything that was acknowledged',
    async () => {
      const scene = new FaultScene(stage, 'redis-killed');
      for (let kill = 1; kill <= sized({ small: 2, full: 10 }); kill++) {
        await underLoad(scene, CLIENTS, async (load) => {
          await load.untilAcknowledged(scene.random.between(20, 60));
          scene.history.record({ kind: 'fault', what: 'SIGKILL redis' });
          await stage.redis.kill();
          await load.untilUnanswered();
          await stage.redis.restart();
          await scene.untilReady();
          await load.untilAcknowledged(10);
        });
      }
      const { ended } = await scene.verdict();
      expect(ended).toEqual({ succeeded: scene.client.acknowledged.size });
    },
    TIMEOUT_MS,
  );

  if (!isWhole) return;

  test(
    'a Redis that hangs under load costs answers, and no job',
    async () => {
      const scene = new FaultScene(stage, 'redis-hung');
      await underLoad(scene, CLIENTS, async (load) => {
        await load.untilAcknowledged(scene.random.between(20, 60));
        scene.history.record({ kind: 'fault', what: 'SIGSTOP redis' });
        stage.redis.pause();
        try {
          // The hang itself: beyond the locks, so that the jobs in hand count as stalled when it is over.
          await Promise.all([delay(sized({ small: 3000, full: 10_000 })), load.untilUnanswered()]);
        } finally {
          stage.redis.resume();
        }
        await scene.untilReady();
        await load.untilAcknowledged(10);
      });
      const { ended } = await scene.verdict();
      expect(ended).toEqual({ succeeded: scene.client.acknowledged.size });
    },
    TIMEOUT_MS,
  );
});
