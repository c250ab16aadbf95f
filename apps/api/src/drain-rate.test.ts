import { describe, expect, test } from '@jest/globals';
import type { LaneBacklog } from '@onqueue/shared';
import { DrainRate } from './drain-rate.ts';

function observed(samples: [finishedRows: number, unclaimed: number, atMs?: number][]): number | undefined {
  const rate = new DrainRate();
  for (const [second, [finishedRows, jobs, atMs = second * 1000]] of samples.entries()) {
    rate.observe('fraud', atMs, {
      finishedRows,
      oldestUnclaimed: [
        { lane: 'interactive', ageS: 0, jobs },
        { lane: 'bulk', ageS: 0, jobs: 0 },
      ],
    } as unknown as LaneBacklog);
  }
  return rate.rowsPerSecond('fraud');
}

describe('the drain rate of a model', () => {
  test('is that of seconds in which workers had plenty', () => {
    expect(
      observed([
        [0, 5],
        [200, 5],
        [400, 9],
      ]),
    ).toBe(200);
    // Little to do before and after.
    expect(
      observed([
        [0, 0],
        [10, 5],
        [210, 5],
        [410, 5],
        [420, 0],
        [430, 0],
      ]),
    ).toBe(200);
  });

  test('is not known from one second, nor without a queue', () => {
    expect(
      observed([
        [0, 5],
        [200, 5],
      ]),
    ).toBeUndefined();
    expect(
      observed([
        [0, 0],
        [50, 0],
        [100, 0],
        [150, 0],
      ]),
    ).toBeUndefined();
  });

  test('is the middle one: a hiccup does not change it', () => {
    expect(
      observed([
        [0, 5],
        [200, 5],
        [210, 5],
        [410, 5],
      ]),
    ).toBe(200);
  });

  test('leaves out stops and gaps', () => {
    expect(
      observed([
        [0, 5],
        [200, 5],
        [200, 5],
        [400, 5],
        [500, 5, 60_000],
      ]),
    ).toBe(200);
  });
});
