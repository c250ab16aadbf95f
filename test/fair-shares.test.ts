import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { ClaimedJob, JobOutcome, NewJob } from '@onqueue/shared';
import { parseQueueJobId } from '@onqueue/shared/redis';
import { HeldHandler, SourceBench, type SourceKind } from './support/job-source-bench.ts';
import { type RedisProxy, startRedisProxy } from './support/job-source-proxy.ts';
import { until } from './support/until.ts';

/** What a tenant gets of a queue in which others wait as well. */

const QUEUE = 'fraud.interactive';
const WAIT = `oq:{0}:bull:${QUEUE}:wait`;
/** Jobs that go straight to BullMQ while no worker has said otherwise. */
const STRAIGHT = 64;

let bench: SourceBench;
let proxy: RedisProxy;

beforeAll(async () => {
  bench = await SourceBench.start();
  proxy = await startRedisProxy(bench.server.port);
});

afterAll(async () => {
  await proxy?.close();
  await bench?.close();
});

afterEach(async () => {
  proxy.mend();
  await bench.reset();
});

const rows = (count: number) => ({ inputs: Array.from({ length: count }, () => ({ amount: 1 })) });

/** Enqueued in this order. */
async function enqueueInOrder(count: number, changes: (index: number) => Partial<NewJob>): Promise<string[]> {
  const ids: string[] = [];
  for (let from = 0; from < count; from += 1000) {
    const size = Math.min(1000, count - from);
    ids.push(...(await bench.enqueueMany(size, (index) => changes(from + index))));
  }
  return ids;
}

/** A handler that notes whose rows it got, in order. */
function noting(): { handler: (job: ClaimedJob) => Promise<JobOutcome>; jobs: ClaimedJob[] } {
  const jobs: ClaimedJob[] = [];
  return {
    jobs,
    handler: async (job) => {
      jobs.push(job);
      return { state: 'succeeded', results: job.inputs.map(() => ({ status: 'succeeded', output: { score: 1 } })) };
    },
  };
}

/** The rows of a tenant in each thousand rows that were served. */
function sharesOf(tenant: string, jobs: readonly ClaimedJob[]): number[] {
  const shares: number[] = [];
  let [served, its] = [0, 0];
  for (const job of jobs) {
    served += job.inputs.length;
    if (job.tenant === tenant) its += job.inputs.length;
    if (served < 1000) continue;
    shares.push(its / served);
    [served, its] = [0, 0];
  }
  return shares;
}

