import { expect, test } from '@jest/globals';
import { ManualClock } from '../../../test/support/manual-clock.ts';
import { keepRedisVigil } from './redis-vigil.ts';

const silence = () => new Promise(() => {});

function vigil(redis: { ping: () => Promise<unknown> }, worker: { isIdle: boolean }) {
  const clock = new ManualClock();
  const state = { isPointless: false };
  const kept = keepRedisVigil({ ping: () => redis.ping(), isIdle: () => worker.isIdle, clock });
  void kept.isPointless.then(() => {
    state.isPointless = true;
  });
  return { clock, state, end: kept.end };
}

test.each([
  ['is silent', silence],
  ['refuses', () => Promise.reject(new Error('Connection is closed.'))],
])('a drain is pointless when Redis %s for two seconds and nothing is in hand', async (_, ping) => {
  const { clock, state } = vigil({ ping }, { isIdle: true });
  await clock.advance(1999);
  expect(state.isPointless).toBe(false);
  await clock.advance(1);
  expect(state.isPointless).toBe(true);
});

test('it goes on while Redis answers, and is pointless when Redis goes away in the middle of it', async () => {
  const redis: { ping: () => Promise<unknown> } = { ping: async () => 'PONG' };
  const { clock, state } = vigil(redis, { isIdle: true });
  await clock.advance(60_000);
  expect(state.isPointless).toBe(false);
  redis.ping = silence;
  await clock.advance(4000);
  expect(state.isPointless).toBe(true);
});

test('it goes on while something is in hand', async () => {
  const worker = { isIdle: false };
  const { clock, state } = vigil({ ping: silence }, worker);
  await clock.advance(20_000);
  expect(state.isPointless).toBe(false);
  worker.isIdle = true;
  await clock.advance(2000);
  expect(state.isPointless).toBe(true);
});

test('leaves no timer behind', async () => {
  const { clock, state, end } = vigil({ ping: silence }, { isIdle: true });
  end();
  await clock.advance(60_000);
  expect(state.isPointless).toBe(false);
});
