import { closeRedis, connectRedis, queueName, RedisKeys } from '@onqueue/shared/redis';
import { Queue } from 'bullmq';

/** Pauses a model's interactive queue, as an operator does with BullMQ's means; returns what resumes it. */
export async function pauseQueue(redisUrl: string, model: string): Promise<() => Promise<void>> {
  const redis = connectRedis(redisUrl, { kind: 'worker' }, () => {});
  const prefix = new RedisKeys('oq').bullPrefix(0);
  const queue = new Queue(queueName(model, 'interactive'), { connection: redis, prefix });
  await queue.pause();
  return async () => {
    await queue.resume();
    await queue.close();
    await closeRedis(redis);
  };
}
