import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { closeRedis, connectRedis, type RedisConnection } from '@onqueue/shared/redis';
import { type Job, Worker } from 'bullmq';
import { loadStockScripts } from '../apps/worker/src/queue/stock-scripts.ts';
import { SourceBench } from './support/job-source-bench.ts';

/** What the stock source's scripts do beyond BullMQ's: job-source-conformance.test.ts has what both sources promise. */

let bench: SourceBench;
let connection: RedisConnection;
let worker: Worker;

beforeAll(async () => {
  bench = await SourceBench.start();
});

beforeEach(() => {
  connection = connectRedis(bench.server.url, { kind: 'worker' }, () => {});
  expect(loadStockScripts(connection)).toBe(true); // Else another BullMQ is installed than they were written for.
  const prefix = bench.keys.bullPrefix(0);
  worker = new Worker('fraud.interactive', null, { connection, prefix });
});

afterEach(async () => {
  await worker.close();
  await closeRedis(connection);
  await bench.reset();
});

afterAll(() => bench?.close());

async function take(token: string): Promise<Job> {
  const job = await worker.getNextJob(token, { block: false });
  if (!job) throw new Error('there is no job');
  return job;
}

const waiting = () => bench.redis.lrange(`${bench.keys.bullPrefix(0)}:fraud.interactive:wait`, 0, -1);

test('a job that is finished while its run is open, since Redis lost the commit, waits again at the front', async () => {
  const first = await bench.enqueue();
  const second = await bench.enqueue();
  const job = await take('mine');
  expect(await job.moveToCompleted(null, 'mine', false)).toEqual([]);
  expect(await waiting()).toEqual([`${second}-1`, `${first}-1`]);
  expect((await take('next')).id).toBe(`${first}-1`);
});

test('a job whose run has ended leaves the queue', async () => {
  const id = await bench.enqueue();
  const job = await take('mine');
  await bench.store.cancel('default', id);
  await job.moveToCompleted(null, 'mine', false);
  await bench.expectEmptyQueues();
});

test('a job of an earlier run leaves the queue while the next run waits', async () => {
  const id = await bench.enqueue();
  const job = await take('mine');
  await bench.store.cancel('default', id);
  await bench.store.retry('default', id, { maxJobs: 10, maxRows: 10, maxBytes: 10_000 });
  await job.moveToCompleted(null, 'mine', false);
  expect(await waiting()).toEqual([`${id}-2`]);
});

test('a job that has no record of ours ends as BullMQ likes', async () => {
  await bench.queue().add('job', { tenant: 'default' }, { jobId: 'evt_1-1', removeOnComplete: true });
  const job = await take('mine');
  await job.moveToCompleted(null, 'mine', false);
  await bench.expectEmptyQueues();
});

test('whoever has lost the lock finishes nothing, and is told so', async () => {
  await bench.enqueue();
  const job = await take('mine');
  await expect(job.moveToCompleted(null, 'not mine', false)).rejects.toThrow(/lock/i);
  expect(await waiting()).toEqual([]);
});
