import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { type ChildService, type RedisServer, startRedisServer } from '@onqueue/launcher';
import { generateWebhookSecret, type OutboxEvent } from '@onqueue/shared';
import { closeRedis, connectRedis, RedisKeys } from '@onqueue/shared/redis';
import { writeTestModels } from '../support/models/models-dir.ts';
import { startWorker } from '../support/processes.ts';
import { startReceiver } from '../support/receiver.ts';
import { until } from '../support/until.ts';
import { sized } from './support/fault-size.ts';
import { SeededRandom } from './support/seeded-random.ts';

const TIMEOUT_MS = sized({ small: 180_000, full: 900_000 });
const EVENTS = sized({ small: 600, full: 20_000 });
const KILLS = sized({ small: 3, full: 20 });

let server: RedisServer;
let models: Awaited<ReturnType<typeof writeTestModels>>;
const workers = new Set<ChildService>();

beforeAll(async () => {
  [server, models] = await Promise.all([startRedisServer(), writeTestModels()]);
});
afterEach(async () => {
  await Promise.all([...workers].map((worker) => worker.kill()));
  workers.clear();
});
afterAll(async () => {
  await Promise.all([server.stop(), models.remove()]);
});

const secret = generateWebhookSecret();

async function start(): Promise<ChildService> {
  const worker = await startWorker({
    redisUrl: server.url,
    modelsDir: models.dir,
    env: {
      ONQUEUE_MODELS: 'linear',
      ONQUEUE_CALIBRATION_BUDGET_MS: '0',
      ONQUEUE_LOCK_DURATION_MS: '2000',
      ONQUEUE_STALLED_INTERVAL_MS: '1000',
      ONQUEUE_WEBHOOK_ALLOW_CIDRS: '127.0.0.0/8',
      ONQUEUE_WEBHOOK_ALLOW_HTTP: 'true',
      ONQUEUE_WEBHOOK_SECRET: secret,
      ONQUEUE_WEBHOOK_SCHEDULE_MS: '0,50,100,200,400,800,1600,3200',
    },
  });
  workers.add(worker);
  await worker.ready;
  return worker;
}

test(
  'dispatchers that are killed under load deliver every event, under the id that it was born with',
  async () => {
    const random = new SeededRandom(7);
    const receivers = await Promise.all(Array.from({ length: 4 }, () => startReceiver()));
    const redis = connectRedis(server.url, { kind: 'worker' }, () => {});
    await Promise.all([start(), start(), start()]);
    const key = new RedisKeys('oq').outbox(0);
    const idsOf = new Map<string, Set<string>>();
    for (const [index, receiver] of receivers.entries()) {
      // One of them fails often, all of them take a moment.
      for (let i = 0; i < EVENTS; i++) {
        if (index === 0 && random.between(1, 10) === 1) receiver.respond({ status: 500 });
        else receiver.respond({ status: 200 });
      }
      receiver.onRequest(({ headers, body }) => {
        const { data } = JSON.parse(body) as { data: { id: string } };
        idsOf.set(data.id, (idsOf.get(data.id) ?? new Set()).add(String(headers['webhook-id'])));
      });
    }
    const acknowledged: string[] = [];
    const emit = async () => {
      for (let i = 0; i < EVENTS; i++) {
        const event: OutboxEvent = {
          schema_version: 1,
          id: `evt_${i}`,
          type: 'job.succeeded',
          tenant: 'default',
          job_id: `job_${i}`,
          run: 1,
          occurred_at_ms: 1_700_000_000_000,
          url: receivers[i % receivers.length]?.url() ?? '',
        };
        // What the commit does, and what it answers for.
        await redis.xadd(key, '*', 'event', JSON.stringify(event));
        acknowledged.push(event.job_id);
      }
    };
    const emitted = emit();
    for (let kill = 1; kill <= KILLS; kill++) {
      await until(`before kill ${kill}`, () => idsOf.size >= (kill * EVENTS) / (KILLS + 2), TIMEOUT_MS);
      const victim = random.oneOf([...workers]);
      workers.delete(victim);
      await victim.kill();
      void start().catch(() => undefined);
    }
    await emitted;
    await until('every event has arrived', () => idsOf.size === EVENTS, TIMEOUT_MS);
    expect(acknowledged.filter((id) => !idsOf.has(id))).toEqual([]);
    for (const [jobId, ids] of idsOf) expect([...ids]).toEqual([jobId.replace('job_', 'evt_')]);
    await closeRedis(redis);
    await Promise.all(receivers.map((receiver) => receiver.close()));
  },
  TIMEOUT_MS,
);
