import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { postJob } from '../support/client.ts';
import { breakArtifact } from '../support/models/broken-artifact.ts';
import { HANGING_STEPS, writeHungryModel } from '../support/models/tiny-models.ts';
import { runnerPidsOf } from '../support/runner-pids.ts';
import { until } from '../support/until.ts';
import { type FaultPlatform, startFaultPlatform } from './support/fault-platform.ts';
import { FaultScene } from './support/fault-scene.ts';
import { sized } from './support/fault-size.ts';
import { onEverySource } from './support/job-sources.ts';
import { crashOrder, quickOrder, submitAndFollow } from './support/load.ts';
import { besideHealthyModel, type Neighbour } from './support/neighbour.ts';
import type { Order } from './support/recording-client.ts';
import { workerMetrics } from './support/worker-metrics.ts';

const TIMEOUT_MS = sized({ small: 300_000, full: 900_000 });
/** Of a job of the healthy model. Behind a model that hangs or waits to be mended it would be many times that. */
const NEIGHBOUR_P99_MS = 5000;
/** Jobs of a model of which one or three are poison. */
const CROWD = sized({ small: 150, full: 1000 });

const lookupOrder = (index: number): Order => ({ model: 'lookup', input: { index }, score: index * 10 });
const soundOrder = (power: number): Order => ({
  model: 'crash',
  input: { divisor: 2 ** power },
  score: -(2 ** (63 - power)),
});
const hangOrder = (timeout: number): Order => ({
  model: 'slow',
  input: { steps: HANGING_STEPS },
  score: 0,
  timeout,
  end: 'failed',
});
const hungryOrder = (size: number): Order => ({
  model: 'hungry',
  input: { size },
  score: size,
  ...(size > 1000 ? { end: 'failed' as const } : {}),
});

// The deadly row is one of x86-64's; other processors have an answer to it.
const onX64 = process.arch === 'x64' ? test : test.skip;

