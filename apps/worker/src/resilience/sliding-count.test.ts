import { expect, test } from '@jest/globals';
import { ManualClock } from '../../../../test/support/manual-clock.ts';
import { SlidingCount } from './sliding-count.ts';

test('counts what came within the window, and forgets it when that is over', async () => {
  const clock = new ManualClock();
  const count = new SlidingCount({ clock, windowMs: 10_000 });
  expect(count.sum).toBe(0);
  count.add(3);
  await clock.advance(5000);
  count.add();
  expect(count.sum).toBe(4);
  await clock.advance(4999);
  expect(count.sum).toBe(4);
  await clock.advance(1);
  expect(count.sum).toBe(1);
  await clock.advance(5000);
  expect(count.sum).toBe(0);
});

test('a pause longer than the window leaves nothing', async () => {
  const clock = new ManualClock();
  const count = new SlidingCount({ clock, windowMs: 1000 });
  count.add(7);
  await clock.advance(100_000);
  count.add(2);
  expect(count.sum).toBe(2);
});
