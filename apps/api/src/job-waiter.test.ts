import { describe, expect, test } from '@jest/globals';
import type { Clock, JobRecord } from '@onqueue/shared';
import { JobWaiter } from './job-waiter.ts';

const queued = { state: 'queued' } as JobRecord;
const succeeded = { state: 'succeeded' } as JobRecord;

/** A store whose answers are scripted, and a listener that is hinted by hand. */
function setUp({ reads, maxWaiters = 10 }: { reads: (JobRecord | null)[]; maxWaiters?: number }) {
  const timers: (() => void)[] = [];
  const clock: Clock = {
    now: () => 0,
    setTimeout: (callback) => {
      timers.push(callback);
      return { cancel: () => timers.splice(timers.indexOf(callback), 1) };
    },
  };
  const order: string[] = [];
  let hint = () => {};
  let onRead = () => {};
  const waiter = new JobWaiter({
    store: {
      read: async () => {
        order.push('read');
        onRead();
        return reads.length > 1 ? (reads.shift() ?? null) : (reads[0] ?? null);
      },
    },
    listener: {
      watch: async (_id, onHint) => {
        order.push('watch');
        hint = onHint;
        return () => order.push('unwatch');
      },
    },
    maxWaiters,
    clock,
  });
  return {
    waiter,
    order,
    timers,
    hint: () => hint(),
    nextRead: () =>
      new Promise<void>((resolve) => {
        onRead = () => setImmediate(resolve);
      }),
  };
}

const never = new AbortController().signal;

describe('JobWaiter', () => {
  test('subscribes before it reads, and returns at once when the job has ended', async () => {
    const { waiter, order } = setUp({ reads: [succeeded] });
    expect(await waiter.wait('default', 'job', 1000, never)).toBe(succeeded);
    expect(order).toEqual(['watch', 'read', 'unwatch']);
  });

  test('subscribes before it begins a job, and reads it not before a hint', async () => {
    const { waiter, order, hint } = setUp({ reads: [succeeded] });
    let hasBegun: () => void = () => {};
    const begun = new Promise<void>((resolve) => (hasBegun = resolve));
    const waiting = waiter.wait('default', 'job', 1000, never, async () => {
      order.push('begin');
      hasBegun();
    });
    await begun;
    expect(order).toEqual(['watch', 'begin']);
    hint();
    expect(await waiting).toBe(succeeded);
    expect(order).toEqual(['watch', 'begin', 'read', 'unwatch']);
  });

  test('a hint that comes while the job begins is not lost', async () => {
    const { waiter, hint } = setUp({ reads: [succeeded] });
    expect(await waiter.wait('default', 'job', 1000, never, async () => hint())).toBe(succeeded);
  });

  test('rejects with what kept the job from beginning, and watches it no more', async () => {
    const { waiter, order } = setUp({ reads: [succeeded] });
    const begin = () => Promise.reject(new Error('refused'));
    await expect(waiter.wait('default', 'job', 1000, never, begin)).rejects.toThrow('refused');
    expect([order, waiter.count]).toEqual([['watch', 'unwatch'], 0]);
  });

  test('reads again when it is hinted', async () => {
    const { waiter, hint, nextRead } = setUp({ reads: [queued, succeeded] });
    const read = nextRead();
    const waited = waiter.wait('default', 'job', 1000, never);
    await read;
    hint();
    expect(await waited).toBe(succeeded);
  });

  test('loses no hint that comes while it reads', async () => {
    const reads = [queued, succeeded];
    const { waiter, hint, order } = setUp({ reads });
    const waited = waiter.wait('default', 'job', 1000, never);
    await Promise.resolve();
    hint();
    expect(await waited).toBe(succeeded);
    expect(order.filter((step) => step === 'read')).toHaveLength(2);
  });

  test('returns the job as it is when the time is up', async () => {
    const { waiter, timers, nextRead } = setUp({ reads: [queued] });
    const read = nextRead();
    const waited = waiter.wait('default', 'job', 1000, never);
    await read;
    timers[0]?.();
    expect(await waited).toBe(queued);
    expect(waiter.count).toBe(0);
  });

  test('lets go of everybody on shutdown and of a client that leaves', async () => {
    const { waiter, nextRead } = setUp({ reads: [queued] });
    const first = nextRead();
    const client = new AbortController();
    const left = waiter.wait('default', 'a', 1000, client.signal);
    await first;
    const second = nextRead();
    const stayed = waiter.wait('default', 'b', 1000, never);
    await second;
    expect(waiter.count).toBe(2);
    client.abort();
    expect(await left).toBe(queued);
    waiter.releaseAll();
    expect(await stayed).toBe(queued);
    expect(await waiter.wait('default', 'c', 1000, never)).toBe(queued);
    expect(waiter.count).toBe(0);
  });

  test('refuses one more than it may hold', async () => {
    const { waiter, nextRead } = setUp({ reads: [queued], maxWaiters: 1 });
    const read = nextRead();
    const held = waiter.wait('default', 'a', 1000, never);
    await read;
    await expect(waiter.wait('default', 'b', 1000, never)).rejects.toMatchObject({ code: 'too_many_waiters' });
    waiter.releaseAll();
    await held;
  });

  test('answers null for a job that is not there', async () => {
    const { waiter } = setUp({ reads: [null] });
    expect(await waiter.wait('default', 'job', 1000, never)).toBeNull();
  });
});
