import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { endedJob, type JobBody, postJob, request } from './support/client.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';
import { type Receiver, startReceiver } from './support/receiver.ts';
import { type S3Server, startS3Server } from './support/s3-server.ts';
import { until } from './support/until.ts';

/** Inputs and results that are too large for a record are kept in the blob store, and go with the job. */

const ROWS = 400;
const inputs = Array.from({ length: ROWS }, (_, index) => ({ x0: index, x1: 0, x2: 0 }));
const scores = inputs.map(({ x0 }) => ({ status: 'succeeded', output: { score: x0 } }));

let models: Awaited<ReturnType<typeof writeTestModels>>;
let s3: S3Server;
let receiver: Receiver;
let dir: string;

beforeAll(async () => {
  models = await writeTestModels();
  s3 = await startS3Server();
  receiver = await startReceiver();
  dir = await mkdtemp(join(tmpdir(), 'onqueue-blobs-'));
});

afterAll(async () => {
  await models?.remove();
  await s3?.stop();
  await receiver?.close();
  if (dir) await rm(dir, { recursive: true, force: true });
});

const SMALL = { ONQUEUE_INLINE_INPUT_BYTES: '2048', ONQUEUE_INLINE_RESULT_BYTES: '1024' };
const envOf = (kind: string): Record<string, string> => ({
  ...SMALL,
  ...(kind === 's3' ? s3.env : { ONQUEUE_BLOB_STORE: kind, ONQUEUE_BLOB_DIR: dir }),
});

