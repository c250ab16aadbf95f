import { describe, expect, test } from '@jest/globals';
import { type RowErrorCode, RowFailure } from '@onqueue/shared';
import { ManualClock } from '../../../../test/support/manual-clock.ts';
import { RowIsolation } from './row-isolation.ts';

const TIMINGS = { preprocess_ms: 1, inference_ms: 2, postprocess_ms: 3 };

type Fault = (rows: readonly unknown[], run: number) => RowErrorCode | undefined;

/** An isolation over a runner that fails every batch in which `fault` finds something, and records all that it ran. */
function setUp(fault: Fault, probeFault: () => RowErrorCode | undefined = () => undefined) {
  const runs: unknown[][] = [];
  const probedAfter: number[] = [];
  const limits: (number | undefined)[] = [];
  const timeouts: (number | undefined)[] = [];
  const isolation = new RowIsolation({
    clock: new ManualClock(),
    onSizeLimit: (rows) => limits.push(rows),
    runner: {
      run: async (rows, { timeoutMs }) => {
        runs.push([...rows]);
        timeouts.push(timeoutMs);
        const code = fault(rows, runs.length);
        if (code) throw new RowFailure(code, `because of ${code}`);
        return { results: rows.map((row) => ({ status: 'succeeded', output: { row } })), timings: TIMINGS };
      },
      probe: async () => {
        probedAfter.push(runs.length);
        const code = probeFault();
        if (code) throw new RowFailure(code, 'the golden row has no answer');
      },
    },
  });
  return { isolation, runs, probedAfter, limits, timeouts };
}

/** A fault of every batch that holds one of these rows. */
const faultOf =
  (code: RowErrorCode, guilty: readonly unknown[]): Fault =>
  (batch) =>
    batch.some((row) => guilty.includes(row)) ? code : undefined;

const never = new AbortController().signal;
const rows = (count: number) => Array.from({ length: count }, (_, row) => row);
const failedRows = (outcomes: { result: { status: string } }[]) =>
  outcomes.flatMap(({ result }, row) => (result.status === 'failed' ? [row] : []));

