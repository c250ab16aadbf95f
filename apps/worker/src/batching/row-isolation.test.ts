import { describe, expect, test } from '@jest/globals';
import { type RowErrorCode, RowFailure } from '@onqueue/shared';
import { ManualClock } from '../../../../test/support/manual-clock.ts';
import { RowIsolation } from './row-isolation.ts';

const TIMINGS = { preprocess_ms: 1, inference_ms: 2, postprocess_ms: 3 };

/** An isolation over a runner that fails every batch in which `fault` finds something, and records all batches. */
function setUp(fault: (rows: readonly unknown[], run: number) => RowErrorCode | undefined) {
  const runs: unknown[][] = [];
  const isolation = new RowIsolation({
    clock: new ManualClock(),
    runner: {
      run: async (rows) => {
        runs.push([...rows]);
        const code = fault(rows, runs.length);
        if (code) throw new RowFailure(code, `because of ${code}`);
        return { results: rows.map((row) => ({ status: 'succeeded', output: { row } })), timings: TIMINGS };
      },
    },
  });
  return { isolation, runs };
}

const never = new AbortController().signal;
const rows = (count: number) => Array.from({ length: count }, (_, row) => row);
const failedRows = (outcomes: { result: { status: string } }[]) =>
  outcomes.flatMap(({ result }, row) => (result.status === 'failed' ? [row] : []));

describe('RowIsolation', () => {
  test('runs a healthy batch once', async () => {
    const { isolation, runs } = setUp(() => undefined);
    const outcomes = await isolation.run(rows(64), never);
    expect(runs).toHaveLength(1);
    expect(failedRows(outcomes)).toEqual([]);
    expect(outcomes[5]).toEqual({
      result: { status: 'succeeded', output: { row: 5 } },
      isRetryable: false,
      batch: { size: 64, startedAtMs: 0, timings: TIMINGS },
    });
  });

  test('finds the one row that the engine refuses within 2 log2(n) + 2 extra runs', async () => {
    const { isolation, runs } = setUp((batch) => (batch.includes(41) ? 'inference_failed' : undefined));
    const outcomes = await isolation.run(rows(64), never);
    expect(failedRows(outcomes)).toEqual([41]);
    expect(outcomes[41]).toMatchObject({
      isRetryable: false,
      result: { error: { code: 'inference_failed', detail: 'because of inference_failed' } },
    });
    expect(runs.length - 1).toBeLessThanOrEqual(2 * 6 + 2);
  });

  test('finds several guilty rows and keeps the order', async () => {
    const guilty = [0, 7, 31];
    const { isolation } = setUp((batch) =>
      batch.some((row) => guilty.includes(row as number)) ? 'inference_failed' : undefined,
    );
    const outcomes = await isolation.run(rows(32), never);
    expect(failedRows(outcomes)).toEqual(guilty);
    expect(outcomes.flatMap(({ result }) => (result.status === 'succeeded' ? [result.output.row] : []))).toEqual(
      rows(32).filter((row) => !guilty.includes(row)),
    );
  });

  test('tries a batch whose runner was killed again as it is, and blames nobody', async () => {
    const { isolation, runs } = setUp((_batch, run) => (run === 1 ? 'runner_crashed' : undefined));
    const outcomes = await isolation.run(rows(8), never);
    expect(failedRows(outcomes)).toEqual([]);
    expect(runs).toEqual([rows(8), rows(8)]);
  });

  test('finds the row that kills its runner; it alone fails, retryable, having died alone once', async () => {
    const { isolation, runs } = setUp((batch) => (batch.includes(3) ? 'runner_crashed' : undefined));
    const outcomes = await isolation.run(rows(8), never);
    expect(failedRows(outcomes)).toEqual([3]);
    expect(outcomes[3]).toMatchObject({ isRetryable: true, result: { error: { code: 'runner_crashed' } } });
    expect(runs.filter((batch) => batch.length === 1 && batch[0] === 3)).toHaveLength(1);
  });

  test('finds the row that hangs without trying a hanging batch twice', async () => {
    const { isolation, runs } = setUp((batch) => (batch.includes(2) ? 'runner_timeout' : undefined));
    expect(failedRows(await isolation.run(rows(4), never))).toEqual([2]);
    expect(runs).toEqual([[0, 1, 2, 3], [0, 1], [2, 3], [2], [3]]);
  });

  test('blames no row when no runner can be had', async () => {
    const { isolation, runs } = setUp(() => 'model_unavailable');
    const outcomes = await isolation.run(rows(8), never);
    expect(runs).toHaveLength(1);
    expect(outcomes.every(({ isRetryable }) => isRetryable)).toBe(true);
  });

  test('passes on what is no fault of a row or runner', async () => {
    const isolation = new RowIsolation({
      clock: new ManualClock(),
      runner: { run: async () => ({ results: [], timings: TIMINGS }) },
    });
    await expect(isolation.run(rows(2), never)).rejects.toThrow('This is a bug');
  });
});
