import { createHash } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { SWAP_LUA } from '../../apps/worker/src/queue/batch/scripts/swap.ts';
import { COMMIT_LUA } from '../../packages/shared/src/redis/scripts/commit.ts';
import { type FaultPlatform, startFaultPlatform } from './support/fault-platform.ts';
import { FaultScene } from './support/fault-scene.ts';
import { sized } from './support/fault-size.ts';
import { onEverySource } from './support/job-sources.ts';
import { quickOrder, slowOrder, submitAndFollow } from './support/load.ts';

const TIMEOUT_MS = sized({ small: 300_000, full: 600_000 });

onEverySource((source, isWhole) => {
  if (!isWhole) return;
  let stage: FaultPlatform;

  beforeAll(async () => {
    stage = await startFaultPlatform({ source, isProxied: true });
  });

  afterAll(() => stage?.close());

  test(
    'lost replies of commits strand no job and repeat none',
    async () => {
      const scene = new FaultScene(stage, 'lost-replies');
      const { random } = scene;
      const isCommit = uses(source === 'batch' ? SWAP_LUA : COMMIT_LUA);
      const every = random.between(3, 5);
      let commits = 0;
      stage.proxy.loseReplies((request) => isCommit(request) && ++commits % every === 0);
      scene.history.record({ kind: 'fault', what: `the reply of every ${every}th commit is lost` });
      const jobs = sized({ small: 200, full: 5000 });
      await submitAndFollow(
        scene,
        Array.from({ length: jobs }, (_, number) =>
          number % 4 === 0 ? slowOrder(random.between(5, 20)) : quickOrder(number),
        ),
        sized({ small: 32, full: 128 }),
      );
      stage.proxy.mend();
      expect(stage.proxy.lostReplies).toBeGreaterThan(5);
      const { ended, mostAttempts } = await scene.verdict();
      expect(ended).toEqual({ succeeded: jobs });
      // One that stalled would have been taken up again: there was none. BullMQ's own calls have no numbers: what the stock
      // worker claimed with a reply that was lost waits for the stalled sweep.
      if (source === 'batch') expect(mostAttempts).toBe(1);
    },
    TIMEOUT_MS,
  );
});

function uses(lua: string): (request: Buffer) => boolean {
  const sha = createHash('sha1').update(lua).digest('hex');
  return (request) => request.includes(sha);
}
