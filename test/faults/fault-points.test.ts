import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { FAULT_POINTS, type FaultPointName } from '@onqueue/shared';
import { until } from '../support/until.ts';
import { type FaultPlatform, startFaultPlatform } from './support/fault-platform.ts';
import { FaultScene } from './support/fault-scene.ts';
import { sized } from './support/fault-size.ts';
import { FaultTrace } from './support/fault-trace.ts';
import { quickOrder } from './support/load.ts';
import type { RecordingClient } from './support/recording-client.ts';
import { writeTwoVersions } from './support/two-versions.ts';

let stage: FaultPlatform;
let versions: Awaited<ReturnType<typeof writeTwoVersions>>;
const trace = new FaultTrace();

beforeAll(async () => {
  versions = await writeTwoVersions();
  stage = await startFaultPlatform({
    workers: 1,
    env: trace.env(),
    models: ['linear'],
    workerEnv: { ONQUEUE_MODELS_DIR: versions.both },
  });
});

afterAll(async () => {
  await stage?.close();
  await versions?.remove();
  trace.remove();
});

const TIMEOUT_MS = sized({ small: 120_000, full: 900_000 });
type Ask = (client: RecordingClient, urls: { armed: string; clean: string }) => Promise<() => Promise<void>>;

/** What makes an armed API pass its fault point, and what must have come of it. */
const API_POINTS: Partial<Record<FaultPointName, Ask>> = {
  'enqueue.before': async (client, { armed }) => {
    expect(await client.submit(quickOrder(1), armed)).toBeUndefined();
    return async () => {};
  },
  'enqueue.after': async (client, { armed }) => {
    expect(await client.submit(quickOrder(2), armed)).toBeUndefined();
    return async () => {}; // Nobody knows its id but its webhook; the verdict looks at that.
  },
  'cancel.after': async (client, { armed, clean }) => {
    const id = String(await client.submit(quickOrder(3), clean));
    await client.cancel(id, armed);
    return async () => expect(await client.end(id)).toMatchObject({ status: 'canceled' });
  },
  'retry.after': async (client, { armed, clean }) => {
    const id = String(await client.submit(quickOrder(4), clean));
    await client.cancel(id, clean);
    await client.retry(id, armed);
    return async () => {
      await until('the second run has ended', async () => {
        const job = await client.end(id);
        return job.run === 2 && job.status === 'succeeded';
      });
    };
  },
};
const WORKER_POINTS = FAULT_POINTS.filter((name) => !(name in API_POINTS));
const VISITS = sized({ small: [1], full: [1, 2, 5] });

test.each(sized({ small: ['batch'], full: ['batch', 'stock'] }))(
  'a worker that dies at any point between claim and delivery loses nothing (%s)',
  async (source) => {
    const scene = new FaultScene(stage, `worker-points-${source}`);
    // The only worker of a moment is the one that is to die.
    for (const worker of scene.workers) await scene.kill(worker);
    for (const name of WORKER_POINTS) {
      for (const visit of VISITS) await dieAt(scene, { name, visit, source });
    }
    await stage.platform.startWorker();
    const { ended } = await scene.verdict();
    expect(ended).toEqual({ succeeded: scene.client.acknowledged.size });
  },
  TIMEOUT_MS,
);

test(
  'an API that dies around a write leaves what it acknowledged, and no halves of the rest',
  async () => {
    const scene = new FaultScene(stage, 'api-points');
    const clean = String(scene.apis[0]?.baseUrl);
    for (let round = 0; round < sized({ small: 1, full: 20 }); round++) {
      for (const [name, ask] of Object.entries(API_POINTS)) {
        const fault = `${name}=kill`;
        const api = await stage.platform.startApi(trace.env(fault));
        scene.history.record({ kind: 'fault', what: fault });
        // Held, so that what is to be canceled has not ended.
        for (const worker of scene.workers) worker.pause();
        const expectOutcome = await ask(scene.client, { armed: api.baseUrl, clean });
        expect([fault, await api.exited]).toMatchObject([fault, { signal: 'SIGKILL' }]);
        for (const worker of scene.workers) worker.resume();
        await expectOutcome();
      }
    }
    await scene.verdict();
  },
  TIMEOUT_MS,
);

test(
  'an error at any point of a worker loses nothing',
  async () => {
    const scene = new FaultScene(stage, 'worker-errors');
    const worker = await stage.platform.startWorker(trace.env(...WORKER_POINTS.map((name) => `${name}=throw@2`)));
    for (const other of scene.workers) if (other !== worker) await scene.kill(other);
    for (let number = 0; number < 30; number++) await scene.client.submit(quickOrder(number));
    const { ended } = await scene.verdict();
    expect(ended).toEqual({ succeeded: scene.client.acknowledged.size });
  },
  TIMEOUT_MS,
);

const ERRORS = [
  ['batch', 'score.after'],
  ['batch', 'commit.before'],
  ['stock', 'score.after'],
  ['stock', 'commit.before'],
] as const;

test.each(ERRORS)(
  'a job from the %s source that meets an error at %s of every attempt ends all the same',
  (source, name) => meetErrors(name, source),
  TIMEOUT_MS,
);

async function meetErrors(name: FaultPointName, source: string): Promise<void> {
  const scene = new FaultScene(stage, `errors-${source}-${name}`);
  for (const worker of scene.workers) await worker.kill();
  const faults = [1, 2, 3].map((visit) => `${name}=throw@${visit}`);
  await stage.platform.startWorker({ ...trace.env(...faults), ONQUEUE_JOB_SOURCE: source });
  const id = String(await scene.client.submit(quickOrder(1)));
  try {
    await scene.client.end(id, 4000);
  } finally {
    await scene.client.cancel(id);
    scene.close();
  }
}

test('every fault point was passed', () => {
  expect([...trace.visited()].toSorted()).toEqual(FAULT_POINTS.toSorted());
});

/** Starts a worker that dies at this point, and gives it work until it does. */
async function dieAt(
  scene: FaultScene,
  { name, visit, source }: { name: FaultPointName; visit: number; source: string },
): Promise<void> {
  const { client, random } = scene;
  const fault = `${name}=kill@${visit}`;
  scene.history.record({ kind: 'fault', what: fault });
  // Jobs go back to the queue when the worker has another version of their model.
  const isRequeued = name.startsWith('requeue');
  const env = {
    ...trace.env(fault),
    ONQUEUE_JOB_SOURCE: source,
    ...(isRequeued ? { ONQUEUE_MODELS_DIR: versions.first } : {}),
  };
  // What the one before has left may end this one while it starts.
  await stage.platform.startWorker(env).catch(() => undefined);
  const worker = stage.platform.workers.at(-1);
  if (!worker) throw new Error('No worker was started. This is a bug.');
  for (let round = 0; round < 20 && !worker.hasExited; round++) {
    const ids = await Promise.all([1, 2, 3].map(() => client.submit(quickOrder(random.between(0, 1_000_000)))));
    const ends = ids.map((id) => (id === undefined || isRequeued ? worker.exited : client.end(id)));
    await Promise.race([worker.exited, Promise.all(ends)]);
  }
  expect([fault, await worker.exited]).toMatchObject([fault, { signal: 'SIGKILL' }]);
}
