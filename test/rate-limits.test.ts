import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import type { RedisServer } from '@onqueue/launcher';
import { type Allowance, isLimited } from '@onqueue/shared';
import { closeRedis, connectRedis, type RedisConnection, RedisKeys, RedisRateLimits } from '@onqueue/shared/redis';
import { startPrivateRedis } from './support/platform.ts';
import { until } from './support/until.ts';

const NONE: Allowance = {
  tenant: 'acme',
  keyId: 'k',
  rowsPerS: undefined,
  burstRows: undefined,
  jobsPerDay: undefined,
  rowsPerDay: undefined,
};

let server: RedisServer;
let redis: RedisConnection;
let limits: RedisRateLimits;

beforeAll(async () => {
  server = await startPrivateRedis();
  redis = connectRedis(server.url, { kind: 'worker' }, () => {});
  limits = new RedisRateLimits({ redis, keys: new RedisKeys('oq') });
});

afterAll(async () => {
  await closeRedis(redis);
  await server.stop();
});

beforeEach(() => redis.flushall());

test('who has no limits is not asked', () => {
  expect(isLimited(NONE)).toBe(false);
  expect(isLimited({ ...NONE, rowsPerS: 1, keyId: undefined })).toBe(false);
  expect(isLimited({ ...NONE, rowsPerS: 1 })).toBe(true);
  expect(isLimited({ ...NONE, keyId: undefined, rowsPerDay: 1 })).toBe(true);
});

test('a key has its burst, then what its rate brings; rows count, not jobs', async () => {
  // So slow that nothing comes back while the test runs.
  const slow = { ...NONE, rowsPerS: 0.01, burstRows: 10 };
  expect(await limits.charge(slow, 7)).toMatchObject({
    status: 'charged',
    states: [{ name: 'rows', quota: 10, remaining: 3 }],
  });
  expect(await limits.charge(slow, 4)).toMatchObject({
    status: 'refused',
    refusedBy: { name: 'rows' },
    retryAfterS: 100,
  });
  expect(await limits.charge(slow, 3)).toMatchObject({ status: 'charged', states: [{ remaining: 0 }] });
  // Of another key it is another bucket, and of another tenant.
  expect(await limits.charge({ ...slow, keyId: 'other' }, 10)).toMatchObject({ status: 'charged' });
  expect(await limits.charge({ ...slow, tenant: 'other' }, 10)).toMatchObject({ status: 'charged' });
  await limits.refund(slow, 7);
  expect(await limits.charge(slow, 7)).toMatchObject({ status: 'charged' });
  const fast = { ...NONE, keyId: 'fast', rowsPerS: 1000, burstRows: 10 };
  await limits.charge(fast, 10);
  await until('the bucket has filled again', async () => (await limits.charge(fast, 10)).status === 'charged');
});

test('a job of more rows than a burst passes when the bucket is full, and is paid for afterwards', async () => {
  const allowance = { ...NONE, rowsPerS: 0.01, burstRows: 10 };
  expect(await limits.charge(allowance, 25)).toMatchObject({ status: 'charged' });
  expect(await limits.charge(allowance, 1)).toMatchObject({ status: 'refused', retryAfterS: 1600 });
});

test('a tenant has its jobs and rows of a day, whatever its keys', async () => {
  const allowance = { ...NONE, jobsPerDay: 3, rowsPerDay: 10 };
  expect(await limits.charge(allowance, 8)).toMatchObject({
    status: 'charged',
    states: [
      { name: 'jobs_per_day', remaining: 2 },
      { name: 'rows_per_day', remaining: 2 },
    ],
  });
  expect(await limits.charge({ ...allowance, keyId: 'other' }, 3)).toMatchObject({
    refusedBy: { name: 'rows_per_day' },
  });
  await limits.charge(allowance, 1);
  await limits.charge(allowance, 1);
  const refused = await limits.charge(allowance, 1);
  expect(refused).toMatchObject({ status: 'refused' });
  const [seconds] = await redis.time();
  const toMidnight = 86_400 - (Number(seconds) % 86_400);
  if (refused.status === 'refused') expect(Math.abs(refused.retryAfterS - toMidnight)).toBeLessThan(60);
  await limits.refund(allowance, 8);
  expect(await limits.charge(allowance, 8)).toMatchObject({ status: 'charged' });
});

test('a refusal charges nothing, and a bucket that is full is forgotten', async () => {
  const allowance = { ...NONE, rowsPerS: 5, burstRows: 5, rowsPerDay: 3 };
  expect(await limits.charge(allowance, 4)).toMatchObject({ refusedBy: { name: 'rows_per_day', remaining: 3 } });
  expect(await limits.charge(allowance, 3)).toMatchObject({ states: [{ remaining: 2 }, { remaining: 0 }] });
  expect(await redis.pttl('oq:{tenant:acme}:rate:k')).toBeGreaterThan(0);
});
