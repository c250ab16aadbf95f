import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { predictionRecord } from '@onqueue/shared';
import { closeRedis, connectRedis, RedisKeys } from '@onqueue/shared/redis';
import { acceptedJob, endedJob, type JobBody, postJob, request, runJob } from './support/client.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';
import { type Receiver, startReceiver } from './support/receiver.ts';
import { until } from './support/until.ts';

let platform: TestPlatform;
let models: Awaited<ReturnType<typeof writeTestModels>>;
let receiver: Receiver;
let baseUrl: string;

beforeAll(async () => {
  models = await writeTestModels();
  receiver = await startReceiver();
  platform = await startTestPlatform({ modelsDir: models.dir, apiEnv: { ONQUEUE_BACKLOG_MAX_JOBS: '50' } });
  ({ baseUrl } = platform);
});

afterAll(async () => {
  await platform?.stop();
  await receiver?.close();
  await models?.remove();
});

const row = { x0: 1, x1: 2, x2: 3 };
const cancel = (id: string) => request<JobBody>(`${baseUrl}/jobs/${id}/cancel`, { method: 'POST' });
const retry = (id: string) => request<JobBody>(`${baseUrl}/jobs/${id}/retry`, { method: 'POST' });
const read = async (id: string) => (await request<JobBody>(`${baseUrl}/jobs/${id}`)).body;
const workerMetrics = async () => (await request<string>(`${platform.workers[0]?.baseUrl}/metrics`)).body;
const eventsOf = (id: string) =>
  receiver.requests.map(({ body }) => JSON.parse(body)).filter((event) => event.data.id === id);

/** With every worker held, as if there were none. */
async function whileWorkersHang<T>(work: () => Promise<T>): Promise<T> {
  for (const worker of platform.workers) worker.pause();
  try {
    return await work();
  } finally {
    for (const worker of platform.workers) worker.resume();
  }
}

describe('POST /jobs/:id/cancel', () => {
  test('ends a queued job at once, and it never runs', async () => {
    const id = await whileWorkersHang(async () => {
      const queued = await acceptedJob(baseUrl, { model: 'linear', input: row, webhook: receiver.url('/canceled') });
      expect(await cancel(queued)).toMatchObject({
        status: 200,
        body: { status: 'canceled', error: { code: 'canceled' } },
      });
      return queued;
    });
    await runJob(baseUrl, { model: 'linear', input: row });
    expect(await read(id)).toMatchObject({ status: 'canceled', attempt: 0, results: null });
    await until('the webhook came', () => eventsOf(id).length > 0);
    expect(eventsOf(id)).toMatchObject([{ type: 'job.canceled', data: { status: 'canceled' } }]);
  });

  test('ends a running job at once, discards its result and frees its runner', async () => {
    const id = await acceptedJob(baseUrl, { model: 'slow', input: { steps: 60_000_000 } });
    await until('the job runs', async () => (await read(id)).status === 'running');
    const { body, durationMs } = await cancel(id);
    expect(body).toMatchObject({ status: 'canceled' });
    expect(durationMs).toBeLessThan(1000);
    // The runner was busy for hours to come: it was killed, and the next job runs on a new one.
    expect(await runJob(baseUrl, { model: 'slow', input: { steps: 1 } })).toMatchObject({
      status: 'succeeded',
      attempt: 1,
    });
    expect(await workerMetrics()).toMatch(
      /^onqueue_runner_restarts_total\{model="slow",version="1",cause="canceled"\} 1$/m,
    );
    expect(await read(id)).toMatchObject({ status: 'canceled', results: null });
  });

  test('harms no job in the same batch', async () => {
    // While the blocker runs the two gather behind it; their batch runs for seconds, so that the cancel meets it.
    const blocker = await acceptedJob(baseUrl, { model: 'slow', input: { steps: 1500 } });
    await until('the blocker runs', async () => (await read(blocker)).status === 'running');
    const [victim, neighbour] = await Promise.all([
      acceptedJob(baseUrl, { model: 'slow', input: { steps: 4000 } }),
      acceptedJob(baseUrl, { model: 'slow', input: { steps: 600 } }),
    ]);
    await endedJob(baseUrl, blocker);
    expect(await cancel(victim)).toMatchObject({ status: 200, body: { status: 'canceled' } });
    expect(await endedJob(baseUrl, neighbour)).toMatchObject({
      status: 'succeeded',
      attempt: 1,
      provenance: { batch_size: 2 },
    });
    expect(await read(victim)).toMatchObject({ status: 'canceled', results: null });
  });

  test('may be repeated, and comes too late for a job that has ended', async () => {
    const ended = await runJob(baseUrl, { model: 'linear', input: row });
    expect(await cancel(ended.id)).toMatchObject({ status: 409, body: { code: 'job_ended' } });
    const canceled = await whileWorkersHang(async () => {
      const id = await acceptedJob(baseUrl, { model: 'linear', input: row });
      await cancel(id);
      return id;
    });
    expect(await cancel(canceled)).toMatchObject({ status: 200, body: { status: 'canceled' } });
  });

  test('does not know what is not there', async () => {
    expect(await cancel('job_x')).toMatchObject({ status: 404, body: { code: 'job_not_found' } });
    expect(await request(`${baseUrl}/jobs/job_x/cancel`)).toMatchObject({ status: 405 });
  });

  test('wakes who waits', async () => {
    await whileWorkersHang(async () => {
      const id = await acceptedJob(baseUrl, { model: 'linear', input: row });
      const waiting = request<JobBody>(`${baseUrl}/jobs/${id}?wait=60`);
      await until('the wait is held', async () =>
        /^onqueue_waiters 1$/m.test((await request<string>(`${baseUrl}/metrics`)).body),
      );
      await cancel(id);
      expect(await waiting).toMatchObject({ body: { status: 'canceled' } });
    });
  });
});

