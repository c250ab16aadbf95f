import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { parseJobId } from '@onqueue/shared';
import { until } from '../support/until.ts';
import { type FaultPlatform, startFaultPlatform } from './support/fault-platform.ts';
import { FaultScene } from './support/fault-scene.ts';
import { sized } from './support/fault-size.ts';
import { onEverySource } from './support/job-sources.ts';
import { quickOrder, slowOrder, submitAndFollow } from './support/load.ts';

onEverySource((source, isWhole) => {
  if (!isWhole) return;
  let stage: FaultPlatform;

  beforeAll(async () => {
    stage = await startFaultPlatform({
      source,
      env: { ONQUEUE_PARTITIONS: '4' },
      models: ['linear', 'slow', 'lookup'],
    });
  });

  afterAll(() => stage?.close());

  test('models that are spread over partitions lose nothing either when a worker dies', async () => {
    const scene = new FaultScene(stage, 'partitions');
    const { random, client } = scene;
    const jobs = sized({ small: 90, full: 3000 });
    const orders = Array.from({ length: jobs }, (_, number) => {
      if (number % 3 === 0) return slowOrder(random.between(20, 80));
      if (number % 3 === 1) return quickOrder(number);
      return { model: 'lookup', input: { index: number % 10 }, score: 10 * (number % 10) };
    });
    const load = submitAndFollow(scene, orders, 30);
    const due = random.between(jobs / 6, jobs / 2);
    await until(`${due} jobs have ended`, () => client.ended.size >= due);
    await scene.kill(random.oneOf(scene.workers));
    await load;
    expect((await scene.verdict()).ended).toEqual({ succeeded: jobs });
    const partitions = new Set([...client.acknowledged.keys()].map((id) => parseJobId(id)?.partition));
    expect(partitions.size).toBeGreaterThan(1);
  });
});
