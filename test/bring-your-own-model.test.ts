import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { repoRoot } from '@onqueue/launcher';
import { worstDifference } from '@onqueue/worker/model-tools';
import { onqueue } from './support/cli.ts';
import { postJob, request, runJob } from './support/client.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';

/** Exports of skl2onnx, onnxmltools and onnx with the answers of the Python that made them: see make.py there. */
const STRANGERS = join(repoRoot, 'test/fixtures/strangers');

interface Expected {
  model: string;
  row: Record<string, unknown>;
  output: Record<string, unknown>;
}

const expected = (await readFile(join(STRANGERS, 'expected.jsonl'), 'utf8'))
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as Expected);
const files = (await readdir(STRANGERS)).filter((file) => /\.(onnx|ort)$/.test(file)).sort();
const nameOf = (file: string) => file.replace(/\.\w+$/, '');

/** Each file is loaded some four times, in processes of their own. */
const SETUP_TIMEOUT_MS = 600_000;

let root: string;
let platform: TestPlatform;
const added = new Map<
  string,
  { batch: string; kind: string; postprocess: { type: string }; notes: string[]; curl: string }
>();

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'onqueue-strangers-'));
  const waiting = [...files];
  const addNext = async (): Promise<void> => {
    const file = waiting.shift();
    if (file === undefined) return;
    const args = ['models', 'add', join(STRANGERS, file), '--name', nameOf(file), '--models-dir', root, '--json'];
    const { code, stdout, stderr } = await onqueue(args);
    if (code !== 0) throw new Error(`${file}: ${stdout}${stderr}`);
    added.set(nameOf(file), JSON.parse(stdout));
    return addNext();
  };
  await Promise.all([addNext(), addNext(), addNext()]);
  platform = await startTestPlatform({ modelsDir: root });
}, SETUP_TIMEOUT_MS);

afterAll(async () => {
  await platform?.stop();
  await rm(root, { recursive: true, force: true });
});

test('every file of a stranger is added without a question', () => {
  expect([...added.keys()].sort()).toEqual(files.map(nameOf).sort());
});

describe('is answered over HTTP as by the Python that made it, alone and with others', () => {
  test.each(files.map(nameOf))('%s', async (model) => {
    const rows = expected.filter((line) => line.model === model);
    expect(rows.length).toBeGreaterThan(0);
    // Seven rows at least: more than a fixed batch of four takes at once.
    const inputs = Array.from({ length: Math.max(7, rows.length) }, (_, index) => rows[index % rows.length]);
    for (const batch of [rows.slice(0, 1), inputs]) {
      const { results } = await runJob(platform.baseUrl, { model, inputs: batch.map((line) => line?.row) });
      for (const [index, result] of results?.entries() ?? []) {
        expect(result.status).toBe('succeeded');
        const worst = worstDifference(result.output, batch[index]?.output);
        if (!(worst.difference <= 2e-4)) expect({ index, ...worst }).toBe('as in Python');
      }
      expect(results).toHaveLength(batch.length);
    }
  });
});

test.each([
  ['iris-logreg', 'free', 'classify'],
  ['iris-forest', 'free', 'classify'],
  ['cancer-xgboost', 'free', 'classify'],
  ['diabetes', 'free', 'score'],
  ['two-columns', 'free', 'score'],
  ['element-types', 'free', 'raw'],
  ['encoder', 'free', 'raw'],
  ['fixed-four', 'fixed', 'score'],
  ['ort-format', 'fixed', 'score'],
  ['traced-cnn', 'fixed', 'raw'],
  // Padding would change the mean.
  ['mean-length', 'row_by_row', 'score'],
  // Rows depend on each other in a batch.
  ['centred', 'row_by_row', 'raw'],
  ['matrix', 'row_by_row', 'raw'],
  ['voice', 'row_by_row', 'raw'],
])('%s is found out to be %s, and answers a %s', (model, batch, type) => {
  expect(added.get(model)).toMatchObject({ batch, postprocess: { type } });
});

test('states go from one row to the next as tensors like any other', async () => {
  const [first, second] = expected.filter(({ model }) => model === 'voice');
  const step = async (row: unknown) => {
    const { results } = await runJob(platform.baseUrl, { model: 'voice', inputs: [row] });
    return results?.[0]?.output as Record<string, unknown>;
  };
  const { hn, cn } = await step(first?.row);
  const next = await step({ ...second?.row, h: hn, c: cn });
  expect(worstDifference(next, second?.output).difference).toBeLessThan(1e-5);
});

test('weights beside a model are part of what a result says of its making', async () => {
  const { artifact } = JSON.parse(stripComments(await readFile(join(root, 'encoder/1/model.json'), 'utf8')));
  expect(artifact.data).toEqual([{ file: 'encoder.onnx.data', sha256: expect.stringMatching(/^[0-9a-f]{64}$/) }]);
  const [line] = expected.filter(({ model }) => model === 'encoder');
  const { provenance } = await runJob(platform.baseUrl, { model: 'encoder', inputs: [line?.row] });
  expect(provenance?.artifact_sha256).toMatch(/^[0-9a-f]{64}$/);
  expect(provenance?.artifact_sha256).not.toBe(artifact.sha256);
});

test('a value that its element type cannot hold is refused at its place', async () => {
  const [line] = expected.filter(({ model }) => model === 'element-types');
  const faults: [string, unknown][] = [
    ['half', 65_505],
    ['byte', 128],
    ['ubyte', -1],
    ['long', '9223372036854775808'],
    ['ulong', -1],
    ['flag', 1],
    ['text', 5],
  ];
  const inputs = faults.map(([name, value]) => ({ ...line?.row, [name]: [value, value] }));
  const { status, body } = await postJob(platform.baseUrl, { model: 'element-types', inputs });
  expect([status, body]).toMatchObject([
    400,
    { errors: faults.map(([name], row) => ({ pointer: `/inputs/${row}/${name}/0` })) },
  ]);
});

test('GET /models tells where the batch is', async () => {
  const { body } = await request(`${platform.baseUrl}/models/voice`);
  expect(body).toMatchObject({
    kind: 'tensor',
    row_schema: { properties: { sr: { anyOf: [{ type: 'integer' }, {}] } } },
  });
});

test('the versions pass the check that comes before serving, and the list has them all', async () => {
  const check = await onqueue(['models', 'check', '--models-dir', root, '--json']);
  expect(JSON.parse(check.stdout)).toEqual(
    files.map((file) => expect.objectContaining({ name: nameOf(file), status: 'ok', rows_that_differ: 0 })),
  );
  expect(check.code).toBe(0);
  const list = await onqueue(['models', 'list', '--models-dir', root, '--json']);
  expect(JSON.parse(list.stdout)).toEqual(
    files.map((file) => expect.objectContaining({ name: nameOf(file), version: '1' })),
  );
});

/** Comments stand on lines of their own in a draft. */
function stripComments(text: string): string {
  return text.replace(/^\s*\/\/.*$/gm, '');
}
