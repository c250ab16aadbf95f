import { startRedisServer } from '@onqueue/launcher';
import { closeRedis, connectRedis, type RedisConnection } from '@onqueue/shared/redis';
import { Queue } from 'bullmq';
import { z } from 'zod';
import { type BenchContext, MeasurementError } from '../bench.ts';
import { forkBenchChild } from '../bench-child.ts';
import { isRight, rowOf, type WorkloadRow } from '../workload.ts';
import { timeDrain } from './drain.ts';
import { REDIS_OPTIONS } from './private-redis.ts';
import type { Side } from './side.ts';
import { STOCK_QUEUE } from './stock-queue.ts';

const ADD_AT_ONCE = 500;
const START_TIMEOUT_MS = 30_000;

/**
 * What one would write in an afternoon: BullMQ's Worker, unchanged, and one `session.run` per job in its own process.
 * Same retries as ours; the result is the job's return value, and ended jobs are kept, as ours are.
 */
export async function startStockSide({ cleanup }: BenchContext, rows: readonly WorkloadRow[]): Promise<Side> {
  const server = await startRedisServer(REDIS_OPTIONS);
  const stopServer = cleanup.add(() => server.stop());
  const worker = forkBenchChild(new URL('./stock-worker-main.js', import.meta.url), cleanup);
  await worker.ask({ redisUrl: server.url }, z.object({ status: z.literal('ready') }), START_TIMEOUT_MS);
  const redis = connectRedis(server.url, { kind: 'worker' }, () => undefined);
  const queue = new Queue(STOCK_QUEUE, { connection: redis });
  const closeClient = cleanup.add(async () => {
    await queue.close();
    await closeRedis(redis);
  });
  let endedBefore = 0;

  return {
    async drain(count) {
      await queue.pause();
      const ids = await enqueue(queue, rows, count);
      const result = await timeDrain({
        jobs: count,
        workerPid: worker.pid,
        redisPid: server.pid,
        release: () => queue.resume(),
        countEnded: async () => (await redis.zcard(`bull:${STOCK_QUEUE}:completed`)) - endedBefore,
        lastEndMs: () => lastEndMs(redis, rows, ids),
      });
      endedBefore += count;
      return result;
    },
    async stop() {
      await closeClient();
      await worker.stop();
      await stopServer();
    },
  };
}

async function enqueue(queue: Queue, rows: readonly WorkloadRow[], count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let from = 0; from < count; from += ADD_AT_ONCE) {
    const jobs = Array.from({ length: Math.min(ADD_AT_ONCE, count - from) }, (_, offset) => ({
      name: 'job',
      data: { inputs: [rowOf(rows, from + offset).input] },
      opts: { attempts: 3, backoff: { type: 'exponential', delay: 500, jitter: 0.5 } },
    }));
    for (const { id } of await queue.addBulk(jobs)) ids.push(String(id));
  }
  return ids;
}

/** When the last job was finished; on the way every result is checked. */
async function lastEndMs(
  redis: RedisConnection,
  rows: readonly WorkloadRow[],
  ids: readonly string[],
): Promise<number> {
  let lastMs = 0;
  for (let from = 0; from < ids.length; from += 1000) {
    const pipeline = redis.pipeline();
    for (const id of ids.slice(from, from + 1000)) {
      pipeline.hmget(`bull:${STOCK_QUEUE}:${id}`, 'finishedOn', 'returnvalue');
    }
    for (const [index, [error, reply]] of ((await pipeline.exec()) ?? []).entries()) {
      if (error) throw error;
      const [finishedOn, returnValue] = reply as [string | null, string | null];
      const probability = JSON.parse(returnValue ?? 'null')?.probability;
      if (finishedOn === null || !isRight(rowOf(rows, from + index), probability)) {
        throw new MeasurementError(`Job ${from + index} of the baseline ended with ${returnValue}.`);
      }
      lastMs = Math.max(lastMs, Number(finishedOn));
    }
  }
  return lastMs;
}
