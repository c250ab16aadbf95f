import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { ChildService } from '@onqueue/launcher';
import { closeRedis, connectRedis, type RedisConnection } from '@onqueue/shared/redis';
import { EndListener } from './faults/support/end-listener.ts';
import { inParallel } from './faults/support/in-parallel.ts';
import { acceptedJob, endedJob, type JobBody, postJob, request } from './support/client.ts';
import { declareCache } from './support/models/model-folder.ts';
import { writeLinearModel, writeLookupModel, writeSlowModel } from './support/models/tiny-models.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';
import { until } from './support/until.ts';

let platform: TestPlatform;
let redis: RedisConnection;
let dir: string;
let baseUrl: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'onqueue-models-'));
  const [version, cache] = ['1', { ttl_s: 600 }];
  const batching = { max_batch_size: 4 };
  await declareCache(writeLinearModel({ dir, name: 'linear', version }), cache);
  await declareCache(writeLinearModel({ dir, name: 'tiny', version }), { ...cache, max_row_bytes: 2 });
  await declareCache(writeLinearModel({ dir, name: 'alone', version }), { ...cache, single_flight: false });
  await declareCache(writeLookupModel({ dir, name: 'lookup', version }), cache);
  await declareCache(writeSlowModel({ dir, name: 'slow', version, batching }), cache);
  const env = { ONQUEUE_FLIGHT_LEASE_S: '2' };
  platform = await startTestPlatform({ modelsDir: dir, apis: 2, workers: 2, env });
  ({ baseUrl } = platform);
  redis = connectRedis(platform.redisUrl, { kind: 'worker' }, () => {});
});

afterAll(async () => {
  if (redis) await closeRedis(redis);
  await platform?.stop();
  await rm(dir, { recursive: true, force: true });
});

/** Numbers that no test has used before. */
let used = 0;
const newRow = () => ({ x0: ++used, x1: 0, x2: 0 });
const workers = () => platform.workers.filter((worker) => !worker.hasExited);
const read = async (id: string) => (await request<JobBody>(`${baseUrl}/jobs/${id}`)).body;
const cancel = (id: string) => request<JobBody>(`${baseUrl}/jobs/${id}/cancel`, { method: 'POST' });
const record = (id: string, ...fields: string[]) => redis.hmget(`oq:{0}:job:default:${id}`, ...fields);
const isFollowing = async (id: string) => (await record(id, 'following'))[0] !== null;

async function computedBy(worker: ChildService, model: string): Promise<number> {
  const { body } = await request<string>(`${worker.baseUrl}/metrics`);
  return Number(
    new RegExp(`^onqueue_batch_rows_sum\\{model="${model}",version="1"\\} (\\d+)$`, 'm').exec(body)?.[1] ?? 0,
  );
}
async function computed(model: string): Promise<number> {
  const counts = await Promise.all(workers().map((worker) => computedBy(worker, model)));
  return counts.reduce((sum, count) => sum + count, 0);
}

/** With every worker held, as if there were none. */
async function whileWorkersHang<T>(work: () => Promise<T>): Promise<T> {
  for (const worker of workers()) worker.pause();
  try {
    return await work();
  } finally {
    for (const worker of workers()) worker.resume();
  }
}

/** When all jobs of a flight have ended. */
const untilNoFlight = () =>
  until('nothing of a flight is left', async () => (await redis.keys('oq:{0}:f*')).length === 0);

