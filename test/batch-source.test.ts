import { createHash } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { proveBatchScripts } from '../apps/worker/src/queue/batch/proof.ts';
import { SWAP_LUA } from '../apps/worker/src/queue/batch/scripts/swap.ts';
import { failure, HeldHandler, SourceBench, success } from './support/job-source-bench.ts';
import { type RedisProxy, startRedisProxy } from './support/job-source-proxy.ts';
import { until } from './support/until.ts';

/** What the batch source promises beyond job-source-conformance.test.ts. */

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
  jest.restoreAllMocks();
  proxy.mend();
  await bench.reset();
  await bench.redis.config('SET', 'maxmemory', '0');
});

/** How often clients, not scripts, sent a command. */
async function clientCommands(): Promise<{ all: number; scripts: number }> {
  const info = await bench.redis.info('commandstats');
  const calls = (name: string) => Number(new RegExp(`^cmdstat_${name}:calls=(\\d+)`, 'm').exec(info)?.[1] ?? 0);
  const scripts = calls('evalsha') + calls('eval');
  return { all: scripts + calls('bzpopmin'), scripts };
}

const isSwap = (() => {
  const sha = createHash('sha1').update(SWAP_LUA).digest('hex');
  return (request: Buffer) => request.includes(sha);
})();

describe('one script', () => {
  test('commits and claims many jobs with a fraction of the calls', async () => {
    const ids = await bench.enqueueMany(640);
    await bench.redis.config('RESETSTAT');
    const source = bench.source('batch', { handler: async () => success, concurrency: 64 });
    await bench.expectEmptyQueues();
    await until('all were told', () => source.committed.length === ids.length);
    // Ten of 64 would do; the first ones start half-filled, and timers and the end cost some.
    expect((await clientCommands()).scripts).toBeLessThan(40);
    expect(source.errors).toEqual([]);
  });

  test('holds no more rows than it was told, and never fewer than two jobs', async () => {
    const heldAt = async (rows: number, ids: readonly string[]) => {
      const held = new HeldHandler();
      const source = bench.source('batch', { handler: held.handler, rows: { max: 12, minJobs: 2 } });
      await held.called(rows === 1 ? 12 : 2);
      // What it would claim beyond them, it would claim when one ends: so one ends, and one comes.
      held.releaseOne();
      await held.called(rows === 1 ? 13 : 3);
      const { length } = held.calls;
      held.release();
      for (const id of ids) expect(await bench.ended(id)).toMatchObject({ state: 'succeeded' });
      await source.drain();
      return length;
    };
    const inputs = (count: number) => ({ inputs: Array.from({ length: count }, () => ({ x: 1 })) });
    expect(await heldAt(1, await bench.enqueueMany(20, () => inputs(1)))).toBe(13);
    expect(await heldAt(10, await bench.enqueueMany(6, () => inputs(10)))).toBe(3);
  });

  test('stops claiming when the inputs are large, and goes on with the next swap', async () => {
    const text = 'x'.repeat(1_500_000);
    const ids = await bench.enqueueMany(8, () => ({ inputs: [{ text }] }));
    const source = bench.source('batch', { handler: async () => success });
    for (const id of ids) expect(await bench.ended(id)).toMatchObject({ state: 'succeeded', attempt: 1 });
    expect(source.errors).toEqual([]);
  });

  test('a result that is no JSON ends its own job and no other', async () => {
    const ids = await bench.enqueueMany(5);
    bench.source('batch', {
      handler: async ({ id }) => {
        if (id !== ids[2]) return success;
        return { state: 'succeeded', results: [{ status: 'succeeded', output: { score: 1n } }] };
      },
    });
    const records = await Promise.all(ids.map((id) => bench.ended(id)));
    expect(records.map(({ state }) => state)).toEqual(['succeeded', 'succeeded', 'failed', 'succeeded', 'succeeded']);
    expect(records[2]).toMatchObject({ attempt: 3, error: { code: 'internal_error' } });
    await bench.expectEmptyQueues();
  });

  test('a queue job with options that nobody can read, and one that is none of ours, hold up no other job', async () => {
    const ids = await bench.enqueueMany(3);
    const bull = `${bench.keys.bullPrefix(0)}:fraud.interactive:`;
    await bench.redis.hset(`${bull}${ids[0]}-1`, 'opts', '{');
    await bench.redis.rpush(`${bull}wait`, 'a stranger', '17');
    const source = bench.source('batch', { handler: async () => success });
    for (const id of ids) expect(await bench.ended(id)).toMatchObject({ state: 'succeeded', attempt: 1 });
    await bench.expectEmptyQueues();
    expect(source.errors).toEqual([]);
  });

  test('what BullMQ cannot finish is told, and holds up no other job', async () => {
    const ids = await bench.enqueueMany(3);
    const held = new HeldHandler();
    const source = bench.source('batch', { handler: held.handler });
    await held.called(3);
    await bench.redis.set(`${bench.keys.bullPrefix(0)}:fraud.interactive:${ids[1]}-1:dependencies`, 'no set');
    held.release();
    for (const id of ids) expect(await bench.ended(id)).toMatchObject({ state: 'succeeded' });
    await until('the fault was told', () => source.errors.length > 0);
    expect(source.errors[0]?.message).toMatch(new RegExp(`${ids[1]}-1: .*WRONGTYPE`));
  });
});

