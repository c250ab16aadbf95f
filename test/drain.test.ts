import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { freePort, repoRoot } from '@onqueue/launcher';
import { closeRedis, connectRedis } from '@onqueue/shared/redis';
import { acceptedJob, endedJob, type JobBody, postJob, request } from './support/client.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';
import { until } from './support/until.ts';

let platform: TestPlatform;
let models: Awaited<ReturnType<typeof writeTestModels>>;

beforeAll(async () => {
  models = await writeTestModels();
  platform = await startTestPlatform({ modelsDir: models.dir, apis: 2, workers: 1 });
});

afterAll(async () => {
  await platform?.stop();
  await models?.remove();
});

test('SIGTERM lets a worker finish what it has claimed, and leaves the rest to others', async () => {
  const [api] = platform.apis;
  const baseUrl = String(api?.baseUrl);
  const [worker] = platform.workers;
  const ids = await Promise.all(
    Array.from({ length: 40 }, () => acceptedJob(baseUrl, { model: 'slow', input: { steps: 100 } })),
  );
  await until('some have ended', async () => {
    const { body } = await request<string>(`${worker?.baseUrl}/metrics`);
    return /^onqueue_jobs_finished_total\{model="slow"/m.test(body);
  });
  expect(await worker?.stop()).toMatchObject({ code: 0 });

  const states = await Promise.all(ids.map(async (id) => (await request<JobBody>(`${baseUrl}/jobs/${id}`)).body));
  expect(states.filter(({ status }) => status === 'running')).toEqual([]);
  expect(states.filter(({ status }) => status === 'succeeded').length).toBeGreaterThan(0);

  await platform.startWorker();
  const jobs = await Promise.all(ids.map((id) => endedJob(baseUrl, id)));
  // Nothing was claimed in vain: every job ended at its first attempt.
  expect(jobs.map(({ status, attempt }) => [status, attempt])).toEqual(jobs.map(() => ['succeeded', 1]));
});

test('a worker that cannot finish in time hands its jobs back, and another takes them up at once', async () => {
  const [api] = platform.apis;
  const baseUrl = String(api?.baseUrl);
  for (const worker of platform.workers) if (!worker.hasExited) await worker.stop();
  const hasty = await platform.startWorker({ ONQUEUE_WORKER_DRAIN_TIMEOUT_MS: '100' });
  const id = await acceptedJob(baseUrl, { model: 'slow', input: { steps: 6000 } });
  await until('the job runs', async () => (await request(`${baseUrl}/jobs/${id}`)).body.status === 'running');
  const startedAt = performance.now();
  expect(await hasty.stop()).toMatchObject({ code: 0 });
  expect(performance.now() - startedAt).toBeLessThan(5000);
  expect((await request(`${baseUrl}/jobs/${id}`)).body).toMatchObject({ status: 'queued', attempt: 1 });

  await platform.startWorker();
  expect(await endedJob(baseUrl, id)).toMatchObject({ status: 'succeeded', attempt: 2 });
});

test.each(['batch', 'stock'])('SIGTERM while a worker starts ends it all the same (%s)', async (source) => {
  const port = await freePort();
  const worker = spawn(process.execPath, [join(repoRoot, 'apps/worker/dist/main.js')], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env.PATH,
      REDIS_URL: platform.redisUrl,
      ONQUEUE_MODELS_DIR: String(models?.dir),
      ONQUEUE_WORKER_PORT: String(port),
      ONQUEUE_JOB_SOURCE: source,
    },
  });
  const log: string[] = [];
  for (const stream of [worker.stdout, worker.stderr]) stream.on('data', (chunk) => log.push(String(chunk)));
  const ended = once(worker, 'close');
  try {
    // It listens before it has loaded its models.
    await until('it listens', () => request(`http://127.0.0.1:${port}/readyz`).catch(() => undefined));
    worker.kill('SIGTERM');
    const [code, signal] = await ended;
    expect({ code, signal, log: code === 0 ? '' : log.join('') }).toEqual({ code: 0, signal: null, log: '' });
  } finally {
    worker.kill('SIGKILL');
  }
});

test('SIGTERM while Redis refuses to write ends a worker in order', async () => {
  const [api] = platform.apis;
  const worker = await platform.startWorker();
  const redis = connectRedis(platform.redisUrl, { kind: 'worker' }, () => {});
  try {
    await redis.call('REPLICAOF', '127.0.0.1', '1');
    expect(await worker.stop()).toMatchObject({ code: 0 });
  } finally {
    await redis.call('REPLICAOF', 'NO', 'ONE');
    await closeRedis(redis);
  }
  await until('the API is ready again', async () => (await request(`${api?.baseUrl}/readyz`)).status === 200);
});

test('SIGTERM lets an API answer who waits, and take nothing more', async () => {
  const [keeper, leaver] = platform.apis;
  for (const worker of platform.workers) if (!worker.hasExited) worker.pause();
  try {
    const { body } = await postJob(String(leaver?.baseUrl), { model: 'linear', input: { x0: 1, x1: 1, x2: 1 } });
    const waiting = request<JobBody>(`${leaver?.baseUrl}/jobs/${body.id}?wait=60`);
    await until('the wait is held', async () =>
      /^onqueue_waiters 1$/m.test((await request<string>(`${leaver?.baseUrl}/metrics`)).body),
    );
    const exit = leaver?.stop();
    expect((await waiting).status).toBe(200);
    expect(await exit).toMatchObject({ code: 0 });
    await expect(request(`${leaver?.baseUrl}/livez`)).rejects.toThrow();
    expect(await request(`${keeper?.baseUrl}/readyz`)).toMatchObject({ status: 200 });
  } finally {
    for (const worker of platform.workers) if (!worker.hasExited) worker.resume();
  }
});
