import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { eventId, parseJobId } from '@onqueue/shared';
import { closeRedis, connectRedis, type RedisConnection, RedisJobProgress, RedisKeys } from '@onqueue/shared/redis';
import { onqueue } from './support/cli.ts';
import { acceptedJob, endedJob, request } from './support/client.ts';
import { openEventStream } from './support/event-stream.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';
import { type ReceivedRequest, type Receiver, startReceiver } from './support/receiver.ts';
import { until } from './support/until.ts';

/** How far a job of many rows has come, told while it runs. */

interface Told {
  type: string;
  timestamp: string;
  data: { id: string; status: string; run: number; progress: { rows: { done: number; total: number } } };
}

const INTERVAL_MS = 100;
/** Batches of four rows, one after the other. */
const ROWS = 40;
const long = { model: 'slow', inputs: Array.from({ length: ROWS }, () => ({ steps: 150 })) };

let platform: TestPlatform;
let models: Awaited<ReturnType<typeof writeTestModels>>;
let receiver: Receiver;
let redis: RedisConnection;
let baseUrl: string;

beforeAll(async () => {
  models = await writeTestModels();
  platform = await startTestPlatform({
    modelsDir: models.dir,
    workerEnv: { ONQUEUE_PROGRESS_INTERVAL_MS: String(INTERVAL_MS), ONQUEUE_WEBHOOK_ORDER: 'job' },
  });
  ({ baseUrl } = platform);
  redis = connectRedis(platform.redisUrl, { kind: 'worker' }, () => {});
});
afterAll(async () => {
  if (redis) await closeRedis(redis);
  await platform?.stop();
  await models?.remove();
});
beforeEach(async () => {
  receiver = await startReceiver();
});
afterEach(async () => {
  for (const { id } of (await request<{ data: { id: string }[] }>(`${baseUrl}/webhooks/endpoints`)).body.data) {
    await request(`${baseUrl}/webhooks/endpoints/${id}`, { method: 'DELETE' });
  }
  await receiver.close();
});

