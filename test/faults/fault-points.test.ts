import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { FAULT_POINTS, type FaultPointName } from '@onqueue/shared';
import { request } from '../support/client.ts';
import { until } from '../support/until.ts';
import { type FaultPlatform, startFaultPlatform } from './support/fault-platform.ts';
import { FaultScene } from './support/fault-scene.ts';
import { isFullSize, sized } from './support/fault-size.ts';
import { FaultTrace } from './support/fault-trace.ts';
import { JOB_SOURCES, type JobSourceKind, onEverySource } from './support/job-sources.ts';
import { crashOrder, quickOrder, slowOrder } from './support/load.ts';
import { pauseQueue } from './support/paused-queue.ts';
import type { Order, RecordingClient } from './support/recording-client.ts';
import { writeTwoVersions } from './support/two-versions.ts';

let stage: FaultPlatform;
let versions: Awaited<ReturnType<typeof writeTwoVersions>>;
const trace = new FaultTrace();

beforeAll(async () => {
  versions = await writeTwoVersions();
  stage = await startFaultPlatform({
    workers: 1,
    env: { ...trace.env(), ONQUEUE_RETRY_DELAY_MS: '50' },
    models: ALL_MODELS,
    workerEnv: { ONQUEUE_MODELS_DIR: versions.both },
  });
});

afterAll(async () => {
  await stage?.close();
  await versions?.remove();
  trace.remove();
});

const ALL_MODELS = ['linear', 'crash', 'slow'];
const TIMEOUT_MS = sized({ small: 300_000, full: 900_000 });
type Ask = (client: RecordingClient, urls: { armed: string; clean: string }) => Promise<() => Promise<void>>;

