import { mkdtemp, rm } from 'node:fs/promises';
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
  await writeSlowModel({ dir, name: 'slow', version: '1', batching: { max_batch_size: 1 } });
  platform = await startTestPlatform({ modelsDir: dir, env: { ONQUEUE_MAX_QUEUE_WAIT_S: '1' } });
  ({ baseUrl } = platform);
});

afterAll(async () => {
  await platform?.stop();
  await rm(dir, { recursive: true, force: true });
});

const body = { model: 'slow', input: { steps: 40 } };
const waiting = async () => {
  const { body: metrics } = await request<string>(`${baseUrl}/metrics`);
  return Number(/^onqueue_queue_depth_jobs\{model="slow"\} (\d+)$/m.exec(metrics)?.[1]);
};

test('what would wait for longer than it may is refused once that is known, and never by an idle model', async () => {
  // Nothing is known of the model: all is accepted, though it is minutes of work.
  const answers = await inParallel(Array(400).keys(), 16, () => postJob<JobBody>(baseUrl, body));
  expect(answers.filter(({ status }) => status !== 202)).toEqual([]);
  const refusal = await until('it is known how fast the queue drains', async () => {
    const answer = await postJob<Record<string, unknown>>(baseUrl, body);
    return answer.status === 429 && answer;
  });
  expect(refusal.body).toMatchObject({ code: 'backlog_full', status: 429 });
  expect(String(refusal.body.detail)).toMatch(/rows waiting; with this job they would pass the cap of \d+\./);
  expect(Number(refusal.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
  // What was accepted is not lost for it; and what is not too much is accepted again.
  const admitted = await until(
    'there is room again',
    async () => {
      const answer = await postJob<JobBody>(baseUrl, body);
      return answer.status === 202 && answer;
    },
    120_000,
  );
  expect(admitted.body.status).toBe('queued');
  expect(await waiting()).toBeLessThan(400);
  await until('the queue is empty', async () => (await waiting()) === 0, 60_000);
  // More rows than a second's, and nothing before them.
  const inputs = Array.from({ length: 200 }, () => ({ steps: 1 }));
  expect(await runJob(baseUrl, { model: 'slow', inputs })).toMatchObject({
    status: 'succeeded',
    rows: { succeeded: 200 },
  });
});
