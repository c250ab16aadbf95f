import { expect, test } from '@jest/globals';
import type { Lane } from '@onqueue/shared';
import fc from 'fast-check';
import { ManualClock, settle } from '../../../../test/support/manual-clock.ts';
import { DynamicBatcher } from './dynamic-batcher.ts';
import { HaltSignal } from './halt-signal.ts';
import { LengthBuckets } from './length-buckets.ts';

/** What the batcher owes to every row, whatever comes in whatever order. */

interface TestRow {
  tokens: number[];
  number: number;
  lane: Lane;
  job: number;
  isApart: boolean;
}

const lengths = new LengthBuckets({
  tensors: [{ name: 'tokens', dtype: 'int64', shape: [-1] }],
  maxPaddedCost: 64,
});
const bucketOf = ({ tokens }: TestRow) => lengths.bucketOf([tokens.length]);

const job = fc.record({
  type: fc.constant('job' as const),
  lane: fc.constantFrom<Lane>('interactive', 'bulk'),
  lengths: fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 12 }),
  isApart: fc.boolean(),
});
const event = fc.oneof(
  { weight: 6, arbitrary: job },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('advance' as const), ms: fc.integer({ min: 0, max: 60 }) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('halt' as const), job: fc.nat() }) },
);
const policy = fc.record({
  max_batch_size: fc.integer({ min: 1, max: 8 }),
  max_queue_delay_ms: fc.constantFrom(0, 15),
  bulk_slice_ms: fc.constantFrom(2, 20),
  bulk_min_share: fc.constantFrom(0, 0.1, 0.5),
  preferred_batch_sizes: fc.constantFrom<number[]>([3], [2, 4], [100]),
});
const plan = fc.record({
  policy,
  places: fc.integer({ min: 1, max: 3 }),
  /** Of the batches that break, by their order. */
  broken: fc.uniqueArray(fc.nat({ max: 20 }), { maxLength: 3 }),
  target: fc.constantFrom(undefined, 30),
  events: fc.array(event, { minLength: 1, maxLength: 40 }),
});

function expectWithinLimits(batches: readonly TestRow[][], maxBatchSize: number): void {
  const last = new Map<string, number>();
  for (const rows of batches) {
    const longest = Math.max(...rows.map(({ tokens }) => tokens.length));
    expect(rows.length).toBeLessThanOrEqual(maxBatchSize);
    if (rows.length > 1) expect(rows.length * longest).toBeLessThanOrEqual(64);
    expect(new Set(rows.map(bucketOf)).size).toBe(1);
    if (rows.some(({ isApart }) => isApart)) expect(new Set(rows.map(({ job: id }) => id)).size).toBe(1);
    for (const row of rows) {
      const queue = `${row.lane} ${bucketOf(row)} ${row.isApart ? row.job : ''}`;
      expect(row.number).toBeGreaterThan(last.get(queue) ?? -1);
      last.set(queue, row.number);
    }
  }
}