/** What makes an armed API pass its fault point, and what must have come of it. */
const API_POINTS: Partial<Record<FaultPointName, Ask>> = {
  'enqueue.before': async (client, { armed }) => {
    expect(await client.submit(quickOrder(1), armed)).toBeUndefined();
    return async () => {};
  },
  'inputs.stored.after': async (client, { armed }) => {
    expect(await client.submit(quickOrder(5), armed)).toBeUndefined();
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
/** Of which no webhook and no verdict depends; endpoint-changes.test.ts looks at what is left of them. */
for (const point of ['endpoint.subscribed.after', 'endpoint.changed.after'] as const) {
  API_POINTS[point] = async (_client, { armed, clean }) => {
    const endpoint = { url: 'http://127.0.0.1:9/', events: ['endpoint.disabled'] };
    const headers = { 'content-type': 'application/json' };
    const post = { method: 'POST', headers, body: JSON.stringify(endpoint) };
    await expect(fetch(`${armed}/webhooks/endpoints`, post)).rejects.toThrow();
    return async () => {
      const { body } = await request<{ data: { id: string }[] }>(`${clean}/webhooks/endpoints`);
      expect(body.data).toHaveLength(point === 'endpoint.changed.after' ? 1 : 0);
      for (const { id } of body.data) await request(`${clean}/webhooks/endpoints/${id}`, { method: 'DELETE' });
    };
  };
}
const WORKER_POINTS = FAULT_POINTS.filter((name) => !(name in API_POINTS));
const VISITS = sized({ small: [1], full: [1, 2, 5] });
const FAILURES = sized({ small: [1], full: [1, 2] });

/** What brings a worker to a point that plain jobs do not come by. */
interface Way {
  env?: Record<string, string>;
  orders?: () => Order[];
  visits?: readonly number[];
  /** Before the worker starts; returns what to do when it is dead. */
  prepare?: (scene: FaultScene, source: JobSourceKind) => Promise<(() => Promise<void>) | undefined>;
}

const EXTRA_WAYS: Partial<Record<FaultPointName, Way>> = {
  // Jobs go back to the queue when the worker has another version of their model.
  'requeue.before': { env: { ONQUEUE_MODELS_DIR: 'first' } },
  'requeue.after': { env: { ONQUEUE_MODELS_DIR: 'first' } },
  // Two attempts fail in a way that the next one may mend. One job only: runners that die are started ever more slowly.
  'attempt.failed.before': { visits: FAILURES, orders: () => [crashOrder()], env: { ONQUEUE_MODELS: 'linear,crash' } },
  'attempt.failed.after': { visits: FAILURES, orders: () => [crashOrder()], env: { ONQUEUE_MODELS: 'linear,crash' } },
  'results.stored.after': { env: { ONQUEUE_INLINE_RESULT_BYTES: '0' } },
  // Locks are renewed every 250 ms, while the job takes longer.
  'renew.before': {
    orders: () => [slowOrder(1500)],
    env: { ONQUEUE_MODELS: 'linear,slow', ONQUEUE_LOCK_DURATION_MS: '500' },
  },
  'renew.after': {
    orders: () => [slowOrder(1500)],
    env: { ONQUEUE_MODELS: 'linear,slow', ONQUEUE_LOCK_DURATION_MS: '500' },
  },
  'sweep.stalled.after': {
    visits: [1],
    // Leaves jobs in its hands.
    prepare: async (scene, source) => {
      await dieAt(scene, { name: 'score.before', visit: 1, source });
      return undefined;
    },
  },
  'sweep.deadlines.after': { visits: [1], prepare: leaveExpiring },
  'relay.reclaim.after': {
    // Events are left behind after five seconds, which is long for every day: there it is only passed.
    visits: sized({ small: [], full: [1] }),
    // Leaves events in its hands.
    prepare: async (scene, source) => {
      await dieAt(scene, { name: 'relay.read.after', visit: 1, source });
      return undefined;
    },
  },
};

/** Those that BullMQ's own worker has no place for. */
const BATCH_ONLY = ['marker.after', 'renew.before', 'renew.after', 'sweep.stalled.before', 'sweep.stalled.after'];
/** Of the source that is not whole every day: where it writes in two steps what the other does in one. */
const EVERY_DAY = [
  'claim.after',
  'results.stored.after',
  'commit.after',
  'requeue.before',
  'attempt.failed.before',
  'finish.after',
];

/** Every day, of the points that plain jobs come by, every other one: which half, the seed says. Of all the test below has errors. */
const isTodays =
  ({ random }: FaultScene) =>
  (name: FaultPointName, index: number) =>
    isFullSize || name in EXTRA_WAYS || index % 2 === random.seed % 2;

onEverySource((source, isWhole) => {
  const points = WORKER_POINTS.filter((name) => source === 'batch' || !BATCH_ONLY.includes(name));

  test(
    'a worker that dies at any point between claim and delivery loses nothing',
    async () => {
      const scene = new FaultScene(stage, `worker-points-${source}`);
      // The only worker of a moment is the one that is to die.
      for (const worker of scene.workers) await scene.kill(worker);
      for (const name of isWhole
        ? points.filter(isTodays(scene))
        : points.filter((point) => EVERY_DAY.includes(point))) {
        const { visits = VISITS, prepare } = EXTRA_WAYS[name] ?? {};
        for (const visit of visits) {
          const restore = await prepare?.(scene, source);
          await dieAt(scene, { name, visit, source });
          await restore?.();
        }
      }
      await stage.platform.startWorker({ ONQUEUE_JOB_SOURCE: source });
      const { ended } = await scene.verdict();
      expect(ended).toEqual(scene.client.expectedEnds);
    },
    TIMEOUT_MS,
  );
});

test(
  'an API that dies around a write leaves what it acknowledged, and no halves of the rest',
  async () => {
    const scene = new FaultScene(stage, 'api-points');
    const clean = String(scene.apis[0]?.baseUrl);
    for (let round = 0; round < sized({ small: 1, full: 20 }); round++) {
      for (const [name, ask] of Object.entries(API_POINTS)) {
        const fault = `${name}=kill`;
        const blobs = name === 'inputs.stored.after' ? { ONQUEUE_INLINE_INPUT_BYTES: '0' } : {};
        const api = await stage.platform.startApi({ ...trace.env(fault), ...blobs });
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
    const orders = Array.from({ length: 30 }, (_, number) => quickOrder(number));
    for (const order of [...orders, crashOrder(), slowOrder(1500)]) await scene.client.submit(order);
    const { ended } = await scene.verdict();
    expect(ended).toEqual(scene.client.expectedEnds);
  },
  TIMEOUT_MS,
);

/** An error of ours while it is scored spends an attempt, lest a job that breaks us goes round for ever; one that is Redis' does not. */
const ERRORS = [
  ['batch', 'score.after', 'failed'],
  ['batch', 'commit.before', 'succeeded'],
  ['stock', 'score.after', 'failed'],
  ['stock', 'commit.before', 'succeeded'],
] as const;

test.each(ERRORS)(
  'a job from the %s source that meets an error at %s three times has %s in the end',
  async (source, name, end) => {
    const scene = new FaultScene(stage, `errors-${source}-${name}`);
    for (const worker of scene.workers) await worker.kill();
    const faults = [1, 2, 3].map((visit) => `${name}=throw@${visit}`);
    await stage.platform.startWorker({ ...trace.env(...faults), ONQUEUE_JOB_SOURCE: source });
    await scene.client.submit({ ...quickOrder(1), end });
    const { ended } = await scene.verdict();
    expect(ended).toEqual(scene.client.expectedEnds);
  },
  TIMEOUT_MS,
);

test('every fault point was passed', () => {
  const visited = trace.visited();
  const expected = FAULT_POINTS.filter((name) => JOB_SOURCES.includes('batch') || !BATCH_ONLY.includes(name));
  expect(expected.filter((name) => !visited.has(name))).toEqual([]);
});

/** Starts a worker that dies at this point, and gives it work until it does. */
async function dieAt(
  scene: FaultScene,
  { name, visit, source }: { name: FaultPointName; visit: number; source: JobSourceKind },
): Promise<void> {
  const { client, random } = scene;
  const fault = `${name}=kill@${visit}`;
  scene.history.record({ kind: 'fault', what: fault });
  const plain = () => [1, 2, 3].map(() => quickOrder(random.between(0, 1_000_000)));
  const { env, orders = plain, prepare } = EXTRA_WAYS[name] ?? {};
  // What the one before has left may end this one while it starts.
  await stage.platform
    .startWorker({
      ...trace.env(fault),
      ONQUEUE_JOB_SOURCE: source,
      ONQUEUE_MODELS: 'linear',
      ...env,
      ...(env?.ONQUEUE_MODELS_DIR ? { ONQUEUE_MODELS_DIR: versions.first } : {}),
    })
    .catch(() => undefined);
  const worker = stage.platform.workers.at(-1);
  if (!worker) throw new Error('No worker was started. This is a bug.');
  // What was prepared is all that it needs; and jobs that come first may be all that it sees.
  for (let round = 0; round < (prepare ? 0 : 20) && !worker.hasExited; round++) {
    // The circuits of workers that died before are believed for some seconds, and their model is refused for as long.
    const taken = (order: Order) =>
      until('the job is taken', async () => (worker.hasExited ? '-' : await client.submit(order)), TIMEOUT_MS);
    const ids = await Promise.all(orders().map(taken));
    const ends = ids.map((id) => (id === '-' || name.startsWith('requeue') ? worker.exited : client.end(id)));
    await Promise.race([worker.exited, Promise.all(ends)]);
  }
  expect([fault, await worker.exited]).toMatchObject([fault, { signal: 'SIGKILL' }]);
}

/**
 * Leaves jobs that are to expire to the next worker alone: their queue is paused, so that nobody starts them, and the APIs
 * stand still, so that none of those ends them.
 */
async function leaveExpiring({ client, apis }: FaultScene): Promise<() => Promise<void>> {
  const resumeQueue = await pauseQueue(stage.redis.url, 'linear');
  for (const number of [1, 2, 3]) await client.submit({ ...quickOrder(number), expires_in: 1, end: 'expired' });
  for (const api of apis) api.pause();
  return async () => {
    for (const api of apis) api.resume();
    await resumeQueue();
  };
}
