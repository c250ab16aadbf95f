import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { inParallel } from './faults/support/in-parallel.ts';
import { type JobBody, postJob, request, runJob } from './support/client.ts';
import { writeSlowModel } from './support/models/tiny-models.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';
import { until } from './support/until.ts';

let platform: TestPlatform;
let dir: string;
let baseUrl: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'onqueue-models-'));
  const batching = { max_batch_size: 1 };
  await writeSlowModel({ dir, name: 'slow', version: '1', batching });
  const { folder, manifest } = await writeSlowModel({ dir, name: 'patient', version: '1', batching });
  const serving = { max_queue_wait_s: 600 };
  await writeFile(join(folder, 'model.json'), JSON.stringify({ ...manifest, serving }));
  platform = await startTestPlatform({ modelsDir: dir, env: { ONQUEUE_MAX_QUEUE_WAIT_S: '1' } });
  ({ baseUrl } = platform);
});

afterAll(async () => {
  await platform?.stop();
  await rm(dir, { recursive: true, force: true });
});

const depth = async (model: string) => {
  const { body } = await request<string>(`${baseUrl}/metrics`);
  return Number(new RegExp(`^onqueue_queue_depth_jobs\\{model="${model}"\\} (\\d+)$`, 'm').exec(body)?.[1]);
};

/** So many jobs before a worker does anything. */
async function flood(body: object, jobs: number): Promise<void> {
  for (const worker of platform.workers) worker.pause();
  try {
    // Nothing is known of the model: all is accepted, though it is more than a second's work.
    const answers = await inParallel(Array(jobs).keys(), 16, () => postJob<JobBody>(baseUrl, body));
    expect(answers.map(({ status }) => status)).toEqual(Array(jobs).fill(202));
  } finally {
    for (const worker of platform.workers) worker.resume();
  }
}

test('what would wait for longer than it may is refused once that is known, and nothing by an idle model', async () => {
  const body = { model: 'slow', input: { steps: 25 } };
  await flood(body, 250);
  const refusal = await until('it is known how fast the queue drains', async () => {
    const answer = await postJob<Record<string, unknown>>(baseUrl, body);
    return answer.status === 429 && answer;
  });
  expect(refusal.body).toMatchObject({ code: 'backlog_full', status: 429 });
  expect(String(refusal.body.detail)).toMatch(/ rows waiting; with this job they would pass the cap of \d+\./);
  expect(Number(refusal.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
  await until('there is room again', async () => (await postJob<JobBody>(baseUrl, body)).status === 202, 120_000);
  await until('the queue is empty', async () => (await depth('slow')) === 0, 60_000);
  // More rows than a second's, and nothing before them.
  const inputs = Array.from({ length: 200 }, () => ({ steps: 1 }));
  expect(await runJob(baseUrl, { model: 'slow', inputs })).toMatchObject({ status: 'succeeded' });
});

test('a job that cannot be started in time is told so, of a model that may wait for long', async () => {
  const body = { model: 'patient', input: { steps: 25 } };
  await flood(body, 250);
  const hopeless = await until('it is known how fast the queue drains', async () => {
    const answer = await postJob<Record<string, unknown>>(baseUrl, { ...body, expires_in: 0.1, priority: -1 });
    return answer.status === 429 && answer;
  });
  expect(hopeless.body).toMatchObject({ code: 'deadline_unmeetable' });
  expect(Number(hopeless.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
  expect((await postJob(baseUrl, { ...body, expires_in: 600 })).status).toBe(202);
  expect((await postJob(baseUrl, { ...body, expires_in: 0.1, delay: 600 })).status).toBe(202);
});
