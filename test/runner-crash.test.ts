import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { acceptedJob, endedJob, type JobBody, request, runJob } from './support/client.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';
import { runnerPidsOf } from './support/runner-pids.ts';
import { until } from './support/until.ts';

let platform: TestPlatform;
let models: Awaited<ReturnType<typeof writeTestModels>>;
let baseUrl: string;

beforeAll(async () => {
  models = await writeTestModels();
  platform = await startTestPlatform({
    modelsDir: models.dir,
    workerEnv: { ONQUEUE_RETRY_DELAY_MS: '20', ONQUEUE_BATCH_TIMEOUT_MS: '2500' },
    apiEnv: { ONQUEUE_RETRY_DELAY_MS: '20' },
  });
  ({ baseUrl } = platform);
});

afterAll(async () => {
  await platform?.stop();
  await models?.remove();
});

const workerMetrics = async () => (await request<string>(`${platform.workers[0]?.baseUrl}/metrics`)).body;

const runnerPids = () => runnerPidsOf(platform.workers[0]?.pid);

const batchRuns = async () =>
  /^onqueue_batch_rows_count\{model="slow",version="1"\} (\d+)$/m.exec(await workerMetrics())?.[1] ?? '0';

/** Posts a job of rows that take a while, and kills every runner once its batch runs. */
async function killRunnersUnder(rows: number): Promise<JobBody> {
  const before = await batchRuns();
  const id = await acceptedJob(baseUrl, { model: 'slow', inputs: Array(rows).fill({ steps: 800 }) });
  await until('its batch runs', async () => (await batchRuns()) !== before);
  const pids = runnerPids();
  expect(pids).toHaveLength(4);
  for (const pid of pids) process.kill(pid, 'SIGKILL');
  const job = await endedJob(baseUrl, id);
  await until(
    'all four runners are back',
    async () => (await workerMetrics()).match(/^onqueue_runners_ready\{.*\} 1$/gm)?.length === 4,
  );
  expect(runnerPids().filter((pid) => pids.includes(pid))).toEqual([]);
  return job;
}

test('a runner that is killed is respawned and its batch tried again, within the same attempt', async () => {
  expect(await killRunnersUnder(4)).toMatchObject({ status: 'succeeded', attempt: 1, rows: { succeeded: 4 } });
  expect(await workerMetrics()).toMatch(/^onqueue_runner_restarts_total\{model="slow",version="1",cause="crash"\} 1$/m);
});

test('a row that was alone in its runner when that was killed is tried again, as the next attempt', async () => {
  const job = await killRunnersUnder(1);
  expect(job.status).toBe('succeeded');
  // One more where the new runner keeps it waiting: then it goes back to the queue in between.
  expect(job.attempt).toBeGreaterThanOrEqual(2);
});

// The deadly row is one of x86-64's; other processors have an answer to it.
const onX64 = process.arch === 'x64' ? test : test.skip;

onX64('a row that kills its runner fails alone, after its attempts; its neighbours succeed', async () => {
  const job = await runJob(baseUrl, {
    model: 'crash',
    inputs: [{ divisor: 1 }, { divisor: -1 }, { divisor: 1 }],
    on_row_error: 'continue',
  });
  expect(job).toMatchObject({ status: 'succeeded', rows: { succeeded: 2, failed: 1 }, attempt: 3 });
  expect(job.results?.[1]).toMatchObject({ status: 'failed', error: { code: 'runner_crashed' } });
});

test('a row that never ends is killed at the deadline; its neighbours succeed', async () => {
  const job = await runJob(baseUrl, {
    model: 'slow',
    // Above 2^53 nothing is exact; this is long enough to outlast any deadline.
    inputs: [{ steps: 1 }, { steps: 9_000_000_000_000 }],
    on_row_error: 'continue',
  });
  expect(job.results).toMatchObject([
    { status: 'succeeded', output: { score: 1 } },
    { status: 'failed', error: { code: 'runner_timeout' } },
  ]);
});

test('other models keep working beside all that', async () => {
  const [crashing, healthy] = await Promise.all([
    runJob(baseUrl, { model: 'crash', input: { divisor: -1 } }),
    runJob(baseUrl, { model: 'linear', input: { x0: 1, x1: 1, x2: 1 } }),
  ]);
  expect(healthy.status).toBe('succeeded');
  expect(crashing.attempt).toBe(process.arch === 'x64' ? 3 : 1);
});
