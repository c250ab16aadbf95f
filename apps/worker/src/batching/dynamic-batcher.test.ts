import { describe, expect, test } from '@jest/globals';
import { ManualClock, settle } from '../../../../test/support/manual-clock.ts';
import { DynamicBatcher, type DynamicBatcherOptions } from './dynamic-batcher.ts';
import { HaltSignal } from './halt-signal.ts';
import type { RowOutcome } from './row-isolation.ts';

const RUN_MS = 50;

/** A batcher over a runner that takes 50 ms a batch and remembers what it was given, and when. */
function setUp(policy: DynamicBatcherOptions['policy'], { runners = 1, runMs = RUN_MS, ahead = 0 } = {}) {
  const clock = new ManualClock();
  const batches: { atMs: number; rows: unknown[] }[] = [];
  const aborted: number[] = [];
  const batcher = new DynamicBatcher({
    policy,
    maxConcurrentBatches: runners,
    maxBatchesAhead: ahead,
    clock,
    run: async (rows, { signal }) => {
      const startedAtMs = clock.now();
      batches.push({ atMs: startedAtMs, rows: [...rows] });
      const wasAborted = new Promise<void>((resolve) => {
        signal.addEventListener('abort', () => {
          aborted.push(clock.now());
          resolve();
        });
      });
      await Promise.race([clock.after(runMs), wasAborted]);
      return rows.map((row) => succeeded(row, rows.length, startedAtMs));
    },
  });
  return { clock, batcher, batches, aborted };
}

function succeeded(row: unknown, size: number, startedAtMs: number): RowOutcome {
  return {
    result: { status: 'succeeded', output: { row } },
    isRetryable: false,
    batch: { size, startedAtMs, timings: { preprocess_ms: 0, inference_ms: RUN_MS, postprocess_ms: 0 } },
  };
}

const halt = new HaltSignal();
const interactive = { lane: 'interactive', halt, isApart: false } as const;
const bulk = { lane: 'bulk', halt, isApart: false } as const;
const rowsOf = (batches: { rows: unknown[] }[]) => batches.map(({ rows }) => rows);

