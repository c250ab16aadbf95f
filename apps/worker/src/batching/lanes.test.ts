import { expect, test } from '@jest/globals';
import type { BatchingPolicy, Lane } from '@onqueue/shared';
import { ManualClock, settle } from '../../../../test/support/manual-clock.ts';
import { DynamicBatcher } from './dynamic-batcher.ts';
import { HaltSignal } from './halt-signal.ts';

type Policy = Omit<BatchingPolicy, 'calibrate'>;

/** A batcher whose batches take `msPerRow` a row, measured before unless `isMeasured` is false; rows are named after their lane. */
function setUp(policy: Partial<Policy>, { msPerRow = 1, fixedMs = 0, places = 1, ahead = 0, isMeasured = true } = {}) {
  const clock = new ManualClock();
  const batches: { atMs: number; interactive: number; bulk: number }[] = [];
  const max = policy.max_batch_size ?? 64;
  const msOf = (rows: number) => fixedMs + msPerRow * rows;
  const batcher = new DynamicBatcher({
    policy: { max_batch_size: max, ...policy },
    maxConcurrentBatches: places,
    maxBatchesAhead: ahead,
    clock,
    run: async (rows) => {
      const startedAtMs = clock.now();
      const interactive = rows.filter((row) => row === 'interactive').length;
      batches.push({ atMs: startedAtMs, interactive, bulk: rows.length - interactive });
      await clock.after(msOf(rows.length));
      const timings = { preprocess_ms: 0, inference_ms: msOf(rows.length), postprocess_ms: 0 };
      const batch = { size: rows.length, startedAtMs, timings };
      return rows.map(() => ({ result: { status: 'succeeded', output: {} }, isRetryable: false, batch }));
    },
  });
  if (isMeasured) {
    const point = (size: number) => ({ batch_size: size, rows_per_s: 1, ms: msOf(size), compute_ms: msOf(size) });
    batcher.adopt({ max_batch_size: max, curve: max === 1 ? [point(1)] : [point(1), point(max)] });
  }
  const submit = (lane: Lane, rows: number, { isApart = false } = {}) =>
    batcher.submit(Array(rows).fill(lane), { lane, halt: new HaltSignal(), isApart });
  const sizes = () => batches.map(({ interactive, bulk }) => [interactive, bulk]);
  return { clock, batches, sizes, submit };
}

test('a batch of bulk rows alone is cut to the slice', async () => {
  const { clock, sizes, submit } = setUp({ bulk_slice_ms: 10 });
  const job = submit('bulk', 35);
  await clock.advance(35);
  await job;
  expect(sizes()).toEqual([
    [0, 10],
    [0, 10],
    [0, 10],
    [0, 5],
  ]);
});

test('a slice is a quarter of a tenth of a second where the manifest says nothing', async () => {
  const { clock, sizes, submit } = setUp({});
  const job = submit('bulk', 50);
  await clock.advance(50);
  await job;
  expect(sizes()).toEqual([
    [0, 25],
    [0, 25],
  ]);
});

test('where one row takes a slice already, a batch has as many as take no longer', async () => {
  const { clock, sizes, submit } = setUp({ bulk_slice_ms: 10, max_batch_size: 16 }, { fixedMs: 50, msPerRow: 1 });
  const job = submit('bulk', 12);
  await clock.advance(120);
  await job;
  expect(sizes()).toEqual([
    [0, 6],
    [0, 6],
  ]);
});

test('without a measurement a slice is found by trying twice as many rows, and then held', async () => {
  const { clock, sizes, submit } = setUp({ bulk_slice_ms: 10 }, { isMeasured: false });
  const job = submit('bulk', 61);
  await clock.advance(61);
  await job;
  expect(sizes().slice(0, 5)).toEqual([1, 2, 4, 8, 16].map((rows) => [0, rows]));
  expect(sizes().slice(5)).toEqual([10, 10, 10].map((rows) => [0, rows]));
});

