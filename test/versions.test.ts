import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { acceptedJob, endedJob, request, runJob } from './support/client.ts';
import { writeLinearModel } from './support/models/tiny-models.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';
import { until } from './support/until.ts';

let platform: TestPlatform;
let root: string;

/** While a version is rolled out, some workers have it and some have not. */
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'onqueue-versions-'));
  const [before, after] = [join(root, 'before'), join(root, 'after')];
  for (const dir of [before, after]) await writeLinearModel({ dir, name: 'linear', version: '9' });
  await writeLinearModel({ dir: after, name: 'linear', version: '10', bias: 1000 });
  platform = await startTestPlatform({ modelsDir: before, workerEnv: { ONQUEUE_VERSION_WAIT_S: '60' } });
  await platform.startWorker({ ONQUEUE_MODELS_DIR: after });
  // An API believes what it has seen of the models for a second.
  await until('the API knows the new version', async () => {
    return (await request(`${platform.baseUrl}/models/linear`)).body.version === '10';
  });
});

afterAll(async () => {
  await platform?.stop();
  await rm(root, { recursive: true, force: true });
});

const input = { x0: 1, x1: 1, x2: 1 };

test('a job of the new version is handed on until a worker takes it that has it', async () => {
  const { baseUrl } = platform;
  const ids = await Promise.all(
    Array.from({ length: 30 }, (_, n) =>
      acceptedJob(baseUrl, { model: 'linear', input, ...(n % 2 ? { version: '9' } : {}) }),
    ),
  );
  const jobs = await Promise.all(ids.map((id) => endedJob(baseUrl, id)));
  // The newest is the default: 10 comes after 9.
  expect(jobs.map(({ status, version, results }) => [status, version, results?.[0]?.output?.score])).toEqual(
    Array.from({ length: 30 }, (_, n) => (n % 2 ? ['succeeded', '9', 3] : ['succeeded', '10', 1003])),
  );
});

test('GET /models/:name tells the versions, newest first, and who serves them', async () => {
  expect((await request(`${platform.baseUrl}/models/linear`)).body).toMatchObject({
    version: '10',
    versions: [
      { version: '10', ready_workers: 1 },
      { version: '9', ready_workers: 2 },
    ],
  });
});

test('a job whose version nobody has any more fails after ONQUEUE_VERSION_WAIT_S, saying so', async () => {
  for (const worker of platform.workers) await worker.stop();
  await platform.startWorker({ ONQUEUE_VERSION_WAIT_S: '1' });
  expect(await runJob(platform.baseUrl, { model: 'linear', version: '10', input })).toMatchObject({
    status: 'failed',
    error: { code: 'model_unavailable', detail: expect.stringContaining('version 10') },
    provenance: null,
  });
});