describe.each([
  ['redis', 'batch'],
  ['redis', 'stock'],
  ['file', 'batch'],
  ['s3', 'stock'],
])('in %s, with the %s source', (kind, source) => {
  let platform: TestPlatform;
  let baseUrl: string;
  let redis: Redis;

  beforeAll(async () => {
    platform = await startTestPlatform({
      modelsDir: models.dir,
      env: { ...envOf(kind), ONQUEUE_JOB_SOURCE: source },
    });
    ({ baseUrl } = platform);
    redis = new Redis(platform.redisUrl);
  });

  afterAll(async () => {
    redis?.disconnect();
    await platform?.stop();
  });

  const keyOf = (id: string) => `oq:{0}:job:default:${id}`;
  const field = async (id: string, name: string) => JSON.parse(String(await redis.hget(keyOf(id), name)));
  /** Names of the blobs of a job that are registered. */
  const blobsOf = async (id: string) =>
    (await redis.zrange('oq:{0}:blobs', '0', '-1')).filter((member) => member.includes(id));

  test('a job is scored, read and told of as if all of it were in its record', async () => {
    const posted = await postJob(baseUrl, { model: 'linear', inputs, webhook: receiver.url(`/${kind}-${source}`) });
    expect(posted.status).toBe(202);
    const { id } = posted.body;
    const job = await endedJob(baseUrl, id);
    expect(job).toMatchObject({ status: 'succeeded', rows: { total: ROWS, succeeded: ROWS, failed: 0 } });
    expect(job.results).toEqual(scores);
    expect(await field(id, 'results')).toMatchObject({ rows: ROWS, sha256: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(await redis.hget(keyOf(id), 'inputs')).toBeNull();
    const event = await until('the webhook came', () =>
      receiver.requests.map(({ body }) => JSON.parse(body)).find(({ data }) => data.id === id),
    );
    expect(event.data.results).toEqual(scores);
    // The rows of a job that succeeded are not needed any more.
    await until('its rows are deleted', async () => (await blobsOf(id)).every((name) => !name.endsWith('.inputs')));
    expect(await blobsOf(id)).toHaveLength(1);
  });

  test('a job that fails keeps its rows, and runs on them again', async () => {
    const rows = [...inputs.map(() => ({ index: 1 })), { index: 1e6 }];
    const { body } = await postJob(baseUrl, { model: 'lookup', inputs: rows });
    const failed = await endedJob(baseUrl, body.id);
    expect(failed).toMatchObject({ status: 'failed', rows: { succeeded: ROWS, failed: 1 } });
    const again = await request<JobBody>(`${baseUrl}/jobs/${body.id}/retry`, { method: 'POST' });
    expect(again.status).toBe(202);
    expect(await endedJob(baseUrl, body.id)).toMatchObject({ status: 'failed', run: 2, rows: { succeeded: ROWS } });
    const runs = await request<{ data: JobBody[] }>(`${baseUrl}/jobs/${body.id}/runs`);
    expect(runs.body.data.map(({ results }) => results?.length)).toEqual([ROWS + 1, ROWS + 1]);
    expect(await blobsOf(body.id)).toHaveLength(3);
  });

  test('its bytes count in the backlog', async () => {
    for (const worker of platform.workers) worker.pause();
    try {
      const before = Number(await redis.hget('oq:{0}:backlog:linear', 'bytes'));
      const { body } = await postJob(baseUrl, { model: 'linear', inputs });
      const after = Number(await redis.hget('oq:{0}:backlog:linear', 'bytes'));
      expect(after - before).toBe(JSON.stringify(inputs).length);
      expect(await field(body.id, 'inputs')).toMatchObject({ rows: ROWS, bytes: after - before });
      await request(`${baseUrl}/jobs/${body.id}/cancel`, { method: 'POST' });
    } finally {
      for (const worker of platform.workers) worker.resume();
    }
  });

  test('small ones stay in the record, as a process of the version before can read it', async () => {
    const { body } = await postJob(baseUrl, { model: 'linear', inputs: inputs.slice(0, 2) });
    await endedJob(baseUrl, body.id);
    expect(await field(body.id, 'results')).toEqual(scores.slice(0, 2));
    expect([await redis.hget(keyOf(body.id), 'schema_version'), await blobsOf(body.id)]).toEqual(['2', []]);
  });

  test('blobs go with the record', async () => {
    const { body } = await postJob(baseUrl, { model: 'linear', inputs, retention: 1 });
    await endedJob(baseUrl, body.id);
    const [member] = await until('its result is registered', async () => {
      const members = await blobsOf(body.id);
      return members.length === 1 && members;
    });
    await until('the record is gone', async () => (await redis.exists(keyOf(body.id))) === 0);
    // A minute later; the test has no time for that.
    await redis.zadd('oq:{0}:blobs', 0, String(member));
    await until('the blob is deleted', async () => (await blobsOf(body.id)).length === 0);
    if (kind === 'redis') expect((await redis.keys(`oq:{blob:*${body.id}*`)).length).toBe(0);
    if (kind === 'file') {
      const files = await readdir(dir, { recursive: true });
      expect(files.filter((name) => name.includes(body.id))).toEqual([]);
    }
  });
});

describe('when something is amiss', () => {
  let platform: TestPlatform;
  let baseUrl: string;
  let redis: Redis;

  beforeAll(async () => {
    platform = await startTestPlatform({ modelsDir: models.dir, env: envOf('redis') });
    ({ baseUrl } = platform);
    redis = new Redis(platform.redisUrl);
  });

  afterAll(async () => {
    redis?.disconnect();
    await platform?.stop();
  });

  async function queuedJob(): Promise<string> {
    const { status, body } = await postJob(baseUrl, { model: 'linear', inputs });
    expect(status).toBe(202);
    return body.id;
  }

  async function whileWorkersHang<T>(work: () => Promise<T>): Promise<T> {
    for (const worker of platform.workers) worker.pause();
    try {
      return await work();
    } finally {
      for (const worker of platform.workers) worker.resume();
    }
  }

  test.each(['lost', 'cut', 'changed'])('rows that are %s fail their job, which says so', async (how) => {
    const id = await whileWorkersHang(async () => {
      const queued = await queuedJob();
      const [blob] = await redis.keys(`oq:{blob:*${queued}*`);
      if (how === 'lost') await redis.del(String(blob));
      if (how === 'cut') await redis.hset(String(blob), '0', '[{"x0":');
      if (how === 'changed') {
        const content = String(await redis.hget(String(blob), '0'));
        await redis.hset(String(blob), '0', content.replace('"x0":7', '"x0":8'));
      }
      return queued;
    });
    expect(await endedJob(baseUrl, id)).toMatchObject({
      status: 'failed',
      attempt: 1,
      error: { code: 'input_lost' },
      rows: { total: ROWS, failed: ROWS },
    });
  });

  test('results that are lost are told row by row, and the rest of the job can be read', async () => {
    const id = await queuedJob();
    await endedJob(baseUrl, id);
    const blobs = await redis.keys(`oq:{blob:*${id}*results*`);
    expect(blobs).toHaveLength(1);
    await redis.del(...blobs);
    const { status, body } = await request<JobBody>(`${baseUrl}/jobs/${id}`);
    expect([status, body.status, body.rows]).toEqual([200, 'succeeded', { total: ROWS, succeeded: 0, failed: ROWS }]);
    expect(body.results?.[0]).toMatchObject({ status: 'failed', error: { code: 'result_lost' } });
  });

  test('a job that is refused leaves no blob', async () => {
    const api = await platform.startApi({ ONQUEUE_BACKLOG_MAX_BYTES: '5000' });
    const before = await redis.keys('oq:{blob:*');
    expect(await postJob(api.baseUrl, { model: 'linear', inputs })).toMatchObject({
      status: 429,
      body: { code: 'backlog_full' },
    });
    expect((await redis.keys('oq:{blob:*')).filter((key) => !before.includes(key))).toEqual([]);
    await api.stop();
  });

  test('what an API leaves that dies before the enqueue is collected', async () => {
    const registered = async () =>
      (await redis.zrange('oq:{0}:blobs', '0', '-1')).filter((name) => name.endsWith('.inputs'));
    const before = await registered();
    const doomed = await platform.startApi({ ONQUEUE_FAULT_POINTS: 'inputs.stored.after=kill@1' });
    await expect(postJob(doomed.baseUrl, { model: 'linear', inputs })).rejects.toThrow();
    const [orphan] = (await registered()).filter((name) => !before.includes(name));
    const id = String(orphan?.split(' ')[1]?.split('.')[0]);
    expect(id).toMatch(/^job_/);
    expect((await redis.keys(`oq:{blob:*${id}*`)).length).toBe(1);
    // An hour later.
    await redis.zadd('oq:{0}:blobs', 0, String(orphan));
    await until('it is deleted', async () => (await redis.keys(`oq:{blob:*${id}*`)).length === 0);
  });

  test('a worker that dies between the results and the commit: the job is run again, and has one result', async () => {
    const doomed = await platform.startWorker({ ONQUEUE_FAULT_POINTS: 'results.stored.after=kill@1' });
    const ids = await Promise.all(Array.from({ length: 12 }, () => queuedJob()));
    for (const id of ids) expect((await endedJob(baseUrl, id)).results).toEqual(scores);
    await doomed.kill();
  });

  test('a blob store that is away refuses large jobs, takes small ones, and keeps no job from ending', async () => {
    const server = await startS3Server();
    const away = await startTestPlatform({
      modelsDir: models.dir,
      env: { ...SMALL, ...server.env, ONQUEUE_BLOB_TIMEOUT_MS: '1500' },
    });
    try {
      await server.stop();
      const large = await postJob<{ code: string }>(away.baseUrl, { model: 'linear', inputs });
      expect([large.status, large.body.code, large.headers.has('retry-after')]).toEqual([
        503,
        'storage_unavailable',
        true,
      ]);
      // Small rows, large results.
      const rows = Array.from({ length: 40 }, (_, x0) => ({ x0, x1: 0, x2: 0 }));
      const { body } = await postJob(away.baseUrl, { model: 'linear', inputs: rows });
      const job = await endedJob(away.baseUrl, body.id);
      expect(job.results).toEqual(scores.slice(0, 40));
    } finally {
      await away.stop();
    }
  });
});

test.each([
  [{ ONQUEUE_BLOB_STORE: 'file' }, 'ONQUEUE_BLOB_DIR'],
  [{ ONQUEUE_BLOB_STORE: 's3' }, 'ONQUEUE_S3_BUCKET'],
  [{ ONQUEUE_BLOB_STORE: 'file', ONQUEUE_BLOB_DIR: '/dev/null/blobs' }, 'ONQUEUE_BLOB_DIR'],
])('a store that is not configured whole is told at start: %j', async (env, variable) => {
  await expect(startTestPlatform({ modelsDir: models.dir, env })).rejects.toThrow(variable);
});
