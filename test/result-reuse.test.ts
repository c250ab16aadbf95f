import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { closeRedis, connectRedis, type RedisConnection } from '@onqueue/shared/redis';
import { acceptedJob, type JobBody, postJob, request } from './support/client.ts';
import { declareCache, type WrittenModel } from './support/models/model-folder.ts';
import { writeLinearModel, writeLookupModel } from './support/models/tiny-models.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';
import { type Receiver, startReceiver } from './support/receiver.ts';
import { until } from './support/until.ts';

const POLICY = {
  score: 'score',
  bands: [{ decision: 'high', above: 5 }, { decision: 'low' }],
};

let platform: TestPlatform;
let receiver: Receiver;
let redis: RedisConnection;
let dir: string;
let policed: WrittenModel;
let baseUrl: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'onqueue-models-'));
  receiver = await startReceiver();
  await declareCache(writeLinearModel({ dir, name: 'kept', version: '1' }), { ttl_s: 600 });
  await declareCache(writeLinearModel({ dir, name: 'brief', version: '1' }), { ttl_s: 1 });
  await declareCache(writeLinearModel({ dir, name: 'tiny', version: '1' }), { ttl_s: 600, max_row_bytes: 2 });
  await declareCache(writeLookupModel({ dir, name: 'lookup', version: '1' }), { ttl_s: 600 });
  await writeLinearModel({ dir, name: 'fresh', version: '1' });
  policed = await declareCache(writeLinearModel({ dir, name: 'policed', version: '1', decision: POLICY }), {
    ttl_s: 600,
  });
  platform = await startTestPlatform({ modelsDir: dir, apis: 2, env: { ONQUEUE_MODELS_POLL_MS: '200' } });
  ({ baseUrl } = platform);
  redis = connectRedis(platform.redisUrl, { kind: 'worker' }, () => {});
});

afterAll(async () => {
  if (redis) await closeRedis(redis);
  await platform?.stop();
  await receiver?.close();
  await rm(dir, { recursive: true, force: true });
});

/** Rows that no test has used before. */
let rows = 0;
const newRow = () => ({ x0: ++rows, x1: 0.5, x2: 0 });
let row: Record<string, number>;
beforeEach(() => {
  row = newRow();
});

const computed = async (model: string) => {
  const { body } = await request<string>(`${platform.workers[0]?.baseUrl}/metrics`);
  return Number(
    new RegExp(`^onqueue_batch_rows_sum\\{model="${model}",version="1"\\} (\\d+)$`, 'm').exec(body)?.[1] ?? 0,
  );
};
const run = (model: string, body: object, headers: Record<string, string> = {}) =>
  postJob<JobBody>(baseUrl, { model, ...body }, { prefer: 'wait=20', ...headers }).then((answer) => answer.body);

