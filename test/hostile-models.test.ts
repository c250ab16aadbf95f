import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { request, runJob } from './support/client.ts';
import { externalModel, hostileModels, writeScore } from './support/models/hostile-models.ts';
import { writeWeights } from './support/models/model-folder.ts';
import { writeLinearModel } from './support/models/tiny-models.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';

let dir: string;
let platform: TestPlatform;
let hostile: ReturnType<typeof hostileModels>;

/** One model that serves, one whose weights lie beside it as they should, and all the hostile ones. */
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'onqueue-hostile-'));
  const [modelsDir, secretFile] = [join(dir, 'models'), join(dir, 'secret.bin')];
  await writeFile(secretFile, new Uint8Array(4));
  hostile = hostileModels({ secretFile });
  await writeLinearModel({ dir: modelsDir, name: 'good', version: '1' });
  const beside = await writeScore(
    { dir: modelsDir, name: 'beside', version: '1' },
    externalModel({ location: 'w.bin' }),
  );
  await writeWeights(beside, { file: 'w.bin', bytes: new Uint8Array(Float32Array.of(2).buffer) });
  for (const { name, write } of hostile) await write({ dir: modelsDir, name, version: '1' });
  platform = await startTestPlatform({
    modelsDir,
    workerEnv: {
      ONQUEUE_RUNNER_MEMORY_LIMIT_BYTES: String(400 * 1024 ** 2),
      ONQUEUE_RUNNER_START_TIMEOUT_MS: '30000',
      ONQUEUE_MODEL_MAX_NODES: '1000',
    },
  });
});

afterAll(async () => {
  await platform?.stop();
  await rm(dir, { recursive: true, force: true });
});

test('a worker serves its good models beside a folder of hostile ones', async () => {
  expect(await runJob(platform.baseUrl, { model: 'good', input: { x0: 1, x1: 2, x2: 3 } })).toMatchObject({
    status: 'succeeded',
    results: [{ output: { score: 6 } }],
  });
  expect(await runJob(platform.baseUrl, { model: 'beside', input: { x0: 4 } })).toMatchObject({
    results: [{ output: { score: 8 } }],
  });
  const [worker] = platform.workers;
  expect(worker?.hasExited).toBe(false);
  const { body } = await request<{ models: { model: string }[] }>(`${worker?.baseUrl}/readyz`);
  expect(body.models.map(({ model }) => model).sort()).toEqual(['beside', 'good']);
});

test('the worker says of each one why it is not served', () => {
  const lines = (platform.workers[0]?.logs() ?? [])
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));
  const said = Object.fromEntries(
    hostile.map(({ name }) => [
      name,
      lines.filter(({ model, folder }) => model === name || folder?.endsWith(`/${name}/1`)).map(({ msg }) => msg),
    ]),
  );
  expect(said).toEqual(Object.fromEntries(hostile.map(({ name, says }) => [name, [expect.stringMatching(says)]])));
});
