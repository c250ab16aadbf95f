import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { closeRedis, connectRedis, type RedisConnection, RedisKeys } from '@onqueue/shared/redis';
import { endedJob, postJob, request, runJob } from './support/client.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';

let models: Awaited<ReturnType<typeof writeTestModels>>;
let platform: TestPlatform;
let redis: RedisConnection;
const KEYS = new RedisKeys('oq');

beforeAll(async () => {
  models = await writeTestModels();
  platform = await startTestPlatform({ modelsDir: models.dir });
  redis = connectRedis(platform.redisUrl, { kind: 'worker' }, () => undefined);
});
afterAll(async () => {
  if (redis) await closeRedis(redis);
  await platform?.stop();
  await models?.remove();
});

/** Redis' clock, by which jobs are committed, in ms. */
async function now(): Promise<number> {
  const [seconds = 0, microseconds = 0] = await redis.time();
  return Number(seconds) * 1000 + Number(microseconds) / 1000;
}

/** A job that is alone on the platform: how long it took from before its POST to its commit, and what its phases say. */
async function timedJob(body: unknown) {
  const startedAtMs = await now();
  const { body: accepted } = await postJob(platform.baseUrl, body);
  const { timings, id } = await endedJob(platform.baseUrl, accepted.id);
  const finishedUs = await redis.hget(KEYS.job(0, 'default', id), 'finished_us');
  const { total_ms: totalMs = Number.NaN, ...phases } = timings as Record<string, number>;
  return { wallMs: Number(finishedUs) / 1000 - startedAtMs, totalMs, phases };
}

const sumOf = (phases: Record<string, number>) => Object.values(phases).reduce((sum, ms) => sum + ms, 0);
const median = (values: number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

test('the phases of a job sum to its total, which is never more than passed between its POST and its commit', async () => {
  for (let job = 0; job < 60; job++) {
    const { wallMs, totalMs, phases } = await timedJob({ model: 'linear', input: { x0: 1, x1: 2, x2: 3 } });
    expect(Object.values(phases).every((ms) => ms >= 0)).toBe(true);
    expect(sumOf(phases)).toBeCloseTo(totalMs, 2);
    // Both ends are told by clocks of their own.
    expect(totalMs).toBeLessThanOrEqual(wallMs + 1);
  }
});

test('the phases leave no gap: they sum to the time from the POST to the commit within 2 %', async () => {
  const body = { model: 'slow', input: { steps: 200 } };
  await timedJob(body);
  const gaps: number[] = [];
  for (let job = 0; job < 15; job++) {
    const { wallMs, phases } = await timedJob(body);
    gaps.push((wallMs - sumOf(phases)) / wallMs);
  }
  // What a request has to wait for a core of a busy machine before the API sees it is before the first phase, and now and
  // then long: the median is not disturbed by it.
  expect(median(gaps)).toBeLessThanOrEqual(0.02);
});

test('a run that a retry opens has no network in, and the first one keeps its own', async () => {
  const { baseUrl } = platform;
  const job = await runJob(baseUrl, { model: 'lookup', input: { index: 99 } });
  expect(job.status).toBe('failed');
  await request(`${baseUrl}/jobs/${job.id}/retry`, { method: 'POST' });
  await endedJob(baseUrl, job.id);
  const { body } = await request<{ data: { run: number; timings: Record<string, number> }[] }>(
    `${baseUrl}/jobs/${job.id}/runs`,
  );
  expect(body.data.map(({ run, timings }) => [run, timings.network_in_ms])).toEqual([
    [2, 0],
    [1, job.timings?.network_in_ms],
  ]);
});

test('the phases before the queue are a metric of the API, the others of the worker', async () => {
  await runJob(platform.baseUrl, { model: 'linear', input: { x0: 1, x1: 2, x2: 3 } });
  const phasesOf = async (baseUrl: string | undefined) => {
    const { body } = await request<string>(`${baseUrl}/metrics`);
    return new Set(
      [...body.matchAll(/^onqueue_phase_duration_seconds_count\{model="linear",phase="(\w+)"/gm)].map(
        ([, phase]) => phase,
      ),
    );
  };
  expect(await phasesOf(platform.baseUrl)).toEqual(new Set(['network_in', 'validate']));
  expect(await phasesOf(platform.workers[0]?.baseUrl)).toEqual(
    new Set(['queue', 'batch_wait', 'preprocess', 'inference', 'postprocess', 'store']),
  );
});