test('whatever comes, every row ends once, in the order of its lane and bucket, in batches within their limits', async () => {
  await fc.assert(
    fc.asyncProperty(plan, async ({ policy, places, broken, target, events }) => {
      const clock = new ManualClock();
      const batches: TestRow[][] = [];
      let running = 0;
      let bulkOnlyRunning = 0;
      const batcher = new DynamicBatcher({
        policy: { ...policy, ...(target ? { target_p99_ms: target } : {}) },
        maxConcurrentBatches: places,
        clock,
        lengths,
        run: async (raw) => {
          const rows = raw as TestRow[];
          const number = batches.push(rows) - 1;
          const isBulkOnly = rows.every(({ lane }) => lane === 'bulk');
          running += 1;
          if (isBulkOnly) bulkOnlyRunning += 1;
          expect(running).toBeLessThanOrEqual(places);
          // Nothing here lasts for the second after which interactive rows have ceased.
          if (isBulkOnly && places > 1 && hasInteractive) expect(bulkOnlyRunning).toBeLessThan(Math.max(2, places));
          const startedAtMs = clock.now();
          const inference_ms = 1 + rows.length;
          await clock.after(inference_ms);
          running -= 1;
          if (isBulkOnly) bulkOnlyRunning -= 1;
          if (broken.includes(number)) throw new Error('broken');
          const batch = {
            size: rows.length,
            startedAtMs,
            timings: { preprocess_ms: 0, inference_ms, postprocess_ms: 0 },
          };
          return rows.map(({ number: output }) => ({
            result: { status: 'succeeded', output: { number: output } },
            isRetryable: false,
            batch,
          }));
        },
      });

      let hasInteractive = false;
      let rowNumber = 0;
      let jobNumber = 0;
      const jobs: { rows: TestRow[]; halt: HaltSignal; ended: Promise<unknown>; endings: number }[] = [];
      const submit = (lane: Lane, sizes: readonly number[], isApart: boolean) => {
        const id = jobNumber++;
        const rows = sizes.map((size) => ({
          tokens: Array(size).fill(1),
          number: rowNumber++,
          lane,
          job: id,
          isApart,
        }));
        const halt = new HaltSignal();
        if (lane === 'interactive') hasInteractive = true;
        const submitted = { rows, halt, endings: 0, ended: Promise.resolve() as Promise<unknown> };
        submitted.ended = batcher.submit(rows, { lane, halt, isApart }).then(
          (outcomes) => {
            submitted.endings += 1;
            const numbers = outcomes.map(({ result }) => (result.status === 'succeeded' ? result.output.number : null));
            // A row that has not been computed was halted.
            for (const [index, number] of numbers.entries()) {
              if (number === null) expect(halt.isHalted).toBe(true);
              else expect(number).toBe(rows[index]?.number);
            }
            expect(numbers).toHaveLength(rows.length);
          },
          (error: Error) => {
            submitted.endings += 1;
            expect(error.message).toBe('broken');
          },
        );
        jobs.push(submitted);
      };
      for (const event of events) {
        if (event.type === 'job') submit(event.lane, event.lengths, event.isApart);
        else if (event.type === 'advance') await clock.advance(event.ms);
        else jobs[event.job % Math.max(1, jobs.length)]?.halt.halt();
      }
      await settle();
      while (!batcher.isIdle) await clock.advance(1000);
      await Promise.all(jobs.map(({ ended }) => ended));

      expect(jobs.every(({ endings }) => endings === 1)).toBe(true);
      const computed = batches.flat().map(({ number }) => number);
      expect(new Set(computed).size).toBe(computed.length);
      const halted = new Set(jobs.flatMap(({ halt, rows }) => (halt.isHalted ? rows : [])));
      const all = jobs.flatMap(({ rows }) => rows);
      expect(all.filter((row) => !halted.has(row) && !computed.includes(row.number))).toEqual([]);

      expectWithinLimits(batches, policy.max_batch_size);
    }),
    { numRuns: 60 },
  );
});

test('whatever the sizes, bulk keeps its share while interactive rows would fill every batch', async () => {
  const flood = fc.record({
    max_batch_size: fc.integer({ min: 1, max: 16 }),
    share: fc.constantFrom(0.05, 0.1, 0.3, 0.5),
    interactiveLength: fc.constantFrom(1, 8),
    bulkLength: fc.constantFrom(1, 8),
  });
  await fc.assert(
    fc.asyncProperty(flood, async ({ max_batch_size, share, interactiveLength, bulkLength }) => {
      const clock = new ManualClock();
      const batches: Lane[][] = [];
      const batcher = new DynamicBatcher({
        policy: { max_batch_size, bulk_min_share: share },
        maxConcurrentBatches: 1,
        clock,
        lengths,
        run: async (rows) => {
          const startedAtMs = clock.now();
          batches.push((rows as TestRow[]).map(({ lane }) => lane));
          await clock.after(1);
          const batch = {
            size: rows.length,
            startedAtMs,
            timings: { preprocess_ms: 0, inference_ms: 1, postprocess_ms: 0 },
          };
          return rows.map(() => ({ result: { status: 'succeeded', output: {} }, isRetryable: false, batch }));
        },
      });
      const rowsOf = (lane: Lane, length: number, count: number) =>
        Array.from({ length: count }, () => ({ lane, tokens: Array(length).fill(1) }));
      const submit = (lane: Lane, length: number, count: number) =>
        batcher.submit(rowsOf(lane, length, count), { lane, halt: new HaltSignal(), isApart: false });
      const jobs = [submit('interactive', interactiveLength, 2000), submit('bulk', bulkLength, 2000)];
      await clock.advance(Math.ceil(1000 / max_batch_size));
      const rows = batches.flat();
      const bulk = rows.filter((lane) => lane === 'bulk').length;
      // A batch of bulk alone waits until a whole one is owed.
      expect(bulk).toBeGreaterThanOrEqual(share * rows.length - 2 * max_batch_size);
      expect(bulk).toBeLessThanOrEqual(share * rows.length + 2 * max_batch_size);
      await clock.advance(10_000);
      await Promise.all(jobs);
    }),
    { numRuns: 25 },
  );
});
