import type { Platform } from '@onqueue/launcher';
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
import { timeDrain } from './drain.ts';
import type { Side } from './side.ts';

/** What is queued: one row a job. */
export interface QueuedModel {
  name: string;
  version: string;
  /** The row of the n-th job. */
  input(index: number): Record<string, unknown>;
  /** Whether that is the answer to it. */
  isRight(index: number, output: Record<string, unknown> | undefined): boolean;
}

export const BENCH_KEY_PREFIX = 'bench';
const PARTITION = 0;
const KEYS = new RedisKeys(BENCH_KEY_PREFIX);
const ENQUEUES_IN_FLIGHT = 64;
const NO_LIMIT = { maxJobs: 1e9, maxRows: 1e9, maxBytes: 1e12 };

/** Jobs of a model that are queued while its queue is paused, and drained by a worker that runs. `stop` leaves the platform alone. */
export function queuedWorker({ cleanup }: BenchContext, platform: Platform, model: QueuedModel): Side {
  const redis = connectRedis(platform.redisUrl, { kind: 'worker' }, () => undefined);
  const queue = new Queue(queueName(model.name, 'interactive'), {
    connection: redis,
    prefix: KEYS.bullPrefix(PARTITION),
  });
  const stop = cleanup.add(async () => {
    await queue.close();
    await closeRedis(redis);
  });
  const [worker] = platform.workers;
  if (!worker || !platform.redis) throw new Error('A platform without worker or Redis. This is a bug.');
  const store = jobStore(redis);
  const countEnded = async () => Number((await redis.hget(KEYS.backlog(PARTITION, model.name), 'finished_jobs')) ?? 0);
  const redisPid = platform.redis.pid;

  return {
    async drain(count) {
      await queue.pause();
      const ids = await enqueue(store, model, count);
      const endedBefore = await countEnded();
      return timeDrain({
        jobs: count,
        workerPid: worker.pid,
        redisPid,
        release: () => queue.resume(),
        countEnded: async () => (await countEnded()) - endedBefore,
        lastEndMs: () => lastEndMs(redis, model, ids),
      });
    },
    stop,
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
async function enqueue(store: RedisJobStore, model: QueuedModel, count: number): Promise<string[]> {
  const ids = Array.from({ length: count }, () => newJobId({ createdAtMs: Date.now(), partition: PARTITION }));
  const left = ids.entries();
  const enqueueNext = async () => {
    for (const [index, id] of left) {
      const job = {
        id,
        tenant: DEFAULT_TENANT,
        partition: PARTITION,
        model: model.name,
        version: model.version,
        lane: 'interactive' as const,
        inputs: [model.input(index)],
        request: { on_row_error: 'fail' as const, request_id: `bench-${index}` },
      };
      const { status } = await store.enqueue(job, NO_LIMIT);
      if (status !== 'accepted') throw new MeasurementError(`A job was not accepted: ${status}.`);
    }
  };
  await Promise.all(Array.from({ length: ENQUEUES_IN_FLIGHT }, enqueueNext));
  return ids;
}

/** When the last record was committed; on the way every result is checked. */
async function lastEndMs(redis: RedisConnection, model: QueuedModel, ids: readonly string[]): Promise<number> {
  let lastUs = 0;
  for (let from = 0; from < ids.length; from += 1000) {
    const pipeline = redis.pipeline();
    for (const id of ids.slice(from, from + 1000)) {
      pipeline.hmget(KEYS.job(PARTITION, DEFAULT_TENANT, id), 'state', 'finished_us', 'results');
    }
    for (const [index, [error, reply]] of ((await pipeline.exec()) ?? []).entries()) {
      if (error) throw error;
      const [state, finishedUs, results] = reply as [string, string, string];
      const output = state === 'succeeded' ? JSON.parse(results)[0]?.output : undefined;
      if (!model.isRight(from + index, output)) {
        throw new MeasurementError(`Job ${from + index} of ours ended ${state} with ${results}.`);
      }
      lastUs = Math.max(lastUs, Number(finishedUs));
    }
  }
  return lastUs / 1000;
}
