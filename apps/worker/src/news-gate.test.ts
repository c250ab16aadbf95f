import { expect, test } from '@jest/globals';
import { ManualClock } from '../../../test/support/manual-clock.ts';
import { NewsGate } from './news-gate.ts';

test('says once what goes on, and something else at once', async () => {
  const clock = new ManualClock();
  const gate = new NewsGate({ clock });
  expect([gate.isNews('a'), gate.isNews('a'), gate.isNews('b')]).toEqual([true, false, true]);
  for (let seconds = 0; seconds < 60; seconds += 5) {
    await clock.advance(5000);
    expect(gate.isNews('a')).toBe(false);
  }
});

test('says it again when it comes back after ten quiet seconds', async () => {
  const clock = new ManualClock();
  const gate = new NewsGate({ clock });
  gate.isNews('a');
  await clock.advance(9999);
  expect(gate.isNews('a')).toBe(false);
  await clock.advance(10_000);
  expect(gate.isNews('a')).toBe(true);
});
