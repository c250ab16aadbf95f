import { expect, test } from '@jest/globals';
import { createDeliverySchedule, DEFAULT_DELAYS_MS } from './delivery-schedule.ts';

test('ten attempts over some three days by default, the first at once', () => {
  const schedule = createDeliverySchedule({ random: () => 0.5 });
  expect(schedule.attempts).toBe(10);
  const delays = Array.from({ length: 10 }, (_, index) => schedule.delayBeforeAttempt(index + 1));
  expect(delays).toEqual([...DEFAULT_DELAYS_MS]);
  expect(delays.slice(0, 4)).toEqual([0, 5_000, 300_000, 1_800_000]);
});

test('a delay is longer or shorter by up to a tenth', () => {
  const at = (random: number) => createDeliverySchedule({ random: () => random }).delayBeforeAttempt(2);
  expect(at(0)).toBe(4500);
  expect(at(0.999_999)).toBe(5500);
});

test('attempts past the end wait as long as the last one', () => {
  const schedule = createDeliverySchedule({ delaysMs: [0, 10, 20], jitter: 0 });
  expect(schedule.attempts).toBe(3);
  expect([3, 4, 11].map((n) => schedule.delayBeforeAttempt(n))).toEqual([20, 20, 20]);
});

test('a schedule without attempts is refused', () => {
  expect(() => createDeliverySchedule({ delaysMs: [] })).toThrow(RangeError);
});
