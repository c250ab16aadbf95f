import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { firstJobIdAt, LANES, type NewJob, newJobId } from '@onqueue/shared';
import {
  closeRedis,
  connectRedis,
  type RedisConnection,
  RedisJobIndex,
  RedisJobStore,
  RedisKeys,
} from '@onqueue/shared/redis';
import { acceptedJob, type JobBody, request, runJob } from './support/client.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { startPrivateRedis, startTestPlatform, type TestPlatform } from './support/platform.ts';

/** A tenant finds its jobs. */

interface Page {
  data: JobBody[];
  has_more: boolean;
  next: string | null;
}

let platform: TestPlatform;
let models: Awaited<ReturnType<typeof writeTestModels>>;
let baseUrl: string;
/** In the order in which they were posted. */
const ids: Record<'sixth' | 'failed' | 'canceled' | 'bulk', string> = { sixth: '', failed: '', canceled: '', bulk: '' };
const linear: string[] = [];

beforeAll(async () => {
  models = await writeTestModels();
  platform = await startTestPlatform({
    modelsDir: models.dir,
    apiEnv: { ONQUEUE_INDEXED_METADATA: 'order,customer', ONQUEUE_LIST_MAX_LOOKS: '100' },
  });
  ({ baseUrl } = platform);
  for (let n = 0; n < 7; n++) {
    const metadata = { order: n, customer: n % 2 === 0 ? 'even' : 'odd', note: 'x' };
    linear.push((await runJob(baseUrl, { model: 'linear', input: { x0: n, x1: 0, x2: 0 }, metadata })).id);
  }
  ids.sixth = linear[6] ?? '';
  ids.failed = (await runJob(baseUrl, { model: 'lookup', input: { index: 99 } })).id;
  ids.canceled = await acceptedJob(baseUrl, { model: 'slow', input: { steps: 60_000_000 } });
  await request(`${baseUrl}/jobs/${ids.canceled}/cancel`, { method: 'POST' });
});

afterAll(async () => {
  await platform?.stop();
  await models?.remove();
});

const list = (query = '') => request<Page>(`${baseUrl}/jobs${query}`);
const idsOf = ({ body }: { body: Page }) => body.data.map(({ id }) => id);