const parse = ({ body }: ReceivedRequest): Told => JSON.parse(body);
const post = (path: string, body: object) =>
  request(`${baseUrl}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
const outbox = () => redis.xlen(new RedisKeys('oq').outbox(0));

test('an endpoint that wants to know is told while the job runs, not too often, and then of its end', async () => {
  await post('/webhooks/endpoints', { url: receiver.url(), events: ['job.progress', 'job.succeeded'] });
  const id = await acceptedJob(baseUrl, long);
  await endedJob(baseUrl, id);
  await until('the end has arrived', () => receiver.requests.some((one) => parse(one).type === 'job.succeeded'));
  const events = receiver.requests.map(parse);
  const progress = events.slice(0, -1);
  expect(events.at(-1)?.type).toBe('job.succeeded');
  expect(progress.length).toBeGreaterThan(1);
  const done = progress.map(({ data }) => data.progress.rows.done);
  expect(done).toEqual([...new Set(done)].toSorted((a, b) => a - b));
  for (const { type, data } of progress) {
    expect(type).toBe('job.progress');
    expect(data).toMatchObject({ id, status: 'running', run: 1, model: 'slow', progress: { rows: { total: ROWS } } });
    expect(data).not.toHaveProperty('results');
    expect(data.progress.rows.done).toBeGreaterThan(0);
    expect(data.progress.rows.done).toBeLessThan(ROWS);
  }
  const times = progress.map(({ timestamp }) => Date.parse(timestamp));
  for (const [index, ms] of times.slice(1).entries()) {
    expect(ms - Number(times[index])).toBeGreaterThanOrEqual(0.9 * INTERVAL_MS);
  }
  // Ids are those of the run's progress, one after the other.
  expect(receiver.requests.slice(0, -1).map(({ headers }) => headers['webhook-id'])).toEqual(
    progress.map((_, index) => eventId(id, 1, 'job.progress', index + 1)),
  );
});

test('nobody who has not asked for it is told: neither an endpoint nor the webhook of the job', async () => {
  await post('/webhooks/endpoints', { url: receiver.url('/endpoint') });
  const id = await acceptedJob(baseUrl, { ...long, webhook: receiver.url('/own') });
  await endedJob(baseUrl, id);
  expect((await receiver.waitFor(2)).map(parse).map(({ type }) => type)).toEqual(['job.succeeded', 'job.succeeded']);
  // It had something to tell.
  expect(await redis.hget(new RedisKeys('oq').job(0, 'default', id), 'progress')).toContain('"total":40');
  await until('all is relayed', async () => (await outbox()) === 0);
  expect(receiver.requests).toHaveLength(2);
});

test('the webhook of a job is told that names it', async () => {
  const id = await acceptedJob(baseUrl, { ...long, webhook: receiver.url(), webhook_events: ['job.progress'] });
  const [first] = (await receiver.waitFor(1)).map(parse);
  expect(first).toMatchObject({ type: 'job.progress', data: { id, status: 'running' } });
  await endedJob(baseUrl, id);
});

test('who follows the job sees it, under ids that rise, and can go on behind any of them', async () => {
  const id = await acceptedJob(baseUrl, long);
  const events = (await (await openEventStream(`${baseUrl}/jobs/${id}/events`, {})).ended).map((event) => event);
  const types = events.map(({ type }) => type);
  expect(types.slice(0, 2)).toEqual(['job.queued', 'job.started']);
  expect(types.at(-1)).toBe('job.succeeded');
  expect(new Set(types.slice(2, -1))).toEqual(new Set(['job.progress']));
  const numbers = events.map((event) => Number(String(event.id).replace('1-', '')));
  expect(numbers).toEqual([...new Set(numbers)].toSorted((a, b) => a - b));
  // Whoever comes late gets the latest, and the end under the id that it had.
  const late = (await (await openEventStream(`${baseUrl}/jobs/${id}/events`, {})).ended).map((event) => event.id);
  expect(late).toEqual(['1-0', '1-1', ...events.slice(-2).map((event) => event.id)]);
  const over = await openEventStream(`${baseUrl}/jobs/${id}/events`, { 'last-event-id': String(events.at(-1)?.id) });
  expect(over.status).toBe(204);
  const { stdout } = await onqueue(['jobs', 'events', id], { env: { ONQUEUE_API_URL: baseUrl } });
  expect(stdout).toMatch(/ {2}job\.progress {2}run 1 {2}\d+ of 40 rows\n/);
});

test('the run of a job that was run again tells its own', async () => {
  const id = await acceptedJob(baseUrl, long);
  const stream = await openEventStream(`${baseUrl}/jobs/${id}/events`, {});
  await stream.first(3);
  await post(`/jobs/${id}/cancel`, {});
  const before = (await stream.ended).map((event) => event.id);
  await post(`/jobs/${id}/retry`, {});
  await endedJob(baseUrl, id);
  const all = (await (await openEventStream(`${baseUrl}/jobs/${id}/events`, {})).ended).map((event) => event.id);
  expect(all.filter((event) => event?.startsWith('1-'))).toEqual(['1-0', '1-1', ...before.slice(-2)]);
  expect(all.filter((event) => event?.startsWith('2-')).slice(0, 2)).toEqual(['2-0', '2-1']);
  const rest = await openEventStream(`${baseUrl}/jobs/${id}/events`, { 'last-event-id': String(before.at(-1)) });
  expect((await rest.ended)[0]).toMatchObject({ id: '2-0', type: 'job.queued' });
});

test('an attempt that does not hold the run tells nothing, nor one that tells too soon', async () => {
  await post('/webhooks/endpoints', { url: receiver.url(), events: ['job.progress'] });
  const log = new RedisJobProgress({ redis, keys: new RedisKeys('oq') });
  const rows = { done: 1, total: ROWS };
  const id = await acceptedJob(baseUrl, { model: 'slow', input: { steps: 60_000_000 } });
  const partition = parseJobId(id)?.partition ?? 0;
  const ref = { id, tenant: 'default', partition, run: 1, attempt: 1 };
  await until('it runs', async () => (await request(`${baseUrl}/jobs/${id}`)).body.status === 'running');
  expect(await log.note({ ...ref, attempt: 2 }, { rows }, 0)).toBe(false);
  expect(await log.note({ ...ref, run: 2 }, { rows }, 0)).toBe(false);
  expect(await log.note(ref, { rows }, 60_000)).toBe(true);
  expect(await log.note(ref, { rows: { ...rows, done: 2 } }, 60_000)).toBe(false);
  await request(`${baseUrl}/jobs/${id}/cancel`, { method: 'POST' });
  expect(await log.note(ref, { rows: { ...rows, done: 3 } }, 0)).toBe(false);
  await receiver.waitFor(1);
  await until('all is relayed', async () => (await outbox()) === 0);
  expect(receiver.requests.map(parse).map(({ data }) => data.progress.rows.done)).toEqual([1]);
});
