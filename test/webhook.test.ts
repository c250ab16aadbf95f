import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Webhook } from 'standardwebhooks';
import { acceptedJob, endedJob, postJob, request } from './support/client.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';
import { startApi } from './support/processes.ts';
import { type Receiver, startReceiver } from './support/receiver.ts';
import { until } from './support/until.ts';

let platform: TestPlatform;
let models: Awaited<ReturnType<typeof writeTestModels>>;
let receiver: Receiver;

beforeAll(async () => {
  models = await writeTestModels();
  receiver = await startReceiver();
  platform = await startTestPlatform({
    modelsDir: models.dir,
    env: { ONQUEUE_PUBLIC_URL: 'https://jobs.example', ONQUEUE_WEBHOOK_SCHEDULE_MS: '0,50,50' },
  });
});

afterAll(async () => {
  await platform?.stop();
  await receiver?.close();
  await models?.remove();
});

test('tells the end of a job, signed as Standard Webhooks says', async () => {
  const { baseUrl } = platform;
  const job = await endedJob(
    baseUrl,
    await acceptedJob(baseUrl, {
      model: 'linear',
      input: { x0: 1, x1: 2, x2: 3 },
      webhook: receiver.url('/ok?token=t'),
    }),
  );
  await receiver.waitFor(1);
  const [delivery] = receiver.requests;
  const payload = new Webhook(platform.webhookSecret).verify(
    String(delivery?.body),
    delivery?.headers as Record<string, string>,
  );
  const { webhook_status: _, ...told } = job;
  expect(payload).toEqual({ type: 'job.succeeded', timestamp: job.finished_at, data: told });
  expect(delivery?.path).toBe('/ok?token=t');
  expect(job.urls.self).toBe(`https://jobs.example/jobs/${job.id}`);
  expect(delivery?.headers['webhook-id']).toMatch(/^evt_/);
});

test('tells a failure, and tries again under the same id until it is heard', async () => {
  const before = receiver.requests.length;
  receiver.respond({ status: 500 }, { status: 503 });
  const { baseUrl } = platform;
  const id = await acceptedJob(baseUrl, { model: 'lookup', input: { index: 99 }, webhook: receiver.url('/again') });
  await receiver.waitFor(before + 3);
  const tries = receiver.requests.slice(before);
  expect(new Set(tries.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
  expect(JSON.parse(String(tries[2]?.body))).toMatchObject({
    type: 'job.failed',
    data: { id, status: 'failed', error: { code: 'inference_failed', row: 0 } },
  });
});

test('a receiver that is dead changes nothing about the job', async () => {
  const { baseUrl } = platform;
  const id = await acceptedJob(baseUrl, {
    model: 'linear',
    input: { x0: 1, x1: 2, x2: 3 },
    webhook: 'http://127.0.0.1:9/',
  });
  expect(await endedJob(baseUrl, id)).toMatchObject({ status: 'succeeded' });
});

test('private addresses are refused unless they are allowed', async () => {
  const before = receiver.requests.length;
  const [worker] = platform.workers;
  await worker?.stop();
  const strict = await platform.startWorker({ ONQUEUE_WEBHOOK_ALLOW_CIDRS: '' });
  const { baseUrl } = platform;
  const id = await acceptedJob(baseUrl, {
    model: 'linear',
    input: { x0: 1, x1: 2, x2: 3 },
    webhook: receiver.url('/private'),
  });
  const attempts = () => strict.logs().filter((line) => line.includes('webhook attempt') && line.includes(id));
  await until('the delivery was tried', () => attempts().length > 0);
  await strict.stop();
  const refused = attempts().filter((line) => line.includes('"outcome":"refused"'));
  expect(refused).toHaveLength(1);
  expect(receiver.requests).toHaveLength(before);
});

test('an API without a secret refuses jobs that name a webhook; one that forbids http refuses http', async () => {
  const { redisUrl } = platform;
  const job = { model: 'linear', input: { x0: 1, x1: 2, x2: 3 }, webhook: 'http://127.0.0.1:9/' };
  const mute = await startApi({ redisUrl });
  const strict = await startApi({ redisUrl, env: { ONQUEUE_WEBHOOK_SECRET: platform.webhookSecret } });
  try {
    await Promise.all([mute.ready, strict.ready]);
    expect(await postJob(mute.baseUrl, job)).toMatchObject({ status: 400, body: { code: 'webhooks_not_configured' } });
    expect(await postJob(strict.baseUrl, job)).toMatchObject({
      status: 400,
      body: { code: 'invalid_request', errors: [{ pointer: '/webhook' }] },
    });
    expect(await request(`${mute.baseUrl}/livez`)).toMatchObject({ status: 200 });
  } finally {
    await Promise.all([mute.stop(), strict.stop()]);
  }
});