describe.each<[SourceKind]>([['stock'], ['batch']])('from the %s source', (kind) => {
  test('tenants of weights 1 and 3 get a quarter and three quarters of every thousand rows, whatever their jobs weigh', async () => {
    await bench.store.setWeight('heavy', 3);
    // One has jobs of one row, the other of up to nine; both have more than the time that is looked at.
    await enqueueInOrder(3600, (index) =>
      index % 3 ? { tenant: 'heavy', ...rows(1 + (index % 9)) } : { tenant: 'light' },
    );
    const { handler, jobs } = noting();
    bench.source(kind, { handler });
    await bench.expectEmptyQueues();
    await until('all have been served', () => jobs.length === 3600);
    const lastLight = jobs.findLastIndex(({ tenant }) => tenant === 'light');
    const shares = sharesOf('light', jobs.slice(0, lastLight));
    expect(shares.length).toBeGreaterThanOrEqual(3);
    for (const share of shares) {
      expect(share).toBeGreaterThan(0.25 * 0.9);
      expect(share).toBeLessThan(0.25 * 1.1);
    }
  });

  test('a worker that finds nothing in the wait list begins with those who are parked', async () => {
    const ids = await enqueueInOrder(STRAIGHT + 20, () => ({}));
    expect(await bench.parked()).toBe(20);
    for (const id of ids.slice(0, STRAIGHT)) await bench.store.cancel('default', id);
    await bench.redis.del(`oq:{0}:bull:${QUEUE}:marker`);
    expect(await bench.redis.llen(WAIT)).toBe(0);
    const { handler, jobs } = noting();
    bench.source(kind, { handler });
    await until('they have been served', () => jobs.length === 20);
    await bench.expectEmptyQueues();
    expect(jobs.map(({ id }) => id).sort()).toEqual(ids.slice(STRAIGHT).sort());
  });

  test('what a worker took along when it died is served by another one, once', async () => {
    const ids = await enqueueInOrder(300, (index) => ({ tenant: index % 2 ? 'a' : 'b' }));
    const held = new HeldHandler();
    const dying = bench.source(kind, {
      handler: held.handler,
      url: proxy.url,
      lockDurationMs: 300,
      stalledIntervalMs: 100,
    });
    await held.called(16);
    proxy.cut();
    const { handler, jobs } = noting();
    bench.source(kind, { handler, lockDurationMs: 300, stalledIntervalMs: 100 });
    await bench.expectEmptyQueues();
    await until('all have been served', () => jobs.length >= ids.length);
    expect(jobs.map(({ id }) => id).sort()).toEqual([...ids].sort());
    proxy.mend();
    held.release();
    await until('what the dead one brings late is refused', () => dying.fenced.length === held.calls.length);
    expect(dying.committed).toEqual([]);
    expect(await bench.store.backlog('fraud')).toMatchObject({ jobs: 0, rows: 0, finishedJobs: 300 });
  });

  test('takes up what the previous version left in the wait list, and keeps new jobs beside it', async () => {
    // It knew no limit.
    await bench.redis.hset(bench.keys.backlog(0, 'fraud'), 'feed_limit:interactive', 1_000_000);
    const before = await enqueueInOrder(500, () => ({}));
    expect(await bench.redis.llen(WAIT)).toBe(500);
    await bench.redis.hdel(bench.keys.backlog(0, 'fraud'), 'feed_limit:interactive');
    const after = await enqueueInOrder(50, () => ({ tenant: 'other' }));
    expect(await bench.parked()).toBe(50);
    const { handler, jobs } = noting();
    bench.source(kind, { handler });
    await bench.expectEmptyQueues();
    await until('all have been served', () => jobs.length === 550);
    expect(jobs.map(({ id }) => id).sort()).toEqual([...before, ...after].sort());
  });

  test('a paused queue feeds nothing; when it is resumed, all goes on', async () => {
    const queue = bench.queue();
    await queue.pause();
    await enqueueInOrder(200, (index) => ({ tenant: index % 2 ? 'a' : 'b' }));
    const { handler, jobs } = noting();
    bench.source(kind, { handler });
    await bench.store.feed(0, [{ model: 'fraud', lane: 'interactive', limit: 1000 }]);
    expect([await bench.redis.llen(WAIT), await bench.parked(), jobs]).toEqual([STRAIGHT, 200 - STRAIGHT, []]);
    await queue.resume();
    await bench.expectEmptyQueues();
    await until('all have been served', () => jobs.length === 200);
  });
});

test('ten jobs that come behind the hundred thousand of another tenant start within three batches', async () => {
  const FLOOD = 100_000;
  const CONCURRENCY = 64; // Two batches of 32.
  await enqueueInOrder(FLOOD, () => ({ tenant: 'flood' }));
  expect(await bench.store.backlog('fraud')).toMatchObject({ jobs: FLOOD });
  for (const kind of ['stock', 'batch'] as const) {
    const held = new HeldHandler();
    const source = bench.source(kind, { handler: held.handler, concurrency: CONCURRENCY });
    await held.called(CONCURRENCY);
    await until('the wait list is short', async () => (await bench.redis.llen(WAIT)) <= CONCURRENCY);
    const startedBefore = held.calls.length;
    await enqueueInOrder(10, () => ({ tenant: 'late' }));
    // One by one, as they would end.
    const isLate = ({ job }: { job: ClaimedJob }) => job.tenant === 'late';
    await until('they have started', () => {
      held.releaseOne();
      return held.calls.filter(isLate).length === 10;
    });
    const behind = held.calls.findLastIndex(isLate) + 1 - startedBefore;
    expect(behind).toBeLessThanOrEqual((3 * CONCURRENCY) / 2);
    const drained = source.drain();
    held.release();
    await drained;
  }
}, 120_000);