describe('GET /jobs', () => {
  test('has the newest jobs of all models first, without their results', async () => {
    const answer = await list();
    expect(idsOf(answer)).toEqual([ids.canceled, ids.failed, ...linear.toReversed()]);
    expect(answer.body).toMatchObject({ object: 'list', has_more: false, next: null });
    expect(answer.body.data[0]).toMatchObject({ object: 'job', status: 'canceled', error: { code: 'canceled' } });
    expect(answer.body.data[0]).not.toHaveProperty('results');
  });

  test('comes in pages, which have every job once', async () => {
    const seen: string[] = [];
    let query = '?limit=2';
    for (;;) {
      const page = await list(query);
      seen.push(...idsOf(page));
      expect(page.body.data.length).toBeLessThanOrEqual(2);
      expect(page.body.has_more).toBe(page.body.next !== null);
      if (!page.body.next) break;
      query = `?limit=2&starting_after=${page.body.next}`;
    }
    expect(seen).toEqual(idsOf(await list()));
  });

  test('shows a job as soon as it is accepted, and does not move pages that follow', async () => {
    const first = await list('?limit=1');
    const id = await acceptedJob(baseUrl, { model: 'slow', input: { steps: 1 } });
    expect(idsOf(await list('?limit=1'))).toEqual([id]);
    expect(idsOf(await list(`?limit=1&starting_after=${first.body.next}`))).toEqual([ids.failed]);
  });

  test('by model, by state and by time', async () => {
    expect(idsOf(await list('?model=linear'))).toEqual(linear.toReversed());
    expect(idsOf(await list('?status=failed'))).toEqual([ids.failed]);
    expect(idsOf(await list('?status=canceled&model=linear'))).toEqual([]);
    expect(idsOf(await list('?status=succeeded&model=linear&limit=1'))).toEqual([ids.sixth]);
    const { body } = await request<JobBody>(`${baseUrl}/jobs/${linear[3]}`);
    const at = encodeURIComponent(String(body.created_at));
    expect(idsOf(await list(`?created_before=${at}`))).toEqual(linear.slice(0, 3).toReversed());
    expect(idsOf(await list(`?created_after=${at}&model=linear`))).toEqual(linear.slice(3).toReversed());
  });

  test('by indexed metadata, as text', async () => {
    expect(idsOf(await list('?metadata[order]=4'))).toEqual([linear[4]]);
    expect(idsOf(await list('?metadata[customer]=odd'))).toEqual([linear[5], linear[3], linear[1]]);
    expect(idsOf(await list('?metadata[customer]=odd&metadata[order]=4'))).toEqual([]);
    expect(idsOf(await list('?metadata[customer]=odd&metadata[order]=5&status=succeeded'))).toEqual([linear[5]]);
    expect(idsOf(await list('?metadata[customer]=none'))).toEqual([]);
  });

  test.each([
    ['?metadata[note]=x', '?metadata[note]'],
    ['?limit=0', '?limit'],
    ['?limit=101', '?limit'],
    ['?limit=two', '?limit'],
    ['?status=done', '?status'],
    ['?created_after=yesterday', '?created_after'],
    ['?starting_after=job_x', '?starting_after'],
    ['?LIMIT=1', '?LIMIT'],
    ['?limit=1&limit=2', '?limit'],
  ])('refuses %s', async (query, pointer) => {
    expect(await list(query)).toMatchObject({ status: 400, body: { code: 'invalid_request', errors: [{ pointer }] } });
  });

  test('a retried job leaves the failed ones', async () => {
    const { id } = await runJob(baseUrl, { model: 'lookup', input: { index: 98 } });
    expect(idsOf(await list('?status=failed&limit=1'))).toEqual([id]);
    await request(`${baseUrl}/jobs/${id}/cancel`, { method: 'POST' });
    for (const worker of platform.workers) worker.pause();
    await request(`${baseUrl}/jobs/${id}/retry`, { method: 'POST' });
    expect(idsOf(await list('?status=failed'))).not.toContain(id);
    await request(`${baseUrl}/jobs/${id}/cancel`, { method: 'POST' });
    for (const worker of platform.workers) worker.resume();
    expect(idsOf(await list('?status=canceled&model=lookup'))).toEqual([id]);
  });
});

