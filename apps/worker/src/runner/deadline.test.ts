import { describe, expect, test } from '@jest/globals';
import type { Clock } from '@onqueue/shared';
import { startDeadline } from './deadline.ts';

/** A clock whose timers fire when the test says, however late. */
class LateClock implements Clock {
  nowMs = 0;
  callback: (() => void) | undefined;

  now(): number {
    return this.nowMs;
  }

  setTimeout(callback: () => void): { cancel(): void } {
    this.callback = callback;
    return { cancel: () => (this.callback = undefined) };
  }

  fireAt(ms: number): void {
    this.nowMs = ms;
    this.callback?.();
  }
}

function started(ms: number) {
  const clock = new LateClock();
  const reads: (() => void)[] = [];
  let passed = 0;
  const deadline = startDeadline(ms, () => passed++, { clock, afterReading: (next) => void reads.push(next) });
  return { clock, deadline, read: () => reads.splice(0).forEach((next) => void next()), passed: () => passed };
}

describe('a deadline', () => {
  test('passes when the time is over and what lay in the pipe has been read', () => {
    const { clock, read, passed } = started(1000);
    clock.fireAt(1001);
    expect(passed()).toBe(0);
    read();
    expect(passed()).toBe(1);
  });

  test('does not pass when the answer lay in the pipe', () => {
    const { clock, deadline, read, passed } = started(1000);
    clock.fireAt(1001);
    deadline.cancel();
    read();
    expect(passed()).toBe(0);
  });

  test('begins anew after the process stood still', () => {
    const { clock, read, passed } = started(1000);
    clock.fireAt(61_000);
    read();
    expect(passed()).toBe(0);
    clock.fireAt(62_000);
    read();
    expect(passed()).toBe(1);
  });
});
