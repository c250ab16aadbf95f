import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type FaultPlatform, startFaultPlatform } from './support/fault-platform.ts';
import { FaultScene } from './support/fault-scene.ts';
import { sized } from './support/fault-size.ts';
import { inParallel } from './support/in-parallel.ts';
import { onEverySource } from './support/job-sources.ts';
import { quickOrder } from './support/load.ts';
import { pauseQueue } from './support/paused-queue.ts';

const TIMEOUT_MS = sized({ small: 180_000, full: 300_000 });
const JOBS = sized({ small: 20, full: 1000 });

onEverySource((source, isWhole) => {
  if (!isWhole) return;
  let stage: FaultPlatform;

  beforeAll(async () => {
    stage = await startFaultPlatform({ source, models: ['linear'] });
  });

  afterAll(() => stage?.close());

  /** Some that expire, and some that have all the time; how those ended that do. */
  async function submitAll({ client }: FaultScene): Promise<void> {
    const orders = Array.from({ length: JOBS }, (_, number) =>
      number % 4 === 0 ? quickOrder(number) : { ...quickOrder(number), expires_in: 0.5, end: 'expired' as const },
    );
    await inParallel(orders, 16, async (order) => {
      const id = String(await client.submit(order));
      if (order.end) expect(await client.end(id)).toMatchObject({ status: 'expired', attempt: 0, results: null });
    });
  }

  test(
    'jobs expire while their queue is paused, and none of them runs when it goes on',
    async () => {
      const scene = new FaultScene(stage, 'expires-paused');
      const resume = await pauseQueue(stage.redis.url, 'linear');
      try {
        await submitAll(scene);
      } finally {
        await resume();
      }
      expect((await scene.verdict()).ended).toEqual(scene.client.expectedEnds);
    },
    TIMEOUT_MS,
  );

  test(
    'jobs expire while there is no worker process at all, and none of them runs when one comes',
    async () => {
      const scene = new FaultScene(stage, 'expires-alone');
      await Promise.all(scene.workers.map((worker) => scene.kill(worker)));
      await submitAll(scene);
      await stage.platform.startWorker();
      expect((await scene.verdict()).ended).toEqual(scene.client.expectedEnds);
    },
    TIMEOUT_MS,
  );
});
