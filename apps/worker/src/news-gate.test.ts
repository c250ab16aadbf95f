import { expect, test } from '@jest/globals';
import { ManualClock } from '../../../test/support/manual-clock.ts';
import { NewsGate } from './news-gate.ts';

test('says the same once in ten seconds, and something else at once', async () => {
  const clock = new ManualClock();
  const gate = new NewsGate({ clock });
  expect([gate.isNews('a'), gate.isNews('a'), gate.isNews('b')]).toEqual([true, false, true]);
  await clock.advance(9999);
  expect(gate.isNews('a')).toBe(false);
  await clock.advance(1);
  expect(gate.isNews('a')).toBe(true);
});