describe('a lost reply', () => {
  test('strands no job and repeats none', async () => {
    const ids = await bench.enqueueMany(300);
    let swaps = 0;
    proxy.loseReplies((request) => isSwap(request) && ++swaps % 3 === 0);
    const calls = new Map<string, number>();
    const source = bench.source('batch', {
      url: proxy.url,
      lockDurationMs: 60_000,
      concurrency: 16,
      handler: async ({ id, attempt }) => {
        calls.set(id, (calls.get(id) ?? 0) + 1);
        return attempt === 1 && ids.indexOf(id) % 10 === 0 ? { state: 'queued', spendsAttempt: true } : success;
      },
    });
    const records = await Promise.all(ids.map((id) => bench.ended(id)));
    await bench.expectEmptyQueues();
    proxy.mend();
    expect(proxy.lostReplies).toBeGreaterThan(5);
    const expected = ids.map((_, index) => (index % 10 === 0 ? 2 : 1));
    expect(records.map(({ attempt }) => attempt)).toEqual(expected);
    expect(ids.map((id) => calls.get(id))).toEqual(expected);
    await until('all were told', () => source.committed.length === 330);
    expect(source.fenced).toEqual([]);
    expect(await bench.store.backlog('fraud')).toMatchObject({ jobs: 0, finishedJobs: 300 });
  });

  test('on a connection that is half-open is asked for again', async () => {
    const held = new HeldHandler();
    bench.source('batch', { url: proxy.url, lockDurationMs: 1000, pollMs: 300, handler: held.handler });
    const id = await bench.enqueue();
    await held.called(1);
    proxy.freeze();
    held.release();
    expect(await bench.ended(id)).toMatchObject({ state: 'succeeded', attempt: 1 });
    // The blocking connection was frozen, too.
    expect(await bench.ended(await bench.enqueue())).toMatchObject({ state: 'succeeded', attempt: 1 });
  });
});

describe('while nothing comes', () => {
  test('Redis hears next to nothing', async () => {
    const source = bench.source('batch', { handler: async () => success, stalledIntervalMs: 60_000, pollMs: 1000 });
    await bench.ended(await bench.enqueue());
    const before = await clientCommands();
    const startedAt = performance.now();
    await until('two polls have passed', () => performance.now() - startedAt > 2500);
    // Each poll is one blocking call and a look at either queue.
    expect((await clientCommands()).all - before.all).toBeLessThanOrEqual(4 * 3);
    expect(source.errors).toEqual([]);
  });

  test('a queue that has drained while others were waited for is waited for again', async () => {
    const held = new HeldHandler();
    const source = bench.source('batch', { handler: held.handler, concurrency: 1, pollMs: 60_000 });
    await bench.enqueueMany(2);
    await held.called(1);
    // Its only place is taken: the source waits for the other lane alone.
    await until('the source waits', async () => /cmd=bzpopmin/.test(String(await bench.redis.client('LIST'))));
    held.release();
    await until('both were told', () => source.committed.length === 2);
    expect(await bench.ended(await bench.enqueue())).toMatchObject({ state: 'succeeded' });
  });

  test('a marker is passed on by a source that has no room', async () => {
    const full = new HeldHandler();
    bench.source('batch', { handler: full.handler, concurrency: 1, pollMs: 60_000 });
    await bench.enqueue();
    await full.called(1);
    bench.source('batch', { handler: async () => success, concurrency: 1, pollMs: 60_000 });
    for (let n = 0; n < 20; n++) expect(await bench.ended(await bench.enqueue())).toMatchObject({ state: 'succeeded' });
    full.release();
  });
});