test('bulk rows fill the free places of a batch, and lengthen it by no more than a slice', async () => {
  const { clock, sizes, submit } = setUp({ bulk_slice_ms: 10 });
  const jobs = [submit('interactive', 5), submit('bulk', 12)];
  await clock.advance(17);
  await Promise.all(jobs);
  expect(sizes()).toEqual([
    [5, 10],
    [0, 2],
  ]);
});

test('an interactive row waits for one slice, however many bulk rows were there before', async () => {
  const { clock, sizes, submit } = setUp({ bulk_slice_ms: 10 });
  const bulk = submit('bulk', 1000);
  await clock.advance(4);
  let endedAtMs = 0;
  void submit('interactive', 1).then(() => {
    endedAtMs = clock.now();
  });
  await clock.advance(996 + 1);
  await bulk;
  expect(sizes().slice(0, 2)).toEqual([
    [0, 10],
    [1, 10],
  ]);
  expect(endedAtMs).toBe(10 + 11);
});

/** Keeps `rows` interactive rows waiting, until no bulk row is left; how many interactive rows were served by then. */
async function flood({ clock, submit, batches }: ReturnType<typeof setUp>, bulkRows: number): Promise<number> {
  let isBulkLeft = true;
  const bulk = submit('bulk', bulkRows).then(() => {
    isBulkLeft = false;
  });
  const clients = Array.from({ length: 64 }, async () => {
    while (isBulkLeft) await submit('interactive', 1);
  });
  while (isBulkLeft) await clock.advance(1);
  const served = batches.reduce((sum, { interactive }) => sum + interactive, 0);
  await clock.advance(100);
  await Promise.all([bulk, ...clients]);
  return served;
}

test.each([
  [8, 0.25],
  [8, 0.1],
  [1, 0.1],
])('of batches of %i that interactive rows alone would fill, bulk has a share of %d', async (max_batch_size, share) => {
  const set = setUp({ max_batch_size, bulk_min_share: share });
  const interactive = await flood(set, 40);
  expect(40 / (40 + interactive)).toBeGreaterThanOrEqual(share * 0.9);
  expect(40 / (40 + interactive)).toBeLessThanOrEqual(share * 1.2);
});

test('bulk rows that share no batch with interactive ones have their share in batches of their own', async () => {
  const { clock, submit, sizes } = setUp({ max_batch_size: 4, bulk_min_share: 0.25, bulk_slice_ms: 2 });
  const jobs = [submit('bulk', 4, { isApart: true }), submit('interactive', 40)];
  await clock.advance(44);
  await Promise.all(jobs);
  const alone = sizes().flatMap(([interactive], index) => (interactive === 0 ? [index] : []));
  // Two rows are a slice, and two batches of four later so many are owed.
  expect(alone).toEqual([2, 5]);
});

test('with two runners, bulk alone has one while interactive rows come, and both when they have ceased', async () => {
  const { clock, batches, submit } = setUp({ bulk_slice_ms: 10 }, { places: 2 });
  const first = submit('interactive', 1);
  await clock.advance(1);
  await first;
  const bulk = submit('bulk', 400);
  await clock.advance(95);
  // One slice at a time.
  expect(batches.filter(({ interactive }) => interactive === 0)).toHaveLength(10);
  let endedAtMs = 0;
  const startedAtMs = clock.now();
  void submit('interactive', 1).then(() => {
    endedAtMs = clock.now();
  });
  await clock.advance(50);
  expect(endedAtMs - startedAtMs).toBe(11);
  await clock.advance(1000);
  await bulk;
  const again = submit('bulk', 40);
  await settle();
  const before = batches.length;
  await clock.advance(20);
  await again;
  expect(batches.slice(before - 2).map(({ bulk }) => bulk)).toEqual([10, 10, 10, 10]);
});

test('the batch that is formed ahead is never of bulk alone', async () => {
  const { clock, batches, submit } = setUp({ bulk_slice_ms: 10 }, { ahead: 1 });
  const bulk = submit('bulk', 30);
  await settle();
  expect(batches).toEqual([{ atMs: 0, interactive: 0, bulk: 10 }]);
  await clock.advance(30);
  await bulk;
});
