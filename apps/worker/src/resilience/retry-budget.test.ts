import { expect, test } from '@jest/globals';
import { ManualClock } from '../../../../test/support/manual-clock.ts';
import { RetryBudget } from './retry-budget.ts';

function setUp({ percent = 20, floor = 2 } = {}) {
  const clock = new ManualClock();
  const budget = new RetryBudget({ percent, floor, clock });
  /** How many of `count` failures are tried again. */
  const retriesOf = (count: number) => Array.from({ length: count }, () => budget.trySpend()).filter(Boolean).length;
  const firstAttempts = (count: number) => {
    for (let attempt = 0; attempt < count; attempt++) budget.countFirstAttempt();
  };
  return { clock, retriesOf, firstAttempts };
}

test('retries are a share of the first attempts, and a few more', () => {
  const { retriesOf, firstAttempts } = setUp();
  firstAttempts(100);
  expect(retriesOf(100)).toBe(22);
});

test('a model with little to do has its floor', () => {
  const { retriesOf } = setUp();
  expect(retriesOf(10)).toBe(2);
});

test('what was spent comes back when the window has passed', async () => {
  const { clock, retriesOf } = setUp();
  expect(retriesOf(10)).toBe(2);
  await clock.advance(9000);
  expect(retriesOf(10)).toBe(0);
  await clock.advance(1000);
  expect(retriesOf(10)).toBe(2);
});

test('first attempts of long ago pay for nothing', async () => {
  const { clock, retriesOf, firstAttempts } = setUp();
  firstAttempts(1000);
  await clock.advance(10_000);
  expect(retriesOf(100)).toBe(2);
});

test('with neither share nor floor nothing is tried again', () => {
  const { retriesOf, firstAttempts } = setUp({ percent: 0, floor: 0 });
  firstAttempts(100);
  expect(retriesOf(1)).toBe(0);
});

test('a model that fails every job of ten attempts is computed little more often than it has jobs', () => {
  const { retriesOf, firstAttempts } = setUp();
  let computed = 0;
  for (let job = 0; job < 1000; job++) {
    firstAttempts(1);
    computed += 1 + retriesOf(9);
  }
  expect(computed).toBeLessThanOrEqual(1202);
});
