import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { acceptedJob, endedJob, type JobBody, postJob, request, runJob } from './support/client.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';
import { type Receiver, startReceiver } from './support/receiver.ts';
import { until } from './support/until.ts';

/** What a job may ask for beside its rows. */

let platform: TestPlatform;
let models: Awaited<ReturnType<typeof writeTestModels>>;
let receiver: Receiver;
let baseUrl: string;
let redis: Redis;

beforeAll(async () => {
  models = await writeTestModels();
  receiver = await startReceiver();
  platform = await startTestPlatform({
    modelsDir: models.dir,
    apiEnv: { ONQUEUE_MAX_RETENTION_S: '3600', ONQUEUE_MAX_DELAY_S: '7200' },
  });
  ({ baseUrl } = platform);
  redis = new Redis(platform.redisUrl);
});

afterAll(async () => {
  redis?.disconnect();
  await platform?.stop();
  await receiver?.close();
  await models?.remove();
});

const row = { x0: 1, x1: 2, x2: 3 };
const job = { model: 'linear', input: row };
const read = async (id: string) => (await request<JobBody>(`${baseUrl}/jobs/${id}`)).body;
const keyOf = (id: string) => `oq:{0}:job:default:${id}`;
const eventsOf = (id: string) =>
  receiver.requests.map(({ body }) => JSON.parse(body)).filter((event) => event.data.id === id);

async function whileWorkersHang<T>(work: () => Promise<T>): Promise<T> {
  for (const worker of platform.workers) worker.pause();
  try {
    return await work();
  } finally {
    for (const worker of platform.workers) worker.resume();
  }
}

test.each([
  ['priority', 6],
  ['priority', -6],
  ['priority', 0.5],
  ['priority', 'high'],
  ['delay', -1],
  ['delay', 7201],
  ['delay', 'soon'],
  ['run_at', 'tomorrow'],
  ['run_at', '2026-13-01T00:00:00Z'],
  ['run_at', '2126-01-01T00:00:00Z'],
  ['run_at', 0],
  ['retries', -1],
  ['retries', 21],
  ['retries', 1.5],
  ['retention', 0],
  ['retention', 3601],
  ['expires_in', 0],
  ['timeout', 604_801],
  ['webhook_events', ['job.succeeded']],
  ['webhook_events', []],
  ['service_class', 'gold'],
  ['on_row_error', 'ignore'],
])('a job with %s %j is refused, and the place named', async (field, value) => {
  const { status, body } = await postJob<{ code: string; errors: { pointer: string }[] }>(baseUrl, {
    ...job,
    [field]: value,
  });
  expect([status, body.code, body.errors[0]?.pointer]).toEqual([
    400,
    'invalid_request',
    expect.stringMatching(`^/${field}`),
  ]);
});

test('the largest of everything is taken', async () => {
  const body = { ...job, priority: 5, retries: 20, retention: 3600, expires_in: 604_800, timeout: 604_800 };
  expect(await runJob(baseUrl, body)).toMatchObject({ status: 'succeeded', priority: 5, attempt: 1 });
});