describe('a lock that ran out while Redis was away', () => {
  test('is taken again when nobody else took the job', async () => {
    const id = await bench.enqueue();
    const held = new HeldHandler();
    const source = bench.source('batch', { lockDurationMs: 600, stalledIntervalMs: 60_000, handler: held.handler });
    await held.called(1);
    const lock = `${bench.keys.bullPrefix(0)}:fraud.interactive:${id}-1:lock`;
    await bench.redis.del(lock);
    await until('the lock is there again', async () => (await bench.redis.exists(lock)) === 1);
    held.release(failure);
    expect(await bench.ended(id)).toMatchObject({ state: 'failed', attempt: 1 });
    expect(source.fenced).toEqual([]);
    await bench.expectEmptyQueues();
  });
});

describe('keys of a kind that would break a commit half-way', () => {
  test.each(['outbox', 'predictions:fraud', 'backlog:fraud'])(
    '%s: nothing is written until it is mended',
    async (name) => {
      const id = await bench.enqueue({
        request: { on_row_error: 'fail', request_id: 'r', webhook: 'https://example.com' },
      });
      const held = new HeldHandler();
      const source = bench.source('batch', { handler: held.handler });
      await held.called(1);
      const key = `${bench.keys.partition(0)}${name}`;
      const kept = await bench.redis.dumpBuffer(key);
      await bench.redis.set(key, 'no such kind');
      held.release();
      // Whatever else is done with the key meanwhile says so in its own words.
      await until('it was told', () =>
        source.errors.some(({ message }) => message.includes(`WRONGTYPE ${key} is a string`)),
      );
      expect(await bench.record(id)).toMatchObject({ state: 'running' });
      await bench.redis.del(key);
      if (kept) await bench.redis.restore(key, 0, kept);
      expect(await bench.ended(id)).toMatchObject({ state: 'succeeded', attempt: 1 });
      await bench.expectEmptyQueues();
      expect(await bench.redis.xlen(bench.keys.outbox(0))).toBe(1);
      expect(await bench.store.backlog('fraud')).toMatchObject({ jobs: 0, finishedJobs: 1 });
    },
  );
});

describe('the proof', () => {
  const prove = (swapLua?: string) =>
    proveBatchScripts({ redis: bench.redis, keys: bench.keys, partition: 0, ...(swapLua ? { swapLua } : {}) });

  test('holds, and leaves nothing behind', async () => {
    expect(await prove()).toEqual({ isProven: true });
    expect(await bench.redis.keys('*')).toEqual([]);
  });

  test('holds in a full Redis', async () => {
    await bench.redis.config('SET', 'maxmemory', '1');
    expect(await prove()).toEqual({ isProven: true });
    expect(await bench.redis.keys('*')).toEqual([]);
  });

  test.each([
    ['a queue job is not finished', 'guarded(jobId, finishQueueJob, jobId, token)', ''],
    ['a plain job is not finished', "redis.call('DEL', unpack(keys))", ''],
    ['a plain job stays active', "redis.call('LREM', ACTIVE, -1, job.id) > 0", 'true'],
    ['a plain job is not locked', "key .. ':lock', TOKEN", "key .. ':lock', 'nobody'"],
    ['a record is not committed', 'guarded(jobId, commitJob, ARGV, at, code, records[i])', ''],
    ['the fence is not asked', 'codes[#codes + 1] = mayCommit', 'codes[#codes + 1] = 1 or mayCommit'],
    ['a repeat claims again', 'if number == NUMBER then', 'if false then'],
    ['an attempt is not counted', "spendsAttempt == '1' and '0' or '1'", "'1'"],
    ["BullMQ's code has changed", 'rcall("RPOPLPUSH", waitKey, activeKey)', 'rcall("LPOP", waitKey)'],
    ['a script does not compile', 'local FIRST', 'locale FIRST'],
  ])('fails when %s', async (_what, part, replacement) => {
    expect(SWAP_LUA).toContain(part);
    expect(await prove(SWAP_LUA.replaceAll(part, replacement))).toMatchObject({ isProven: false });
    expect(await bench.redis.keys('*')).toEqual([]);
  });
});
