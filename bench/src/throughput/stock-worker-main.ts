import { Worker } from 'bullmq';
import { z } from 'zod';
import { loadOrtModel } from '../baseline/ort-model.ts';
import { answerParent } from '../bench-child.ts';
import { STOCK_QUEUE } from './stock-queue.ts';

/** The baseline's worker process. Concurrency 64: more gains BullMQ nothing, less leaves it waiting for Redis. */
const CONCURRENCY = 64;
const start = z.object({ redisUrl: z.string() });

answerParent(async (question) => {
  const { hostname, port } = new URL(start.parse(question).redisUrl);
  const model = await loadOrtModel();
  const worker = new Worker<{ inputs: [Record<string, unknown>] }>(
    STOCK_QUEUE,
    async ({ data }) => ({ probability: await model.score(data.inputs[0]) }),
    { connection: { host: hostname, port: Number(port), maxRetriesPerRequest: null }, concurrency: CONCURRENCY },
  );
  worker.on('error', (error) => console.error(error.message));
  await worker.waitUntilReady();
  return { status: 'ready' };
});