describe('rows that are being computed', () => {
  test('are computed once for a thousand jobs, and every one of them ends once', async () => {
    const listener = await EndListener.start(platform.redisUrl);
    const before = await computed('slow');
    const ends = new Map<string, number>();
    const spy = connectRedis(platform.redisUrl, { kind: 'subscriber' }, () => {});
    spy.on('message', (_channel: string, ids: string) => {
      for (const id of ids.split(' ')) ends.set(id, (ends.get(id) ?? 0) + 1);
    });
    await spy.subscribe('oq:{0}:done');
    try {
      const urls = platform.apis.map((api) => api.baseUrl);
      const ids = await whileWorkersHang(() =>
        inParallel(Array(1000).keys(), 32, (n) =>
          acceptedJob(String(urls[n % urls.length]), { model: 'slow', input: { steps: 300 } }),
        ),
      );
      await listener.untilEnded(ids);
      expect(await computed('slow')).toBe(before + 1);
      const jobs = await inParallel(ids, 32, read);
      expect(jobs.filter(({ status }) => status !== 'succeeded')).toEqual([]);
      expect(jobs.filter(({ results }) => results?.[0]?.output?.score !== 300)).toEqual([]);
      expect(jobs.filter(({ attempt }) => attempt === 1)).toHaveLength(1);
      expect([...ends.values()].filter((count) => count !== 1)).toEqual([]);
      await untilNoFlight();
    } finally {
      await listener.close();
      await closeRedis(spy);
    }
  });

  test('are waited for by jobs that keep their own deadline and cancel', async () => {
    const row = newRow();
    const { leader, expiring, canceled, patient } = await whileWorkersHang(async () => {
      const post = (more: object = {}) => acceptedJob(baseUrl, { model: 'linear', input: row, ...more });
      const leader = await post();
      const [expiring, canceled, patient] = [await post({ expires_in: 0.3 }), await post(), await post()];
      expect(await Promise.all([leader, expiring, canceled, patient].map(isFollowing))).toEqual([
        false,
        true,
        true,
        true,
      ]);
      expect((await cancel(canceled)).body).toMatchObject({ status: 'canceled' });
      await until('its time is over', async () => (await read(expiring)).status === 'expired');
      return { leader, expiring, canceled, patient };
    });
    expect(await endedJob(baseUrl, leader)).toMatchObject({ status: 'succeeded', attempt: 1 });
    expect(await endedJob(baseUrl, patient)).toMatchObject({
      status: 'succeeded',
      attempt: 0,
      results: [{ cached: true }],
    });
    expect(await read(canceled)).toMatchObject({ status: 'canceled', results: null });
    expect(await read(expiring)).toMatchObject({ status: 'expired', results: null });
    await untilNoFlight();
  });

  test('are led by the next one when their leader is canceled', async () => {
    const row = newRow();
    const before = await computed('linear');
    const [leader, low, high] = await whileWorkersHang(async () => {
      const post = (priority: number) => acceptedJob(baseUrl, { model: 'linear', input: row, priority });
      const ids = [await post(0), await post(-1), await post(1)] as const;
      await cancel(ids[0]);
      await until('the most urgent follower leads', async () => !(await isFollowing(ids[2])));
      expect(await isFollowing(ids[1])).toBe(true);
      return ids;
    });
    expect(await endedJob(baseUrl, high)).toMatchObject({ status: 'succeeded', attempt: 1 });
    expect(await endedJob(baseUrl, low)).toMatchObject({ status: 'succeeded', attempt: 0 });
    expect(await read(leader)).toMatchObject({ status: 'canceled' });
    expect(await computed('linear')).toBe(before + 1);
    await untilNoFlight();
  });

  test('fail for all of them when the row is bad', async () => {
    const [leader, ...followers] = await whileWorkersHang(() =>
      inParallel(Array(5).keys(), 1, () => acceptedJob(baseUrl, { model: 'lookup', input: { index: 99 } })),
    );
    const ended = await endedJob(baseUrl, String(leader));
    expect(ended).toMatchObject({ status: 'failed', attempt: 1, error: { code: 'inference_failed', row: 0 } });
    for (const id of followers) {
      expect(await endedJob(baseUrl, id)).toMatchObject({
        status: 'failed',
        attempt: 0,
        error: ended.error,
        results: ended.results,
      });
    }
    await untilNoFlight();
  });

  test('are computed by all when the answer is not one that is kept', async () => {
    const row = newRow();
    const before = await computed('tiny');
    const ids = await whileWorkersHang(() =>
      inParallel(Array(5).keys(), 1, () => acceptedJob(baseUrl, { model: 'tiny', input: row })),
    );
    for (const id of ids) expect(await endedJob(baseUrl, id)).toMatchObject({ status: 'succeeded', attempt: 1 });
    expect(await computed('tiny')).toBe(before + 5);
    await untilNoFlight();
  });

  test('are computed beside their leader when its lease is over', async () => {
    const before = await computed('slow');
    const [leader, next] = [
      await acceptedJob(baseUrl, { model: 'slow', input: { steps: 6001 } }),
      await acceptedJob(baseUrl, { model: 'slow', input: { steps: 6001 } }),
    ];
    expect(await isFollowing(next)).toBe(true);
    await until('the lease is over', async () => !(await isFollowing(next)));
    for (const id of [leader, next])
      expect(await endedJob(baseUrl, id)).toMatchObject({ status: 'succeeded', attempt: 1 });
    expect(await computed('slow')).toBe(before + 2);
    await untilNoFlight();
  });

  test('are waited for as long as their leader has not had its turn', async () => {
    const row = newRow();
    const leaseMs = async () => Number((await redis.zrangebyscore('oq:{0}:flights', '-inf', '+inf', 'WITHSCORES'))[1]);
    await whileWorkersHang(async () => {
      await acceptedJob(baseUrl, { model: 'linear', input: row });
      const next = await acceptedJob(baseUrl, { model: 'linear', input: row });
      const first = await leaseMs();
      await until('the lease is renewed', async () => (await leaseMs()) > first);
      expect(await isFollowing(next)).toBe(true);
    });
    await untilNoFlight();
  });

  test('are taken over from the bulk lane by an interactive job', async () => {
    const row = newRow();
    const [bulk, interactive] = await whileWorkersHang(async () => {
      const bulk = await acceptedJob(baseUrl, { model: 'linear', input: row, lane: 'bulk' });
      const interactive = await acceptedJob(baseUrl, { model: 'linear', input: row });
      expect([await isFollowing(bulk), await isFollowing(interactive)]).toEqual([true, false]);
      expect(await redis.lrange('oq:{0}:bull:linear.bulk:wait', 0, -1)).toEqual([]);
      return [bulk, interactive] as const;
    });
    expect(await endedJob(baseUrl, interactive)).toMatchObject({
      status: 'succeeded',
      attempt: 1,
      lane: 'interactive',
    });
    expect(await endedJob(baseUrl, bulk)).toMatchObject({ status: 'succeeded', attempt: 0, lane: 'bulk' });
    await untilNoFlight();
  });

  test('are waited for row by row: a job with one that nobody computes is computed', async () => {
    const [a, b, c] = [newRow(), newRow(), newRow()];
    const before = await computed('linear');
    const ids = await whileWorkersHang(async () => {
      const post = (inputs: object[]) => acceptedJob(baseUrl, { model: 'linear', inputs });
      const both = await post([a, b]);
      const [inside, across] = [await post([b]), await post([b, c])];
      const third = await post([c, a, b]);
      expect(await Promise.all([both, inside, across, third].map(isFollowing))).toEqual([false, true, false, true]);
      return [both, inside, across, third];
    });
    const jobs = await Promise.all(ids.map((id) => endedJob(baseUrl, id)));
    expect(jobs.map(({ results }) => results?.map(({ output }) => output?.score))).toEqual([
      [a.x0, b.x0],
      [b.x0],
      [b.x0, c.x0],
      [c.x0, a.x0, b.x0],
    ]);
    expect(await computed('linear')).toBe(before + 4);
    await untilNoFlight();
  });

  test('are computed by each where the model says so, and by those who want a fresh answer', async () => {
    const row = newRow();
    const ids = await whileWorkersHang(() =>
      inParallel(Array(3).keys(), 1, () => acceptedJob(baseUrl, { model: 'alone', input: row })),
    );
    for (const id of ids) expect(await endedJob(baseUrl, id)).toMatchObject({ status: 'succeeded', attempt: 1 });
    const fresh = await whileWorkersHang(async () => {
      await acceptedJob(baseUrl, { model: 'linear', input: row });
      return (await postJob(baseUrl, { model: 'linear', input: row }, { 'cache-control': 'no-cache' })).body.id;
    });
    expect(await endedJob(baseUrl, fresh)).toMatchObject({ status: 'succeeded', attempt: 1 });
    await untilNoFlight();
  });
});

