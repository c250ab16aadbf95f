import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { endedJob, postJob, request } from './support/client.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';

let platform: TestPlatform;
let models: Awaited<ReturnType<typeof writeTestModels>>;
let baseUrl: string;
let redis: Redis;

beforeAll(async () => {
  models = await writeTestModels();
  platform = await startTestPlatform({ modelsDir: models.dir });
  ({ baseUrl } = platform);
  redis = new Redis(platform.redisUrl);
});

afterAll(async () => {
  redis?.disconnect();
  await platform?.stop();
  await models?.remove();
});

const jobOf = (x0: number) => ({ model: 'linear', input: { x0, x1: 0, x2: 0 }, metadata: { x0 } });
const post = (key: string, body: unknown, { to = baseUrl, ...headers }: Record<string, string> = {}) =>
  postJob(to, body, { 'idempotency-key': key, ...headers });
const replayed = ({ headers }: { headers: Headers }) => headers.get('idempotency-replayed');
/** What `/metrics` says of jobs that were accepted. */
async function acceptedCount(): Promise<number> {
  const { body } = await request<string>(`${baseUrl}/metrics`);
  return Number(/^onqueue_jobs_accepted_total\{model="linear".*\} (\d+)$/m.exec(body)?.[1]);
}
/** How many jobs there are of such an `x0`, whatever their state. */
async function countJobs(x0: number): Promise<number> {
  const keys = await redis.keys('*:job:*');
  const requests = await Promise.all(keys.map((key) => redis.hget(key, 'request')));
  return requests.filter((text) => JSON.parse(String(text)).metadata.x0 === x0).length;
}

test('a repeat with the same body is answered as the first one was, with the same job', async () => {
  const first = await post('once', jobOf(1));
  expect([first.status, replayed(first)]).toEqual([202, null]);
  await endedJob(baseUrl, first.body.id);
  const again = await post('once', Object.fromEntries(Object.entries(jobOf(1)).reverse()));
  expect([again.status, replayed(again), again.body]).toEqual([202, 'true', first.body]);
  expect(again.headers.get('location')).toBe(`/jobs/${first.body.id}`);
  expect(await countJobs(1)).toBe(1);
});

test('a repeat that prefers to wait has the result', async () => {
  const { body } = await post('waits', jobOf(2));
  const again = await post('waits', jobOf(2), { prefer: 'wait=30' });
  expect([again.status, replayed(again)]).toEqual([200, 'true']);
  expect(again.body).toMatchObject({ id: body.id, status: 'succeeded', results: [{ output: { score: 2 } }] });
});

test('another body is refused, and makes no job', async () => {
  await post('taken', jobOf(3));
  expect(await post('taken', jobOf(4))).toMatchObject({ status: 422, body: { code: 'idempotency_key_reused' } });
  expect(await countJobs(4)).toBe(0);
});

test('a hundred requests at once make one job, and count as one', async () => {
  const before = await acceptedCount();
  const answers = await Promise.all(Array.from({ length: 100 }, () => post('crowd', jobOf(5))));
  expect(new Set(answers.map(({ status, body }) => `${status} ${body.id} ${body.created_at}`)).size).toBe(1);
  expect(answers.filter((answer) => replayed(answer) === null)).toHaveLength(1);
  expect(await countJobs(5)).toBe(1);
  expect((await acceptedCount()) - before).toBe(1);
});

test('a request that is refused takes no key', async () => {
  expect((await post('mended', { ...jobOf(6), model: 'nowhere' })).status).toBe(404);
  expect((await post('mended', { model: 'linear', input: { x0: 'six' } })).status).toBe(400);
  const mended = await post('mended', jobOf(6));
  expect([mended.status, replayed(mended)]).toEqual([202, null]);
});

/** More than a record holds in itself: its inputs are stored before it. */
const largeJobOf = (x0: number) => {
  const { input, ...job } = jobOf(x0);
  return { ...job, inputs: Array<unknown>(999).fill({ ...input, x1: 0.123456789012345, x2: 0.123456789012345 }) };
};

test.each([
  ['enqueue.before', 7, 0, jobOf],
  ['inputs.stored.after', 11, 0, largeJobOf],
  ['enqueue.after', 8, 1, jobOf],
])('an API that dies at %s leaves one job for its key', async (point, x0, left, bodyOf) => {
  const doomed = await platform.startApi({ ONQUEUE_FAULT_POINTS: `${point}=kill@1` });
  await expect(post(point, bodyOf(x0), { to: doomed.baseUrl })).rejects.toThrow();
  expect(await countJobs(x0)).toBe(left);
  const again = await post(point, bodyOf(x0));
  expect([again.status, replayed(again)]).toEqual([202, 'true']);
  expect(await endedJob(baseUrl, again.body.id)).toMatchObject({ status: 'succeeded', run: 1, attempt: 1 });
  expect(await countJobs(x0)).toBe(1);
});

test('keys of any characters are taken, up to a length', async () => {
  const send = async (key: string) => (await post(key, jobOf(9))).status;
  expect(await Promise.all(['k'.repeat(255), 'k'.repeat(256), '"quoted", {braces}: *?'].map(send))).toEqual([
    202, 400, 202,
  ]);
});

test('a key is forgotten before its job is', async () => {
  const api = await platform.startApi({ ONQUEUE_RETENTION_S: '3600' });
  await post('brief', jobOf(10), { to: api.baseUrl });
  const keys = await redis.keys('*:idempotency:*');
  const ttls = await Promise.all(keys.map((key) => redis.pttl(key)));
  expect(ttls.length).toBeGreaterThan(1);
  expect(ttls.filter((ttl) => ttl <= 0)).toEqual([]);
  expect(Math.min(...ttls)).toBeLessThanOrEqual(3_600_000);
  expect(Math.max(...ttls)).toBeLessThanOrEqual(86_400_000);
  await api.stop();
});
