import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type ChildService, type RedisServer, repoRoot, startRedisServer } from '@onqueue/launcher';
import { generateWebhookSecret, type OutboxEvent } from '@onqueue/shared';
import { closeRedis, connectRedis, RedisKeys } from '@onqueue/shared/redis';
import { writeTestModels } from '../support/models/models-dir.ts';
import { startWorker } from '../support/processes.ts';
import { startReceiver } from '../support/receiver.ts';
import { until } from '../support/until.ts';

const TEN_MINUTES_MS = 600_000;
const TIMEOUT_MS = 120_000;
const RETRY_DELAY_MS = 1000;

let server: RedisServer;
let models: Awaited<ReturnType<typeof writeTestModels>>;
const workers: ChildService[] = [];

beforeAll(async () => {
  [server, models] = await Promise.all([startRedisServer(), writeTestModels()]);
});
afterAll(async () => {
  await Promise.all(workers.map((worker) => worker.kill()));
  await Promise.all([server.stop(), models.remove()]);
});

test(
  'dispatchers whose clocks are wrong by ten minutes, and jump, neither drop a delivery nor hasten one nor send one more',
  async () => {
    const secret = generateWebhookSecret();
    for (const shiftMs of [TEN_MINUTES_MS, -TEN_MINUTES_MS]) {
      const worker = await startWorker({
        redisUrl: server.url,
        modelsDir: models.dir,
        env: {
          NODE_OPTIONS: `--require=${join(repoRoot, 'test', 'support', 'shifted-clock.cjs')}`,
          SHIFTED_CLOCK_MS: String(shiftMs),
          // From the one side to the other.
          SHIFTED_CLOCK_JUMP_MS: String(-2 * shiftMs),
          ONQUEUE_MODELS: 'linear',
          ONQUEUE_CALIBRATION_BUDGET_MS: '0',
          ONQUEUE_LOCK_DURATION_MS: '2000',
          ONQUEUE_STALLED_INTERVAL_MS: '1000',
          ONQUEUE_WEBHOOK_ALLOW_CIDRS: '127.0.0.0/8',
          ONQUEUE_WEBHOOK_ALLOW_HTTP: 'true',
          ONQUEUE_WEBHOOK_SECRET: secret,
          ONQUEUE_WEBHOOK_SCHEDULE_MS: `0,${RETRY_DELAY_MS},${RETRY_DELAY_MS}`,
          // What slows an endpoint down is not what this is about.
          ONQUEUE_WEBHOOK_CIRCUIT_FAILURES: '1000',
        },
      });
      workers.push(worker);
    }
    await Promise.all(workers.map(({ ready }) => ready));
    const [receiver, slow] = [await startReceiver(), await startReceiver()];
    const redis = connectRedis(server.url, { kind: 'worker' }, () => {});
    const arrivals = new Map<string, { atMs: number; timestampS: number }[]>();
    receiver.onRequest(({ headers }) => {
      const id = String(headers['webhook-id']);
      const arrival = { atMs: performance.now(), timestampS: Number(headers['webhook-timestamp']) };
      arrivals.set(id, [...(arrivals.get(id) ?? []), arrival]);
    });
    const emit = async (name: string, count: number, url = receiver.url()) => {
      for (let i = 0; i < count; i++) {
        const event: OutboxEvent = {
          schema_version: 1,
          id: `evt_${name}${i}`,
          type: 'job.succeeded',
          tenant: 'default',
          job_id: `job_${name}${i}`,
          run: 1,
          occurred_at_ms: Date.now(),
          url,
        };
        await redis.xadd(new RedisKeys('oq').outbox(0), '*', 'event', JSON.stringify(event));
      }
    };

    // The first attempts fail; the clocks jump while the second ones are put off, and while one hangs for longer than a lock.
    const COUNT = 40;
    let answer = () => {};
    const after = new Promise<void>((resolve) => {
      answer = resolve;
    });
    slow.respond({ after, status: 200 });
    receiver.respond(...Array.from({ length: COUNT }, () => ({ status: 500 })));
    await emit('slow', 1, slow.url());
    await emit('a', COUNT);
    await slow.waitFor(1);
    const heldFrom = performance.now();
    await receiver.waitFor(COUNT);
    for (const { pid } of workers) process.kill(pid, 'SIGUSR2');
    await receiver.waitFor(2 * COUNT);
    await emit('b', COUNT);
    await receiver.waitFor(3 * COUNT);
    await until('a lock that nobody renews had run out, and been noticed', () => performance.now() - heldFrom > 6000);
    answer();
    await until('nothing is under way', async () => {
      const prefix = new RedisKeys('oq').bullPrefix(0);
      const [active, due] = [
        await redis.llen(`${prefix}:webhooks:active`),
        await redis.zcard(`${prefix}:webhooks-shares:due`),
      ];
      return active === 0 && due === 0;
    });

    const seen = [...arrivals.values()];
    expect(seen).toHaveLength(2 * COUNT);
    // None was sent more often than it had to be.
    expect(receiver.requests).toHaveLength(3 * COUNT);
    expect(slow.requests).toHaveLength(1);
    for (const list of seen) {
      const [first, second] = list;
      if (second && first) {
        expect(second.atMs - first.atMs).toBeGreaterThan(0.85 * RETRY_DELAY_MS);
        expect(second.atMs - first.atMs).toBeLessThan(20_000);
      }
      // Signed with Redis' time: every receiver's tolerance is five minutes.
      for (const { timestampS } of list) expect(Math.abs(timestampS * 1000 - Date.now())).toBeLessThan(120_000);
    }
    await closeRedis(redis);
    await Promise.all([receiver.close(), slow.close()]);
  },
  TIMEOUT_MS,
);