describe('workers that are killed', () => {
  test('leave no follower without an end, and none with two', async () => {
    const ends = new Map<string, number>();
    const listener = await EndListener.start(platform.redisUrl);
    const spy = connectRedis(platform.redisUrl, { kind: 'subscriber' }, () => {});
    spy.on('message', (_channel: string, ids: string) => {
      for (const id of ids.split(' ')) ends.set(id, (ends.get(id) ?? 0) + 1);
    });
    await spy.subscribe('oq:{0}:done');
    try {
      const ids: string[] = [];
      const starts: Promise<unknown>[] = [];
      for (let round = 0; round < 3; round++) {
        // Several flights of which some are in a runner when their worker dies.
        ids.push(
          ...(await inParallel(Array(120).keys(), 16, (n) =>
            acceptedJob(baseUrl, { model: 'slow', input: { steps: 500 + round * 10 + (n % 6) } }),
          )),
        );
        const [victim] = await until('a worker is busy', async () => {
          const busy = await Promise.all(
            workers().map(async (worker) => ((await computedBy(worker, 'slow').catch(() => 0)) > 0 ? [worker] : [])),
          );
          const found = busy.flat();
          return found.length > 0 ? found : undefined;
        });
        await victim?.kill();
        starts.push(platform.startWorker());
      }
      await Promise.all(starts);
      await listener.untilEnded(ids);
      const jobs = await inParallel(ids, 16, read);
      expect(jobs.filter(({ status }) => status !== 'succeeded')).toEqual([]);
      expect(jobs.filter(({ id }) => ends.get(id) !== 1)).toEqual([]);
      await untilNoFlight();
      expect(await redis.hmget('oq:{0}:backlog:slow', 'jobs', 'rows', 'bytes')).toEqual(['0', '0', '0']);
    } finally {
      await listener.close();
      await closeRedis(spy);
    }
  });
});
