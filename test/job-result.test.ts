import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { acceptedJob, request, runJob } from './support/client.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';

/** The result of a job is there by itself, as JSON or row by row. */

let platform: TestPlatform;
let models: Awaited<ReturnType<typeof writeTestModels>>;
let baseUrl: string;

beforeAll(async () => {
  models = await writeTestModels();
  platform = await startTestPlatform({ modelsDir: models.dir });
  ({ baseUrl } = platform);
});

afterAll(async () => {
  await platform?.stop();
  await models?.remove();
});

const rowOf = (x0: number) => ({ x0, x1: 0, x2: 0 });
const NDJSON = { headers: { accept: 'application/x-ndjson' } };
const result = <Body = Record<string, unknown>>(id: string, init?: RequestInit, query = '') =>
  request<Body>(`${baseUrl}/jobs/${id}/result${query}`, init);

test('of a job that succeeded has its rows and what made them', async () => {
  const { id } = await runJob(baseUrl, { model: 'linear', inputs: [rowOf(1), rowOf(2)] });
  const { status, headers, body } = await result(id);
  expect([status, headers.get('vary')]).toEqual([200, expect.stringContaining('Accept')]);
  expect(body).toMatchObject({
    object: 'job.result',
    id,
    model: 'linear',
    status: 'succeeded',
    error: null,
    rows: { total: 2, succeeded: 2, failed: 0 },
    results: [{ output: { score: 1 } }, { output: { score: 2 } }],
    provenance: { model: 'linear', version: '1' },
  });
});

test('as NDJSON has one line a row, in order', async () => {
  const { id } = await runJob(baseUrl, { model: 'lookup', inputs: [{ index: 1 }, { index: 99 }] });
  const { status, headers, body } = await result<string>(id, NDJSON);
  expect([status, headers.get('content-type')]).toEqual([200, expect.stringMatching(/^application\/x-ndjson/)]);
  const lines = body
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(lines).toMatchObject([
    { index: 0, status: 'succeeded', output: {} },
    { index: 1, status: 'failed', error: { code: expect.any(String) } },
  ]);
});

test('of a job that failed says why', async () => {
  const { id } = await runJob(baseUrl, { model: 'lookup', inputs: [{ index: 1 }, { index: 99 }] });
  expect(await result(id)).toMatchObject({
    status: 200,
    body: { status: 'failed', error: { row: 1 }, results: [{ status: 'succeeded' }, { status: 'failed' }] },
  });
});

test('is not there before the end, and can be waited for', async () => {
  const id = await acceptedJob(baseUrl, { model: 'slow', input: { steps: 3000 } });
  const early = await result(id);
  expect(early).toMatchObject({ status: 409, body: { code: 'job_not_finished' } });
  expect(early.headers.get('retry-after')).toBe('1');
  expect(await result(id, {}, '?wait=30')).toMatchObject({ status: 200, body: { status: 'succeeded' } });
});

test('of a job that ended without rows is its error, and has no lines', async () => {
  const id = await acceptedJob(baseUrl, { model: 'slow', input: { steps: 60_000_000 } });
  await request(`${baseUrl}/jobs/${id}/cancel`, { method: 'POST' });
  expect(await result(id)).toMatchObject({
    status: 200,
    body: { status: 'canceled', error: { code: 'canceled' }, results: null },
  });
  expect(await result(id, NDJSON)).toMatchObject({
    status: 409,
    body: { code: 'job_without_rows', detail: expect.stringContaining('canceled') },
  });
});

test('of nothing is nothing', async () => {
  expect(await result('job_x')).toMatchObject({ status: 404, body: { code: 'job_not_found' } });
  expect(await result('job_x', NDJSON)).toMatchObject({ status: 404 });
});
