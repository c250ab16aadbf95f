import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { acceptedJob, endedJob, request } from './support/client.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';
import { type Receiver, startReceiver } from './support/receiver.ts';
import { until } from './support/until.ts';

let platform: TestPlatform;
let models: Awaited<ReturnType<typeof writeTestModels>>;
let receiver: Receiver;

beforeAll(async () => {
  models = await writeTestModels();
  receiver = await startReceiver();
  platform = await startTestPlatform({ modelsDir: models.dir, apis: 2, workers: 2 });
});

afterAll(async () => {
  await platform?.stop();
  await receiver?.close();
  await models?.remove();
});

const metric = async (baseUrl: string | undefined, pattern: RegExp) => {
  const { body } = await request<string>(`${baseUrl}/metrics`);
  return Number(pattern.exec(body)?.[1] ?? 0);
};

describe('a worker killed in the middle of its batches', () => {
  test('loses no job and ends none twice; every webhook has one id', async () => {
    const [first, second] = platform.apis.map((api) => api.baseUrl) as [string, string];
    const count = 60;
    const [victim, survivor] = platform.workers;
    // Nobody computes while they are posted: so both have plenty in hand when they begin.
    for (const worker of platform.workers) worker.pause();
    const ids = await Promise.all(
      Array.from({ length: count }, (_, n) =>
        acceptedJob(n % 2 ? first : second, { model: 'slow', input: { steps: 150 }, webhook: receiver.url(`/${n}`) }),
      ),
    );
    for (const worker of platform.workers) worker.resume();
    await until('the victim has a batch in its runner', async () => {
      const started = await metric(victim?.baseUrl, /^onqueue_batch_rows_count\{model="slow",version="1"\} (\d+)$/m);
      return started > 0;
    });
    await victim?.kill();

    const jobs = await Promise.all(ids.map((id, n) => endedJob(n % 2 ? second : first, id)));
    expect(new Set(jobs.map(({ status }) => status))).toEqual(new Set(['succeeded']));
    expect(jobs.every(({ results }) => results?.[0]?.output?.score === 150)).toBe(true);
    // Some were in the victim's hands: the survivor took them up, as their second attempt.
    expect(jobs.filter(({ attempt }) => attempt > 1).length).toBeGreaterThan(0);
    const orphans = jobs.filter(({ attempt }) => attempt > 1).map(({ provenance }) => String(provenance?.worker));
    expect(new Set(orphans).size).toBe(1);

    // A delivery may come twice; every job's must come once.
    const idsByPath = () => {
      const found = new Map<string, Set<string>>();
      for (const { path, headers } of receiver.requests) {
        found.set(path, (found.get(path) ?? new Set()).add(String(headers['webhook-id'])));
      }
      return found;
    };
    await until('every webhook came', () => idsByPath().size === count);
    expect([...idsByPath().values()].map((events) => events.size)).toEqual(Array(count).fill(1));

    // What the queue still counts is nothing: each job left the backlog exactly once.
    expect(await metric(first, /^onqueue_queue_depth_jobs\{model="slow"\} (-?\d+)$/m)).toBe(0);
    expect(survivor?.hasExited).toBe(false);
  });
});

describe('a worker that freezes beyond its lock', () => {
  test('cannot overwrite what another one did meanwhile', async () => {
    const frozen = await platform.startWorker();
    const [api] = platform.apis;
    const baseUrl = String(api?.baseUrl);
    const others = platform.workers.filter((worker) => worker !== frozen && !worker.hasExited);
    for (const other of others) other.pause();
    const id = await acceptedJob(baseUrl, { model: 'slow', input: { steps: 700 } });
    await until('the job runs', async () => (await request(`${baseUrl}/jobs/${id}`)).body.status === 'running');
    frozen.pause();
    for (const other of others) other.resume();

    const job = await endedJob(baseUrl, id);
    expect(job.status).toBe('succeeded');
    expect(job.attempt).toBeGreaterThanOrEqual(2);
    frozen.resume();
    // It ends when all that it held is settled: what it computed is refused, or it has found its lock gone before.
    expect(await frozen.stop()).toMatchObject({ code: 0 });
    expect((await request(`${baseUrl}/jobs/${id}`)).body).toEqual(job);
  });
});
