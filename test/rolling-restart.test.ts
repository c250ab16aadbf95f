import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { ChildService } from '@onqueue/launcher';
import { closeRedis, connectRedis, RedisKeys } from '@onqueue/shared/redis';
import { inParallel } from './faults/support/in-parallel.ts';
import { type Answer, endedJob, type JobBody, postJob, request } from './support/client.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';

let platform: TestPlatform;
let models: Awaited<ReturnType<typeof writeTestModels>>;

beforeAll(async () => {
  models = await writeTestModels();
  const workerEnv = { ONQUEUE_MODELS: 'slow' };
  platform = await startTestPlatform({ modelsDir: models.dir, apis: 2, workers: 2, workerEnv });
});

afterAll(async () => {
  await platform?.stop();
  await models?.remove();
});

/** Enough in hand for full batches in both workers. */
const CLIENTS = 32;
const MEASURED_JOBS = 150;
/** A job takes this many times 0.3-1 ms: what is measured, and then passed, is what the workers can do. */
const STEPS = 40;
/** Nothing is offered beyond these, however long a restart takes; the backlog's cap is far above. */
const MAX_JOBS = 4000;
/** So many of the jobs have a client who waits by long poll while processes go away. */
const WATCHED_SHARE = 0.1;

const alive = (services: readonly ChildService[]) => services.filter(({ hasExited }) => !hasExited);

/** A connection that is refused or cut goes to the next API, as load balancers and careful clients do it. */
async function anywhere<T>(ask: (baseUrl: string) => Promise<T>): Promise<T> {
  for (;;) {
    for (const { baseUrl } of alive(platform.apis)) {
      try {
        return await ask(baseUrl);
      } catch (error) {
        // What fetch throws when there is no connection; jest's realm has another TypeError.
        if ((error as Error).name !== 'TypeError') throw error;
      }
    }
  }
}

/** A request that was cut may have been carried out all the same: the key tells the next API that it is the same job. */
const submit = (key: string) =>
  anywhere((baseUrl) => postJob(baseUrl, { model: 'slow', input: { steps: STEPS } }, { 'idempotency-key': key }));
const ended = (id: string) => anywhere((baseUrl) => endedJob(baseUrl, id, 120_000));

/** Jobs a second that the platform ends when it has as many as it can use. */
async function measureCapacity(): Promise<number> {
  const startedAt = performance.now();
  await inParallel(Array(MEASURED_JOBS).keys(), CLIENTS, async (number) => {
    const { status, body } = await submit(`measured-${number}`);
    expect(status).toBe(202);
    expect(await ended(body.id)).toMatchObject({ status: 'succeeded' });
  });
  return (MEASURED_JOBS * 1000) / (performance.now() - startedAt);
}

/** An open loop: so many jobs a second, whether or not the ones before have been answered. */
function offer(perSecond: number) {
  const refused: Answer<JobBody>[] = [];
  const accepted: string[] = [];
  const watched: Promise<JobBody>[] = [];
  let isOver = false;
  const submitOne = async (number: number) => {
    const answer = await submit(`offered-${number}`);
    if (answer.status !== 202) {
      refused.push(answer);
      return;
    }
    accepted.push(answer.body.id);
    if (number % (1 / WATCHED_SHARE) === 0) watched.push(ended(answer.body.id));
  };
  const offering = (async () => {
    const startedAt = performance.now();
    const requests: Promise<void>[] = [];
    while (!isOver && requests.length < MAX_JOBS) {
      const due = Math.min(MAX_JOBS, Math.floor(((performance.now() - startedAt) / 1000) * perSecond));
      while (requests.length < due) requests.push(submitOne(requests.length));
      await delay(10); // The pace of the load, not a wait for anything.
    }
    const seconds = (performance.now() - startedAt) / 1000;
    await Promise.all(requests);
    return { perSecond: requests.length / seconds, seconds };
  })();
  return {
    async stop() {
      isOver = true;
      const offered = await offering;
      return { ...offered, refused, accepted, watched: await Promise.all(watched) };
    },
  };
}

test('every process is replaced under twice the load: no request fails, no job is lost, none stalls or ends twice', async () => {
  const capacity = await measureCapacity();
  const load = offer(2 * capacity);

  for (const worker of [...platform.workers]) {
    await platform.startWorker();
    expect(await worker.stop()).toMatchObject({ code: 0 });
  }
  for (const api of [...platform.apis]) {
    await platform.startApi();
    expect(await api.stop()).toMatchObject({ code: 0 });
  }
  const { refused, accepted, watched, perSecond, seconds } = await load.stop();
  process.stdout.write(
    `rolling restart: ${capacity.toFixed(0)} jobs/s measured, ${perSecond.toFixed(0)} offered for ${seconds.toFixed(1)} s\n`,
  );

  expect(refused).toEqual([]);
  expect(accepted.length).toBeGreaterThan(100);
  expect(new Set(accepted).size).toBe(accepted.length);
  expect(perSecond).toBeGreaterThan(1.5 * capacity);
  const jobs = await inParallel(accepted, CLIENTS, ended);
  for (const job of [...jobs, ...watched]) {
    // A second attempt would say that a worker left something behind.
    expect(job).toMatchObject({ status: 'succeeded', attempt: 1, results: [{ output: { score: STEPS } }] });
  }
  expect(await finishedJobs()).toEqual({ jobs: '0', finished_jobs: String(MEASURED_JOBS + accepted.length) });
  const { body } = await anywhere((baseUrl) => request<string>(`${baseUrl}/metrics`));
  expect(body).toMatch(/^onqueue_queue_depth_jobs\{model="slow"\} 0$/m);
}, 300_000);

/** As Redis counts them: one too many has ended twice, or was never told to anybody. */
async function finishedJobs(): Promise<Record<string, string | null>> {
  const redis = connectRedis(platform.redis.url, { kind: 'worker' }, () => {});
  const [jobs = null, finished = null] = await redis.hmget(
    new RedisKeys('oq').backlog(0, 'slow'),
    'jobs',
    'finished_jobs',
  );
  await closeRedis(redis);
  return { jobs, finished_jobs: finished };
}
