import { expect, test } from '@jest/globals';
import { ManualClock } from '../../../../test/support/manual-clock.ts';
import { isBatchInvariant } from './batch-invariance.ts';

const clock = new ManualClock();

function invarianceOf(answer: (row: number, batchSize: number) => number, batchSize = 5) {
  const run = async (rows: readonly unknown[]) => ({
    results: rows.map((row) => ({
      status: 'succeeded' as const,
      output: { score: answer(row as number, rows.length) },
    })),
  });
  return isBatchInvariant({ rows: [1, 2, 3], batchSize, run, clock });
}

test('a model is batch invariant when rows have the same answers alone and in a batch', async () => {
  expect(await invarianceOf((row) => row / 3)).toBe(true);
});

test('the last bit decides', async () => {
  const off = (row: number, size: number) => row + (row === 2 && size > 1 ? Number.EPSILON * 2 : 0);
  expect(await invarianceOf(off)).toBe(false);
});

test('one that has no batches is', async () => {
  expect(await invarianceOf((_, size) => size, 1)).toBe(true);
});
