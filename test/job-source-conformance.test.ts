import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals';
import type { JobOutcome } from '@onqueue/shared';
import { failure, HeldHandler, SourceBench, type SourceKind, success } from './support/job-source-bench.ts';
import { type RedisProxy, startRedisProxy } from './support/job-source-proxy.ts';
import { until } from './support/until.ts';

/** What every source promises, whoever takes jobs from it. */

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

const handedOn: JobOutcome = { state: 'queued', spendsAttempt: false };
const failedAttempt: JobOutcome = { state: 'queued', spendsAttempt: true };

describe.each<[SourceKind]>([['stock'], ['batch']])('the %s source', (kind) => {
  afterEach(async () => {
    jest.restoreAllMocks();
    proxy.mend();
    await bench.reset();
    await bench.redis.config('SET', 'maxmemory', '0');
  });

  test('runs a job to success, once', async () => {
    const id = await bench.enqueue();
    const source = bench.source(kind, { handler: async () => success });
    expect(await bench.ended(id)).toMatchObject({ state: 'succeeded', attempt: 1, results: [{ status: 'succeeded' }] });
    await bench.expectEmptyQueues();
    await until('the end was told', () => source.committed.length > 0);
    expect(source.committed).toMatchObject([{ job: { id, attempt: 1, inputs: [{ amount: 1 }] }, outcome: success }]);
    expect(source.errors).toEqual([]);
  });

  test('takes a job that comes while it waits, of either lane', async () => {
    bench.source(kind, { handler: async () => success });
    expect(await bench.ended(await bench.enqueue())).toMatchObject({ lane: 'interactive' });
    expect(await bench.ended(await bench.enqueue({ lane: 'bulk' }))).toMatchObject({ lane: 'bulk' });
    expect(await bench.ended(await bench.enqueue())).toMatchObject({ state: 'succeeded' });
  });

  test('commits a failure as it is', async () => {
    const id = await bench.enqueue();
    bench.source(kind, { handler: async () => failure });
    expect(await bench.ended(id)).toMatchObject({ state: 'failed', attempt: 1, error: { code: 'invalid_row' } });
    await bench.expectEmptyQueues();
  });

  test('tries again after a failed attempt, and says which one is the last', async () => {
    const id = await bench.enqueue();
    const isLast: boolean[] = [];
    bench.source(kind, {
      handler: async (_job, attempt) => {
        isLast.push(attempt.isLast);
        return attempt.isLast ? failure : failedAttempt;
      },
    });
    expect(await bench.ended(id)).toMatchObject({ state: 'failed', attempt: 3 });
    expect(isLast).toEqual([false, false, true]);
    await bench.expectEmptyQueues();
  });

  test('holds a job back after a failed attempt, for as long as BullMQ would', async () => {
    const id = await bench.enqueue();
    const queue = bench.queue();
    const job = await queue.getJob(`${id}-1`);
    const options = { ...job?.opts, attempts: 3, backoff: { type: 'fixed', delay: 400, jitter: 0 } };
    await bench.redis.hset(`${bench.keys.bullPrefix(0)}:fraud.interactive:${id}-1`, 'opts', JSON.stringify(options));
    const startsMs: number[] = [];
    bench.source(kind, {
      handler: async ({ attempt }) => {
        startsMs.push(performance.now());
        return attempt === 1 ? failedAttempt : success;
      },
    });
    expect(await bench.ended(id)).toMatchObject({ state: 'succeeded', attempt: 2 });
    expect(Number(startsMs[1]) - Number(startsMs[0])).toBeGreaterThanOrEqual(390);
  });

  test('says of a job that it is suspect when an attempt failed, or a worker died with it in hand', async () => {
    const [failing, orphan] = await bench.enqueueMany(2);
    await bench.redis.hset(`${bench.keys.bullPrefix(0)}:fraud.interactive:${orphan}-1`, 'stc', 1);
    const suspects: (string | boolean)[][] = [];
    bench.source(kind, {
      handler: async ({ id, attempt }, { isSuspect }) => {
        suspects.push([id, attempt, isSuspect].map(String));
        return id === failing && attempt === 1 ? failedAttempt : success;
      },
    });
    await Promise.all([failing, orphan].map((id) => bench.ended(String(id))));
    expect(suspects.toSorted()).toEqual(
      [
        [failing, '1', 'false'],
        [failing, '2', 'true'],
        [orphan, '1', 'true'],
      ].toSorted(),
    );
  });

  test('ends a job whose result cannot be written down, and harms none beside it', async () => {
    const ids = await bench.enqueueMany(5);
    const unwritable: JobOutcome = { state: 'succeeded', results: [{ status: 'succeeded', output: { score: 1n } }] };
    bench.source(kind, { handler: async ({ id }) => (id === ids[2] ? unwritable : success) });
    const records = await Promise.all(ids.map((id) => bench.ended(id)));
    expect(records.map(({ state, attempt }) => [state, attempt])).toEqual([
      ['succeeded', 1],
      ['succeeded', 1],
      ['failed', 3],
      ['succeeded', 1],
      ['succeeded', 1],
    ]);
    expect(records[2]).toMatchObject({ error: { code: 'internal_error' } });
    await bench.expectEmptyQueues();
  });

  test('ends a job whose record cannot be read', async () => {
    const id = await bench.enqueue();
    await bench.redis.hset(bench.keys.job(0, 'default', id), 'inputs', '[{');
    const held = new HeldHandler();
    bench.source(kind, { handler: held.handler });
    expect(await bench.ended(id)).toMatchObject({ state: 'failed', error: { code: 'internal_error' } });
    expect(held.calls).toEqual([]);
    await bench.expectEmptyQueues();
  });

  test('leaves the record of a newer version to a worker that understands it', async () => {
    const id = await bench.enqueue();
    const key = bench.keys.job(0, 'default', id);
    await bench.redis.hset(key, 'schema_version', 99);
    const held = new HeldHandler();
    held.release();
    bench.source(kind, { handler: held.handler });
    await until('it was handed on', async () => Number(await bench.redis.hget(key, 'attempt')) > 1);
    expect(held.calls).toEqual([]);
    await bench.redis.hset(key, 'schema_version', 2);
    expect(await bench.ended(id)).toMatchObject({ state: 'succeeded' });
  });

  test('gives the deduplication of a queue job free when it ends', async () => {
    const id = await bench.enqueue();
    const bull = `${bench.keys.bullPrefix(0)}:fraud.interactive:`;
    await bench.redis.hset(`${bull}${id}-1`, 'deid', 'once');
    await bench.redis.set(`${bull}de:once`, `${id}-1`);
    bench.source(kind, { handler: async () => success });
    await bench.ended(id);
    await bench.expectEmptyQueues();
    expect(await bench.redis.exists(`${bull}de:once`)).toBe(0);
  });

  test("counts what ends in BullMQ's metrics", async () => {
    const ids = await bench.enqueueMany(20);
    bench.source(kind, { handler: async () => success });
    await Promise.all(ids.map((id) => bench.ended(id)));
    await bench.expectEmptyQueues();
    expect((await bench.queue().getMetrics('completed')).meta.count).toBe(20);
  });

  test('hands a job on without spending an attempt', async () => {
    const id = await bench.enqueue();
    const isLast: boolean[] = [];
    bench.source(kind, {
      handler: async ({ attempt }, { isLast: isLastAttempt }) => {
        isLast.push(isLastAttempt);
        return attempt < 5 ? handedOn : success;
      },
    });
    expect(await bench.ended(id)).toMatchObject({ state: 'succeeded', attempt: 5 });
    expect(isLast).toEqual([false, false, false, false, false]);
    await bench.expectEmptyQueues();
  });

  test('tries again when the handler throws', async () => {
    const id = await bench.enqueue();
    const source = bench.source(kind, {
      handler: async ({ attempt }) => {
        if (attempt === 1) throw new Error('a bug');
        return success;
      },
    });
    expect(await bench.ended(id)).toMatchObject({ state: 'succeeded', attempt: 2 });
    await bench.expectEmptyQueues();
    await until('the end was told', () => source.committed.some(({ outcome }) => outcome.state === 'succeeded'));
    expect(source.errors).toMatchObject([{ message: 'a bug' }]);
  });

  test('takes up what a dead source held; the late commit of the dead one is refused', async () => {
    const id = await bench.enqueue();
    const dying = new HeldHandler();
    const settings = { lockDurationMs: 500, stalledIntervalMs: 200 };
    const dead = bench.source(kind, { ...settings, url: proxy.url, handler: dying.handler });
    await dying.called(1);
    proxy.cut();
    const heir = bench.source(kind, { ...settings, handler: async () => success });
    expect(await bench.ended(id)).toMatchObject({ state: 'succeeded', attempt: 2 });
    dying.release(failure);
    proxy.mend();
    await until('the late commit was refused', () => dead.fenced.length === 1);
    expect(dead.fenced).toMatchObject([{ id, attempt: 1 }]);
    expect(dead.committed).toEqual([]);
    await until('the end was told', () => heir.committed.length === 1);
    expect(await bench.record(id)).toMatchObject({ state: 'succeeded', attempt: 2 });
    await bench.expectEmptyQueues();
  });

  test('drains a full Redis: jobs are claimed, renewed, tried again and committed', async () => {
    const ids = await bench.enqueueMany(50);
    await bench.redis.config('SET', 'maxmemory', '1');
    await expect(bench.enqueue()).rejects.toThrow(/maxmemory/);
    const held = new HeldHandler();
    const source = bench.source(kind, {
      lockDurationMs: 1000,
      stalledIntervalMs: 100,
      concurrency: 64,
      handler: (job, attempt) =>
        job.attempt === 1 && job.id === ids[0] ? Promise.resolve(failedAttempt) : held.handler(job, attempt),
    });
    await held.called(50);
    const startedAt = performance.now();
    await until('the first locks would be over', () => performance.now() - startedAt > 1600);
    held.release();
    for (const id of ids) expect(await bench.ended(id)).toMatchObject({ attempt: id === ids[0] ? 2 : 1 });
    await bench.expectEmptyQueues();
    expect(source.errors).toEqual([]);
  });

  test('takes up what a dead source held in a full Redis', async () => {
    const id = await bench.enqueue();
    const dying = new HeldHandler();
    const settings = { lockDurationMs: 500, stalledIntervalMs: 200 };
    const dead = bench.source(kind, { ...settings, url: proxy.url, handler: dying.handler });
    await dying.called(1);
    proxy.cut();
    await bench.redis.config('SET', 'maxmemory', '1');
    const heir = bench.source(kind, { ...settings, handler: async () => success });
    const record = await bench.ended(id).finally(() => dying.release());
    proxy.mend();
    await until('the late commit was refused', () => dead.fenced.length === 1);
    expect(record).toMatchObject({ state: 'succeeded', attempt: 2 });
    expect(heir.errors).toEqual([]);
  });

  test.each([10, -10])(
    'keeps to delays and locks when the clock of its process is wrong by %d minutes',
    async (minutes) => {
      const now = Date.now;
      jest.spyOn(Date, 'now').mockImplementation(() => now() + minutes * 60_000);
      const slow = await bench.enqueue();
      const handedOnOnce = await bench.enqueue();
      const held = new HeldHandler();
      bench.source(kind, {
        lockDurationMs: 1000,
        stalledIntervalMs: 100,
        handler: (job, attempt) => {
          if (job.id === slow) return held.handler(job, attempt);
          return Promise.resolve(job.attempt === 1 ? handedOn : success);
        },
      });
      const record = await bench.ended(handedOnOnce);
      expect(record).toMatchObject({ state: 'succeeded', attempt: 2 });
      expect(Number(record.started_us) - record.queued_us).toBeLessThan(5_000_000);
      expect(Number(record.started_us) - record.queued_us).toBeGreaterThanOrEqual(250_000);
      const startedAt = performance.now();
      await until('two locks would be over', () => performance.now() - startedAt > 2000);
      held.release();
      expect(await bench.ended(slow)).toMatchObject({ state: 'succeeded', attempt: 1 });
    },
  );

  test.each([
    ['the claim', { state: 'queued', attempt: 0 }],
    ['the end of its attempt', { state: 'running', attempt: 9 }],
  ])('strands no job of which Redis lost %s: it is run again', async (_lost, record) => {
    const id = await bench.enqueue();
    const source = bench.source(kind, {
      lockDurationMs: 500,
      stalledIntervalMs: 100,
      handler: async ({ attempt }) => {
        if (attempt === 1 && source.fenced.length === 0)
          await bench.redis.hset(bench.keys.job(0, 'default', id), record);
        return success;
      },
    });
    expect(await bench.ended(id)).toMatchObject({ state: 'succeeded', attempt: record.attempt + 1 });
    expect(source.fenced).toMatchObject([{ id, attempt: 1 }]);
    await bench.expectEmptyQueues();
  });

  test('keeps a job that takes much longer than its lock', async () => {
    const id = await bench.enqueue();
    const held = new HeldHandler();
    const settings = { lockDurationMs: 1000, stalledIntervalMs: 200, handler: held.handler };
    bench.source(kind, settings);
    bench.source(kind, settings);
    await held.called(1);
    const queue = bench.queue();
    const looks = async () => Number((await queue.getJob(`${id}-1`))?.stalledCounter);
    const startedAt = performance.now();
    await until('three locks have passed', () => performance.now() - startedAt > 3000);
    expect(await looks()).toBe(0);
    held.release();
    expect(await bench.ended(id)).toMatchObject({ attempt: 1 });
    expect(held.calls).toHaveLength(1);
  });

  test('takes nothing from a paused queue, and goes on when it is resumed', async () => {
    const queue = bench.queue();
    await queue.pause();
    const source = bench.source(kind, { handler: async () => success });
    const id = await bench.enqueue();
    const other = await bench.enqueue({ lane: 'bulk' });
    await bench.ended(other);
    expect(await bench.record(id)).toMatchObject({ state: 'queued', attempt: 0 });
    await queue.resume();
    expect(await bench.ended(id)).toMatchObject({ state: 'succeeded', attempt: 1 });
    expect(source.errors).toEqual([]);
  });

  test('takes a delayed job when it is due, not before', async () => {
    const [id] = await delayedJob(400);
    bench.source(kind, { handler: async () => success });
    const { started_us: startedUs = 0, queued_us: queuedUs } = await bench.ended(id);
    expect(startedUs - queuedUs).toBeGreaterThanOrEqual(400_000);
    expect(startedUs - queuedUs).toBeLessThan(3_000_000);
  });

  test('takes jobs by priority, those without one first', async () => {
    const ids = await bench.enqueueMany(3);
    const queue = bench.queue();
    for (const [index, priority] of [5, 2, 0].entries()) {
      const job = await queue.getJob(`${ids[index]}-1`);
      await job?.changePriority({ priority });
    }
    const order: string[] = [];
    bench.source(kind, {
      concurrency: 1,
      handler: async ({ id }) => {
        order.push(id);
        return success;
      },
    });
    await Promise.all(ids.map((id) => bench.ended(id)));
    expect(order).toEqual([...ids].reverse());
  });

  test("keeps to the queue's global concurrency", async () => {
    await bench.queue().setGlobalConcurrency(2);
    const ids = await bench.enqueueMany(12);
    let running = 0;
    let most = 0;
    const handler = async () => {
      running += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => setImmediate(resolve));
      running -= 1;
      return success;
    };
    bench.source(kind, { handler });
    bench.source(kind, { handler });
    await Promise.all(ids.map((id) => bench.ended(id)));
    expect(most).toBeLessThanOrEqual(2);
  });

  test("keeps to the queue's global rate limit, and goes on when it allows", async () => {
    await bench.queue().setGlobalRateLimit(2, 300);
    const ids = await bench.enqueueMany(5);
    bench.source(kind, { handler: async () => success });
    const records = await Promise.all(ids.map((id) => bench.ended(id)));
    const starts = records.map((record) => Number(record.started_us)).sort((a, b) => a - b);
    // Two windows of 300 ms, less what may pass between BullMQ's claim and that of our record.
    expect(Number(starts[4]) - Number(starts[0])).toBeGreaterThanOrEqual(350_000);
  });

  test('holds no more jobs than its concurrency', async () => {
    const held = new HeldHandler();
    await bench.enqueueMany(10);
    const source = bench.source(kind, { handler: held.handler, concurrency: 3 });
    await held.called(3);
    held.releaseOne();
    await held.called(4);
    expect(source.committed).toHaveLength(1);
    expect(await bench.redis.llen(`${bench.keys.bullPrefix(0)}:fraud.interactive:active`)).toBe(3);
    held.release();
  });

  test('drain waits for what is in hand, commits it, and claims nothing more', async () => {
    const held = new HeldHandler();
    const ids = await bench.enqueueMany(6);
    const source = bench.source(kind, { handler: held.handler, concurrency: 2 });
    await held.called(2);
    let isDrained = false;
    const drained = source.drain().then(() => {
      isDrained = true;
    });
    await bench.redis.ping();
    expect(isDrained).toBe(false);
    held.release();
    await drained;
    const states = await Promise.all(ids.map(async (id) => (await bench.record(id)).state));
    expect(states.filter((state) => state === 'succeeded')).toHaveLength(2);
    expect(states.filter((state) => state === 'queued')).toHaveLength(4);
    expect(held.calls).toHaveLength(2);
    bench.source(kind, { handler: async () => success });
    for (const id of ids) expect(await bench.ended(id)).toMatchObject({ state: 'succeeded', attempt: 1 });
  });

  test('drain ends although the connection was just cut', async () => {
    const held = new HeldHandler();
    held.release();
    const id = await bench.enqueue();
    const source = bench.source(kind, { url: proxy.url, handler: held.handler });
    await bench.ended(id);
    await until('the end was told', () => source.committed.length === 1);
    proxy.cut();
    await until('the source has noticed', () => source.errors.length > 0);
    proxy.mend();
    await source.drain();
  });

  test('drain ends when the connection comes back after a long while, with a job in hand', async () => {
    const held = new HeldHandler();
    const id = await bench.enqueue();
    const source = bench.source(kind, { url: proxy.url, lockDurationMs: 60_000, handler: held.handler });
    await held.called(1);
    proxy.cut();
    const cutAt = performance.now();
    await until('the pauses between its attempts are long', () => performance.now() - cutAt > 1500);
    held.release();
    const drained = source.drain();
    proxy.mend();
    await drained;
    expect(await bench.record(id)).toMatchObject({ state: 'succeeded', attempt: 1 });
  });

  test('finishes a canceled job silently', async () => {
    const ids = await bench.enqueueMany(100);
    for (const id of ids.slice(0, 99)) await bench.store.cancel('default', id);
    const held = new HeldHandler();
    held.release();
    const source = bench.source(kind, { handler: held.handler });
    expect(await bench.ended(String(ids[99]))).toMatchObject({ state: 'succeeded' });
    await bench.expectEmptyQueues();
    expect(held.calls).toHaveLength(1);
    expect(source.fenced).toEqual([]);
  });

  test('a job that is canceled in hand is refused, and leaves the queue', async () => {
    const id = await bench.enqueue();
    const held = new HeldHandler();
    const source = bench.source(kind, { handler: held.handler });
    await held.called(1);
    await bench.store.cancel('default', id);
    held.release();
    await until('the commit was refused', () => source.fenced.length === 1);
    await bench.expectEmptyQueues();
    expect(await bench.record(id)).toMatchObject({ state: 'canceled' });
  });

  test('runs the next run of a job that was retried', async () => {
    const id = await bench.enqueue();
    bench.source(kind, { handler: async ({ run }) => (run === 1 ? failure : success) });
    await bench.ended(id);
    await bench.store.retry('default', id, { maxJobs: 10, maxRows: 10, maxBytes: 1000 });
    await until('the second run has ended', async () => (await bench.record(id)).state === 'succeeded');
    expect(await bench.record(id)).toMatchObject({ run: 2, attempt: 1 });
  });

  test('takes many jobs in their order, one at a time', async () => {
    const ids: string[] = [];
    for (let index = 0; index < 500; index++) ids.push(await bench.enqueue());
    const order: string[] = [];
    bench.source(kind, {
      concurrency: 1,
      handler: async ({ id }) => {
        order.push(id);
        return success;
      },
    });
    await bench.expectEmptyQueues();
    expect(order).toEqual(ids);
  });

  test('two sources share many jobs, each of which runs once', async () => {
    const ids = await bench.enqueueMany(400, (index) => ({ lane: index % 2 ? 'bulk' : 'interactive' }));
    const sources = [1, 2].map(() => bench.source(kind, { handler: async () => success }));
    await bench.expectEmptyQueues();
    const told = () => sources.flatMap((source) => source.committed.map(({ job }) => job.id));
    await until('all ends were told', () => told().length >= ids.length);
    const committed = told();
    expect(committed.sort()).toEqual([...ids].sort());
    expect(await bench.store.backlog('fraud')).toMatchObject({ jobs: 0, rows: 0, bytes: 0, finishedJobs: 400 });
  });
});

/** Jobs whose queue job is delayed, as one that was handed on. */
async function delayedJob(delayMs: number): Promise<[string]> {
  const id = await bench.enqueue();
  const queue = bench.queue();
  const backend = bench.keys.bullPrefix(0);
  const job = await queue.getJob(`${id}-1`);
  if (!job) throw new Error('the queue has no such job');
  const [seconds, micros] = await bench.redis.time();
  const dueMs = Number(seconds) * 1000 + Math.floor(Number(micros) / 1000) + delayMs;
  await bench.redis
    .multi()
    .lrem(`${backend}:fraud.interactive:wait`, 1, `${id}-1`)
    .del(`${backend}:fraud.interactive:marker`)
    .zadd(`${backend}:fraud.interactive:delayed`, dueMs * 0x1000, `${id}-1`)
    .zadd(`${backend}:fraud.interactive:marker`, dueMs, '1')
    .exec();
  return [id];
}
