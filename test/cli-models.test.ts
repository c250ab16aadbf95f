import { spawnSync } from 'node:child_process';
import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { repoRoot } from '@onqueue/launcher';
import { onqueue } from './support/cli.ts';

const STRANGERS = join(repoRoot, 'test/fixtures/strangers');
const IRIS = join(STRANGERS, 'iris-logreg.onnx');

let root: string;
let repository: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'onqueue-cli-'));
  repository = join(root, 'models');
  const { code, stdout } = await add(IRIS, 'iris');
  expect([code, stdout]).toEqual([0, expect.stringContaining('iris/1 is ready')]);
});
afterAll(() => rm(root, { recursive: true, force: true }));

function add(file: string, name: string, ...more: string[]) {
  return onqueue(['models', 'add', file, '--name', name, '--models-dir', repository, ...more]);
}

test('npx onqueue runs in the folder that it is called from', () => {
  const bin = join(repoRoot, 'node_modules/.bin/onqueue');
  const { status, stdout, stderr } = spawnSync(bin, ['models', 'inspect', 'iris-logreg.onnx', '--json'], {
    cwd: STRANGERS,
    encoding: 'utf8',
  });
  expect([status, stderr]).toEqual([0, '']);
  expect(JSON.parse(stdout)).toMatchObject({
    format: 'onnx',
    producer: 'skl2onnx 1.20.0',
    inputs: [{ name: 'X', dtype: 'float32', shape: ['', 4] }],
    outputs: [{ name: 'output_label', dtype: 'string' }, { name: 'output_probability' }],
    batch: 'free, as far as the graph says',
  });
});

test('a draft says what it means, and is a manifest with its comments', async () => {
  const text = await readFile(join(repository, 'iris/1/model.json'), 'utf8');
  expect(text).toContain('// The rows are made up: they prove that answers stay the same, not that they are right.');
  expect(text).toContain('// classify: the labels are those of the ZipMap');
  const list = await onqueue(['models', 'list', '--models-dir', repository]);
  expect(list.stdout).toContain('iris/1');
});

test('the next version is one more, and one that is there is not written over', async () => {
  const next = await add(IRIS, 'counted', '--json');
  const after = await add(IRIS, 'counted', '--json');
  expect([next, after].map(({ stdout }) => JSON.parse(stdout).version)).toEqual(['1', '2']);
  const again = await add(IRIS, 'counted', '--version', '2');
  expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining('is there already') });
});

test('labels and rows can be given', async () => {
  const rows = join(root, 'rows.jsonl');
  await writeFile(rows, '{"x": [[[1,1],[1,1]]]}\n');
  const named = await add(join(STRANGERS, 'traced-cnn.onnx'), 'named', '--labels', 'cat,dog,cow,hen', '--json');
  expect(JSON.parse(named.stdout).postprocess).toMatchObject({
    type: 'classify',
    labels: ['cat', 'dog', 'cow', 'hen'],
  });
  const wrong = await add(join(STRANGERS, 'traced-cnn.onnx'), 'wrong', '--labels', 'cat,dog');
  expect(wrong).toMatchObject({ code: 1, stderr: expect.stringContaining('There are 2 labels, but no output') });
  const shaped = await add(join(STRANGERS, 'traced-cnn.onnx'), 'shaped', '--rows', rows);
  expect(shaped).toMatchObject({ code: 1, stderr: expect.stringContaining('has no answer to the rows of --rows') });
  const given = join(root, 'two-columns.jsonl');
  await writeFile(given, '{"age": 1.5, "income": -2}\n{"age": 0, "income": 0}\n');
  const mine = await add(join(STRANGERS, 'two-columns.onnx'), 'mine', '--rows', given, '--json');
  expect(JSON.parse(mine.stdout)).toMatchObject({ golden_rows: 2, is_synthetic: false, kind: 'tabular' });
});

test.each<[string, (file: string) => Promise<unknown>, RegExp]>([
  ['a file that is not there', async () => undefined, /cannot be read/],
  ['a file that is no model', (file) => writeFile(file, 'no model'), /not a model that can be loaded/],
  [
    'a model that is cut off',
    async (file) => writeFile(file, (await readFile(IRIS)).subarray(0, 400)),
    /not a model that can be loaded/,
  ],
  ['a model whose data is missing', (file) => copyFile(join(STRANGERS, 'encoder.onnx'), file), /cannot be copied/],
])('refuses %s, and leaves nothing behind', async (title, write, says) => {
  const file = join(root, `${title.replaceAll(' ', '-')}.onnx`);
  await write(file);
  const before = await readdir(repository);
  const { code, stderr } = await add(file, 'refused');
  expect([code, stderr]).toEqual([1, expect.stringMatching(says)]);
  expect(await readdir(repository)).toEqual(before);
});

test('check shows the worst row of a version that differs, and ends with 1', async () => {
  await add(IRIS, 'drifted');
  const golden = join(repository, 'drifted/1/golden.jsonl');
  const lines = (await readFile(golden, 'utf8')).trim().split('\n');
  const third = JSON.parse(lines[2] ?? '');
  const { probability } = third.output;
  third.output.probability = probability - 0.25;
  lines[2] = JSON.stringify(third);
  await writeFile(golden, `${lines.join('\n')}\n`);

  const { code, stdout } = await onqueue(['models', 'check', 'drifted/1', '--models-dir', repository, '--json']);
  expect(code).toBe(1);
  const [check] = JSON.parse(stdout);
  expect(check).toMatchObject({
    status: 'differs',
    rows: 5,
    rows_that_differ: 1,
    worst: { row: 3, pointer: '/probability', expected: probability - 0.25, difference: expect.closeTo(0.25) },
  });
  const people = await onqueue(['models', 'check', join(repository, 'drifted/1')]);
  expect(people).toMatchObject({
    code: 1,
    stdout: expect.stringMatching(/worst: row 3 at \/probability: expected .*, got .*\n {2}a difference of 0\.25/),
    stderr: expect.stringContaining('1 of 1 versions failed'),
  });
});

test('check tells what cannot be loaded at all', async () => {
  await add(IRIS, 'changed');
  await writeFile(join(repository, 'changed/1/model.onnx'), 'other bytes');
  const { code, stdout } = await onqueue(['models', 'check', 'changed', '--models-dir', repository]);
  expect([code, stdout]).toEqual([1, expect.stringMatching(/changed\/1 {2}broken\n.*has the SHA-256/)]);
  const none = await onqueue(['models', 'check', 'nothing', '--models-dir', repository, '--json']);
  expect([none.code, JSON.parse(none.stdout).error]).toEqual([1, expect.stringContaining('There is no nothing in')]);
});

test.each([
  [['models', 'add', 'x.onnx'], '--name'],
  [['models', 'add', 'x.onnx', '--name', 'A B'], 'a model name is'],
  [['models', 'inspect', 'x.onnx', '--timeout', '0'], 'more than 0'],
  [['models', 'unknown'], 'unknown command'],
  [['models', 'list', '--colour'], 'unknown option'],
])('a command line that is not understood ends with 2: %j', async (args, says) => {
  const { code, stdout, stderr } = await onqueue(args);
  expect([code, stdout, stderr]).toEqual([2, '', expect.stringContaining(says)]);
});

test('--help of every command says what it takes', async () => {
  for (const command of [[], ['models'], ['models', 'add'], ['models', 'check']]) {
    const { code, stdout } = await onqueue([...command, '--help']);
    expect([code, stdout]).toEqual([0, expect.stringContaining('Usage: onqueue')]);
  }
});
