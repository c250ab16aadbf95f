import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { ChildService } from '@onqueue/launcher';
import { until } from '../support/until.ts';
import { EndListener } from './support/end-listener.ts';
import { type FaultPlatform, startFaultPlatform } from './support/fault-platform.ts';
import { FaultScene } from './support/fault-scene.ts';
import { isFullSize, sized } from './support/fault-size.ts';
import { inParallel } from './support/in-parallel.ts';
import { onEverySource } from './support/job-sources.ts';
import { slowOrder, submitAndFollow } from './support/load.ts';
import { workerMetrics } from './support/worker-metrics.ts';

const TIMEOUT_MS = sized({ small: 180_000, full: 900_000 });

onEverySource((source, isWhole) => {
  let stage: FaultPlatform;

  beforeAll(async () => {
    stage = await startFaultPlatform({ source });
  });

  afterAll(() => stage?.close());

  test(
    'random workers killed under load lose no job, fail none and end none twice',
    async () => {
      const scene = new FaultScene(stage, 'kills');
      const { random, client } = scene;
      const kills = sized({ small: 2, full: 20 });
      const jobs = sized({ small: 80, full: 10_000 });
      const load = submitAndFollow(
        scene,
        Array.from({ length: jobs }, () => slowOrder(random.between(30, 90))),
        sized({ small: 80, full: 256 }),
      );
      const starts: Promise<unknown>[] = [];
      for (let kill = 1; kill <= kills; kill++) {
        const due = random.between(
          Math.floor(((kill - 1) * jobs) / (kills + 2)),
          Math.floor((kill * jobs) / (kills + 2)),
        );
        await until(`${due} jobs have ended`, () => client.ended.size >= due, TIMEOUT_MS);
        await scene.kill(random.oneOf(scene.workers));
        // A later kill may hit one that is still starting.
        starts.push(stage.platform.startWorker().catch(() => undefined));
      }
      await load;
      await Promise.all(starts);
      expect((await scene.verdict()).ended).toEqual({ succeeded: jobs });
    },
    TIMEOUT_MS,
  );

  if (!isWhole) return;

  /**
   * Full size asserts the time: 1.2 times what the backlog takes at the rate that was measured before, plus a second in
   * which the jobs of the dead are found. Both are measured without other load, on the same workers' settings; what
   * neighbours on the machine take from one and not from the other is in the 20 %.
   */
  test(
    'what came while every worker was dead is drained by the next ones, about as fast as ever',
    async () => {
      const scene = new FaultScene(stage, 'all-dead');
      const { client } = scene;
      const listener = await EndListener.start(stage.redis.url);
      try {
        const steady = await drainRate(scene, listener, sized({ small: 40, full: 2000 }));
        const arrival = startArrival(scene, sized({ small: 20, full: 100 }));
        await until('some are in hand', () => client.acknowledged.size > sized({ small: 50, full: 2200 }));
        await Promise.all(scene.workers.map((worker) => scene.kill(worker)));
        // The outage itself.
        await delay(sized({ small: 3000, full: 30_000 }));
        await arrival.stop();
        await Promise.all([stage.platform.startWorker(), stage.platform.startWorker()]);
        const backlog = [...client.acknowledged.keys()].filter((id) => !listener.ended.has(id)).length;
        const startedAt = performance.now();
        await listener.untilEnded(client.acknowledged.keys());
        const seconds = (performance.now() - startedAt) / 1000;
        const ratio = seconds / (backlog / steady);
        process.stdout.write(
          `drain: ${backlog} jobs in ${seconds.toFixed(2)} s, steady ${steady.toFixed(0)} jobs/s, ratio ${ratio.toFixed(2)}\n`,
        );
        if (isFullSize) expect(seconds).toBeLessThanOrEqual((1.2 * backlog) / steady + 1);
        expect((await scene.verdict()).ended).toEqual({ succeeded: client.acknowledged.size });
      } finally {
        await listener.close();
      }
    },
    TIMEOUT_MS,
  );

  test(
    'a worker that stands still beyond its locks and goes on overwrites nothing',
    async () => {
      const scene = new FaultScene(stage, 'frozen');
      const { random } = scene;
      const jobs = sized({ small: 48, full: 400 });
      const load = submitAndFollow(
        scene,
        Array.from({ length: jobs }, () => slowOrder(random.between(150, 300))),
        jobs,
      );
      const frozen = await untilBusy(scene);
      frozen.pause();
      scene.history.record({ kind: 'fault', what: `SIGSTOP ${frozen.pid}` });
      await load;
      frozen.resume();
      await until('its late results were refused', async () => (await fencedIn(frozen)) > 0);
      const { ended, mostAttempts } = await scene.verdict();
      expect(ended).toEqual({ succeeded: jobs });
      expect(mostAttempts).toBeGreaterThan(1);
    },
    TIMEOUT_MS,
  );

  test(
    'a job that is canceled while its worker stands still beyond its lock stays canceled when that goes on',
    async () => {
      const scene = new FaultScene(stage, 'frozen-cancel');
      const { client, random } = scene;
      // Whoever is left is the one that takes them.
      const [frozen, ...others] = scene.workers;
      if (!frozen) throw new Error('There is no worker. This is a bug.');
      for (const other of others) await scene.kill(other);
      const fencedBefore = await fencedIn(frozen);
      for (let round = 0; round < sized({ small: 1, full: 10 }); round++) {
        const ids = await inParallel(Array(4).keys(), 4, async () =>
          String(await client.submit(slowOrder(random.between(500, 700)))),
        );
        await until('it has taken all', async () => {
          const jobs = await Promise.all(ids.map((id) => client.read(id)));
          return jobs.every((job) => job?.status === 'running');
        });
        frozen.pause();
        scene.history.record({ kind: 'fault', what: `SIGSTOP ${frozen.pid}` });
        const heir = await stage.platform.startWorker();
        const canceled = ids.filter(() => random.next() < 0.5);
        for (const id of canceled) expect(await client.cancel(id)).toBe(true);
        // That somebody else has ended the others says that the locks have run out.
        const rest = ids.filter((id) => !canceled.includes(id));
        for (const id of rest) expect(await client.end(id)).toMatchObject({ status: 'succeeded' });
        frozen.resume();
        const due = fencedBefore + (round + 1) * ids.length;
        await until('all its late results were refused', async () => (await fencedIn(frozen)) >= due);
        for (const id of canceled) {
          expect(await client.end(id)).toMatchObject({ status: 'canceled', attempt: 1, results: null });
        }
        await scene.kill(heir);
      }
      const { webhooks, events } = await scene.verdict();
      expect(events).toBe(client.acknowledged.size);
      expect(webhooks).toBeGreaterThanOrEqual(events);
    },
    TIMEOUT_MS,
  );
});

