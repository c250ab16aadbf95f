import { describe, expect, test } from '@jest/globals';
import type { BatchCurvePoint } from '@onqueue/shared';
import { findKnee } from './knee.ts';

const SIZES = [1, 2, 4, 8, 16, 32, 64, 128];

/** A curve of throughputs relative to that of single rows, as the research measured them. */
function curveOf(gains: readonly number[]): BatchCurvePoint[] {
  return gains.map((gain, index) => {
    const batch_size = SIZES[index] ?? 0;
    const rows_per_s = 1000 * gain;
    return { batch_size, rows_per_s, ms: (batch_size / rows_per_s) * 1000, compute_ms: 0 };
  });
}

const kneeOf = (gains: readonly number[]) => findKnee(curveOf(gains)).batch_size;

describe('the knee of a batch curve', () => {
  test.each([
    ['a tiny model, which gains to the end', [1, 1.98, 3.4, 6.04, 12.7, 20.6, 30.4, 38.2], 128],
    ['a weight-bound model, which gains little from 16 on', [1, 2.04, 3.66, 3.6, 4.36, 4.18, 4.49, 4.55], 16],
    ['a convolution, flat from 32 on', [1, 1.42, 1.65, 1.92, 2.05, 2.08, 2.17, 2.09], 32],
    ['a compute-bound one, which gains nothing', [1, 1.02, 1.01, 1.01, 0.94, 0.92, 0.88, 0.88], 1],
    ['an encoder, which falls beyond its best', [1, 1.2, 1.27, 1.31, 1.3, 1.29, 1.29, 1.25], 4],
    ['long rows, which fall far beyond it', [1, 1.06, 1.11, 1.12, 1.05, 1.02, 0.88, 0.88], 4],
    ['a steep fall after a gain', [1, 1.9, 3.5, 6.2, 2.1, 2, 2, 2], 8],
    ['one size that was measured', [1], 1],
  ])('%s', (_, gains, knee) => {
    expect(kneeOf(gains)).toBe(knee);
  });

  test('is exact to the tolerance of 5 %', () => {
    expect(kneeOf([0.951, 1])).toBe(1);
    expect(kneeOf([0.949, 1])).toBe(2);
  });

  test('moves by one step at most when noise of 2 % lies on a plateau', () => {
    const plateau = [1, 1.9, 3.5, 6, 6.4, 6.45, 6.5, 6.5];
    for (let seed = 1; seed <= 200; seed++) {
      const noisy = plateau.map((gain, index) => gain * (1 + 0.02 * Math.sin(seed * 97.1 + index * 31.7)));
      expect([8, 16, 32]).toContain(kneeOf(noisy));
    }
  });

  test('does not depend on the order of the points', () => {
    expect(findKnee(curveOf([1, 1.9, 1.95, 1.95]).toReversed()).batch_size).toBe(2);
  });

  test('of nothing is a bug', () => {
    expect(() => findKnee([])).toThrow('This is a bug');
  });
});