describe('a parked job', () => {
  /** The wait list is full, and these are parked. */
  async function parkedJobs(count: number, changes: Partial<NewJob> = {}): Promise<string[]> {
    const ids = await enqueueInOrder(STRAIGHT + count, (index) => (index < STRAIGHT ? {} : changes));
    return ids.slice(STRAIGHT);
  }
  const keysOf = (id: string) => bench.redis.keys(`*${id}*`);

  test('costs Redis its record and a line: BullMQ has nothing of it', async () => {
    const [id = ''] = await parkedJobs(1);
    expect(await keysOf(id)).toEqual([bench.keys.job(0, 'default', id)]);
    expect(await bench.redis.llen(WAIT)).toBe(STRAIGHT);
  });

  test('counts in the backlog, and in the age of what waits', async () => {
    const [id] = await parkedJobs(3, rows(2));
    const parked = `oq:{0}:shares:${QUEUE}:parked:default`;
    await bench.redis.zincrby(parked, -90_000_000, `${id}-1 2`);
    const { oldestUnclaimed, ...counts } = await bench.store.backlog('fraud');
    expect(counts).toMatchObject({ jobs: STRAIGHT + 3, rows: STRAIGHT + 6 });
    expect(oldestUnclaimed.find(({ lane }) => lane === 'interactive')?.ageS).toBeGreaterThanOrEqual(89);
  });

  test('is gone when it is canceled, and waits again as the next run when it is retried', async () => {
    const [canceled = '', other = ''] = await parkedJobs(2);
    expect(await bench.store.cancel('default', canceled)).toEqual({ status: 'canceled' });
    expect([await bench.parked(), (await bench.store.backlog('fraud')).jobs]).toEqual([1, STRAIGHT + 1]);
    expect(await bench.store.retry('default', canceled, { maxJobs: 1000, maxRows: 1000, maxBytes: 1e6 })).toEqual({
      status: 'queued',
      run: 2,
    });
    const { handler, jobs } = noting();
    bench.source('batch', { handler, concurrency: 1 });
    await bench.expectEmptyQueues();
    await until('all have been served', () => jobs.length === STRAIGHT + 2);
    expect(jobs.slice(-2).map(({ id, run }) => [id, run])).toEqual([
      [other, 1],
      [canceled, 2],
    ]);
  });

  test('expires, with nothing left in its queue', async () => {
    const request = { on_row_error: 'fail', request_id: 'r', expires_in_s: 0.001 } as const;
    const [id = ''] = await parkedJobs(1, { request });
    await until('it expires', async () => {
      await bench.store.sweep(0, 10);
      return (await bench.record(id)).state === 'expired';
    });
    expect([await bench.parked(), await keysOf(id)]).toEqual([0, [bench.keys.job(0, 'default', id)]]);
  });

  test('is fed with the options of a queue job: attempts, backoff, its time', async () => {
    const [id] = await parkedJobs(1);
    const straight = parseQueueJobId((await bench.redis.lrange(WAIT, 0, 0))[0] ?? '').id;
    await bench.store.feed(0, [{ model: 'fraud', lane: 'interactive', limit: STRAIGHT + 1 }]);
    const queueJob = async (of = '') => (await bench.queue().getJob(`${of}-1`))?.asJSON();
    const [fed, other] = [await queueJob(id), await queueJob(straight)];
    const idAndTime = { id: expect.anything(), timestamp: expect.any(Number) };
    expect(fed).toEqual({ ...other, ...idAndTime });
    expect(Number(fed?.timestamp)).toBeGreaterThanOrEqual(Number(other?.timestamp));
    expect(fed?.opts.attempts).toBe(3);
  });
});

test('who sends job by job gets no more than who sends all at once', async () => {
  const feed = (limit: number) => bench.store.feed(0, [{ model: 'fraud', lane: 'interactive', limit }]);
  await feed(1);
  await enqueueInOrder(300, () => ({ tenant: 'patient' }));
  let [eager, patient] = [0, 0];
  // Another one comes with ten rows whenever its last job has gone.
  for (let step = 0; step < 220; step++) {
    if ((await bench.redis.zcard(`oq:{0}:shares:${QUEUE}:parked:eager`)) === 0) {
      await bench.enqueue({ tenant: 'eager', ...rows(10) });
    }
    const [taken = ''] = (await bench.redis.rpop(WAIT, 1)) ?? [];
    const { data } = await bench.redis.hgetall(`oq:{0}:bull:${QUEUE}:${taken}`);
    if (JSON.parse(data ?? '{}').tenant === 'eager') eager += 10;
    else patient += 1;
    await feed(1);
  }
  expect(Math.abs(eager - patient)).toBeLessThanOrEqual(20);
});
