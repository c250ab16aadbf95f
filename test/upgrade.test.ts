import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { repoRoot } from '@onqueue/launcher';
import { JOB_SCHEMA_VERSION } from '@onqueue/shared';
import { closeRedis, connectRedis, queueJobId, queueName, RedisKeys } from '@onqueue/shared/redis';
import { endedJob, type JobBody, request } from './support/client.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';

interface Stored {
  queued: { id: string; record: Record<string, string>; queue_job: Record<string, string> };
  ended: { id: string; record: Record<string, string> };
}

const stored: Stored = JSON.parse(readFileSync(join(repoRoot, 'test', 'fixtures', 'stored-v1.json'), 'utf8'));
const keys = new RedisKeys('oq');

let platform: TestPlatform;
let models: Awaited<ReturnType<typeof writeTestModels>>;

/** The platform finds in Redis what a process of schema version 1 left there. */
beforeAll(async () => {
  models = await writeTestModels();
  platform = await startTestPlatform({ modelsDir: models.dir, workers: 0 });
  const redis = connectRedis(platform.redisUrl, { kind: 'worker' }, () => {});
  try {
    const { queued, ended } = stored;
    const bull = `${keys.bullPrefix(0)}:${queueName('linear', 'interactive')}:`;
    const queueJob = queueJobId(queued.id, 1);
    await redis.hset(keys.job(0, 'default', queued.id), queued.record);
    await redis.hset(keys.job(0, 'default', ended.id), ended.record);
    await redis.hset(keys.backlog(0, 'linear'), { jobs: 1, rows: 1, bytes: 22 });
    await redis.hset(`${bull}${queueJob}`, queued.queue_job);
    await redis.lpush(`${bull}wait`, queueJob);
    await redis.zadd(`${bull}marker`, 0, '0');
  } finally {
    await closeRedis(redis);
  }
  await platform.startWorker();
});

afterAll(async () => {
  await platform?.stop();
  await models?.remove();
});

test('a job that schema version 1 queued runs on this one', async () => {
  expect(await endedJob(platform.baseUrl, stored.queued.id)).toMatchObject({
    status: 'succeeded',
    attempt: 1,
    results: [{ output: { score: 6 } }],
    metadata: { order: 7 },
    request_id: 'req_fixture',
  });
});

test('a job that schema version 1 ended is shown as it ended', async () => {
  const { body } = await request<JobBody>(`${platform.baseUrl}/jobs/${stored.ended.id}`);
  expect(body).toMatchObject({
    status: 'succeeded',
    results: [{ status: 'succeeded', output: { score: 6 } }],
    finished_at: '2026-11-22T03:20:26.980Z',
    expires_at: '2026-11-23T03:20:26.980Z',
    provenance: { worker: 'w' },
    timings: { inference_ms: 0.4, queue_ms: 4.837, total_ms: 10.193 },
  });
});

test('a job of a later schema version is left alone and answered 503, for a newer process to answer', async () => {
  const id = `${stored.ended.id.slice(0, -1)}0`;
  const key = keys.job(0, 'default', id);
  const later = { ...stored.ended.record, id, state: 'failed', schema_version: String(JOB_SCHEMA_VERSION + 1) };
  const redis = connectRedis(platform.redisUrl, { kind: 'worker' }, () => {});
  try {
    await redis.hset(key, later);
    for (const [method, path] of [
      ['GET', ''],
      ['GET', '?wait=1'],
      ['GET', '/runs'],
      ['POST', '/cancel'],
      ['POST', '/retry'],
    ]) {
      const answer = await request(`${platform.baseUrl}/jobs/${id}${path}`, { method: String(method) });
      expect({ path, status: answer.status, code: answer.body.code }).toEqual({
        path,
        status: 503,
        code: 'record_too_new',
      });
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    }
    expect(await redis.hgetall(key)).toEqual(later);
  } finally {
    await closeRedis(redis);
  }
});
