import { describe, expect, test } from '@jest/globals';
import type { LaneBacklog } from '@onqueue/shared';
import { DrainRate } from './drain-rate.ts';

function rateAfter(samples: [finishedRows: number, unclaimed: number, atMs?: number][]): DrainRate {
  const rate = new DrainRate();
  for (const [second, [finishedRows, jobs, atMs = second * 1000]] of samples.entries()) {
    rate.observe('fraud', atMs, {
      finishedRows,
      finishedJobs: finishedRows / 4,
      oldestUnclaimed: [
        { lane: 'interactive', ageS: 0, jobs },
        { lane: 'bulk', ageS: 0, jobs: 0 },
      ],
    } as unknown as LaneBacklog);
  }
  return rate;
}

const observed = (samples: Parameters<typeof rateAfter>[0]) => rateAfter(samples).rowsPerSecond('fraud', 60_000);

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

  test('is the best of late for who asks what is possible, and soon unknown again', () => {
    const rate = rateAfter([
      [0, 5],
      [200, 5],
      [600, 5],
      [800, 5],
    ]);
    expect(rate.bestJobsPerSecond('fraud', 4000)).toBe(100);
    expect(rate.bestJobsPerSecond('fraud', 60_000)).toBeUndefined();
    expect(rate.rowsPerSecond('fraud', 60_000)).toBe(200);
    expect(rate.rowsPerSecond('fraud', 3_600_000)).toBeUndefined();
  });
});
