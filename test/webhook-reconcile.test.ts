import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { type RedisServer, startRedisServer } from '@onqueue/launcher';
import {
  armFaultPoints,
  createSecretSeal,
  type FaultPointName,
  generateWebhookSecret,
  PLATFORM_ACTOR,
  parseWebhookSecret,
} from '@onqueue/shared';
import {
  closeRedis,
  connectRedis,
  type RedisConnection,
  RedisKeys,
  RedisWebhookEndpoints,
} from '@onqueue/shared/redis';
import { startWebhooks } from '../apps/worker/src/webhooks/index.ts';
import { ManualClock, settle } from './support/manual-clock.ts';
import { until } from './support/until.ts';

/** What a process that died in the middle of a change has left, and how soon it is mended. */

const TENANT = 'default';
const WITHIN_MS = 60_000;
const log = { info() {}, warn() {}, error() {} };

let server: RedisServer;
let redis: RedisConnection;
let keys: RedisKeys;
let testNumber = 0;

beforeAll(async () => {
  server = await startRedisServer();
});
afterAll(() => server.stop());
beforeEach(() => {
  testNumber += 1;
  keys = new RedisKeys(`t${testNumber}`);
  redis = connectRedis(server.url, { kind: 'worker' }, () => {});
});
afterEach(async () => {
  armFaultPoints({});
  await closeRedis(redis);
});

const openEndpoints = () =>
  new RedisWebhookEndpoints({
    redis,
    keys,
    partitions: 2,
    seal: createSecretSeal([]),
    signingSeeds: [],
    maxAuditLines: 100,
  });

/** An error stands for the death: the steps behind it are not taken. */
async function dyingAt(point: FaultPointName, change: () => Promise<unknown>): Promise<void> {
  armFaultPoints({ ONQUEUE_FAULT_POINTS: `${point}=throw` });
  await expect(change()).rejects.toThrow(point);
  armFaultPoints({});
}

async function subscriptions(): Promise<Record<string, string>[]> {
  const ofJobs = await Promise.all([0, 1].map((partition) => redis.hgetall(keys.subscriptions(partition, TENANT))));
  const fleet = Object.entries(await redis.hgetall(keys.fleetSubscriptions));
  return [...ofJobs, Object.fromEntries(fleet.map(([field, types]) => [field.replace(`${TENANT} `, ''), types]))];
}
const inAll = (wanted: Record<string, string>) => [wanted, wanted, wanted];

/** What runs in a worker, for a minute of its clock. */
async function aMinuteOfWebhooks(endpoints: RedisWebhookEndpoints): Promise<void> {
  const clock = new ManualClock();
  let looks = 0;
  const webhooks = startWebhooks({
    connection: redis,
    outboxKeys: [keys.outbox(0)],
    queuePrefix: keys.bullPrefix(0),
    secret: parseWebhookSecret(generateWebhookSecret()),
    version: '0',
    guard: { allowCidrs: [], allowHttp: false },
    readJob: async () => null,
    log,
    onError: () => {},
    clock,
    reconcile: async () => {
      await endpoints.reconcile();
      looks += 1;
    },
  });
  try {
    await until('it has looked at its start', () => looks === 1);
    for (let passedMs = 0; passedMs < WITHIN_MS; passedMs += 1000) {
      const before = looks;
      await settle();
      await clock.advance(1000);
      // A look that has begun is waited for: its answers come by the real clock.
      if (passedMs % 25_000 === 24_000) await until('it has looked again', () => looks > before);
    }
  } finally {
    await webhooks.close();
  }
}

const wanted = { url: 'https://shop.example/', events: ['job.failed' as const], models: [] };

test('an endpoint that never came to be is subscribed to nothing within a minute, also the first one', async () => {
  await dyingAt('endpoint.subscribed.after', () => openEndpoints().create(TENANT, wanted, 10, PLATFORM_ACTOR));
  expect((await subscriptions()).map((found) => Object.values(found))).toEqual(inAll({}).map(() => ['job.failed']));
  await aMinuteOfWebhooks(openEndpoints());
  expect(await subscriptions()).toEqual(inAll({}));
  // Nothing is left to look after.
  expect(await openEndpoints().tenants()).toEqual([]);
});

test('what was deleted is subscribed to nothing within a minute, also the last one', async () => {
  const made = await openEndpoints().create(TENANT, wanted, 10, PLATFORM_ACTOR);
  const id = String(made?.endpoint.id);
  await dyingAt('endpoint.changed.after', () => openEndpoints().delete(TENANT, id, PLATFORM_ACTOR));
  expect(await subscriptions()).toEqual(inAll({ [id]: 'job.failed' }));
  await aMinuteOfWebhooks(openEndpoints());
  expect(await subscriptions()).toEqual(inAll({}));
});

test('an endpoint whose events were changed is subscribed to those within a minute, and to both until then', async () => {
  const made = await openEndpoints().create(TENANT, wanted, 10, PLATFORM_ACTOR);
  const id = String(made?.endpoint.id);
  await dyingAt('endpoint.changed.after', () =>
    openEndpoints().update(TENANT, id, { events: ['job.expired'] }, PLATFORM_ACTOR),
  );
  expect(await subscriptions()).toEqual(inAll({ [id]: 'job.failed job.expired' }));
  await aMinuteOfWebhooks(openEndpoints());
  expect(await subscriptions()).toEqual(inAll({ [id]: 'job.expired' }));
});

test('what a new partition lacks is there after one look', async () => {
  const made = await openEndpoints().create(TENANT, wanted, 10, PLATFORM_ACTOR);
  await redis.del(keys.subscriptions(1, TENANT));
  await openEndpoints().reconcile();
  expect(await subscriptions()).toEqual(inAll({ [String(made?.endpoint.id)]: 'job.failed' }));
});

test('a look in the middle of a change takes nothing away', async () => {
  const endpoints = openEndpoints();
  await dyingAt('endpoint.subscribed.after', () => openEndpoints().create(TENANT, wanted, 10, PLATFORM_ACTOR));
  const halfWay = await subscriptions();
  await endpoints.reconcile();
  expect(await subscriptions()).toEqual(halfWay);
});
