import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { request } from '../support/client.ts';
import { until } from '../support/until.ts';
import { type FaultPlatform, startFaultPlatform } from './support/fault-platform.ts';
import { FaultScene } from './support/fault-scene.ts';
import { sized } from './support/fault-size.ts';
import { quickOrder, slowOrder } from './support/load.ts';

let stage: FaultPlatform;

beforeAll(async () => {
  stage = await startFaultPlatform({ redisOptions: { appendfsync: 'always' } });
});

afterAll(() => stage?.close());

const TIMEOUT_MS = sized({ small: 60_000, full: 600_000 });

test(
  'a Redis that is killed under load and comes back has everything that was acknowledged',
  async () => {
    const scene = new FaultScene(stage, 'redis-killed');
    const { platform } = stage;
    for (let kill = 1; kill <= sized({ small: 2, full: 10 }); kill++) {
      const load = startLoad(scene);
      await load.untilAcknowledged(scene.random.between(20, 60));
      scene.history.record({ kind: 'fault', what: 'SIGKILL redis' });
      await platform.redis.kill();
      await load.untilUnanswered();
      await platform.redis.restart();
      await untilReady(scene);
      await load.untilAcknowledged(10);
      await load.stop();
    }
    const { ended } = await scene.verdict();
    expect(ended).toEqual({ succeeded: scene.client.acknowledged.size });
  },
  TIMEOUT_MS,
);

test(
  'a Redis that hangs under load costs answers, and no job',
  async () => {
    const scene = new FaultScene(stage, 'redis-hung');
    const { platform } = stage;
    const load = startLoad(scene);
    await load.untilAcknowledged(scene.random.between(20, 60));
    scene.history.record({ kind: 'fault', what: 'SIGSTOP redis' });
    platform.redis.pause();
    try {
      // The hang itself: beyond the locks, so that the jobs in hand count as stalled when it is over.
      await Promise.all([delay(sized({ small: 3000, full: 10_000 })), load.untilUnanswered()]);
    } finally {
      platform.redis.resume();
    }
    await untilReady(scene);
    await load.untilAcknowledged(10);
    await load.stop();
    const { ended } = await scene.verdict();
    expect(ended).toEqual({ succeeded: scene.client.acknowledged.size });
  },
  TIMEOUT_MS,
);

/** A few clients that submit one job after the other, whatever comes back, until they are stopped. */
function startLoad({ client, random }: FaultScene) {
  let isStopping = false;
  let acknowledged = 0;
  let unanswered = 0;
  const submitAlways = async () => {
    while (!isStopping) {
      const order = random.next() < 0.3 ? slowOrder(random.between(5, 40)) : quickOrder(random.between(0, 1_000_000));
      if ((await client.submit(order)) === undefined) {
        unanswered += 1;
        await delay(50); // A client that is refused and comes back at once would only measure itself.
      } else {
        acknowledged += 1;
      }
    }
  };
  const clients = Promise.all(Array.from({ length: sized({ small: 4, full: 16 }) }, submitAlways));
  return {
    /** So many more than until now. */
    untilAcknowledged(count: number) {
      const due = acknowledged + count;
      return until(`${count} jobs are acknowledged`, () => acknowledged >= due);
    },
    untilUnanswered() {
      const due = unanswered + 1;
      return until('a request has no answer', () => unanswered >= due);
    },
    async stop() {
      isStopping = true;
      await clients;
    },
  };
}

async function untilReady({ apis }: FaultScene): Promise<void> {
  for (const { baseUrl } of apis) {
    await until('the API is ready again', async () => (await request(`${baseUrl}/readyz`)).status === 200);
  }
}