describe('delay and run_at', () => {
  test('keep a job queued until its time, which is shown; then it runs, and its time in the queue begins', async () => {
    const posted = await postJob(baseUrl, { ...job, delay: 1.5, expires_in: 60 });
    expect(posted.status).toBe(202);
    const { id } = posted.body;
    const before = await read(id);
    expect(before).toMatchObject({ status: 'queued', started_at: null });
    const scheduledMs = Date.parse(String(before.scheduled_at));
    expect(scheduledMs - Date.parse(String(before.created_at))).toBeGreaterThanOrEqual(1499);
    const ended = await endedJob(baseUrl, id);
    expect(ended).toMatchObject({ status: 'succeeded', scheduled_at: null, results: [{ output: { score: 6 } }] });
    expect(Date.parse(String(ended.started_at))).toBeGreaterThanOrEqual(scheduledMs);
    expect(ended.timings?.queue_ms).toBeLessThan(1500);
  });

  test('run_at in any time zone', async () => {
    const atMs = Date.now() + 1200;
    const inParis = `${new Date(atMs + 3_600_000).toISOString().slice(0, -1)}+01:00`;
    const ended = await runJob(baseUrl, { ...job, run_at: inParis });
    expect(ended.status).toBe('succeeded');
    // To the tick: the clock of Redis is that of this machine.
    expect(Date.parse(String(ended.started_at))).toBeGreaterThanOrEqual(atMs - 1);
  });

  test('a time that has passed is now', async () => {
    const { body } = await postJob(baseUrl, { ...job, run_at: '2020-01-01T00:00:00Z' });
    expect((await read(body.id)).scheduled_at).toBeNull();
    expect((await endedJob(baseUrl, body.id)).status).toBe('succeeded');
  });

  test('not both', async () => {
    const body = { ...job, delay: 1, run_at: '2020-01-01T00:00:00Z' };
    expect(await postJob(baseUrl, body)).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
  });

  test('a job that waits for its time can be canceled, and run again at once', async () => {
    const id = await acceptedJob(baseUrl, { ...job, delay: 7200 });
    const act = (action: string) => request<JobBody>(`${baseUrl}/jobs/${id}/${action}`, { method: 'POST' });
    expect((await act('cancel')).body.status).toBe('canceled');
    expect(await redis.zscore('oq:{0}:due', `default:${id}:1`)).toBeNull();
    expect((await act('retry')).body).toMatchObject({ run: 2, scheduled_at: null });
    expect(await endedJob(baseUrl, id)).toMatchObject({ status: 'succeeded', run: 2 });
  });

  test('it counts in the backlog meanwhile', async () => {
    const jobs = async () => Number(await redis.hget('oq:{0}:backlog:linear', 'jobs'));
    const before = await jobs();
    const id = await acceptedJob(baseUrl, { ...job, delay: 7200 });
    expect(await jobs()).toBe(before + 1);
    await request(`${baseUrl}/jobs/${id}/cancel`, { method: 'POST' });
    expect(await jobs()).toBe(before);
  });
});

describe('Cancel-After', () => {
  test('cancels a job that runs too long, without anybody asking', async () => {
    const posted = await postJob(
      baseUrl,
      { model: 'slow', input: { steps: 60_000_000 }, webhook: receiver.url('/late') },
      { 'cancel-after': '1s' },
    );
    expect(posted.status).toBe(202);
    const ended = await endedJob(baseUrl, posted.body.id);
    expect(ended).toMatchObject({
      status: 'canceled',
      error: { code: 'canceled', detail: expect.stringContaining('Cancel-After') },
    });
    await until('the webhook came', () => eventsOf(posted.body.id).length > 0);
    expect(eventsOf(posted.body.id)).toMatchObject([{ type: 'job.canceled' }]);
    expect(await redis.zrange('oq:{0}:due', '0', '-1')).toEqual([]);
  });

  test('cancels a job that nobody starts', async () => {
    await whileWorkersHang(async () => {
      const { body } = await postJob(baseUrl, job, { 'cancel-after': '1' });
      expect(await endedJob(baseUrl, body.id)).toMatchObject({ status: 'canceled', attempt: 0 });
    });
  });

  test('says nothing to a job that ends in time, nor to its next run', async () => {
    const { body } = await postJob(baseUrl, job, { 'cancel-after': '1h30m' });
    expect((await endedJob(baseUrl, body.id)).status).toBe('succeeded');
    expect(await redis.zscore('oq:{0}:due', `default:${body.id}:1.cancel`)).toBeNull();
  });

  test.each(['0s', '8d', 'soon', '1.5m', '-1s'])('of %s is refused', async (header) => {
    const answer = await postJob(baseUrl, job, { 'cancel-after': header });
    expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
  });
});

describe('retention', () => {
  test('of its own goes before what is configured', async () => {
    const ended = await runJob(baseUrl, { ...job, retention: 600 });
    const keptMs = Date.parse(String(ended.expires_at)) - Date.parse(String(ended.finished_at));
    expect(Math.abs(keptMs - 600_000)).toBeLessThanOrEqual(1);
    const ttlMs = await redis.pttl(keyOf(ended.id));
    expect(ttlMs).toBeGreaterThan(500_000);
    expect(ttlMs).toBeLessThanOrEqual(600_000);
  });

  test('a job is forgotten after it, and its idempotency key no later', async () => {
    const { body } = await postJob(baseUrl, { ...job, retention: 1 }, { 'idempotency-key': 'brief' });
    await endedJob(baseUrl, body.id);
    await until('it is gone', async () => (await request(`${baseUrl}/jobs/${body.id}`)).status === 404);
    const again = await postJob(baseUrl, { ...job, retention: 1 }, { 'idempotency-key': 'brief' });
    expect([again.status, again.headers.get('idempotency-replayed')]).toEqual([202, null]);
    expect(again.body.id).not.toBe(body.id);
  });
});

