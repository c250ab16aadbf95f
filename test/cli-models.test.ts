import { spawnSync } from 'node:child_process';
import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { repoRoot } from '@onqueue/launcher';
import { onqueueHere as onqueue } from './support/cli.ts';

const STRANGERS = join(repoRoot, 'test/fixtures/strangers');
const TEXTS = join(repoRoot, 'test/fixtures/hugging-face');
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

describe('the kind of rows', () => {
  const checked = async (version: string) => {
    const { stdout } = await onqueue(['models', 'check', version, '--models-dir', repository, '--json']);
    return JSON.parse(stdout)[0];
  };
  /** The graph and the tokenizer, and nothing else of an export. */
  const bare = async (name: string) => {
    const folder = await mkdtemp(join(root, 'bare-'));
    for (const file of ['model.onnx', 'tokenizer.json']) await copyFile(join(TEXTS, name, file), join(folder, file));
    return join(folder, 'model.onnx');
  };

  test('is text where a tokenizer lies beside token ids, with the labels of a config beside it', async () => {
    const { stdout } = await add(join(TEXTS, 'classifier/model.onnx'), 'mood', '--json');
    expect(JSON.parse(stdout)).toMatchObject({
      kind: 'text',
      golden_rows: 5,
      postprocess: { type: 'classify', labels: ['negative', 'neutral', 'positive'] },
    });
    expect(await checked('mood')).toMatchObject({ status: 'ok', rows: 5, rows_that_differ: 0 });
  });

  test('is text with a tokenizer alone: labels and rows can be given', async () => {
    const file = await bare('classifier');
    const rows = join(root, 'texts.jsonl');
    await writeFile(rows, '{"text": "good"}\n{"text": "one", "text_pair": "two"}\n');
    const more = ['--labels', 'bad,so so,good', '--rows', rows, '--json'];
    const named = JSON.parse((await add(file, 'labelled', ...more)).stdout);
    expect(named).toMatchObject({ kind: 'text', golden_rows: 2, is_synthetic: false });
    expect(named.postprocess).toMatchObject({ type: 'classify', labels: ['bad', 'so so', 'good'] });
    expect(await checked('labelled')).toMatchObject({ status: 'ok', rows: 2 });
    const encoder = await bare('encoder');
    const unbounded = await add(encoder, 'sentences');
    expect(unbounded).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('Texts of up to 512 tokens were tried'),
    });
    await writeFile(join(encoder, '../tokenizer_config.json'), '{"model_max_length": 32}');
    const sentences = JSON.parse((await add(encoder, 'sentences', '--json')).stdout);
    expect(sentences).toMatchObject({ kind: 'text', postprocess: { type: 'embed', pooling: 'mean' } });
  });

  test('stays token ids when that is asked for, or when rows have them', async () => {
    const file = await bare('classifier');
    const ids = join(root, 'ids.jsonl');
    await writeFile(ids, '{"input_ids": [2, 9, 3], "attention_mask": [1, 1, 1], "token_type_ids": [0, 0, 0]}\n');
    for (const more of [
      ['--kind', 'tensor'],
      ['--rows', ids],
    ]) {
      expect(JSON.parse((await add(file, 'ids', ...more, '--json')).stdout)).toMatchObject({ kind: 'tensor' });
    }
  });

  test('of what has the shape of a picture is tensor, and the draft has all that rows of pictures take', async () => {
    const { stdout } = await add(join(STRANGERS, 'traced-cnn.onnx'), 'cnn', '--json');
    expect(JSON.parse(stdout)).toMatchObject({ kind: 'tensor', notes: [expect.stringContaining('--kind image')] });
    expect(await checked('cnn')).toMatchObject({ status: 'ok', rows: 5 });
    const file = join(repository, 'cnn/1/model.json');
    const text = await readFile(file, 'utf8');
    const [tensors = '', pictures = ''] = text.split(/^ {2}\/\* For rows of pictures.*$/m);
    const turnedOn = tensors + pictures.replaceAll(/^ {2}\/\/ /gm, '  ');
    await writeFile(file, turnedOn);
    expect(await checked('cnn')).toMatchObject({ status: 'ok', rows: 3, rows_that_differ: 0 });
    const list = JSON.parse((await onqueue(['models', 'list', '--models-dir', repository, '--json'])).stdout);
    expect(list.find(({ name }: { name: string }) => name === 'cnn')).toMatchObject({ kind: 'image' });
  });

  test('is image when that is asked for, and it is run on pictures', async () => {
    const { stdout } = await add(join(STRANGERS, 'traced-cnn.onnx'), 'seen', '--kind', 'image', '--json');
    expect(JSON.parse(stdout)).toMatchObject({
      kind: 'image',
      notes: [],
      curl: expect.stringContaining('"image":"iVBOR'),
    });
    const lines = (await readFile(join(repository, 'seen/1/golden.jsonl'), 'utf8')).trim().split('\n');
    const answers = lines.map((line) => JSON.stringify(JSON.parse(line).output));
    // A picture that did not reach the graph would have the answer of any other.
    expect(new Set(answers).size).toBe(3);
    expect(await checked('seen')).toMatchObject({ status: 'ok', rows: 3 });
  });

  test.each([
    ['image', IRIS, 'needs one input of float32 or uint8'],
    ['text', IRIS, 'needs the tokenizer.json'],
    ['tabular', join(STRANGERS, 'traced-cnn.onnx'), 'needs inputs that are a column each'],
  ])('is refused where the graph has no such rows: %s', async (kind, file, says) => {
    const { code, stderr } = await add(file, 'unfit', '--kind', kind);
    expect([code, stderr]).toEqual([1, expect.stringContaining(says)]);
    expect(await readdir(repository)).not.toContain('unfit');
  });
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
  [['models', 'add', 'x.onnx', '--name', 'x', '--kind', 'custom'], 'Allowed choices are'],
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
