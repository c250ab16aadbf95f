import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { acceptedJob, endedJob, type JobBody, request, runJob } from './support/client.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';

/** Failed jobs are run again, many at a time, or only their rows without an answer. */

interface Retried {
  data: { id: string; retried: boolean; run: number | null; code: string | null }[];
  has_more: boolean;
  next: string | null;
  stopped_by: string | null;
}

let platform: TestPlatform;
let models: Awaited<ReturnType<typeof writeTestModels>>;
let baseUrl: string;

beforeAll(async () => {
  models = await writeTestModels();
  platform = await startTestPlatform({
    modelsDir: models.dir,
    apiEnv: { ONQUEUE_INDEXED_METADATA: 'batch', ONQUEUE_MAX_JOBS_PER_CALL: '4', ONQUEUE_BACKLOG_MAX_JOBS: '6' },
  });
  ({ baseUrl } = platform);
});

afterAll(async () => {
  await platform?.stop();
  await models?.remove();
});

const retryAll = (body: unknown) =>
  request<Retried>(`${baseUrl}/jobs/retry`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
const failing = (batch: string) => runJob(baseUrl, { model: 'lookup', input: { index: 99 }, metadata: { batch } });
const ended = (ids: string[]) => Promise.all(ids.map((id) => endedJob(baseUrl, id)));
const read = async (id: string) => (await request<JobBody>(`${baseUrl}/jobs/${id}`)).body;

test('all jobs that a filter lets through run again, so many a call', async () => {
  const ids: string[] = [];
  for (let n = 0; n < 6; n++) ids.unshift((await failing('a')).id);
  const other = await failing('b');
  const first = await retryAll({ model: 'lookup', metadata: { batch: 'a' } });
  expect(first).toMatchObject({
    status: 200,
    body: { object: 'list', has_more: true, next: ids[3], stopped_by: null },
  });
  expect(first.body.data).toEqual(ids.slice(0, 4).map((id) => ({ id, retried: true, run: 2, code: null })));
  await ended(ids.slice(0, 4));
  const second = await retryAll({ model: 'lookup', metadata: { batch: 'a' }, starting_after: first.body.next });
  expect(second.body).toMatchObject({ has_more: false, next: null });
  expect(second.body.data.map(({ id }) => id)).toEqual(ids.slice(4));
  expect((await ended(ids)).map(({ run }) => run)).toEqual([2, 2, 2, 2, 2, 2]);
  expect(await read(other.id)).toMatchObject({ run: 1 });
});

test('a limit of its own, and other states', async () => {
  for (const worker of platform.workers) worker.pause();
  const ids: string[] = [];
  for (let n = 0; n < 3; n++)
    ids.unshift(await acceptedJob(baseUrl, { model: 'linear', input: { x0: 1, x1: 0, x2: 0 } }));
  for (const id of ids) await request(`${baseUrl}/jobs/${id}/cancel`, { method: 'POST' });
  const answer = await retryAll({ status: 'canceled', model: 'linear', limit: 2 });
  expect(answer.body.data.map(({ id }) => id)).toEqual(ids.slice(0, 2));
  for (const worker of platform.workers) worker.resume();
  expect((await ended(ids)).map(({ status }) => status)).toEqual(['succeeded', 'succeeded', 'canceled']);
});

test('stops where there is no room, and says where to go on', async () => {
  const ids: string[] = [];
  for (let n = 0; n < 3; n++) ids.unshift((await failing('c')).id);
  for (const worker of platform.workers) worker.pause();
  const waiting: string[] = [];
  for (let n = 0; n < 4; n++) waiting.push(await acceptedJob(baseUrl, { model: 'lookup', input: { index: 1 } }));
  const answer = await retryAll({ metadata: { batch: 'c' } });
  expect(answer.body).toMatchObject({ has_more: true, next: ids[1], stopped_by: 'backlog_full' });
  expect(answer.body.data.map(({ id }) => id)).toEqual(ids.slice(0, 2));
  expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
  expect(await retryAll({ metadata: { batch: 'c' } })).toMatchObject({ status: 429, body: { code: 'backlog_full' } });
  for (const worker of platform.workers) worker.resume();
  await ended(waiting);
});

test.each([
  [{ status: 'succeeded' }, '/status'],
  [{ metadata: { note: 'x' } }, '/metadata/note'],
  [{ limit: 0 }, '/limit'],
  [{ starting_after: 'job_x' }, '/starting_after'],
  [{ modle: 'lookup' }, '/modle'],
])('%j is refused', async (body, pointer) => {
  expect(await retryAll(body)).toMatchObject({ status: 400, body: { errors: [{ pointer }] } });
});

test('only the rows without an answer run again; the others keep theirs, and say which run made them', async () => {
  const inputs = [{ index: 1 }, { index: 99 }, { index: 2 }, { index: 98 }];
  const before = await runJob(baseUrl, { model: 'lookup', inputs });
  expect(before).toMatchObject({ status: 'failed', rows: { succeeded: 2, failed: 2 } });
  const retry = (query: string) => request<JobBody>(`${baseUrl}/jobs/${before.id}/retry${query}`, { method: 'POST' });
  expect(await retry('?rows=unfinished')).toMatchObject({ status: 202, body: { run: 2, rows: { total: 4 } } });
  const after = await endedJob(baseUrl, before.id);
  expect(after).toMatchObject({
    status: 'failed',
    run: 2,
    rows: { total: 4, succeeded: 2, failed: 2 },
    provenance: { run: 2 },
    error: { row: 1, detail: expect.stringContaining('Row 1 of 4 failed') },
    results: [
      { ...before.results?.[0], run: 1 },
      { status: 'failed' },
      { ...before.results?.[2], run: 1 },
      { status: 'failed' },
    ],
  });
  expect(after.results?.[1]).not.toHaveProperty('run');
  // A run that ends without rows loses none of them.
  for (const worker of platform.workers) worker.pause();
  await retry('?rows=unfinished');
  await request(`${baseUrl}/jobs/${before.id}/cancel`, { method: 'POST' });
  for (const worker of platform.workers) worker.resume();
  expect(await read(before.id)).toMatchObject({ status: 'canceled', run: 3, results: null });
  await retry('?rows=unfinished');
  expect(await endedJob(baseUrl, before.id)).toMatchObject({ run: 4, results: after.results });
  // All rows, unless asked otherwise.
  await retry('');
  expect(await endedJob(baseUrl, before.id)).toMatchObject({ run: 5, provenance: { run: 5 } });
  expect((await read(before.id)).results?.[0]).not.toHaveProperty('run');
  expect(await retry('?rows=some')).toMatchObject({ status: 400, body: { errors: [{ pointer: '?rows' }] } });
});

test('failed jobs of many rows run again as unfinished ones too', async () => {
  const job = await runJob(baseUrl, {
    model: 'lookup',
    inputs: [{ index: 1 }, { index: 99 }],
    metadata: { batch: 'd' },
  });
  expect((await retryAll({ metadata: { batch: 'd' }, rows: 'unfinished' })).body.data).toMatchObject([{ id: job.id }]);
  expect(await endedJob(baseUrl, job.id)).toMatchObject({ run: 2, results: [{ run: 1 }, { status: 'failed' }] });
});
