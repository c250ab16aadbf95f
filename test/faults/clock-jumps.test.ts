import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type ChildService, repoRoot } from '@onqueue/launcher';
import { until } from '../support/until.ts';
import { type FaultPlatform, startFaultPlatform } from './support/fault-platform.ts';
import { FaultScene } from './support/fault-scene.ts';
import { isFullSize, sized } from './support/fault-size.ts';
import { onEverySource } from './support/job-sources.ts';
import { crashOrder, quickOrder, slowOrder, submitAndFollow } from './support/load.ts';
import { pauseQueue } from './support/paused-queue.ts';
import type { Order } from './support/recording-client.ts';

const TIMEOUT_MS = sized({ small: 300_000, full: 600_000 });
const TEN_MINUTES_MS = 600_000;
/** A second attempt follows after this, ± half of it; the third after twice as long. */
const RETRY_DELAY_MS = 400;

onEverySource((source, isWhole) => {
  if (!isWhole) return;
  let stage: FaultPlatform;

  beforeAll(async () => {
    stage = await startFaultPlatform({
      source,
      models: ['linear', 'slow', 'crash'],
      env: {
        NODE_OPTIONS: `--require=${join(repoRoot, 'test', 'support', 'shifted-clock.cjs')}`,
        ONQUEUE_RETRY_DELAY_MS: String(RETRY_DELAY_MS),
      },
    });
  });

  afterAll(() => stage?.close());

  test(
    'processes whose clocks are wrong by ten minutes, and jump, keep to every delay and lose nothing',
    async () => {
      const scene = new FaultScene(stage, 'clock-jumps');
      const { client, random } = scene;
      const right = [...scene.apis, ...scene.workers];
      const shifted: ChildService[] = [];
      for (const shiftMs of [TEN_MINUTES_MS, -TEN_MINUTES_MS]) {
        // From the one side to the other.
        const env = { SHIFTED_CLOCK_MS: String(shiftMs), SHIFTED_CLOCK_JUMP_MS: String(-2 * shiftMs) };
        shifted.push(await stage.platform.startApi(env), await stage.platform.startWorker(env));
      }
      for (const process of right) await scene.kill(process);
      for (const service of shifted)
        expect(Math.abs(clockOf(service) - Date.now())).toBeGreaterThan(TEN_MINUTES_MS / 2);
      const jobs = sized({ small: 120, full: 5000 });
      const load = submitAndFollow(
        scene,
        Array.from({ length: jobs }, (_, number) =>
          number % 2 === 0 ? quickOrder(number) : slowOrder(random.between(5, 40)),
        ),
        16,
      );
      await until('a third has ended', () => client.ended.size > jobs / 3, TIMEOUT_MS);
      if (isFullSize) await expectDelays(scene);
      for (const service of shifted) {
        scene.history.record({ kind: 'fault', what: `the clock of ${service.name} ${service.pid} jumps` });
        process.kill(service.pid, 'SIGUSR2');
      }
      await expectDelays(scene);
      await load;
      expect((await scene.verdict()).ended).toEqual(client.expectedEnds);
    },
    TIMEOUT_MS,
  );

  async function expectDelays(scene: FaultScene): Promise<void> {
    const endAfterMs = async (order: Order) => {
      const startedAt = performance.now();
      const id = String(await scene.client.submit(order));
      expect(await scene.client.end(id)).toMatchObject({ status: order.end });
      return performance.now() - startedAt;
    };
    // Retries: two delays, each at least half of what it is.
    const retriedMs = await endAfterMs(crashOrder());
    expect(retriedMs).toBeGreaterThan(1.5 * RETRY_DELAY_MS);
    expect(retriedMs).toBeLessThan(20_000);
    // A run that hangs is ended in time.
    const hungMs = await endAfterMs({
      model: 'slow',
      input: { steps: 60_000_000 },
      score: 0,
      timeout: 1,
      end: 'failed',
    });
    expect(hungMs).toBeGreaterThan(1000);
    expect(hungMs).toBeLessThan(15_000);
    // And one that nobody starts expires in time.
    const resume = await pauseQueue(stage.redis.url, 'linear');
    try {
      const expiredMs = await endAfterMs({ ...quickOrder(1), expires_in: 1, end: 'expired' });
      expect(expiredMs).toBeGreaterThan(1000);
      expect(expiredMs).toBeLessThan(5000);
    } finally {
      await resume();
    }
  }
});

/** As its last line of the log tells it. */
function clockOf(service: ChildService): number {
  const line = service.logs().findLast((text) => text.startsWith('{'));
  return (JSON.parse(String(line)) as { time: number }).time;
}
