import { startPlatform } from '@onqueue/launcher';
import { DEFAULT_TENANT, newJobId } from '@onqueue/shared';
import { closeRedis, connectRedis, queueName, RedisJobStore, RedisKeys, readServerMemory } from '@onqueue/shared/redis';
import { Queue } from 'bullmq';
import { type Bench, type BenchContext, MeasurementError, type RoundSample } from '../bench.ts';
import { timeDrain } from '../throughput/drain.ts';
import { REDIS_OPTIONS } from '../throughput/private-redis.ts';
import { AS_DECLARED } from '../workload.ts';
import { measureSoak } from './soak.ts';

const MODEL = 'digits';
const VERSION = '1';
/** Some 140 bytes as JSON: about what a small row has. */
const INPUT = { pixels: Array(64).fill(0) as number[] };
const INPUTS_BYTES = JSON.stringify([INPUT]).length;
const JOBS = 20_000;
const PARTITION = 0;
const KEYS = new RedisKeys('bench');
const NO_LIMIT = { maxJobs: 1e9, maxRows: 1e9, maxBytes: 1e12 };
const IN_FLIGHT = 64;

/** What a job costs Redis while it waits, and after it has ended; and whether a million leave anything in the processes. */
export const memoryBench: Bench = {
  name: 'memory',
  summary: `${JOBS} jobs of one ${INPUTS_BYTES}-byte row (${MODEL}): Redis' memory per job; once, a million: RSS after them`,
  figures: {
    bytes_queued: 'used_memory per job that waits: record, input and queue entry',
    bytes_finished: 'used_memory per job that has ended: record, result, provenance and timings',
    rss_ratio: 'RSS after a million jobs / after 10,000, the greater of the next two (measured once)',
    api_rss_ratio: 'of the API',
    worker_rss_ratio: 'of the worker',
    late_rss_ratio: 'RSS after a million jobs / after 100,000, the greater of API and worker',
  },
  async prepare(context) {
    const body = JSON.stringify({ model: MODEL, input: INPUT });
    const soak = await measureSoak(context, { model: MODEL, body });
    return async () => {
      const { figures, noise } = await measureRound(context);
      return { figures: { ...figures, ...soak }, noise };
    };
  },
};

async function measureRound({ cleanup, signal }: BenchContext): Promise<RoundSample> {
  const platform = await startPlatform({
    apis: 0,
    workers: 1,
    redisOptions: REDIS_OPTIONS,
    inheritEnv: false,
    // Predictions are a log of their own, with a length of its own.
    env: {
      ONQUEUE_KEY_PREFIX: 'bench',
      ONQUEUE_MODELS: MODEL,
      ONQUEUE_LOG_LEVEL: 'warn',
      ...AS_DECLARED,
      ONQUEUE_MAX_PREDICTIONS: '0',
    },
    signal,
  });
  const stopPlatform = cleanup.add(() => platform.stop());
  const redis = connectRedis(platform.redisUrl, { kind: 'worker' }, () => undefined);
  const queue = new Queue(queueName(MODEL, 'interactive'), { connection: redis, prefix: KEYS.bullPrefix(PARTITION) });
  const closeClient = cleanup.add(async () => {
    await queue.close();
    await closeRedis(redis);
  });
  try {
    const store = new RedisJobStore({
      redis,
      keys: KEYS,
      partitions: 1,
      retentionMs: 86_400_000,
      attempts: 3,
      retryDelayMs: 500,
      maxPredictions: 0,
    });
    const usedBytes = async () => (await readServerMemory(redis)).usedBytes;
    const ended = async () => (await store.backlog(MODEL)).finishedJobs;
    const [worker] = platform.workers;
    if (!worker || !platform.redis) throw new Error('A platform without worker or Redis. This is a bug.');

    await queue.pause();
    const empty = await usedBytes();
    await enqueue(store);
    const queued = await usedBytes();
    await timeDrain({
      jobs: JOBS,
      workerPid: worker.pid,
      redisPid: platform.redis.pid,
      release: () => queue.resume(),
      countEnded: ended,
      lastEndMs: async () => Date.now(),
    });
    const finished = await usedBytes();
    return {
      figures: { bytes_queued: (queued - empty) / JOBS, bytes_finished: (finished - empty) / JOBS },
      // Bytes do not depend on what else the machine does.
      noise: undefined,
    };
  } finally {
    await closeClient();
    await stopPlatform();
  }
}

async function enqueue(store: RedisJobStore): Promise<void> {
  const left = Array(JOBS).keys();
  const enqueueNext = async () => {
    for (const index of left) {
      const { status } = await store.enqueue(
        {
          id: newJobId({ createdAtMs: Date.now(), partition: PARTITION }),
          tenant: DEFAULT_TENANT,
          partition: PARTITION,
          model: MODEL,
          version: VERSION,
          lane: 'interactive',
          inputs: [INPUT],
          request: { on_row_error: 'fail', request_id: `bench-${index}` },
        },
        NO_LIMIT,
      );
      if (status !== 'accepted') throw new MeasurementError(`A job was not accepted: ${status}.`);
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, enqueueNext));
}
