import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type FaultPlatform, startFaultPlatform } from './support/fault-platform.ts';
import { FaultScene } from './support/fault-scene.ts';
import { sized } from './support/fault-size.ts';
import { onEverySource } from './support/job-sources.ts';
import { slowOrder } from './support/load.ts';

const TIMEOUT_MS = sized({ small: 180_000, full: 300_000 });

onEverySource((source, isWhole) => {
  if (!isWhole) return;
  let stage: FaultPlatform;

  beforeAll(async () => {
    stage = await startFaultPlatform({ source });
  });

  afterAll(() => stage?.close());

  test(
    'a cancel at any moment ends a run once, one way or the other, and is told once',
    async () => {
      const scene = new FaultScene(stage, 'cancel-races');
      const { client, random } = scene;
      const jobs = sized({ small: 100, full: 1000 });
      const canceled: string[] = [];
      const race = async () => {
        const id = await client.submit(slowOrder(random.between(1, 40)));
        if (id === undefined) throw new Error('A job was not accepted though nothing is broken.');
        // While it is queued, while it runs, while it is committed: whatever chance has it.
        await delay(random.between(0, jobs * 10));
        const [isCanceled, again] = await Promise.all([client.cancel(id), client.cancel(id)]);
        expect(isCanceled).toBe(again);
        if (isCanceled) canceled.push(id);
        await client.end(id);
      };
      await Promise.all(Array.from({ length: jobs }, race));
      const again = canceled.filter(() => random.next() < 0.2);
      await Promise.all(again.map((id) => client.retry(id)));
      const { ended } = await scene.verdict();
      // Where no cancel came in time there is no such end.
      expect({ succeeded: 0, canceled: 0, ...ended }).toEqual({
        succeeded: jobs - canceled.length + again.length,
        canceled: canceled.length - again.length,
      });
    },
    TIMEOUT_MS,
  );
});