describe('a row that was answered before', () => {
  test('has the same answer at once, and says how old it is and what made it', async () => {
    const first = await run('kept', { input: row });
    const before = await computed('kept');
    // Other order of keys, another API, the same row.
    const { x0, x1, x2 } = row;
    const again = await postJob<JobBody>(
      String(platform.apis[1]?.baseUrl),
      { model: 'kept', input: { x2, x1, x0 } },
      { prefer: 'wait=20' },
    );
    expect(again.status).toBe(200);
    expect(again.body).toMatchObject({
      status: 'succeeded',
      attempt: 0,
      rows: { total: 1, succeeded: 1, failed: 0 },
      served_by: 'model',
      results: [{ status: 'succeeded', output: first.results?.[0]?.output, cached: true }],
      timings: { inference_ms: 0 },
      provenance: {
        artifact_sha256: first.provenance?.artifact_sha256,
        runtime: first.provenance?.runtime,
        worker: first.provenance?.worker,
        batches: 0,
      },
    });
    expect(again.body.results?.[0]).toHaveProperty('age_s', expect.any(Number));
    expect(first.results?.[0]).not.toHaveProperty('cached');
    expect(await computed('kept')).toBe(before);
  });

  test('makes a job like any other: 202, record, list, webhook with its events, and nothing left in the backlog', async () => {
    await run('kept', { input: row });
    const answer = await postJob<JobBody>(baseUrl, {
      model: 'kept',
      input: row,
      metadata: { order: 9 },
      webhook: receiver.url('/reused'),
      webhook_events: ['job.queued', 'job.succeeded'],
    });
    expect(answer).toMatchObject({ status: 202, body: { status: 'queued', metadata: { order: 9 } } });
    const { id } = answer.body;
    expect((await request<JobBody>(`${baseUrl}/jobs/${id}`)).body).toMatchObject({ status: 'succeeded' });
    const listed = await request<{ data: { id: string }[] }>(`${baseUrl}/jobs?model=kept&limit=1`);
    expect(listed.body.data.map((job) => job.id)).toEqual([id]);
    await until('both events came', () => receiver.requests.filter(({ path }) => path === '/reused').length === 2);
    const types = receiver.requests.filter(({ path }) => path === '/reused').map(({ body }) => JSON.parse(body).type);
    expect(new Set(types)).toEqual(new Set(['job.queued', 'job.succeeded']));
    expect(await redis.hmget('oq:{0}:backlog:kept', 'jobs', 'rows', 'bytes')).toEqual(['0', '0', '0']);
    // How fast a backlog drains is told by what workers do.
    const finished = Number(await redis.hget('oq:{0}:backlog:kept', 'finished_jobs'));
    await run('kept', { input: row });
    expect(Number(await redis.hget('oq:{0}:backlog:kept', 'finished_jobs'))).toBe(finished);
  });

  test('leaves only the others of its job to be computed', async () => {
    const [known, unknown] = [row, newRow()];
    await run('kept', { input: known });
    const before = await computed('kept');
    const job = await run('kept', { inputs: [unknown, known, unknown] });
    expect(job).toMatchObject({ status: 'succeeded', rows: { total: 3, succeeded: 3 }, provenance: { batches: 1 } });
    expect(job.results?.map(({ output }) => output?.score)).toEqual(
      [unknown, known, unknown].map(({ x0 }) => x0 + 0.5),
    );
    expect(job.results?.map((result) => 'cached' in result)).toEqual([false, true, false]);
    expect(job.results?.some((result) => 'run' in result)).toBe(false);
    // Equal rows of a job are one.
    expect(await computed('kept')).toBe(before + 1);
  });

  test('is computed anew for no-cache, which keeps the new answer, and for no-store, which keeps nothing', async () => {
    const first = await run('kept', { input: row }, { 'cache-control': 'no-store' });
    expect(first).toMatchObject({ status: 'succeeded' });
    const before = await computed('kept');
    await run('kept', { input: row }, { 'cache-control': 'no-cache' });
    expect(await computed('kept')).toBe(before + 1);
    expect((await run('kept', { input: row })).results).toMatchObject([{ cached: true }]);
    expect((await run('kept', { input: row }, { 'cache-control': 'no-store' })).results?.[0]).not.toHaveProperty(
      'cached',
    );
    expect(await computed('kept')).toBe(before + 2);
  });

  test('is computed anew where nothing is kept: no cache, an answer that is too large, one that is too old', async () => {
    for (const model of ['fresh', 'tiny']) {
      const before = await computed(model);
      await run(model, { input: row });
      await run(model, { input: row });
      expect([model, await computed(model)]).toEqual([model, before + 2]);
    }
    await run('brief', { input: row });
    await until(
      'its time is over',
      async () => !('cached' in ((await run('brief', { input: row })).results?.[0] ?? {})),
    );
  });

  test('is not answered before its time', async () => {
    await run('kept', { input: row });
    const id = await acceptedJob(baseUrl, { model: 'kept', input: row, delay: 600 });
    expect((await request<JobBody>(`${baseUrl}/jobs/${id}`)).body.status).toBe('queued');
    await request(`${baseUrl}/jobs/${id}/cancel`, { method: 'POST' });
  });

  test('is answered while the backlog is full, and its hits are counted', async () => {
    await run('kept', { input: row });
    await redis.hset('oq:{0}:backlog:kept', 'rows', 1e9);
    try {
      expect((await postJob(baseUrl, { model: 'kept', input: newRow() })).status).toBe(429);
      expect((await run('kept', { input: row })).status).toBe('succeeded');
    } finally {
      await redis.hset('oq:{0}:backlog:kept', 'rows', 0);
    }
    const { body } = await request<string>(`${baseUrl}/metrics`);
    expect(body).toMatch(/^onqueue_cache_rows_total\{model="kept",version="1",outcome="hit"\} [1-9]/m);
    expect(body).toMatch(/^onqueue_cache_hit_ratio\{model="kept",version="1"\} 0\.\d+$/m);
  });

  test('never has the answer of other thresholds', async () => {
    const high = { x0: 6, x1: 0, x2: 0 };
    expect((await run('policed', { input: high })).results).toMatchObject([{ output: { decision: 'high' } }]);
    expect((await run('policed', { input: high })).results).toMatchObject([{ cached: true }]);
    const file = join(policed.folder, 'model.json');
    const manifest = JSON.parse(await readFile(file, 'utf8'));
    manifest.decision.bands[0].above = 100;
    const { body: old } = await request<{ versions: { decision_policy_sha256: string }[] }>(
      `${baseUrl}/models/policed`,
    );
    await writeFile(file, JSON.stringify(manifest));
    await until('the new thresholds are published', async () => {
      const { body } = await request<typeof old>(`${baseUrl}/models/policed`);
      return JSON.stringify(body) !== JSON.stringify(old);
    });
    const { results } = await run('policed', { input: high });
    expect(results).toMatchObject([{ output: { decision: 'low' } }]);
    expect(results?.[0]).not.toHaveProperty('cached');
  });
});
