import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type Platform, startPlatform } from '@onqueue/launcher';
import { parseJobId } from '@onqueue/shared';
import { acceptedJob, endedJob, type JobBody, request } from './support/client.ts';
import { writeLinearModel } from './support/models/tiny-models.ts';
import { type Receiver, startReceiver } from './support/receiver.ts';
import { type RedisCluster, startRedisCluster } from './support/redis-cluster.ts';
import { until } from './support/until.ts';

const MODELS = 6;

let cluster: RedisCluster;
let platform: Platform;
let receiver: Receiver;
let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'onqueue-cluster-'));
  for (let n = 0; n < MODELS; n++) await writeLinearModel({ dir, name: `linear-${n}`, version: '1', bias: n });
  [cluster, receiver] = await Promise.all([startRedisCluster(3), startReceiver()]);
  platform = await startPlatform({
    inheritEnv: false,
    redis: { url: cluster.url },
    modelsDir: dir,
    apis: 2,
    workers: 2,
    env: {
      ONQUEUE_REDIS_CLUSTER: 'true',
      ONQUEUE_PARTITIONS: '8',
      ONQUEUE_LOCK_DURATION_MS: '2000',
      ONQUEUE_STALLED_INTERVAL_MS: '1000',
      ONQUEUE_WEBHOOK_ALLOW_CIDRS: '127.0.0.0/8',
      ONQUEUE_WEBHOOK_ALLOW_HTTP: 'true',
    },
  });
});

afterAll(async () => {
  await platform?.stop();
  await receiver?.close();
  await cluster?.stop();
  await rm(dir, { recursive: true, force: true });
});

const input = { x0: 1, x1: 1, x2: 1 };

test('runs the whole path on a Redis Cluster, models spread over its nodes, also when a worker is killed', async () => {
  const [first, second] = platform.apis.map(({ baseUrl }) => baseUrl) as [string, string];
  const post = (n: number) =>
    acceptedJob(n % 2 ? first : second, { model: `linear-${n % MODELS}`, input, webhook: receiver.url(`/${n}`) });
  const ids = await Promise.all(Array.from({ length: 120 }, (_, n) => post(n)));
  await platform.workers[0]?.kill();
  ids.push(...(await Promise.all(Array.from({ length: 120 }, (_, n) => post(n)))));

  const jobs = await Promise.all(ids.map((id, n) => endedJob(n % 2 ? second : first, id)));
  expect(jobs.map(({ status, results }) => [status, results?.[0]?.output?.score])).toEqual(
    ids.map((_, n) => ['succeeded', 3 + ((n % 120) % MODELS)]),
  );
  await receiver.waitFor(ids.length);

  const partitions = new Set(ids.map((id) => parseJobId(id)?.partition));
  expect(partitions.size).toBeGreaterThan(2);
  const sizes = await Promise.all(cluster.nodes.map(({ url }) => keysOf(url)));
  expect(sizes.filter((size) => size > 0).length).toBeGreaterThan(1);
});

test('cancels, expires and retries there too', async () => {
  const { baseUrl } = platform;
  for (const worker of platform.workers) if (!worker.hasExited) worker.pause();
  const model = 'linear-1';
  const [canceled, expired] = await Promise.all([
    acceptedJob(baseUrl, { model, input }),
    acceptedJob(baseUrl, { model, input, expires_in: 0.1 }),
  ]);
  await request(`${baseUrl}/jobs/${canceled}/cancel`, { method: 'POST' });
  expect(await endedJob(baseUrl, expired)).toMatchObject({ status: 'expired' });
  for (const worker of platform.workers) if (!worker.hasExited) worker.resume();
  await request<JobBody>(`${baseUrl}/jobs/${canceled}/retry`, { method: 'POST' });
  expect(await endedJob(baseUrl, canceled)).toMatchObject({ status: 'succeeded', run: 2 });
});

test('tells what the weakest node promises, and its depth per model', async () => {
  const { baseUrl } = platform;
  expect(await request(`${baseUrl}/readyz`)).toMatchObject({ status: 200, body: { redis: { durability: 'default' } } });
  await until('nothing waits any more', async () =>
    /^onqueue_queue_depth_jobs\{model="linear-0"\} 0$/m.test((await request<string>(`${baseUrl}/metrics`)).body),
  );
});

async function keysOf(url: string): Promise<number> {
  const { Redis } = await import('ioredis');
  const node = new Redis(url);
  try {
    return await node.dbsize();
  } finally {
    node.disconnect();
  }
}
