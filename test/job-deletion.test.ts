import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { newJobId } from '@onqueue/shared';
import { closeRedis, connectRedis, type RedisConnection, RedisKeys } from '@onqueue/shared/redis';
import { acceptedJob, endedJob, postJob, request, runJob } from './support/client.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';
import { until } from './support/until.ts';

/** A job that is gone is answered 410 with when it went, and its data went with it. */

let platform: TestPlatform;
let models: Awaited<ReturnType<typeof writeTestModels>>;
let baseUrl: string;
let redis: RedisConnection;
const keys = new RedisKeys('oq');

beforeAll(async () => {
  models = await writeTestModels();
  platform = await startTestPlatform({ modelsDir: models.dir });
  ({ baseUrl } = platform);
  redis = connectRedis(platform.redisUrl, { kind: 'worker' }, () => {});
});

afterAll(async () => {
  if (redis) await closeRedis(redis);
  await platform?.stop();
  await models?.remove();
});

const input = { x0: 77.25, x1: 2, x2: 3 };
const remove = (id: string, url = baseUrl) => request(`${url}/jobs/${id}`, { method: 'DELETE' });
const PATHS: [method: string, path: string][] = [
  ['GET', ''],
  ['GET', '?wait=1'],
  ['GET', '/result'],
  ['GET', '/runs'],
  ['POST', '/cancel'],
  ['POST', '/retry'],
];

describe('DELETE /jobs/:id', () => {
  test('removes the data of a job that has ended, and is answered alike when repeated', async () => {
    const { id } = await runJob(baseUrl, { model: 'linear', input, metadata: { secret: 'blue' } });
    const first = await remove(id);
    expect(first).toMatchObject({ status: 200, body: { id, object: 'job', deleted: true } });
    expect(await remove(id)).toMatchObject({ status: 200, body: first.body });
    for (const [method, path] of PATHS) {
      const answer = await request(`${baseUrl}/jobs/${id}${path}`, { method });
      expect({ path, ...answer }).toMatchObject({
        path,
        status: 410,
        body: { code: 'job_gone', removed_at: first.body.deleted_at, created_at: expect.any(String) },
      });
    }
    expect((await request<{ data: unknown[] }>(`${baseUrl}/jobs`)).body.data).toEqual([]);
    // What is left is a tombstone, a line of the audit log, and the score in the prediction log.
    const left = (await redis.keys('*')).filter((key) => key.includes(id));
    expect(left).toEqual([keys.deletedJob(0, 'default', id)]);
    expect(await redis.pttl(left[0] ?? '')).toBeGreaterThan(29 * 86_400_000);
  });

  test('leaves a line in the audit log that says what was done, and nothing of the data', async () => {
    const { id } = await runJob(baseUrl, { model: 'linear', input, metadata: { secret: 'green' } });
    await request(`${baseUrl}/jobs/${id}`, { method: 'DELETE', headers: { 'x-request-id': 'req_of_mine' } });
    const [[, fields] = ['', []]] = await redis.xrevrange(keys.audit(0), '+', '-', 'COUNT', 1);
    const { seq: _, at_ms: __, previous: ___, ...line } = JSON.parse(String(fields[1]));
    expect(line).toEqual({
      action: 'job.deleted',
      tenant: 'default',
      job_id: id,
      model: 'linear',
      state: 'succeeded',
      request_id: 'req_of_mine',
    });
  });

  test('removes the earlier runs too', async () => {
    const { id } = await runJob(baseUrl, { model: 'lookup', input: { index: 99 } });
    await request(`${baseUrl}/jobs/${id}/retry`, { method: 'POST' });
    await endedJob(baseUrl, id);
    expect(await redis.exists(keys.runs(0, 'default', id))).toBe(1);
    await remove(id);
    expect(await redis.exists(keys.runs(0, 'default', id))).toBe(0);
    expect(await redis.zscore(keys.jobs(0, 'default', 'lookup', 'failed'), id)).toBeNull();
  });

  test('is not undone by a late repeat of the post that made the job', async () => {
    const headers = { 'idempotency-key': 'deleted-later', prefer: 'wait=30' };
    const { body } = await postJob(baseUrl, { model: 'linear', input }, headers);
    await remove(body.id);
    expect(await postJob(baseUrl, { model: 'linear', input }, headers)).toMatchObject({
      status: 410,
      body: { code: 'job_gone' },
    });
  });

  test('is for jobs that have ended', async () => {
    const id = await acceptedJob(baseUrl, { model: 'slow', input: { steps: 60_000_000 } });
    expect(await remove(id)).toMatchObject({ status: 409, body: { code: 'job_not_finished' } });
    await request(`${baseUrl}/jobs/${id}/cancel`, { method: 'POST' });
    expect(await remove(id)).toMatchObject({ status: 200 });
    // What the worker had in hand of it comes to nothing.
    expect(await runJob(baseUrl, { model: 'slow', input: { steps: 1 } })).toMatchObject({ status: 'succeeded' });
    expect(await request(`${baseUrl}/jobs/${id}`)).toMatchObject({ status: 410 });
  });

  test('does not know what is not there', async () => {
    expect(await remove('job_x')).toMatchObject({ status: 404, body: { code: 'job_not_found' } });
    const unknown = newJobId({ createdAtMs: Date.now(), partition: 0 });
    expect(await remove(unknown)).toMatchObject({ status: 404, body: { code: 'job_not_found' } });
  });
});

describe('after its retention', () => {
  test('a job is answered 410, with the earliest time at which it went', async () => {
    const api = await platform.startApi({ ONQUEUE_RETENTION_S: '1' });
    const id = await acceptedJob(api.baseUrl, { model: 'slow', input: { steps: 60_000_000 } });
    await request(`${api.baseUrl}/jobs/${id}/cancel`, { method: 'POST' });
    const answer = await until('the job is gone', async () => {
      const read = await request(`${api.baseUrl}/jobs/${id}`);
      return read.status === 410 && read;
    });
    const { created_at, removed_after } = answer.body as Record<string, string>;
    expect(answer.body).toMatchObject({ code: 'job_gone' });
    expect(Date.parse(removed_after ?? '') - Date.parse(created_at ?? '')).toBe(1000);
    for (const [method, path] of PATHS) {
      expect((await request(`${api.baseUrl}/jobs/${id}${path}`, { method })).status).toBe(410);
    }
    await api.stop();
  });

  test('an id that never was is answered as one that was, and one that is too young as unknown', async () => {
    const read = (createdAtMs: number) => {
      const id = newJobId({ createdAtMs, partition: 0 });
      return request(`${baseUrl}/jobs/${id}`);
    };
    expect(await read(Date.now() - 90_000_000)).toMatchObject({ status: 410, body: { code: 'job_gone' } });
    expect(await read(Date.now() - 80_000_000)).toMatchObject({ status: 404, body: { code: 'job_not_found' } });
    expect(await read(Date.now() + 80_000_000)).toMatchObject({ status: 404 });
    expect(await read(2 ** 48 - 1)).toMatchObject({ status: 404 });
  });
});