/** Longer than a day's tests should take: the settings are what is tested. */
if (isFullSize) {
  onEverySource((source) => {
    test(
      'with the settings of every day, what a dead worker held is taken up within twenty seconds',
      async () => {
        const env = { ONQUEUE_LOCK_DURATION_MS: '', ONQUEUE_STALLED_INTERVAL_MS: '' };
        const stage = await startFaultPlatform({ source, models: ['slow'], env });
        const listener = await EndListener.start(stage.redis.url);
        try {
          const scene = new FaultScene(stage, 'orphans');
          const { client, random } = scene;
          for (let round = 0; round < 3; round++) {
            await inParallel(Array(32).keys(), 32, () => client.submit(slowOrder(random.between(150, 300))));
            const victim = await untilBusy(scene);
            await scene.kill(victim);
            const startedAt = performance.now();
            await listener.untilEnded(client.acknowledged.keys());
            const seconds = (performance.now() - startedAt) / 1000;
            process.stdout.write(`orphans: ended ${seconds.toFixed(1)} s after the death\n`);
            // Lock and twice the stalled interval, and a bit in which they run.
            expect(seconds).toBeLessThanOrEqual(20 + 2);
            await stage.platform.startWorker();
          }
          const { ended, mostAttempts } = await scene.verdict();
          expect(ended).toEqual({ succeeded: client.acknowledged.size });
          expect(mostAttempts).toBeGreaterThan(1);
        } finally {
          await listener.close();
          await stage.close();
        }
      },
      TIMEOUT_MS,
    );
  });
}

/** A worker that has a batch in its runner and more behind it. */
function untilBusy(scene: FaultScene): Promise<ChildService> {
  return until('a worker has a batch in its runner and more behind it', async () => {
    for (const worker of scene.workers) {
      const { batches, pendingRows } = await workerMetrics(worker, 'slow');
      if (batches > 0 && pendingRows > 2) return worker;
    }
    return undefined;
  });
}

async function fencedIn(worker: ChildService): Promise<number> {
  return (await workerMetrics(worker, 'slow')).fenced;
}

/** Jobs a second of two workers that have plenty to do and nobody to disturb them. */
async function drainRate(scene: FaultScene, listener: EndListener, jobs: number): Promise<number> {
  for (const worker of scene.workers) worker.pause();
  await inParallel(Array(jobs).keys(), 16, () => scene.client.submit(slowOrder(60)));
  for (const worker of scene.workers) worker.resume();
  const startedAt = performance.now();
  await listener.untilEnded(scene.client.acknowledged.keys());
  return (jobs * 1000) / (performance.now() - startedAt);
}

/** So many new jobs a second, whatever becomes of them. */
function startArrival({ client }: FaultScene, perSecond: number): { stop(): Promise<void> } {
  const submitted: Promise<unknown>[] = [];
  const timer = setInterval(() => submitted.push(client.submit(slowOrder(60))), 1000 / perSecond);
  return {
    async stop() {
      clearInterval(timer);
      await Promise.all(submitted);
    },
  };
}
