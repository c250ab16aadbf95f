import { expect, test } from '@jest/globals';
import { ManualClock } from '../../../../test/support/manual-clock.ts';
import { startHeartbeat } from './heartbeat.ts';

function started() {
  const clock = new ManualClock();
  const state = { isBusy: false, pings: 0, silences: 0 };
  const heartbeat = startHeartbeat({
    intervalMs: 1000,
    timeoutMs: 300,
    isBusy: () => state.isBusy,
    ping: () => state.pings++,
    onSilent: () => state.silences++,
    clock,
  });
  return { clock, heartbeat, state };
}

test('pings at every interval while it is answered', async () => {
  const { clock, heartbeat, state } = started();
  for (let second = 1; second <= 5; second++) {
    await clock.advance(1000);
    expect(state.pings).toBe(second);
    heartbeat.heard();
  }
  expect(state.silences).toBe(0);
});

test('says once that no answer came', async () => {
  const { clock, state } = started();
  await clock.advance(1299);
  expect(state).toMatchObject({ pings: 1, silences: 0 });
  await clock.advance(60_000);
  expect(state).toMatchObject({ pings: 1, silences: 1 });
});

test('leaves one that is busy alone', async () => {
  const { clock, heartbeat, state } = started();
  state.isBusy = true;
  await clock.advance(60_000);
  expect(state).toMatchObject({ pings: 0, silences: 0 });
  state.isBusy = false;
  await clock.advance(1000);
  expect(state.pings).toBe(1);
  heartbeat.stop();
  await clock.advance(60_000);
  expect(state).toMatchObject({ pings: 1, silences: 0 });
});

test('does not hold a standstill of its own process against it', async () => {
  const timers: (() => void)[] = [];
  let nowMs = 0;
  let silences = 0;
  const heartbeat = startHeartbeat({
    intervalMs: 1000,
    timeoutMs: 300,
    isBusy: () => false,
    ping: () => undefined,
    onSilent: () => silences++,
    clock: {
      now: () => nowMs,
      setTimeout: (callback) => {
        timers.push(callback);
        return { cancel: () => void timers.splice(timers.indexOf(callback), 1) };
      },
    },
    afterReading: (next) => next(),
  });
  timers.shift()?.();
  // The next beat, and the deadline of this one, come due together when the process wakes up after a minute.
  nowMs = 60_000;
  for (const fire of timers.splice(0)) fire();
  expect(silences).toBe(0);
  heartbeat.heard();
});