describe('RowIsolation', () => {
  test('runs a healthy batch once', async () => {
    const { isolation, runs, probedAfter } = setUp(() => undefined);
    const outcomes = await isolation.run(rows(64), { signal: never });
    expect(runs).toHaveLength(1);
    expect(probedAfter).toEqual([]);
    expect(failedRows(outcomes)).toEqual([]);
    expect(outcomes[5]).toEqual({
      result: { status: 'succeeded', output: { row: 5 } },
      isRetryable: false,
      // The clock stands still, and computing took 6 ms.
      batch: { size: 64, startedAtMs: -6, timings: TIMINGS },
    });
  });

  test('blames no row when a golden row fails after a batch', async () => {
    for (const code of ['inference_failed', 'runner_crashed', 'runner_timeout'] as const) {
      for (const count of [1, 8]) {
        const { isolation, runs, probedAfter } = setUp(
          () => code,
          () => 'model_unavailable',
        );
        const outcomes = await isolation.run(rows(count), { signal: never });
        expect([runs.length, probedAfter]).toEqual([1, [1]]);
        expect(outcomes).toHaveLength(count);
        for (const { result, isRetryable } of outcomes) {
          expect(isRetryable).toBe(true);
          expect(result).toMatchObject({ status: 'failed', error: { code: 'model_unavailable' } });
        }
      }
    }
  });

  test('asks for a golden row once, before it looks for the row', async () => {
    const { isolation, probedAfter } = setUp(faultOf('inference_failed', [3]));
    expect(failedRows(await isolation.run(rows(8), { signal: never }))).toEqual([3]);
    expect(failedRows(await isolation.run([3], { signal: never }))).toEqual([0]);
    expect(probedAfter).toEqual([1, 7]);
  });

  test('drops a batch that nobody wants any more while the golden row runs', async () => {
    const { isolation, runs } = setUp(
      () => 'inference_failed',
      () => 'canceled',
    );
    const outcomes = await isolation.run(rows(8), { signal: never });
    expect(runs).toHaveLength(1);
    expect(outcomes[0]).toMatchObject({ isRetryable: false, result: { error: { code: 'canceled' } } });
  });

  test.each<[RowErrorCode, boolean]>([
    ['inference_failed', false],
    ['runner_crashed', true],
    ['runner_timeout', true],
  ])('finds the one row of %s within 2 log2(n) + 2 extra runs', async (code, isRetryableFailure) => {
    for (const count of [2, 3, 5, 8, 21, 64, 100]) {
      for (let guilty = 0; guilty < count; guilty++) {
        const { isolation, runs } = setUp(faultOf(code, [guilty]));
        const outcomes = await isolation.run(rows(count), { signal: never });
        expect(failedRows(outcomes)).toEqual([guilty]);
        expect(outcomes[guilty]).toMatchObject({
          isRetryable: isRetryableFailure,
          result: { error: { code, detail: `because of ${code}` } },
        });
        expect(runs.length - 1).toBeLessThanOrEqual(2 * Math.log2(count) + 2);
      }
    }
  });

  test('finds k guilty rows of n within min(2n, 2k (log2(n/k) + 2)) extra runs', async () => {
    for (const code of ['inference_failed', 'runner_crashed'] as const) {
      for (const count of [2, 7, 32, 100]) {
        for (let k = 1; k <= count; k++) {
          // Side by side, and as far from one another as they can be, which is the dearest.
          for (const stride of [1, count / k]) {
            const guilty = Array.from({ length: k }, (_, index) => Math.floor(index * stride));
            const { isolation, runs } = setUp(faultOf(code, guilty));
            expect(failedRows(await isolation.run(rows(count), { signal: never }))).toEqual(guilty);
            expect(runs.length - 1).toBeLessThanOrEqual(Math.min(2 * count, 2 * k * (Math.log2(count / k) + 2)));
          }
        }
      }
    }
  });

  test('splits rows that fail only together, and fails none of them', async () => {
    const { isolation, runs } = setUp((batch) =>
      batch.includes(1) && batch.includes(6) ? 'inference_failed' : undefined,
    );
    expect(failedRows(await isolation.run(rows(8), { signal: never }))).toEqual([]);
    expect(runs.map(({ length }) => length)).toEqual([8, 4, 2, 1, 1]);
  });

  test('finds several guilty rows and keeps the order', async () => {
    const guilty = [0, 7, 31];
    const { isolation } = setUp(faultOf('inference_failed', guilty));
    const outcomes = await isolation.run(rows(32), { signal: never });
    expect(failedRows(outcomes)).toEqual(guilty);
    expect(outcomes.flatMap(({ result }) => (result.status === 'succeeded' ? [result.output.row] : []))).toEqual(
      rows(32).filter((row) => !guilty.includes(row)),
    );
  });

  test('tries a batch whose runner was killed again as it is, and blames nobody', async () => {
    const { isolation, runs } = setUp((_batch, run) => (run === 1 ? 'runner_crashed' : undefined));
    const outcomes = await isolation.run(rows(8), { signal: never });
    expect(failedRows(outcomes)).toEqual([]);
    expect(runs).toEqual([rows(8), rows(8)]);
  });

  test('finds the row that kills its runner; it alone fails, retryable, having died alone once', async () => {
    const { isolation, runs } = setUp(faultOf('runner_crashed', [3]));
    const outcomes = await isolation.run(rows(8), { signal: never });
    expect(failedRows(outcomes)).toEqual([3]);
    expect(outcomes[3]).toMatchObject({ isRetryable: true, result: { error: { code: 'runner_crashed' } } });
    expect(runs.filter((batch) => batch.length === 1 && batch[0] === 3)).toHaveLength(1);
  });

  test('finds the row that hangs without trying a hanging batch twice', async () => {
    const { isolation, runs } = setUp(faultOf('runner_timeout', [2]));
    expect(failedRows(await isolation.run(rows(4), { signal: never }))).toEqual([2]);
    expect(runs).toEqual([[0, 1, 2, 3], [0, 1], [2], [3]]);
  });

  test('blames no row when no runner can be had', async () => {
    const { isolation, runs, probedAfter } = setUp(() => 'model_unavailable');
    const outcomes = await isolation.run(rows(8), { signal: never });
    expect([runs.length, probedAfter]).toEqual([1, []]);
    expect(outcomes.every(({ isRetryable }) => isRetryable)).toBe(true);
  });

  test('gives way once it searches, and not before', async () => {
    let gaveWay = 0;
    const giveWay = () => gaveWay++;
    const { isolation, runs } = setUp((batch) => {
      if (batch.includes(3)) return 'inference_failed';
      return batch.includes('model') ? 'model_unavailable' : undefined;
    });
    for (const batch of [rows(3), [3], ['model', 'a']]) await isolation.run(batch, { signal: never, giveWay });
    expect([gaveWay, runs.length]).toEqual([0, 3]);
    await isolation.run(rows(8), { signal: never, giveWay });
    expect(gaveWay).toBe(1);
  });

  test('waits for several rows that may hang as long as is ample, for one as long as it may take', async () => {
    const { isolation, runs, timeouts } = setUp(faultOf('runner_timeout', [2]));
    await isolation.run([2, 'a', 'b', 'c'], { signal: never });
    // Nothing is known until one has ended, in 6 ms.
    expect([runs.splice(0).map(({ length }) => length), timeouts.splice(0)]).toEqual([
      [4, 2, 1, 1, 2],
      [undefined, undefined, undefined, undefined, 1000],
    ]);
    await isolation.run(rows(8), { signal: never });
    expect([runs.map(({ length }) => length), timeouts]).toEqual([
      [8, 4, 2, 1, 1, 4],
      [undefined, 1000, 1000, undefined, undefined, 1000],
    ]);
  });

  test('drops the other half of a batch that nobody wants any more', async () => {
    const abort = new AbortController();
    const { isolation, runs } = setUp((_batch, run) => {
      if (run === 2) abort.abort();
      return 'inference_failed';
    });
    expect(await isolation.run(rows(2), { signal: abort.signal })).toMatchObject([
      { result: { error: { code: 'inference_failed' } } },
      { result: { error: { code: 'canceled' } } },
    ]);
    expect(runs).toEqual([[0, 1], [0]]);
  });

  test('runs a row once more only while somebody waits for it', async () => {
    const { isolation, runs } = setUp(faultOf('runner_timeout', [5]));
    const outcomes = await isolation.run(rows(8), { signal: never, isWanted: (index) => index !== 5 && index !== 6 });
    expect(runs.flat().filter((row) => row === 5 || row === 6)).toEqual([5, 6]);
    expect(failedRows(outcomes)).toEqual([5, 6]);
    expect(outcomes.map(({ result }) => result.status === 'succeeded' && result.output.row)).toEqual([
      0,
      1,
      2,
      3,
      4,
      false,
      false,
      7,
    ]);
    expect(outcomes[5]).toMatchObject({ result: { error: { code: 'canceled' } }, isRetryable: false });
  });

  test('halves a batch that does not fit into memory, and cuts later ones to what fits', async () => {
    const { isolation, runs, limits } = setUp((batch) => (batch.length > 20 ? 'out_of_memory' : undefined));
    const sizes = () => runs.splice(0).map(({ length }) => length);
    expect(failedRows(await isolation.run(rows(64), { signal: never }))).toEqual([]);
    expect(sizes()).toEqual([64, 32, 16, 16, 32, 16, 16]);
    const outcomes = await isolation.run(rows(40), { signal: never });
    expect(outcomes.map(({ result }) => result.status === 'succeeded' && result.output.row)).toEqual(rows(40));
    expect(outcomes.map(({ batch }) => batch.size)).toEqual([...Array(32).fill(16), ...Array(8).fill(8)]);
    expect(sizes()).toEqual([16, 16, 8]);
    expect(limits).toEqual([16]);
  });

  test('learns nothing from one row that fits with no others', async () => {
    const { isolation, limits } = setUp(faultOf('out_of_memory', [5]));
    const outcomes = await isolation.run(rows(16), { signal: never });
    expect(failedRows(outcomes)).toEqual([5]);
    expect(outcomes[5]).toMatchObject({ isRetryable: true, result: { error: { code: 'out_of_memory' } } });
    expect(limits).toEqual([]);
  });

  test('says when the rows were computed, not when the runner was asked or had the batch', async () => {
    const clock = new ManualClock();
    const isolation = new RowIsolation({
      clock,
      runner: {
        run: async (rows, { onStart }) => {
          await clock.after(100);
          onStart?.();
          await clock.after(50);
          return { results: rows.map(() => ({ status: 'succeeded', output: {} })), timings: TIMINGS };
        },
        probe: async () => undefined,
      },
    });
    const outcomes = isolation.run(rows(1), { signal: never });
    await clock.advance(150);
    expect(await outcomes).toMatchObject([{ batch: { startedAtMs: 144 } }]);
  });

  test('passes on what is no fault of a row or runner', async () => {
    const isolation = new RowIsolation({
      clock: new ManualClock(),
      runner: { run: async () => ({ results: [], timings: TIMINGS }), probe: async () => undefined },
    });
    await expect(isolation.run(rows(2), { signal: never })).rejects.toThrow('This is a bug');
  });
});