describe('DynamicBatcher', () => {
  test('an urgent row does not wait for company, takes along who is there, and leaves the delay to those after it', async () => {
    const { clock, batcher, batches } = setUp({ max_batch_size: 4, max_queue_delay_ms: 100 });
    const jobs = [batcher.submit(['a'], interactive)];
    await clock.advance(10);
    jobs.push(batcher.submit(['u'], { ...interactive, isUrgent: true }));
    await clock.advance(RUN_MS);
    jobs.push(batcher.submit(['b'], interactive));
    await clock.advance(100 + RUN_MS);
    await Promise.all(jobs);
    expect(batches).toEqual([
      { atMs: 10, rows: ['a', 'u'] },
      { atMs: 10 + RUN_MS + 100, rows: ['b'] },
    ]);
  });

  test('gives a job that is computed apart batches of its own', async () => {
    const { clock, batcher, batches } = setUp({ max_batch_size: 4, max_queue_delay_ms: 0 });
    const jobs = [
      batcher.submit(['a'], interactive),
      batcher.submit(['s1', 's2', 's3', 's4', 's5'], { ...interactive, isApart: true }),
      batcher.submit(['t'], { ...interactive, isApart: true }),
      batcher.submit(['b'], interactive),
      batcher.submit(['c'], bulk),
      batcher.submit(['u'], { ...bulk, isApart: true }),
    ];
    await clock.advance(5 * RUN_MS);
    await Promise.all(jobs);
    expect(rowsOf(batches)).toEqual([['a', 'b', 'c'], ['s1', 's2', 's3', 's4'], ['s5'], ['t'], ['u']]);
  });

  test('lets no job that is computed apart wait for company', async () => {
    const { clock, batcher, batches } = setUp({ max_batch_size: 4, max_queue_delay_ms: 100 });
    const job = batcher.submit(['s'], { ...interactive, isApart: true });
    await clock.advance(RUN_MS);
    await job;
    expect(batches).toEqual([{ atMs: 0, rows: ['s'] }]);
  });

  test('runs 8 waiting requests with a max batch of 4 as exactly 2 batches', async () => {
    const { clock, batcher, batches } = setUp({ max_batch_size: 4, max_queue_delay_ms: 0 });
    const jobs = Array.from({ length: 8 }, (_, row) => batcher.submit([row], interactive));
    await clock.advance(2 * RUN_MS);
    const outcomes = (await Promise.all(jobs)).flat();
    expect(rowsOf(batches)).toEqual([
      [0, 1, 2, 3],
      [4, 5, 6, 7],
    ]);
    expect(outcomes.map(({ result }) => result)).toEqual(
      Array.from({ length: 8 }, (_, row) => ({ status: 'succeeded', output: { row } })),
    );
  });

  test('forms a full batch while another runs, and lets one that is not full grow', async () => {
    const { clock, batcher, batches } = setUp({ max_batch_size: 2, max_queue_delay_ms: 0 }, { ahead: 1 });
    const jobs = [batcher.submit([0], interactive)];
    await clock.advance(10);
    jobs.push(batcher.submit([1], interactive));
    await clock.advance(10);
    jobs.push(batcher.submit([2, 3, 4, 5], interactive));
    await clock.advance(10);
    expect(batches).toEqual([
      { atMs: 0, rows: [0] },
      { atMs: 20, rows: [1, 2] },
    ]);
    await clock.advance(4 * RUN_MS);
    await Promise.all(jobs);
    expect(rowsOf(batches)).toEqual([[0], [1, 2], [3, 4], [5]]);
  });

  test('forms no batch ahead of bulk rows alone, nor of a job that is computed apart, nor behind one', async () => {
    const { clock, batcher, batches } = setUp({ max_batch_size: 2, max_queue_delay_ms: 0 }, { ahead: 1 });
    const apart = { ...interactive, isApart: true };
    const jobs = [batcher.submit(['a', 'b', 'c'], bulk)];
    await clock.advance(10);
    // Nothing is known of how long bulk batches take: the first one has one row.
    expect(rowsOf(batches)).toEqual([['a']]);
    jobs.push(batcher.submit(['s', 't'], apart));
    await clock.advance(RUN_MS);
    expect(rowsOf(batches)).toEqual([['a'], ['s', 't']]);
    jobs.push(batcher.submit(['e', 'f'], interactive));
    await clock.advance(10);
    expect(batches).toHaveLength(2);
    await clock.advance(RUN_MS);
    expect(rowsOf(batches)).toEqual([['a'], ['s', 't'], ['e', 'f']]);
    await clock.advance(2 * RUN_MS);
    await Promise.all(jobs);
  });

  test('holds a batch open for max_queue_delay_ms after its first row', async () => {
    const { clock, batcher, batches } = setUp({ max_batch_size: 32, max_queue_delay_ms: 100 });
    const latenciesMs: number[] = [];
    const submit = (row: number) => {
      const atMs = clock.now();
      void batcher.submit([row], interactive).then(() => latenciesMs.push(clock.now() - atMs));
    };
    submit(0);
    await clock.advance(20);
    submit(1);
    await clock.advance(30);
    submit(2);
    await clock.advance(1000);
    expect(batches).toEqual([{ atMs: 100, rows: [0, 1, 2] }]);
    // Arrivals at 0, 20 and 50 ms; window 100, run 50.
    expect(latenciesMs).toEqual([150, 130, 100]);
  });

  test('starts a full batch without waiting for the delay', async () => {
    const { clock, batcher, batches } = setUp({ max_batch_size: 2, max_queue_delay_ms: 100 });
    const jobs = [batcher.submit(['a'], interactive), batcher.submit(['b'], interactive)];
    await clock.advance(RUN_MS);
    await Promise.all(jobs);
    expect(batches).toEqual([{ atMs: 0, rows: ['a', 'b'] }]);
  });

  test('cuts a batch to the largest preferred size, and starts it without waiting', async () => {
    const { clock, batcher, batches } = setUp({
      max_batch_size: 16,
      max_queue_delay_ms: 100,
      preferred_batch_sizes: [8, 4],
    });
    const jobs = Array.from({ length: 11 }, (_, row) => batcher.submit([row], interactive));
    await clock.advance(100 + RUN_MS);
    await Promise.all(jobs);
    // Three reach no preferred size, and go when the delay is over.
    expect(batches.map(({ atMs, rows }) => [atMs, rows.length])).toEqual([
      [0, 8],
      [100, 3],
    ]);
  });

  test('fills a preferred size with bulk rows, and lets those beyond it wait', async () => {
    const { clock, batcher, batches } = setUp({ max_batch_size: 16, preferred_batch_sizes: [4] });
    const jobs = [batcher.submit(['b1', 'b2', 'b3'], bulk), batcher.submit(['i1', 'i2'], interactive)];
    await clock.advance(2 * RUN_MS);
    await Promise.all(jobs);
    expect(rowsOf(batches)).toEqual([['i1', 'i2', 'b1', 'b2'], ['b3']]);
  });

  test('waits for company where it is to favour throughput, and not where the manifest says 0', async () => {
    for (const [max_queue_delay_ms, atMs] of [
      [undefined, 20],
      [0, 0],
    ] as const) {
      const { clock, batcher, batches } = setUp({
        max_batch_size: 4,
        optimize: 'throughput',
        ...(max_queue_delay_ms === undefined ? {} : { max_queue_delay_ms }),
      });
      const job = batcher.submit(['a'], interactive);
      await clock.advance(20 + RUN_MS);
      await job;
      expect(batches).toEqual([{ atMs, rows: ['a'] }]);
    }
  });

  test('lets a batch grow while the runner is busy', async () => {
    const { clock, batcher, batches } = setUp({ max_batch_size: 8, max_queue_delay_ms: 0 });
    const first = batcher.submit(['first'], interactive);
    await settle();
    const rest = ['b', 'c', 'd'].map((row) => batcher.submit([row], interactive));
    await clock.advance(2 * RUN_MS);
    await Promise.all([first, ...rest]);
    expect(rowsOf(batches)).toEqual([['first'], ['b', 'c', 'd']]);
  });

  test('runs as many batches at once as there are runners', async () => {
    const { clock, batcher, batches } = setUp({ max_batch_size: 1, max_queue_delay_ms: 0 }, { runners: 2 });
    const jobs = ['a', 'b', 'c'].map((row) => batcher.submit([row], interactive));
    await clock.advance(2 * RUN_MS);
    await Promise.all(jobs);
    expect(batches.map(({ atMs }) => atMs)).toEqual([0, 0, RUN_MS]);
  });

  test('takes interactive rows first and fills the batch with bulk rows', async () => {
    const { clock, batcher, batches } = setUp({ max_batch_size: 3, max_queue_delay_ms: 0 });
    const jobs = [batcher.submit(['b1', 'b2', 'b3'], bulk), batcher.submit(['i1', 'i2'], interactive)];
    await clock.advance(2 * RUN_MS);
    await Promise.all(jobs);
    expect(rowsOf(batches)).toEqual([
      ['i1', 'i2', 'b1'],
      ['b2', 'b3'],
    ]);
  });

  test('spreads a job over batches and returns its rows in order', async () => {
    const { clock, batcher } = setUp({ max_batch_size: 2, max_queue_delay_ms: 0 });
    const job = batcher.submit(['a', 'b', 'c'], interactive);
    await clock.advance(2 * RUN_MS);
    const outcomes = await job;
    expect(outcomes.map(({ result }) => result.status === 'succeeded' && result.output.row)).toEqual(['a', 'b', 'c']);
    expect(outcomes.map(({ batchWaitMs }) => batchWaitMs)).toEqual([0, 0, RUN_MS]);
    expect(outcomes.map(({ batch }) => batch.size)).toEqual([2, 2, 1]);
  });

  test('rejects the rows of a batch that breaks, and goes on with the next', async () => {
    const clock = new ManualClock();
    let runs = 0;
    const batcher = new DynamicBatcher({
      policy: { max_batch_size: 1, max_queue_delay_ms: 0 },
      maxConcurrentBatches: 1,
      clock,
      run: async (rows) => {
        if (runs++ === 0) throw new Error('broken');
        return rows.map((row) => succeeded(row, 1, 0));
      },
    });
    const broken = batcher.submit(['a'], interactive);
    const fine = batcher.submit(['b'], interactive);
    await expect(broken).rejects.toThrow('broken');
    await expect(fine).resolves.toHaveLength(1);
  });

  test('runs other batches between the steps of one that gives way, and at most one such batch a runner', async () => {
    const started: string[] = [];
    const ends: (() => void)[] = [];
    const batcher = new DynamicBatcher({
      policy: { max_batch_size: 1, max_queue_delay_ms: 0 },
      maxConcurrentBatches: 1,
      clock: new ManualClock(),
      run: async ([row], { giveWay }) => {
        started.push(row as string);
        if (row !== 'healthy') giveWay();
        await new Promise<void>((resolve) => ends.push(resolve));
        return [succeeded(row, 1, 0)];
      },
    });
    const jobs = ['poison', 'healthy', 'more poison', 'healthy'].map((row) => batcher.submit([row], interactive));
    await settle();
    expect(started).toEqual(['poison', 'healthy']);
    ends[1]?.();
    await settle();
    expect(started).toEqual(['poison', 'healthy', 'more poison']);
    ends[0]?.();
    await settle();
    expect(started).toEqual(['poison', 'healthy', 'more poison', 'healthy']);
    for (const end of ends) end();
    await Promise.all(jobs);
  });

  test('drops a halted row that waits, without running it', async () => {
    const { clock, batcher, batches } = setUp({ max_batch_size: 1, max_queue_delay_ms: 0 });
    const first = batcher.submit(['first'], interactive);
    await settle();
    const canceled = new HaltSignal();
    const waiting = batcher.submit(['a', 'b'], { lane: 'bulk', halt: canceled, isApart: false });
    canceled.halt();
    const outcomes = await waiting;
    expect(outcomes.map(({ result }) => result)).toEqual(
      Array(2).fill({ status: 'failed', error: expect.objectContaining({ code: 'canceled' }) }),
    );
    await clock.advance(RUN_MS);
    await first;
    expect(rowsOf(batches)).toEqual([['first']]);
  });

  test('drops a row that was halted before it came', async () => {
    const { batcher, batches } = setUp({ max_batch_size: 1, max_queue_delay_ms: 0 });
    const canceled = new HaltSignal();
    canceled.halt();
    expect(await batcher.submit(['a'], { lane: 'interactive', halt: canceled, isApart: false })).toMatchObject([
      { result: { status: 'failed' } },
    ]);
    await settle();
    expect(batches).toEqual([]);
  });

  test('lets a halted row run on for the sake of its neighbours', async () => {
    const { clock, batcher, aborted } = setUp({ max_batch_size: 2, max_queue_delay_ms: 0 }, { runMs: 10_000 });
    const canceled = new HaltSignal();
    const jobs = [
      batcher.submit(['a'], { lane: 'interactive', halt: canceled, isApart: false }),
      batcher.submit(['b'], interactive),
    ];
    await settle();
    canceled.halt();
    await clock.advance(10_000);
    await Promise.all(jobs);
    expect(aborted).toEqual([]);
  });

  test('aborts a batch that nobody wants once its rest outlasts a new runner', async () => {
    const { clock, batcher, aborted } = setUp({ max_batch_size: 2, max_queue_delay_ms: 0 }, { runMs: 100_000 });
    const canceled = new HaltSignal();
    const job = batcher.submit(['a', 'b'], { lane: 'interactive', halt: canceled, isApart: false });
    await settle();
    canceled.halt();
    await clock.advance(299);
    expect(aborted).toEqual([]);
    await clock.advance(1000);
    await job;
    // Nothing was known of how long it takes: after 300 ms it had not shown that it is longer, at 600 ms it had.
    expect(aborted).toEqual([600]);
  });

  test('lets a batch that nobody wants end when it is about to', async () => {
    const { clock, batcher, aborted } = setUp({ max_batch_size: 1, max_queue_delay_ms: 0 });
    const canceled = new HaltSignal();
    const job = batcher.submit(['a'], { lane: 'interactive', halt: canceled, isApart: false });
    await settle();
    canceled.halt();
    await clock.advance(RUN_MS);
    await job;
    await clock.advance(10_000);
    expect(aborted).toEqual([]);
  });
});
