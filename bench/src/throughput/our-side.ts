import { startPlatform } from '@onqueue/launcher';
import type { BenchContext } from '../bench.ts';
import { AS_DECLARED, isRight, MODEL, rowOf, VERSION, type WorkloadRow } from '../workload.ts';
import { REDIS_OPTIONS } from './private-redis.ts';
import { BENCH_KEY_PREFIX, queuedWorker } from './queued-worker.ts';
import type { Side } from './side.ts';

/**
 * The platform's worker with one runner, as `npm start` runs it but for the log level: the baseline logs nothing.
 * `jobSource`: whether jobs come by our batch script or by BullMQ's own Worker; what is written is the same.
 */
export async function startOurSide(
  context: BenchContext,
  rows: readonly WorkloadRow[],
  jobSource: 'batch' | 'stock' = 'batch',
): Promise<Side> {
  const platform = await startPlatform({
    apis: 0,
    workers: 1,
    redisOptions: REDIS_OPTIONS,
    inheritEnv: false,
    env: {
      ONQUEUE_KEY_PREFIX: BENCH_KEY_PREFIX,
      ONQUEUE_MODELS: MODEL,
      ONQUEUE_LOG_LEVEL: 'warn',
      ...AS_DECLARED,
      ONQUEUE_JOB_SOURCE: jobSource,
    },
    signal: context.signal,
  });
  const stopPlatform = context.cleanup.add(() => platform.stop());
  const side = queuedWorker(context, platform, {
    name: MODEL,
    version: VERSION,
    input: (index) => rowOf(rows, index).input,
    isRight: (index, output) => isRight(rowOf(rows, index), output?.probability),
  });
  return {
    drain: side.drain,
    async stop() {
      await side.stop();
      await stopPlatform();
    },
  };
}
