import { startPlatform } from '@onqueue/launcher';
import { DEFAULT_TENANT, newJobId } from '@onqueue/shared';
import {
  closeRedis,
  connectRedis,
  queueName,
  type RedisConnection,
  RedisJobStore,
  RedisKeys,
} from '@onqueue/shared/redis';
import { Queue } from 'bullmq';
import { type BenchContext, MeasurementError } from '../bench.ts';
import { AS_DECLARED, isRight, MODEL, rowOf, VERSION, type WorkloadRow } from '../workload.ts';
import { timeDrain } from './drain.ts';
import { REDIS_OPTIONS } from './private-redis.ts';
import type { Side } from './side.ts';

const KEY_PREFIX = 'bench';
const PARTITION = 0;
const KEYS = new RedisKeys(KEY_PREFIX);
const ENQUEUES_IN_FLIGHT = 64;
const NO_LIMIT = { maxJobs: 1e9, maxRows: 1e9, maxBytes: 1e12 };

/**
 * The platform's worker with one runner, as `npm start` runs it but for the log level: the baseline logs nothing.
 * `jobSource`: whether jobs come by our batch script or by BullMQ's own Worker; what is written is the same.
 */
export async function startOurSide(
  { cleanup, signal }: BenchContext,
  rows: readonly WorkloadRow[],
  jobSource: 'batch' | 'stock' = 'batch',
): Promise<Side> {
  const env = {
    ONQUEUE_KEY_PREFIX: KEY_PREFIX,
    ONQUEUE_MODELS: MODEL,
    ONQUEUE_LOG_LEVEL: 'warn',
    ...AS_DECLARED,
    ONQUEUE_JOB_SOURCE: jobSource,
  };
  const platform = await startPlatform({
    apis: 0,
    workers: 1,
    redisOptions: REDIS_OPTIONS,
    inheritEnv: false,
    env,
    signal,
  });
  const stopPlatform = cleanup.add(() => platform.stop());
  const redis = connectRedis(platform.redisUrl, { kind: 'worker' }, () => undefined);
  const queue = new Queue(queueName(MODEL, 'interactive'), { connection: redis, prefix: KEYS.bullPrefix(PARTITION) });
  const closeClient = cleanup.add(async () => {
    await queue.close();
    await closeRedis(redis);
  });
  const [worker] = platform.workers;
  if (!worker || !platform.redis) throw new Error('A platform without worker or Redis. This is a bug.');
  const store = jobStore(redis);
  const redisPid = platform.redis.pid;

  return {
    async drain(count) {
      await queue.pause();
      const ids = await enqueue(store, rows, count);
      const endedBefore = await countEnded(redis);
      const result = await timeDrain({
        jobs: count,
        workerPid: worker.pid,
        redisPid,
        release: () => queue.resume(),
        countEnded: async () => (await countEnded(redis)) - endedBefore,
        lastEndMs: () => lastEndMs(redis, rows, ids),
      });
      return result;
    },
    async stop() {
      await closeClient();
      await stopPlatform();
    },
  };
}

function jobStore(redis: RedisConnection): RedisJobStore {
  return new RedisJobStore({
    maxPredictions: 10_000,
    redis,
    keys: KEYS,
    partitions: 1,
    retentionMs: 86_400_000,
    attempts: 3,
    retryDelayMs: 500,
  });
}

/** Through the product's own enqueue, as the API does it; returns the ids in the order of the workload. */
async function enqueue(store: RedisJobStore, rows: readonly WorkloadRow[], count: number): Promise<string[]> {
  const ids = Array.from({ length: count }, () => newJobId({ createdAtMs: Date.now(), partition: PARTITION }));
  const left = ids.entries();
  const enqueueNext = async () => {
    for (const [index, id] of left) {
      const job = {
        id,
        tenant: DEFAULT_TENANT,
        partition: PARTITION,
        model: MODEL,
        version: VERSION,
        lane: 'interactive' as const,
        inputs: [rowOf(rows, index).input],
        request: { on_row_error: 'fail' as const, request_id: `bench-${index}` },
      };
      const { status } = await store.enqueue(job, NO_LIMIT);
      if (status !== 'accepted') throw new MeasurementError(`A job was not accepted: ${status}.`);
    }
  };
  await Promise.all(Array.from({ length: ENQUEUES_IN_FLIGHT }, enqueueNext));
  return ids;
}

async function countEnded(redis: RedisConnection): Promise<number> {
  return Number((await redis.hget(KEYS.backlog(PARTITION, MODEL), 'finished_jobs')) ?? 0);
}

/** When the last record was committed; on the way every result is checked. */
async function lastEndMs(
  redis: RedisConnection,
  rows: readonly WorkloadRow[],
  ids: readonly string[],
): Promise<number> {
  let lastUs = 0;
  for (let from = 0; from < ids.length; from += 1000) {
    const pipeline = redis.pipeline();
    for (const id of ids.slice(from, from + 1000)) {
      pipeline.hmget(KEYS.job(PARTITION, DEFAULT_TENANT, id), 'state', 'finished_us', 'results');
    }
    for (const [index, [error, reply]] of ((await pipeline.exec()) ?? []).entries()) {
      if (error) throw error;
      const [state, finishedUs, results] = reply as [string, string, string];
      const probability = state === 'succeeded' ? JSON.parse(results)[0]?.output?.probability : undefined;
      if (!isRight(rowOf(rows, from + index), probability)) {
        throw new MeasurementError(`Job ${from + index} of ours ended ${state} with ${results}.`);
      }
      lastUs = Math.max(lastUs, Number(finishedUs));
    }
  }
  return lastUs / 1000;
}