onEverySource((source, isWhole) => {
  let stage: FaultPlatform;

  beforeAll(async () => {
    stage = await startFaultPlatform({
      source,
      models: ['linear', 'slow', 'crash', 'lookup', 'hungry'],
      writeMore: (dir) => writeHungryModel({ dir, name: 'hungry', version: '1', memory: 1000 }),
      env: { ONQUEUE_RETRY_DELAY_MS: '50' },
      workerEnv: {
        ONQUEUE_BATCH_TIMEOUT_MS: '1000',
        ONQUEUE_CIRCUIT_OPEN_MS: '300',
        ONQUEUE_CIRCUIT_MAX_OPEN_MS: '1000',
      },
    });
  });

  afterAll(() => stage?.close());

  async function expectVerdict(scene: FaultScene, { jobs, p99Ms }: Neighbour): Promise<void> {
    expect((await scene.verdict()).ended).toEqual(scene.client.expectedEnds);
    expect(jobs).toBeGreaterThan(0);
    expect(p99Ms).toBeLessThan(NEIGHBOUR_P99_MS);
  }

  const openings = async (scene: FaultScene, model: string) => {
    const counts = await Promise.all(
      scene.workers.map(async (worker) => (await workerMetrics(worker, model)).openings),
    );
    return counts.reduce((sum, count) => sum + count, 0);
  };

  /** Every API refuses new jobs of the model, and says when to come again. What is accepted before is no part of the history. */
  async function untilRefused(scene: FaultScene, { model, input }: Order): Promise<void> {
    for (const { baseUrl } of scene.apis) {
      const { headers, body } = await until(`${baseUrl} refuses jobs of ${model}`, async () => {
        const answer = await postJob(baseUrl, { model, input, expires_in: 1 });
        return answer.status === 503 && answer;
      });
      expect(body).toMatchObject({ code: 'model_unavailable' });
      expect(Number(headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    }
  }

  /** Jobs of the model are accepted and scored again. */
  async function untilServed(scene: FaultScene, order: Order): Promise<void> {
    const id = await until(`${order.model} is served again`, async () => (await scene.client.submit(order)) ?? false);
    await scene.client.end(id);
  }

  test(
    'a model that fails always is refused until it is mended; what was accepted before waits and succeeds',
    async () => {
      const scene = new FaultScene(stage, 'fails-always');
      await untilServed(scene, lookupOrder(1));
      const broken = await breakArtifact(stage.modelsDir, 'lookup');
      scene.history.record({ kind: 'fault', what: 'no artifact, SIGKILL of all runners' });
      for (const worker of scene.workers) {
        for (const pid of runnerPidsOf(worker.pid)) process.kill(pid, 'SIGKILL');
      }
      // The healthy model's runners died with the others, and are back.
      await untilServed(scene, quickOrder(1));
      const neighbour = await besideHealthyModel(scene, async () => {
        const jobs = Array.from({ length: sized({ small: 10, full: 200 }) }, (_, job) => lookupOrder(job % 10));
        const load = submitAndFollow(scene, jobs, jobs.length);
        await until('every circuit is open', async () => (await openings(scene, 'lookup')) >= scene.workers.length);
        await untilRefused(scene, lookupOrder(1));
        await broken.mend();
        await load;
        await untilServed(scene, lookupOrder(2));
      });
      await expectVerdict(scene, neighbour);
    },
    TIMEOUT_MS,
  );

  if (!isWhole) return;

  onX64(
    'a model that crashes on every row is left alone, and works as soon as rows are sound',
    async () => {
      const scene = new FaultScene(stage, 'crashes');
      const neighbour = await besideHealthyModel(scene, async () => {
        const deadly = Array.from({ length: sized({ small: 5, full: 20 }) }, crashOrder);
        await submitAndFollow(scene, deadly, deadly.length);
        await untilServed(scene, soundOrder(1));
      });
      expect(await openings(scene, 'crash')).toBeGreaterThan(0);
      await expectVerdict(scene, neighbour);
    },
    TIMEOUT_MS,
  );

  test(
    'a model that hangs on every row is left alone; its jobs end by their own deadlines',
    async () => {
      const scene = new FaultScene(stage, 'hangs');
      const neighbour = await besideHealthyModel(scene, async () => {
        const hanging = Array.from({ length: sized({ small: 4, full: 30 }) }, () =>
          hangOrder(sized({ small: 8, full: 12 })),
        );
        await submitAndFollow(scene, hanging, hanging.length);
        await untilServed(scene, { model: 'slow', input: { steps: 1 }, score: 1 });
      });
      await expectVerdict(scene, neighbour);
    },
    TIMEOUT_MS,
  );

  test(
    'rows that no machine has the memory for fail, and those beside them do not',
    async () => {
      const scene = new FaultScene(stage, 'memory-bomb');
      const neighbour = await besideHealthyModel(scene, async () => {
        const jobs = Array.from({ length: CROWD }, (_, job) => hungryOrder(job % 50 === 25 ? 5000 : job % 10));
        await submitAndFollow(scene, jobs, 64);
      });
      await expectVerdict(scene, neighbour);
    },
    TIMEOUT_MS,
  );

  onX64.each([
    ['one poison row', 1],
    ['three poison rows', 3],
  ])(
    '%s among many fail alone, and close their model to nobody',
    async (what, poison) => {
      const scene = new FaultScene(stage, what.replaceAll(' ', '-'));
      const before = await openings(scene, 'crash');
      const neighbour = await besideHealthyModel(scene, async () => {
        const places = new Set(
          Array.from({ length: poison }, (_, index) => Math.floor(((index + 0.5) * CROWD) / poison)),
        );
        const jobs = Array.from({ length: CROWD }, (_, job) => (places.has(job) ? crashOrder() : soundOrder(job % 10)));
        // Strikes of different rows count together only without any success between: so there is some until the last one is found.
        let isOver = false;
        const load = submitAndFollow(scene, jobs, 64).finally(() => {
          isOver = true;
        });
        const sound = Array.from({ length: 4 }, async () => {
          while (!isOver) await submitAndFollow(scene, [soundOrder(1)], 1);
        });
        await Promise.all([load, ...sound]);
      });
      expect(await openings(scene, 'crash')).toBe(before);
      await expectVerdict(scene, neighbour);
    },
    TIMEOUT_MS,
  );

  test(
    'a row that hangs fails alone, and closes its model to nobody',
    async () => {
      const scene = new FaultScene(stage, 'hang-row');
      const before = await openings(scene, 'slow');
      const neighbour = await besideHealthyModel(scene, async () => {
        const jobs = Array.from({ length: sized({ small: 40, full: 1000 }) }, (_, job): Order => {
          return job === 7 ? { ...hangOrder(60) } : { model: 'slow', input: { steps: job % 5 }, score: job % 5 };
        });
        await submitAndFollow(scene, jobs, 32);
      });
      expect(await openings(scene, 'slow')).toBe(before);
      await expectVerdict(scene, neighbour);
    },
    TIMEOUT_MS,
  );
});