describe('expires_in', () => {
  test('ends a job that nobody started, without any worker', async () => {
    await whileWorkersHang(async () => {
      const id = await acceptedJob(baseUrl, {
        model: 'linear',
        input: row,
        expires_in: 0.2,
        webhook: receiver.url('/expired'),
      });
      expect(await endedJob(baseUrl, id)).toMatchObject({ status: 'expired', attempt: 0, error: { code: 'expired' } });
    });
  });

  test('is no matter once the job has started', async () => {
    const job = await runJob(baseUrl, { model: 'slow', input: { steps: 2500 }, expires_in: 0.3 });
    expect(job).toMatchObject({ status: 'succeeded' });
  });
});

describe('timeout', () => {
  test('fails a run that takes too long, and frees its runner', async () => {
    const job = await runJob(baseUrl, { model: 'slow', input: { steps: 60_000_000 }, timeout: 0.5 });
    expect(job).toMatchObject({ status: 'failed', error: { code: 'timeout' }, results: null });
    expect(await runJob(baseUrl, { model: 'slow', input: { steps: 1 } })).toMatchObject({ status: 'succeeded' });
  });

  test('leaves alone what is quick enough', async () => {
    expect(await runJob(baseUrl, { model: 'linear', input: row, timeout: 600, expires_in: 600 })).toMatchObject({
      status: 'succeeded',
    });
  });

  test.each([0, -1, 604_801, '5'])('of %p is refused', async (seconds) => {
    for (const field of ['timeout', 'expires_in']) {
      expect(await postJob(baseUrl, { model: 'linear', input: row, [field]: seconds })).toMatchObject({
        status: 400,
        body: { errors: [{ pointer: `/${field}` }] },
      });
    }
  });
});

