import { describe, expect, test } from '@jest/globals';
import { ManualClock } from '../../../../test/support/manual-clock.ts';
import { type BatchCurveOptions, measureBatchCurve } from './batch-curve.ts';
import { findKnee } from './knee.ts';

/** Measures a runner whose batches take exactly as long as they should. */
async function measure(
  msOf: (rows: readonly unknown[], runs: number) => number,
  options: Partial<BatchCurveOptions> & { forMs?: number; cpuMsOf?: (rows: readonly unknown[]) => number } = {},
) {
  const clock = new ManualClock();
  const batches: number[] = [];
  let endedAtMs = Number.NaN;
  const measured = measureBatchCurve({
    rows: ['a', 'b', 'c'],
    maxBatchSize: 64,
    budgetMs: 2000,
    clock,
    run: async (rows) => {
      batches.push(rows.length);
      const ms = msOf(rows, batches.length);
      await clock.after(ms);
      return { computeMs: ms, cpuMs: options.cpuMsOf?.(rows) ?? ms };
    },
    ...options,
  }).finally(() => {
    endedAtMs = clock.now();
  });
  await clock.advance(options.forMs ?? 2000);
  return { ...(await measured), batches, endedAtMs };
}

const sizesOf = (curve: readonly { batch_size: number }[]) => curve.map(({ batch_size }) => batch_size);

describe('the batch curve', () => {
  test('has every power of two up to the largest size, and its exact times', async () => {
    const { curve, end } = await measure(({ length }) => 0.8 + 0.1 * length);
    expect(end).toBe('complete');
    expect(sizesOf(curve)).toEqual([1, 2, 4, 8, 16, 32, 64]);
    expect(curve[0]).toEqual({ batch_size: 1, rows_per_s: 1111, ms: 0.9, compute_ms: 0.9 });
    expect(curve[6]).toEqual({ batch_size: 64, rows_per_s: 8889, ms: 7.2, compute_ms: 7.2 });
  });

  test('ends with a largest size that is no power of two', async () => {
    const { curve } = await measure(() => 1, { maxBatchSize: 12 });
    expect(sizesOf(curve)).toEqual([1, 2, 4, 8, 12]);
  });

  test('finds the knee of a model whose rows get dear beyond 8', async () => {
    const { curve } = await measure(({ length }) => 1 + 0.1 * length + 2 * Math.max(0, length - 8));
    expect(findKnee(curve).batch_size).toBe(8);
  });

  test('finds that a model gains nothing from batches', async () => {
    const { curve } = await measure(({ length }) => 2 * length, { maxBatchSize: 16 });
    expect(findKnee(curve).batch_size).toBe(1);
  });

  test('is not moved by cold first runs, nor by a spell in which the machine is busy', async () => {
    const [first, round] = [7, 127];
    const { curve } = await measure(({ length }, runs) => {
      if (runs <= first) return 20;
      const isBusy = runs > first + round && runs <= first + 3 * round;
      return (1 + length / 64) * (isBusy ? 9 : 1);
    });
    expect(curve.map(({ ms }) => ms)).toEqual(
      [1.016, 1.031, 1.063, 1.125, 1.25, 1.5, 2].map((ms) => expect.closeTo(ms, 2)),
    );
  });

  test('does not count the time for which others had the core', async () => {
    // Long batches are interrupted, and take twice their time; short ones slip through.
    const cpuMs = (rows: number) => 2 + rows;
    const { curve } = await measure(({ length }) => cpuMs(length) * (length > 8 ? 2 : 1), {
      cpuMsOf: ({ length }) => cpuMs(length),
      maxBatchSize: 32,
      budgetMs: 10_000,
      forMs: 10_000,
    });
    expect(curve.map(({ ms }) => ms)).toEqual([1, 2, 4, 8, 16, 32].map(cpuMs));
    expect(findKnee(curve).batch_size).toBe(32);
  });

  test('takes processor time of several threads for what it is', async () => {
    const { curve } = await measure(({ length }) => 5 * length, {
      cpuMsOf: ({ length }) => 20 * length,
      maxBatchSize: 8,
    });
    expect(curve.map(({ ms }) => ms)).toEqual([5, 10, 20, 40]);
  });

  test('sees the same rows at every size, though those of a kind stand together', async () => {
    const rows = [...new Array(20).fill(0.1), ...new Array(16).fill(1)];
    const { curve } = await measure((batch) => batch.reduce<number>((sum, ms) => sum + Number(ms), 0), { rows });
    const fair = (20 * 0.1 + 16) / 36;
    for (const { ms, batch_size } of curve)
      expect([batch_size, Math.abs(ms / batch_size / fair - 1) < 0.05]).toEqual([batch_size, true]);
  });

  test('of a slow model ends in time, with the sizes that it can afford and repeats of them', async () => {
    const { curve, end, endedAtMs, batches } = await measure(({ length }) => 100 * length);
    expect(end).toBe('budget');
    expect(endedAtMs).toBeLessThanOrEqual(2000);
    expect(sizesOf(curve)).toEqual([1, 2, 4]);
    expect(batches.filter((size) => size === 4).length).toBeGreaterThan(1);
  });

  test('does not wait for a batch beyond the budget', async () => {
    const { curve, end, endedAtMs } = await measure(({ length }) => (length === 4 ? 60_000 : 10));
    expect([end, endedAtMs, sizesOf(curve)]).toEqual(['budget', 2000, [1, 2]]);
  });

  test('is empty when not one batch came back', async () => {
    expect(await measure(() => 60_000)).toMatchObject({ end: 'budget', curve: [] });
  });

  test('ends before a size that fails', async () => {
    const { curve, end } = await measure(({ length }) => {
      if (length === 32) throw new Error('Failed to allocate memory');
      return 1;
    });
    expect([end, sizesOf(curve)]).toEqual(['failed', [1, 2, 4, 8, 16]]);
  });

  test('leaves out a size that fails later on, and all beyond it', async () => {
    const { curve, end } = await measure(({ length }, runs) => {
      if (length === 8 && runs > 7) throw new Error('Failed to allocate memory');
      return 1;
    });
    expect([end, sizesOf(curve)]).toEqual(['failed', [1, 2, 4]]);
  });

  test('is given up as soon as the runner is wanted', async () => {
    let isWanted = false;
    const { end, batches } = await measure(
      (_, runs) => {
        isWanted = runs === 10;
        return 1;
      },
      { isWanted: () => isWanted },
    );
    expect([end, batches.length]).toEqual(['wanted', 10]);
  });
});
