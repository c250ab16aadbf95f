import { cp, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { repoRoot } from '@onqueue/launcher';
import { endedJob, type JobBody, request } from './support/client.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';

/** A job as a form, with images as bytes. */

const KB = 1024;
const MAX_BODY = 300 * KB;

let platform: TestPlatform;
let models: Awaited<ReturnType<typeof writeTestModels>>;
let baseUrl: string;
const images = new Map<string, Blob>();

beforeAll(async () => {
  models = await writeTestModels();
  await cp(join(repoRoot, 'models', 'digits'), join(models.dir, 'digits'), { recursive: true });
  for (const name of ['seven', 'two', 'three']) {
    const bytes = await readFile(join(repoRoot, 'models', 'digits', '1', 'samples', `${name}.png`));
    images.set(name, new Blob([new Uint8Array(bytes)], { type: 'image/png' }));
  }
  platform = await startTestPlatform({
    modelsDir: models.dir,
    apiEnv: { ONQUEUE_MAX_BODY_BYTES: String(MAX_BODY), ONQUEUE_MAX_MULTIPART_PARTS: '10' },
  });
  ({ baseUrl } = platform);
});

afterAll(async () => {
  await platform?.stop();
  await models?.remove();
});

type Part = [name: string, value: string | Blob];
const image = (name: string): Part => ['image', images.get(name) as Blob];

function form(...parts: Part[]): FormData {
  const data = new FormData();
  for (const [name, value] of parts) data.append(name, value);
  return data;
}

const post = (body: FormData, headers: Record<string, string> = {}) =>
  request<JobBody & { code: string }>(`${baseUrl}/jobs`, { method: 'POST', headers, body });
const postRaw = (body: string, contentType: string) =>
  request<{ code: string }>(`${baseUrl}/jobs`, { method: 'POST', headers: { 'content-type': contentType }, body });

test('images as bytes are rows, in their order', async () => {
  const posted = await post(form(['model', 'digits'], image('seven'), image('two'), image('three')));
  expect(posted.status).toBe(202);
  const job = await endedJob(baseUrl, posted.body.id);
  expect(job.results?.map(({ output }) => output?.label)).toEqual(['7', '2', '3']);
});

test.each<[string, string | Blob]>([
  ['text', JSON.stringify({ model: 'digits', metadata: { order: 7 }, lane: 'bulk' })],
  ['a file', new Blob([JSON.stringify({ model: 'digits', metadata: { order: 7 }, lane: 'bulk' })])],
])('the rest of the job is JSON in the part "job", sent as %s', async (_, job) => {
  const posted = await post(form(image('seven'), ['job', job]), { prefer: 'wait=30' });
  expect(posted).toMatchObject({
    status: 200,
    body: { status: 'succeeded', lane: 'bulk', metadata: { order: 7 }, results: [{ output: { label: '7' } }] },
  });
});

test('rows may be in the part "job" as well', async () => {
  const job = JSON.stringify({ model: 'linear', input: { x0: 5, x1: 0, x2: 0 } });
  const posted = await post(form(['job', job]), { prefer: 'wait=30' });
  expect(posted.body.results).toMatchObject([{ output: { score: 5 } }]);
});

test('the same form with the same key is the same job, another image is another body', async () => {
  const key = { 'idempotency-key': 'form' };
  const first = await post(form(['model', 'digits'], image('seven')), key);
  const again = await post(form(['model', 'digits'], image('seven')), key);
  expect([again.body.id, again.headers.get('idempotency-replayed')]).toEqual([first.body.id, 'true']);
  expect((await post(form(['model', 'digits'], image('two')), key)).body.code).toBe('idempotency_key_reused');
});

describe('refused is', () => {
  const model: Part = ['model', 'digits'];
  test.each<[string, Part[], number, string]>([
    ['a form without a model', [['lane', 'bulk']], 400, 'invalid_request'],
    ['a form without rows', [model], 400, 'invalid_request'],
    ['an unknown text part', [model, ['colour', 'red']], 400, 'malformed_multipart'],
    ['an unknown file part', [model, ['photo', new Blob(['x'])]], 400, 'malformed_multipart'],
    ['a part that is there twice', [model, model], 400, 'malformed_multipart'],
    ['a member that is there twice', [model, ['job', '{"model":"digits"}']], 400, 'malformed_multipart'],
    ['a job part that is no JSON', [['job', '{']], 400, 'malformed_json'],
    ['a job part that is a list', [['job', '[]']], 400, 'malformed_multipart'],
    [
      'two job parts',
      [
        ['job', '{}'],
        ['job', new Blob(['{}'])],
      ],
      400,
      'malformed_multipart',
    ],
    ['a nest', [['job', '['.repeat(100_000)]], 400, 'json_too_complex'],
    ['a text part of 300 KB', [['model', 'x'.repeat(290 * KB)]], 400, 'malformed_multipart'],
    ['a long name', [['n'.repeat(5000), 'x']], 400, 'malformed_multipart'],
    ['a body that is too large', [model, ['image', new Blob(['x'.repeat(MAX_BODY)])]], 413, 'payload_too_large'],
    [
      'one part too many',
      [model, ...Array.from({ length: 10 }, (): Part => ['image', new Blob(['x'])])],
      400,
      'malformed_multipart',
    ],
    [
      'a thousand parts',
      Array.from({ length: 1000 }, (): Part => ['image', new Blob(['x'])]),
      400,
      'malformed_multipart',
    ],
  ])('%s', async (_, parts, status, code) => {
    const answer = await post(form(...parts));
    expect([answer.status, answer.body.code]).toEqual([status, code]);
  });

  test('rows in both places', async () => {
    const answer = await post(form(image('seven'), ['job', '{"model":"digits","inputs":[{}]}']));
    expect(answer.body.code).toBe('malformed_multipart');
  });

  const part = '--b\r\nContent-Disposition: form-data; name="model"\r\n\r\ndigits';
  test.each([
    ['no boundary', 'x', 'multipart/form-data; charset=utf-8'],
    ['nothing', '', 'multipart/form-data; boundary=b'],
    ['no parts', 'hello', 'multipart/form-data; boundary=b'],
    ['a form that breaks off', part, 'multipart/form-data; boundary=b'],
    ['headers without end', `--b\r\n${'X: y\r\n'.repeat(20_000)}`, 'multipart/form-data; boundary=b'],
  ])('%s', async (_, body, contentType) => {
    const answer = await postRaw(body, contentType);
    expect([answer.status, answer.body.code]).toEqual([400, 'malformed_multipart']);
  });
});

test('the API is as well as before after all of them', async () => {
  expect((await request(`${baseUrl}/readyz`)).status).toBe(200);
  expect((await post(form(['model', 'digits'], image('three')), { prefer: 'wait=30' })).body.status).toBe('succeeded');
});
