import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { Queue } from 'bullmq';
import express from 'express';
import { z } from 'zod';
import { answerParent } from '../bench-child.ts';
import { bareServerQuestion } from './bare-server-protocol.ts';

/**
 * The baseline: what one writes in an afternoon. Express reads the JSON, zod validates it, BullMQ takes it; nobody limits the queue,
 * keeps a record, knows the model or counts anything.
 */
const job = z.object({
  model: z.string(),
  input: z.record(z.string(), z.union([z.string(), z.number()])),
});

answerParent(async (question) => {
  const { redisUrl } = bareServerQuestion.parse(question);
  const queue = new Queue('bare', { connection: { url: redisUrl } });
  const app = express();
  app.use(express.json());
  app.post('/jobs', async (request, response) => {
    const parsed = job.safeParse(request.body);
    if (!parsed.success) {
      response.status(400).json({ error: parsed.error.issues });
      return;
    }
    const { id } = await queue.add('score', parsed.data, { attempts: 3, removeOnComplete: true });
    response.status(202).json({ id });
  });
  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
});
