import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { RedisServer } from '@onqueue/launcher';
import { type NewJob, newJobId, type Origin, resultKey, resultSource, sourceId } from '@onqueue/shared';
import {
  closeRedis,
  connectRedis,
  type RedisConnection,
  RedisJobStore,
  RedisKeys,
  RedisResultCache,
} from '@onqueue/shared/redis';
import { startPrivateRedis } from './support/platform.ts';

const LIMITS = { maxJobs: 100, maxRows: 1000, maxBytes: 100_000 };
const MODEL = { name: 'fraud', version: '1' };
const keys = new RedisKeys('oq');
const row = { amount: 1 };
const origin: Origin = {
  model: 'fraud',
  version: '1',
  artifact_sha256: 'a',
  preprocess_sha256: 'p',
  decision_policy_sha256: 'd',
  runtime: { name: 'onnxruntime-node', version: '1.30.0' },
  execution_provider: 'cpu',
};
const source = resultSource(origin);

let server: RedisServer;
let redis: RedisConnection;
let store: RedisJobStore;
let cache: RedisResultCache;

beforeAll(async () => {
  server = await startPrivateRedis();
  redis = connectRedis(server.url, { kind: 'worker' }, () => {});
  const options = {
    redis,
    keys,
    partitions: 1,
    retentionMs: 60_000,
    attempts: 3,
    retryDelayMs: 10,
    maxPredictions: 100,
  };
  store = new RedisJobStore(options);
  cache = new RedisResultCache({ redis, keys, partitionOf: () => 0 });
});

afterAll(async () => {
  await closeRedis(redis);
  await server.stop();
});

async function enqueue(tenant: string): Promise<{ job: NewJob; state: string | undefined }> {
  const job: NewJob = {
    id: newJobId({ createdAtMs: Date.now(), partition: 0 }),
    tenant,
    partition: 0,
    model: 'fraud',
    version: '1',
    lane: 'interactive',
    inputs: [row],
    request: { on_row_error: 'fail', request_id: 'req_1' },
    reuse: { source: sourceId(source), keys: [resultKey(source, tenant, row)], leaseMs: 60_000 },
  };
  const outcome = await store.enqueue(job, LIMITS);
  return { job, state: outcome.status === 'accepted' ? outcome.reuse?.state : outcome.status };
}

test('no tenant waits for the row of another, or has its answer', async () => {
  const { job } = await enqueue('a');
  expect((await enqueue('b')).state).toBe('queued');
  const follower = await enqueue('a');
  expect(follower.state).toBe('following');

  const [claim] = await store.claim([{ ...job, run: 1 }]);
  if (claim?.status !== 'claimed') throw new Error('the claim got nothing');
  const batch = { batch_size: 1, batches: 1, worker: 'w' };
  const output = { probability: 0.1234567890123456 };
  await cache.write(MODEL, [{ key: resultKey(source, 'a', row), output, reuse: { ttlMs: 60_000, origin, batch } }], {
    maxRows: 10,
    maxAgeMs: 60_000,
    source,
  });
  await store.commit([{ job: claim.job, outcome: { state: 'succeeded', results: [{ status: 'succeeded', output }] } }]);
  await store.sweep(0, 100);
  // Numbers come out as they went in, though Lua put the results together.
  expect(await store.read('a', follower.job.id)).toMatchObject({
    state: 'succeeded',
    results: [{ output, cached: true }],
    provenance: { ...origin, ...batch, batches: 0 },
  });
  expect((await enqueue('a')).state).toBe('ended');
  expect((await enqueue('b')).state).toBe('following');
  // What another source answered is gone at once.
  await cache.open(MODEL, 'other');
  expect((await enqueue('a')).state).toBe('queued');
});

test('a thousand followers are looked at in slices, and the sweep says that more are left', async () => {
  await redis.flushall();
  const { job } = await enqueue('a');
  const limits = { maxJobs: 1000, maxRows: 1000, maxBytes: 1e9 };
  const reuse = { source: sourceId(source), keys: [resultKey(source, 'a', row)], leaseMs: 60_000 };
  for (let n = 0; n < 150; n++) {
    await store.enqueue({ ...job, id: newJobId({ createdAtMs: Date.now(), partition: 0 }), reuse }, limits);
  }
  const followers = `oq:{0}:followers:${resultKey(source, 'a', row)}`;
  expect(await redis.zcard(followers)).toBe(150);
  await store.claim([{ ...job, run: 1 }]).then(([claim]) => {
    if (claim?.status !== 'claimed') throw new Error('the claim got nothing');
    // It leaves no answer: all are to be computed.
    return store.commit([
      { job: claim.job, outcome: { state: 'succeeded', results: [{ status: 'succeeded', output: {} }] } },
    ]);
  });
  const left: number[] = [];
  for (let due = 100; due === 100; ) {
    ({ due } = await store.sweep(0, 100));
    left.push(await redis.zcard(followers));
  }
  expect(left).toEqual([150 - 64, 150 - 128, 0]);
  expect(await redis.exists('oq:{0}:flights', 'oq:{0}:flight-leaders')).toBe(0);
});