describe('the lists', () => {
  let server: Awaited<ReturnType<typeof startPrivateRedis>>;
  let redis: RedisConnection;
  const keys = new RedisKeys('oq');
  const LIMITS = { maxJobs: 1e6, maxRows: 1e6, maxBytes: 1e9 };
  const RETENTION_MS = 3_600_000;
  const storeOf = (partitions: number) =>
    new RedisJobStore({
      redis,
      keys,
      partitions,
      retentionMs: RETENTION_MS,
      attempts: 3,
      retryDelayMs: 10,
      maxPredictions: 0,
      indexedMetadata: ['order'],
    });
  const indexOf = (partitions = 1) => new RedisJobIndex({ redis, keys, partitions, retentionMs: RETENTION_MS });
  const newJob = (changes: Partial<NewJob> & { createdAtMs?: number } = {}): NewJob => {
    const { createdAtMs = Date.now(), partition = 0 } = changes;
    return {
      id: newJobId({ createdAtMs, partition }),
      tenant: 'default',
      partition,
      model: 'fraud',
      version: '1',
      lane: LANES[0] ?? 'interactive',
      inputs: [{ amount: 1 }],
      request: { on_row_error: 'fail', request_id: 'req_1', metadata: { order: 'A' } },
      ...changes,
    };
  };
  const query = { tenant: 'default', limit: 10, maxLooks: 1000 };

  beforeAll(async () => {
    server = await startPrivateRedis();
    redis = connectRedis(server.url, { kind: 'worker' }, () => {});
  });
  afterAll(async () => {
    await closeRedis(redis);
    await server.stop();
  });

  test('merge partitions and models in the order of creation, and keep tenants apart', async () => {
    await redis.flushall();
    const store = storeOf(3);
    const jobs = [];
    const now = Date.now();
    for (let n = 0; n < 9; n++) {
      const job = newJob({ model: `m${n % 4}`, partition: n % 3, createdAtMs: now + n });
      jobs.push(job);
      await store.enqueue(job, LIMITS);
      await store.enqueue(newJob({ tenant: 'other', partition: n % 3 }), LIMITS);
    }
    const index = indexOf(3);
    const first = await index.list({ ...query, limit: 5 });
    const second = await index.list({ ...query, limit: 5, ...(first.next ? { after: first.next } : {}) });
    expect([...first.jobs, ...second.jobs].map(({ id }) => id)).toEqual(jobs.map(({ id }) => id).toReversed());
    expect(second.next).toBeUndefined();
  });

  test('give out a page as it is when too many do not match, and go on from there', async () => {
    await redis.flushall();
    const store = storeOf(1);
    const wanted = newJob({ version: '1' });
    await store.enqueue(wanted, LIMITS);
    await store.claim([{ id: wanted.id, tenant: 'default', partition: 0, run: 1 }]);
    for (let n = 0; n < 250; n++) await store.enqueue(newJob({ createdAtMs: Date.now() + 5 }), LIMITS);
    const index = indexOf();
    const running = { ...query, states: ['running'] as const, maxLooks: 100 };
    const pages = [];
    let after: string | undefined;
    do {
      const page = await index.list({ ...running, ...(after ? { after } : {}) });
      pages.push(page.jobs.length);
      after = page.next;
    } while (after);
    expect(pages).toEqual([0, 0, 1]);
  });

  test('drop entries whose records have expired, those that are read at once, the others in time', async () => {
    await redis.flushall();
    const store = storeOf(1);
    const old = Date.now() - 2 * RETENTION_MS;
    const jobs = Array.from({ length: 600 }, (_, n) => newJob({ createdAtMs: old + n }));
    for (const job of jobs) await store.enqueue(job, LIMITS);
    const fresh = newJob();
    await store.enqueue(fresh, LIMITS);
    const [alive, ...dead] = jobs;
    await redis.del(...dead.map(({ id }) => keys.job(0, 'default', id)), keys.job(0, 'default', fresh.id));
    const all = keys.jobs(0, 'default', 'fraud');
    await indexOf().list({ ...query, limit: 1, maxLooks: 1 });
    expect(await redis.zscore(all, fresh.id)).toBeNull();
    await indexOf().prune(0);
    expect(await redis.zrange(all, '0', '-1')).toEqual([alive?.id]);
    await redis.del(keys.job(0, 'default', alive?.id ?? ''), keys.pruneTurn(0));
    await indexOf().prune(0);
    expect(await redis.exists(all, keys.jobModels(0, 'default'))).toBe(0);
  });

  test('by metadata are shortened as they grow', async () => {
    await redis.flushall();
    const store = storeOf(1);
    const at = Date.now() - 10_000;
    for (let n = 0; n < 100; n++) {
      const job = newJob({ createdAtMs: at + n });
      await store.enqueue(job, LIMITS);
      await redis.del(keys.job(0, 'default', job.id));
    }
    const [tagged = ''] = await redis.keys('oq:{0}:tagged:*');
    expect(await redis.zcard(tagged)).toBeLessThanOrEqual(2);
    expect(await redis.pttl(tagged)).toBeGreaterThan(6 * 86_400_000);
  });

  test('cost a job little', async () => {
    await redis.flushall();
    const store = storeOf(1);
    for (let n = 0; n < 2000; n++) await store.enqueue(newJob(), LIMITS);
    const bytes = Number(await redis.call('MEMORY', 'USAGE', keys.jobs(0, 'default', 'fraud'), 'SAMPLES', '0'));
    expect(bytes / 2000).toBeLessThan(160);
  });

  test('begin at an id of their time', () => {
    const id = newJobId({ createdAtMs: 1_700_000_000_000, partition: 3 });
    expect(firstJobIdAt(1_700_000_000_000) <= id && id < firstJobIdAt(1_700_000_000_001)).toBe(true);
    expect(firstJobIdAt(-5) < id && id < firstJobIdAt(Number.MAX_SAFE_INTEGER)).toBe(true);
  });
});
