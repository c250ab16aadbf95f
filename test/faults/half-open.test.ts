import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type FaultPlatform, startFaultPlatform } from './support/fault-platform.ts';
import { FaultScene } from './support/fault-scene.ts';
import { sized } from './support/fault-size.ts';
import { onEverySource } from './support/job-sources.ts';
import { underLoad } from './support/load.ts';

const TIMEOUT_MS = sized({ small: 300_000, full: 600_000 });

onEverySource((source, isWhole) => {
  if (!isWhole) return;
  let stage: FaultPlatform;

  beforeAll(async () => {
    stage = await startFaultPlatform({ source, isProxied: true });
  });

  afterAll(() => stage?.close());

  test(
    'half-open connections are given up by APIs and workers alike, and cost no job',
    async () => {
      const scene = new FaultScene(stage, 'half-open');
      for (let round = 0; round < sized({ small: 1, full: 5 }); round++) {
        await underLoad(scene, sized({ small: 4, full: 16 }), async (load) => {
          await load.untilAcknowledged(scene.random.between(20, 60));
          stage.proxy.freeze();
          scene.history.record({ kind: 'fault', what: 'all connections to Redis are half-open' });
          await load.untilAcknowledged(20, 60_000);
        });
      }
      expect((await scene.verdict()).ended).toEqual({ succeeded: scene.client.acknowledged.size });
    },
    TIMEOUT_MS,
  );
});
