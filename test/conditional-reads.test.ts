import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { acceptedJob, endedJob, type JobBody, request, runJob } from './support/client.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';

/** A client that has the job as it is does not get it again. */

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

const row = { x0: 1, x1: 2, x2: 3 };
const read = (path: string, etag?: string | null) =>
  request<JobBody>(`${baseUrl}${path}`, etag ? { headers: { 'if-none-match': etag } } : {});

test('a job that has ended is sent once, and answered 304 to who has it', async () => {
  const { id } = await runJob(baseUrl, { model: 'linear', input: row });
  const first = await read(`/jobs/${id}`);
  const etag = first.headers.get('etag');
  expect(etag).toMatch(/^"[\w-]{24}"$/);
  expect(first.headers.get('retry-after')).toBeNull();
  for (const sent of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
    const again = await read(`/jobs/${id}`, sent);
    expect([again.status, again.body, again.headers.get('etag')]).toEqual([304, '', etag]);
  }
  expect(await read(`/jobs/${id}`, '"other"')).toMatchObject({ status: 200, body: { id } });
  expect((await read(`/jobs/${id}?wait=30`, etag)).status).toBe(304);
});

test('a job that changes is sent again, with another ETag', async () => {
  const id = await acceptedJob(baseUrl, { model: 'slow', input: { steps: 2000 } });
  const before = await read(`/jobs/${id}`);
  expect(Number(before.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
  await endedJob(baseUrl, id);
  const after = await read(`/jobs/${id}`, before.headers.get('etag'));
  expect(after).toMatchObject({ status: 200, body: { status: 'succeeded' } });
  expect(after.headers.get('etag')).not.toBe(before.headers.get('etag'));
});

test('HEAD has the same headers and no body', async () => {
  const { id } = await runJob(baseUrl, { model: 'linear', input: row });
  const head = await request(`${baseUrl}/jobs/${id}`, { method: 'HEAD' });
  expect([head.status, head.headers.get('etag')]).toEqual([200, (await read(`/jobs/${id}`)).headers.get('etag')]);
});

test('lists and results have ETags too', async () => {
  const { id } = await runJob(baseUrl, { model: 'linear', input: row });
  for (const path of ['/jobs', `/jobs/${id}/result`]) {
    const { headers } = await read(path);
    expect((await read(path, headers.get('etag'))).status).toBe(304);
  }
});
