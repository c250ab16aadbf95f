import { newWebhookSecret, startPlatform } from '@onqueue/launcher';
import type { OutboxEvent } from '@onqueue/shared';
import { Redis } from 'ioredis';
import { type Bench, MeasurementError } from '../bench.ts';
import { type BenchChild, forkBenchChild } from '../bench-child.ts';
import { joinNoises, NoiseControl } from '../control/noise-control.ts';
import { percentile } from '../statistics.ts';
import { REDIS_OPTIONS } from '../throughput/private-redis.ts';
import { AS_DECLARED, MODEL } from '../workload.ts';
import { bareSenderAnswer } from './bare-sender-protocol.ts';
import { expectAnswer, openAnswer, type ReceiverQuestion, reviveAnswer } from './receiver-protocol.ts';

const SETTLE_MS = 2000;
const PREFIX = 'bench';
/** In flight to one endpoint, and of the baseline's loop: the default of the platform. */
const CONCURRENCY = 32;
const BURST = 4000;
const RATE_PER_S = 100;
/** Eight of them lie above the 99th percentile. */
const PACED = 800;
const ENDPOINTS = 10;
const DEAD = [3, 7];
const TIMEOUT_MS = 60_000;

/** What delivering costs over posting, how soon an event is told, and whether dead endpoints hold up the others. */
export const webhooksBench: Bench = {
  name: 'webhooks',
  summary: `events from the outbox to receivers on loopback, against node-fetch with ${CONCURRENCY} requests in flight`,
  figures: {
    rate_ratio: 'deliveries/s to one healthy endpoint / posts/s of the bare loop',
    first_attempt_p99_ms: `from the event's commit to its arrival, at ${RATE_PER_S}/s over ${ENDPOINTS} healthy endpoints`,
    hol_ratio: `p99 of the healthy endpoints while ${DEAD.length} of ${ENDPOINTS} hang / while all are healthy`,
    deliveries_per_s: 'ours',
    bare_per_s: 'the bare loop',
    first_attempt_p50_ms: '',
    hol_p99_ms: `healthy endpoints while ${DEAD.length} of ${ENDPOINTS} hang`,
    connections: 'that our burst was sent over',
  },
  async prepare({ cleanup, signal }) {
    const platform = await startPlatform({
      apis: 0,
      workers: 1,
      redisOptions: REDIS_OPTIONS,
      inheritEnv: false,
      env: {
        ONQUEUE_KEY_PREFIX: PREFIX,
        ONQUEUE_MODELS: MODEL,
        ONQUEUE_LOG_LEVEL: 'error',
        ONQUEUE_WEBHOOK_SECRET: newWebhookSecret(),
        ONQUEUE_WEBHOOK_ALLOW_CIDRS: '127.0.0.0/8',
        ONQUEUE_WEBHOOK_ALLOW_HTTP: 'true',
        ...AS_DECLARED,
      },
      signal,
    });
    cleanup.add(() => platform.stop());
    if (!platform.redis) throw new Error('A bench has a Redis of its own. This is a bug.');
    const redis = new Redis(platform.redis.url);
    cleanup.add(async () => redis.disconnect());
    const receiver = forkBenchChild(new URL('./receiver-main.js', import.meta.url), cleanup);
    const bare = forkBenchChild(new URL('./bare-sender-main.js', import.meta.url), cleanup);
    const { ports } = await receiver.ask(
      { kind: 'open', receivers: ENDPOINTS } satisfies ReceiverQuestion,
      openAnswer,
      TIMEOUT_MS,
    );
    const urls = ports.map((port) => `http://127.0.0.1:${port}/hook`);
    let serial = 0;
    const emit = (url: string, nowMs: number) => {
      serial += 1;
      const event: OutboxEvent = {
        schema_version: 1,
        id: `evt_${serial}`,
        type: 'job.succeeded',
        tenant: 'default',
        job_id: `job_${serial}`,
        run: 1,
        occurred_at_ms: nowMs,
        url,
      };
      return redis.xadd(`${PREFIX}:{0}:outbox`, '*', 'event', JSON.stringify(event));
    };
    const at = (index: number) => urls[index % urls.length] ?? '';

    const burst = async (count: number) => {
      const arrived = arrivals(receiver, count);
      await Promise.all(Array.from({ length: count }, () => emit(at(0), Date.now())));
      return arrived;
    };
    const bareBurst = async (count: number) => {
      const arrived = arrivals(receiver, count);
      const body = JSON.stringify({
        type: 'job.succeeded',
        timestamp: new Date().toISOString(),
        data: { id: 'job_1', object: 'job', status: 'succeeded' },
      });
      await bare.ask({ url: at(0), count, concurrency: CONCURRENCY, body }, bareSenderAnswer, TIMEOUT_MS);
      return arrived;
    };
    const paced = async (dead: number[]) => {
      const isHealthy = (index: number) => !dead.includes(index % ENDPOINTS);
      const healthy = Array.from({ length: PACED }, (_, index) => index).filter(isHealthy).length;
      const arrived = arrivals(receiver, healthy, dead);
      const startedMs = performance.now();
      for (let index = 0; index < PACED; index++) {
        const dueMs = startedMs + (index * 1000) / RATE_PER_S;
        const waitMs = dueMs - performance.now();
        if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
        await emit(at(index), Date.now());
      }
      const result = await arrived;
      if (dead.length > 0) {
        await receiver.ask({ kind: 'revive' } satisfies ReceiverQuestion, reviveAnswer, TIMEOUT_MS);
        // The worker notes what was cut, and rests those endpoints; that must not be left to the next round.
        await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
        await forget(redis);
      }
      return result.latenciesMs;
    };

    // Both sides run the code that they are to be measured with, not the one that the compiler has not seen yet.
    for (let warmUp = 0; warmUp < 3; warmUp++) {
      await burst(BURST);
      await bareBurst(BURST);
    }
    const control = new NoiseControl();
    return async (round) => {
      control.begin();
      const turns = [() => burst(BURST), () => bareBurst(BURST)];
      const first = await turns[round % 2]?.();
      const second = await turns[(round + 1) % 2]?.();
      const [ours, theirs] = round % 2 === 0 ? [first, second] : [second, first];
      if (!ours || !theirs) throw new MeasurementError('A burst did not arrive.');
      const quiet = await paced([]);
      const beside = await paced(DEAD);
      const [oursPerS, barePerS] = [(BURST * 1000) / ours.elapsedMs, (BURST * 1000) / theirs.elapsedMs];
      return {
        figures: {
          rate_ratio: oursPerS / barePerS,
          first_attempt_p99_ms: percentile(quiet, 99),
          hol_ratio: percentile(beside, 99) / percentile(quiet, 99),
          deliveries_per_s: oursPerS,
          bare_per_s: barePerS,
          first_attempt_p50_ms: percentile(quiet, 50),
          hol_p99_ms: percentile(beside, 99),
          connections: ours.connections,
        },
        noise: joinNoises([control.end()]),
      };
    };
  },
};

async function arrivals(receiver: BenchChild, count: number, dead: number[] = []) {
  return receiver.ask({ kind: 'expect', count, dead } satisfies ReceiverQuestion, expectAnswer, TIMEOUT_MS);
}

/** Deliveries to endpoints that were dead would be tried in the next round. */
async function forget(redis: Redis): Promise<void> {
  for (const key of await redis.keys(`${PREFIX}:{0}:bull:webhooks-shares:*`)) await redis.del(key);
}