describe('webhook_events', () => {
  test('a webhook is told of those ends only', async () => {
    const told = { webhook: receiver.url('/told'), webhook_events: ['job.failed'] };
    const good = await runJob(baseUrl, { ...job, ...told });
    const bad = await runJob(baseUrl, { model: 'lookup', input: { index: 1e6 }, ...told });
    const all = await runJob(baseUrl, { ...job, webhook: receiver.url('/all') });
    await until('both came', () => eventsOf(bad.id).length > 0 && eventsOf(all.id).length > 0);
    expect(eventsOf(bad.id)).toMatchObject([{ type: 'job.failed' }]);
    expect(eventsOf(good.id)).toEqual([]);
  });
});

describe('dry_run', () => {
  const dryRun = (body: unknown, query = '?dry_run=1', headers: Record<string, string> = {}) =>
    request(`${baseUrl}/jobs${query}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    });

  test('says what would be made of a job, and stores nothing', async () => {
    const keys = async () => (await redis.keys('*')).toSorted();
    const before = (await keys()).filter((key) => !key.includes(':bull:'));
    const answer = await dryRun(
      { ...job, inputs: [row, row], input: undefined, service_class: 'batch' },
      '?dry_run=1',
      {
        'idempotency-key': 'dry',
        prefer: 'wait=10',
      },
    );
    expect(answer).toMatchObject({
      status: 200,
      body: {
        object: 'job_plan',
        model: 'linear',
        version: '1',
        lane: 'bulk',
        priority: 0,
        rows: { total: 2 },
        service: { class: 'batch', slo_s: 86_400, price_factor: 0.5 },
      },
    });
    expect(answer.body).not.toHaveProperty('id');
    expect((await keys()).filter((key) => !key.includes(':bull:'))).toEqual(before);
  });

  test.each([
    [{ model: 'nowhere', input: row }, 404, 'model_not_found'],
    [{ model: 'linear', version: '9', input: row }, 404, 'version_not_found'],
    [{ model: 'linear', input: { x0: 'one' } }, 400, 'invalid_request'],
    [{ ...job, retention: 3601 }, 400, 'invalid_request'],
  ])('refuses what a post would refuse: %j', async (body, status, code) => {
    expect(await dryRun(body)).toMatchObject({ status, body: { code } });
  });

  test('is off with 0, and nothing else than 1 and 0', async () => {
    expect((await dryRun(job, '?dry_run=0')).status).toBe(202);
    expect(await dryRun(job, '?dry_run=yes')).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
  });
});

describe('service_class', () => {
  test.each([
    [{ service_class: 'realtime' }, 'interactive', 2, { class: 'realtime', slo_s: 1, price_factor: 2 }],
    [{ service_class: 'standard' }, 'interactive', 0, { class: 'standard', slo_s: 30, price_factor: 1 }],
    [{ service_class: 'batch' }, 'bulk', 0, { class: 'batch', slo_s: 86_400, price_factor: 0.5 }],
    [{}, 'interactive', 0, null],
    [{ service_class: 'batch', lane: 'interactive', priority: 4 }, 'interactive', 4, { class: 'batch' }],
    [{ service_class: 'realtime', priority: 0 }, 'interactive', 0, { class: 'realtime' }],
  ])('%j is lane %s, priority %i', async (fields, lane, priority, service) => {
    const ended = await runJob(baseUrl, { ...job, ...fields });
    expect(ended).toMatchObject({ status: 'succeeded', lane, priority });
    if (service === null) expect(ended.service).toBeNull();
    else expect(ended.service).toMatchObject(service);
  });

  test('whether its target was met is counted', async () => {
    await runJob(baseUrl, { ...job, service_class: 'batch' });
    const metrics = await until('it is counted', async () => {
      const { body } = await request<string>(`${platform.workers[0]?.baseUrl}/metrics`);
      return body.includes('onqueue_service_targets_total{') && body;
    });
    expect(metrics).toMatch(
      /^onqueue_service_targets_total\{model="linear",service_class="batch",met="true"\} [1-9]\d*$/m,
    );
  });
});
