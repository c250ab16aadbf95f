import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type ChildService, repoRoot } from '@onqueue/launcher';
import { writeTestModels } from './support/models/models-dir.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';

let platform: TestPlatform;
let models: Awaited<ReturnType<typeof writeTestModels>>;

beforeAll(async () => {
  models = await writeTestModels();
  platform = await startTestPlatform({
    modelsDir: models.dir,
    workerEnv: { ONQUEUE_MODELS: 'linear' },
    env: { NODE_OPTIONS: `--require=${join(repoRoot, 'test', 'support', 'uncaught-error.cjs')}` },
  });
});

afterAll(async () => {
  await platform?.stop();
  await models?.remove();
});

const start = (name: 'api' | 'worker', env: Record<string, string>): Promise<ChildService> =>
  name === 'api' ? platform.startApi(env) : platform.startWorker(env);

test.each([
  ['api', 'exception'],
  ['api', 'rejection'],
  ['worker', 'exception'],
  ['worker', 'rejection'],
] as const)('the %s ends at an uncaught %s with one line, which says no more than a log may', async (name, how) => {
  const service = await start(name, { UNCAUGHT_AS: how });
  const before = service.logs().length;
  process.kill(service.pid, 'SIGUSR2');
  expect(await service.exited).toEqual({ code: 1, signal: null });
  const said = service.logs().slice(before);
  // It may not have said before that Redis is ready.
  const errors = said.map((line) => JSON.parse(line)).filter(({ level }) => level >= 50);
  expect(errors).toMatchObject([
    { level: 60, msg: 'nobody caught: a bug', err: { type: 'Error', message: 'a bug', stack: expect.any(String) } },
  ]);
  expect(said.join()).not.toContain('S3CR3T');
});
