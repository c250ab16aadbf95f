import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { request, runJob } from './support/client.ts';
import { writeLinearModel } from './support/models/tiny-models.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';

/** A provider that no machine has on which these tests run. */
const FOREIGN = process.platform === 'win32' ? 'coreml' : 'dml';
const INPUT = { x0: 1, x1: 2, x2: 3 };

let dir: string;
let platform: TestPlatform;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'onqueue-providers-'));
  await writeLinearModel({ dir, name: 'linear', version: '1' });
  const { folder, manifest } = await writeLinearModel({ dir, name: 'own', version: '1' });
  await writeFile(join(folder, 'model.json'), JSON.stringify({ ...manifest, execution_providers: ['cpu'] }));
  platform = await startTestPlatform({
    modelsDir: dir,
    workerEnv: { ONQUEUE_EXECUTION_PROVIDERS: FOREIGN, ONQUEUE_EXECUTION_PROVIDER_FALLBACK: 'cpu' },
  });
});
afterAll(async () => {
  await platform?.stop();
  await rm(dir, { recursive: true, force: true });
});

test('where the cpu takes the place of a provider, results name the cpu', async () => {
  expect(await runJob(platform.baseUrl, { model: 'linear', input: INPUT })).toMatchObject({
    status: 'succeeded',
    provenance: { execution_provider: 'cpu' },
  });
});

test("a worker's metrics tell what was asked for and what computes; a manifest goes before the worker", async () => {
  const { body } = await request<string>(`${platform.workers[0]?.baseUrl}/metrics`);
  const gauges = body.split('\n').filter((line) => line.startsWith('onqueue_execution_provider_runners{'));
  expect(gauges.toSorted()).toEqual([
    `onqueue_execution_provider_runners{model="linear",version="1",requested="${FOREIGN}",used="cpu"} 1`,
    'onqueue_execution_provider_runners{model="own",version="1",requested="cpu",used="cpu"} 1',
  ]);
});

test('without the fallback only the versions that can do without the provider are served', async () => {
  const worker = await platform.startWorker({ ONQUEUE_EXECUTION_PROVIDER_FALLBACK: 'none' });
  const { body } = await request<{ models: { model: string }[] }>(`${worker.baseUrl}/readyz`);
  expect(body.models.map(({ model }) => model)).toEqual(['own']);
  await worker.stop();
});
