import { expect, test } from '@jest/globals';
import { poissonSchedule } from './poisson-schedule.ts';

function gapsOf(schedule: readonly number[]): number[] {
  return schedule.map((atMs, index) => atMs - (schedule[index - 1] ?? 0));
}
const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

test('a seed always gives the same schedule, another one another', () => {
  const schedule = (seed: number) => poissonSchedule({ ratePerS: 100, count: 50, seed });
  expect(schedule(1)).toEqual(schedule(1));
  expect(schedule(1)).not.toEqual(schedule(2));
});

test('the mean gap is that of the rate', () => {
  const gaps = gapsOf(poissonSchedule({ ratePerS: 200, count: 20_000, seed: 7 }));
  // The mean of n exponential gaps has a relative error of 1/sqrt(n), 0.7 % here.
  expect(mean(gaps)).toBeGreaterThan(5 * 0.97);
  expect(mean(gaps)).toBeLessThan(5 * 1.03);
});

test('gaps are exponential: as spread as their mean, and a third of them longer than it', () => {
  const gaps = gapsOf(poissonSchedule({ ratePerS: 1000, count: 20_000, seed: 3 }));
  const deviation = Math.sqrt(mean(gaps.map((gap) => (gap - mean(gaps)) ** 2)));
  expect(deviation / mean(gaps)).toBeCloseTo(1, 1);
  expect(gaps.filter((gap) => gap > mean(gaps)).length / gaps.length).toBeCloseTo(Math.exp(-1), 1);
});

test('arrivals never go back in time', () => {
  expect(gapsOf(poissonSchedule({ ratePerS: 50, count: 5000, seed: 11 })).every((gap) => gap >= 0)).toBe(true);
});
