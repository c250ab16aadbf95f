import { expect, test } from '@jest/globals';
import { ManualClock } from '../../../test/support/manual-clock.ts';
import { MemoryGuard } from './memory-guard.ts';

test('lets jobs in below the limit, refuses at it, and forgives when memory comes free', async () => {
  const clock = new ManualClock();
  let usedBytes = 799;
  const guard = new MemoryGuard({
    read: async () => ({ usedBytes, maxBytes: 1000, maxmemoryPolicy: 'noeviction' }),
    limitPercent: 80,
    clock,
  });
  guard.start();
  await clock.advance(500);
  expect(() => guard.assertAdmits()).not.toThrow();
  usedBytes = 800;
  await clock.advance(500);
  expect(() => guard.assertAdmits()).toThrow(expect.objectContaining({ code: 'storage_full', retryAfterS: 10 }));
  usedBytes = 100;
  await clock.advance(500);
  expect(() => guard.assertAdmits()).not.toThrow();
  guard.stop();
});

test('refuses jobs while the policy lets Redis evict them', async () => {
  const clock = new ManualClock();
  let maxmemoryPolicy = 'noeviction';
  const guard = new MemoryGuard({
    read: async () => ({ usedBytes: 1, maxBytes: 0, maxmemoryPolicy }),
    limitPercent: 80,
    clock,
  });
  guard.start();
  await clock.advance(500);
  expect(() => guard.assertAdmits()).not.toThrow();
  maxmemoryPolicy = 'allkeys-lru';
  await clock.advance(500);
  expect(() => guard.assertAdmits()).toThrow(
    expect.objectContaining({ code: 'storage_unsuitable', retryAfterS: 10, needsOperator: true }),
  );
  maxmemoryPolicy = 'noeviction';
  await clock.advance(500);
  expect(() => guard.assertAdmits()).not.toThrow();
  guard.stop();
});

test('has nothing to say about a server without a limit, or one that is away', async () => {
  const clock = new ManualClock();
  const unlimited = new MemoryGuard({
    read: async () => ({ usedBytes: 1e12, maxBytes: 0, maxmemoryPolicy: 'noeviction' }),
    limitPercent: 80,
    clock,
  });
  await unlimited.look();
  expect(() => unlimited.assertAdmits()).not.toThrow();
  const away = new MemoryGuard({
    read: async () => {
      throw new Error('Connection is closed.');
    },
    limitPercent: 80,
    clock,
  });
  await away.look();
  expect(() => away.assertAdmits()).not.toThrow();
});
