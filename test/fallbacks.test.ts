import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { acceptedJob, endedJob, type JobBody, postJob, request, runJob } from './support/client.ts';
import { breakArtifact } from './support/models/broken-artifact.ts';
import { declareFallbacks } from './support/models/model-folder.ts';
import { writeCrashModel, writeLookupModel } from './support/models/tiny-models.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';
import { runnerPidsOf } from './support/runner-pids.ts';
import { until } from './support/until.ts';

const BROKEN = ['cached', 'static', 'standby', 'bare'];

let platform: TestPlatform;
let dir: string;
let baseUrl: string;

/** A model that works is asked what it answers; then those of BROKEN cannot be loaded any more. */
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'onqueue-fallbacks-'));
  const lookup = (name: string) => writeLookupModel({ dir, name, version: '1' });
  await Promise.all([
    lookup('simple'),
    declareFallbacks(lookup('cached'), [
      { type: 'cached_result', max_age_s: 3600, max_rows: 2 },
      { type: 'unavailable' },
    ]),
    declareFallbacks(lookup('static'), [{ type: 'static', output: { score: -1 } }]),
    declareFallbacks(lookup('standby'), [
      { type: 'model', name: 'missing' },
      { type: 'model', name: 'simple' },
    ]),
    declareFallbacks(lookup('bare'), [{ type: 'unavailable' }]),
    declareFallbacks(writeCrashModel({ dir, name: 'crash', version: '1' }), [{ type: 'static', output: { score: 0 } }]),
  ]);
  platform = await startTestPlatform({
    modelsDir: dir,
    env: { ONQUEUE_RETRY_DELAY_MS: '20' },
    // It stays open for as long as the tests take.
    workerEnv: { ONQUEUE_CIRCUIT_OPEN_MS: '600000', ONQUEUE_CIRCUIT_MAX_OPEN_MS: '600000' },
  });
  ({ baseUrl } = platform);
  for (const index of [1, 2, 3]) {
    const job = await runJob(baseUrl, { model: 'cached', input: { index } });
    expect(job).toMatchObject({ status: 'succeeded', served_by: 'model' });
    expect(job.results).toEqual([{ status: 'succeeded', output: { score: index * 10 } }]);
  }
  for (const name of BROKEN) await breakArtifact(dir, name);
  for (const pid of runnerPidsOf(platform.workers[0]?.pid)) process.kill(pid, 'SIGKILL');
  for (const name of BROKEN) {
    await until(`${name} is left alone`, async () => {
      const { body } = await request<{ versions: { circuit: { state: string } }[] }>(`${baseUrl}/models/${name}`);
      return body.versions[0]?.circuit.state === 'open';
    });
  }
});

afterAll(async () => {
  await platform?.stop();
  await rm(dir, { recursive: true, force: true });
});

test('a row that was asked before has its last answer, which says how old it is', async () => {
  const job = await runJob(baseUrl, { model: 'cached', input: { index: 3 } });
  expect(job).toMatchObject({ status: 'succeeded', served_by: 'fallback', provenance: null });
  expect(job.results).toEqual([
    {
      status: 'succeeded',
      output: { score: 30 },
      served_by: 'fallback',
      fallback: { type: 'cached_result', model: 'cached', version: '1', age_s: expect.any(Number) },
    },
  ]);
});

test('a row that was not asked before, or too many rows ago, fails at once where that is declared', async () => {
  const inputs = [{ index: 7 }, { index: 2 }, { index: 1 }];
  const job = await runJob(baseUrl, { model: 'cached', inputs, on_row_error: 'continue' });
  expect(job.results).toMatchObject([
    { status: 'failed', error: { code: 'model_unavailable' } },
    { status: 'succeeded', output: { score: 20 } },
    { status: 'failed', error: { code: 'model_unavailable' } },
  ]);
  expect(job).toMatchObject({ served_by: 'fallback', rows: { succeeded: 1, failed: 2 } });
  expect(await runJob(baseUrl, { model: 'cached', input: { index: 7 } })).toMatchObject({
    status: 'failed',
    served_by: null,
    error: { code: 'model_unavailable' },
  });
});

test('another model answers, and the provenance is its own', async () => {
  const job = await runJob(baseUrl, { model: 'standby', inputs: [{ index: 4 }, { index: 5 }] });
  expect(job).toMatchObject({ status: 'succeeded', model: 'standby', served_by: 'fallback' });
  const fallback = { type: 'model', model: 'simple', version: '1' };
  expect(job.results).toEqual(
    [40, 50].map((score) => ({ status: 'succeeded', output: { score }, served_by: 'fallback', fallback })),
  );
  const simple = await runJob(baseUrl, { model: 'simple', input: { index: 4 } });
  const made = ({ provenance }: JobBody) => [provenance?.model, provenance?.artifact_sha256];
  expect(made(job)).toEqual(made(simple));
  expect(job.timings).not.toBeNull();
});

test('what no fallback answers waits for its model, with its deadline', async () => {
  // The stand-in refuses the row, too: bad rows get no answer out of a fallback.
  const id = await acceptedJob(baseUrl, { model: 'standby', input: { index: 99 }, expires_in: 1 });
  expect(await endedJob(baseUrl, id)).toMatchObject({ status: 'expired' });
});

test('a fixed answer says that it is one', async () => {
  const job = await runJob(baseUrl, { model: 'static', input: { index: 4 } });
  expect(job.results).toEqual([
    { status: 'succeeded', output: { score: -1 }, served_by: 'fallback', fallback: { type: 'static' } },
  ]);
});

test('where nothing is declared but to be unavailable, no job is accepted', async () => {
  const { status, body, headers } = await postJob(baseUrl, { model: 'bare', input: { index: 4 } });
  expect([status, body]).toMatchObject([503, { code: 'model_unavailable' }]);
  expect(Number(headers.get('retry-after'))).toBeGreaterThan(60);
});

// The deadly row is one of x86-64's; other processors have an answer to it.
const onX64 = process.arch === 'x64' ? test : test.skip;

onX64(
  'a row that its model has no answer to, after all attempts, gets that of a fallback; its neighbours their own',
  async () => {
    const job = await runJob(baseUrl, { model: 'crash', inputs: [{ divisor: 1 }, { divisor: -1 }] });
    expect(job).toMatchObject({
      status: 'succeeded',
      attempt: 3,
      served_by: 'fallback',
      provenance: { model: 'crash' },
    });
    expect(job.results).toMatchObject([
      { output: { score: -(2 ** 63) } },
      { output: { score: 0 }, served_by: 'fallback', fallback: { type: 'static' } },
    ]);
    expect(job.results?.[0]).not.toHaveProperty('served_by');
  },
);

test('a row that is bad gets no fallback', async () => {
  const simple = await runJob(baseUrl, { model: 'simple', input: { index: 99 } });
  expect(simple).toMatchObject({ status: 'failed', error: { code: 'inference_failed' } });
  expect((await postJob(baseUrl, { model: 'static', input: { index: 'four' } })).status).toBe(400);
});

test('the fallbacks of a model are told, and counted', async () => {
  const { body } = await request(`${baseUrl}/models/static`);
  expect(body.fallbacks).toEqual([{ type: 'static', output: { score: -1 } }]);
  const { body: metrics } = await request<string>(`${platform.workers[0]?.baseUrl}/metrics`);
  expect(metrics).toMatch(/^onqueue_fallback_rows_total\{model="standby",version="1",type="model"\} 2$/m);
});
