import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { repoRoot } from '@onqueue/launcher';
import { request } from './support/client.ts';
import { externalModel, writeScore } from './support/models/hostile-models.ts';
import { writeDeclaredFile, writeEchoModel } from './support/models/row-kind-models.ts';
import { writeLinearModel } from './support/models/tiny-models.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';

/** What clients are told of a version that cannot be served: in words of the repository, not of the machine that has it. */

let modelsDir: string;
let platform: TestPlatform;
const place = (name: string) => ({ dir: modelsDir, name, version: '1' });

beforeAll(async () => {
  modelsDir = await mkdtemp(join(tmpdir(), 'onqueue-reasons-'));
  await writeLinearModel(place('good'));
  await writeScore(place('climber'), externalModel({ location: '../../../secret.bin' }));
  const missing = await writeScore(place('missing'), externalModel({ location: 'w.bin' }));
  await rm(join(missing.folder, 'model.onnx'));
  const other = await writeScore(place('other'), externalModel({ location: 'w.bin' }));
  await writeFile(join(other.folder, 'model.onnx'), 'other bytes');
  const corrupt = Buffer.from('no graph at all');
  await writeScore(place('corrupt'), corrupt);
  await writeModule('changed', 'export function preprocess() {}', 'export function preprocess() { return {}; }');
  await writeModule('thrower', `throw new Error('it looked into ' + process.cwd() + ' and ' + process.argv[1]);`);
  await writeModule('ender', `process.abort();`);
  platform = await startTestPlatform({ modelsDir });
});

afterAll(async () => {
  await platform?.stop();
  await rm(modelsDir, { recursive: true, force: true });
});

async function writeModule(name: string, code: string, later = code): Promise<void> {
  const file = await writeDeclaredFile(place(name), 'code.js', code);
  const { folder } = await writeEchoModel(place(name), {
    input: 'x',
    shape: [-1],
    manifest: { kind: 'custom', row: { schema: { type: 'object' } }, preprocess: { type: 'module', ...file } },
    golden: [{ input: {}, output: {} }],
  });
  await writeFile(join(folder, 'code.js'), later);
}

test.each([
  ['climber', 'failed', /^model\.onnx: the tensor "weight" wants to read "\.\.\/\.\.\/\.\.\/secret\.bin", which leads/],
  ['missing', 'incomplete', /^missing\/1\/model\.json#\/artifact\/file: names missing\/1\/model\.onnx, which cannot/],
  ['other', 'incomplete', /says [0-9a-f]{64}, where other\/1\/model\.onnx has the SHA-256/],
  ['corrupt', 'failed', /^corrupt\/1\/model\.onnx is not a model that can be loaded/],
  ['changed', 'failed', /^changed\/1\/code\.js has the SHA-256/],
  ['thrower', 'failed', /^code\.js cannot be loaded: it looked into tmp\/onqueue-runner-\w+ and apps\/worker\/dist\//],
  ['ender', 'failed', /^The runner was killed by SIGABRT/],
])('%s is %s for a reason without a path of the machine', async (name, state, says) => {
  const { body } = await request(`${platform.baseUrl}/models/${name}/versions`);
  expect(body).toMatchObject({ data: [{ version: '1', state, reason: expect.stringMatching(says) }] });
  for (const folder of [modelsDir, tmpdir(), repoRoot, homedir(), dirname(process.execPath), 'file:/']) {
    expect(JSON.stringify(body)).not.toContain(`${folder}/`);
  }
});

test('operators find the whole path in the log of the worker', () => {
  const lines = platform.workers[0]?.logs().join('\n');
  expect(lines).toContain(`${join(modelsDir, 'corrupt/1/model.onnx')} is not a model`);
});