describe('POST /jobs/:id/retry', () => {
  test('opens the next run under the same id, and keeps the history', async () => {
    const id = await whileWorkersHang(async () => {
      const job = await acceptedJob(baseUrl, { model: 'linear', input: row, webhook: receiver.url('/retried') });
      await cancel(job);
      return job;
    });
    expect(await retry(id)).toMatchObject({
      status: 202,
      // A worker may have it already, or have ended it.
      body: { id, run: 2 },
    });
    expect(await endedJob(baseUrl, id)).toMatchObject({
      status: 'succeeded',
      run: 2,
      attempt: 1,
      results: [{ output: { score: 6 } }],
      provenance: { run: 2 },
    });
    const { body } = await request(`${baseUrl}/jobs/${id}/runs`);
    expect(body).toMatchObject({
      object: 'list',
      data: [
        { object: 'run', run: 2, status: 'succeeded', attempt: 1, rows: { total: 1, succeeded: 1 } },
        { object: 'run', run: 1, status: 'canceled', attempt: 0, error: { code: 'canceled' }, results: null },
      ],
    });
    // Each run tells its own end, under its own id.
    await until('both webhooks came', () => eventsOf(id).length >= 2);
    expect(
      eventsOf(id)
        .map(({ type }) => type)
        .toSorted(),
    ).toEqual(['job.canceled', 'job.succeeded']);
  });

  test('runs a failed job as often as asked', async () => {
    const job = await runJob(baseUrl, { model: 'lookup', inputs: [{ index: 1 }, { index: 99 }] });
    for (const run of [2, 3]) {
      expect(await retry(job.id)).toMatchObject({ status: 202, body: { run } });
      expect(await endedJob(baseUrl, job.id)).toMatchObject({ status: 'failed', run, error: { row: 1 } });
    }
    const { body } = await request<{ data: { run: number; results: unknown[] }[] }>(`${baseUrl}/jobs/${job.id}/runs`);
    expect(body.data.map(({ run, results }) => [run, results.length])).toEqual([
      [3, 2],
      [2, 2],
      [1, 2],
    ]);
  });

  test('is for jobs that ended without success', async () => {
    const ended = await runJob(baseUrl, { model: 'linear', input: row });
    expect(await retry(ended.id)).toMatchObject({ status: 409, body: { code: 'job_not_retryable' } });
    await whileWorkersHang(async () => {
      const queued = await acceptedJob(baseUrl, { model: 'linear', input: row });
      expect(await retry(queued)).toMatchObject({ status: 409, body: { code: 'job_not_retryable' } });
    });
    expect(await retry('job_x')).toMatchObject({ status: 404 });
  });

  test('counts against the backlog like a new job', async () => {
    const failed = await runJob(baseUrl, { model: 'lookup', input: { index: 99 } });
    await whileWorkersHang(async () => {
      const ids: string[] = [];
      for (let n = 0; n < 50; n++) ids.push(await acceptedJob(baseUrl, { model: 'lookup', input: { index: 1 } }));
      expect(await retry(failed.id)).toMatchObject({ status: 429, body: { code: 'backlog_full' } });
      expect(await read(failed.id)).toMatchObject({ status: 'failed', run: 1 });
      for (const id of ids) await cancel(id);
    });
    expect(await retry(failed.id)).toMatchObject({ status: 202 });
    await endedJob(baseUrl, failed.id);
  });
});

test('every success leaves a line in the prediction log, with scores and hashes and without inputs', async () => {
  const job = await runJob(baseUrl, {
    model: 'linear',
    inputs: [row, { x0: 3e38, x1: 3e38, x2: 0 }],
    on_row_error: 'continue',
  });
  const redis = connectRedis(platform.redisUrl, { kind: 'worker' }, () => {});
  const keys = new RedisKeys('oq');
  try {
    const entries = await redis.xrevrange(keys.predictions(0, 'linear'), '+', '-', 'COUNT', 1);
    const [, prediction, , originId] = entries[0]?.[1] ?? [];
    const record = predictionRecord.parse(JSON.parse(String(prediction)));
    expect(record).toMatchObject({ job_id: job.id, request_id: job.request_id, scores: [{ score: 6 }, null] });
    const { artifact_sha256, preprocess_sha256, decision_policy_sha256 } = job.provenance ?? {};
    expect(JSON.parse(String(await redis.hget(keys.origins(0), String(originId))))).toMatchObject({
      model: 'linear',
      version: '1',
      artifact_sha256,
      preprocess_sha256,
      decision_policy_sha256,
    });
    expect(JSON.stringify(record)).not.toContain('3e+38');
  } finally {
    await closeRedis(redis);
  }
});
