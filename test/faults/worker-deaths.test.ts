import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { ChildService } from '@onqueue/launcher';
import { request } from '../support/client.ts';
import { until } from '../support/until.ts';
import { type FaultPlatform, startFaultPlatform } from './support/fault-platform.ts';
import { FaultScene } from './support/fault-scene.ts';
import { sized } from './support/fault-size.ts';
import { inParallel } from './support/in-parallel.ts';
import { quickOrder, slowOrder, submitAndFollow } from './support/load.ts';

let stage: FaultPlatform;

beforeAll(async () => {
  stage = await startFaultPlatform();
});

afterAll(() => stage?.close());

const TIMEOUT_MS = sized({ small: 60_000, full: 900_000 });

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

test(
  'jobs that came while every worker was dead are drained by the next ones',
  async () => {
    const scene = new FaultScene(stage, 'all-dead');
    const jobs = sized({ small: 60, full: 5000 });
    const before = submitAndFollow(
      scene,
      Array.from({ length: 20 }, () => slowOrder(100)),
      20,
    );
    await until('some are in hand', () => scene.client.ended.size > 0);
    await Promise.all(scene.workers.map((worker) => scene.kill(worker)));
    await inParallel(Array(jobs).keys(), 16, (number) => scene.client.submit(quickOrder(number)));
    expect(scene.client.acknowledged.size).toBe(jobs + 20);
    await Promise.all([stage.platform.startWorker(), stage.platform.startWorker()]);
    await before;
    expect((await scene.verdict()).ended).toEqual({ succeeded: jobs + 20 });
  },
  TIMEOUT_MS,
);

test(
  'a worker that stands still beyond its locks and goes on overwrites nothing',
  async () => {
    const scene = new FaultScene(stage, 'frozen');
    const { random } = scene;
    const jobs = sized({ small: 24, full: 400 });
    const load = submitAndFollow(
      scene,
      Array.from({ length: jobs }, () => slowOrder(random.between(150, 300))),
      jobs,
    );
    const frozen = random.oneOf(scene.workers);
    await until('it has a batch in its runner', async () => (await count(frozen, BATCHES)) > 0);
    frozen.pause();
    scene.history.record({ kind: 'fault', what: `SIGSTOP ${frozen.pid}` });
    await load;
    frozen.resume();
    await until('its late results were refused', async () => (await count(frozen, FENCED)) > 0);
    const { ended, mostAttempts } = await scene.verdict();
    expect(ended).toEqual({ succeeded: jobs });
    expect(mostAttempts).toBeGreaterThan(1);
  },
  TIMEOUT_MS,
);

const BATCHES = /^onqueue_batch_rows_count\{model="slow",version="1"\} (\d+)$/m;
const FENCED = /^onqueue_commits_fenced_total\{model="slow"\} (\d+)$/m;

async function count(worker: ChildService, pattern: RegExp): Promise<number> {
  const { body } = await request<string>(`${worker.baseUrl}/metrics`);
  return Number(pattern.exec(body)?.[1] ?? 0);
}
