import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { outlineOf } from '../onnx/graph-outline.ts';
import { readOnnxModel } from '../onnx/onnx-model.ts';
import { RunnerProcess } from '../runner/runner-process.ts';
import { fileSha256 } from './artifact.ts';
import { manifestOfExport } from './hugging-face-export.ts';
import { scanModelRepository } from './model-repository.ts';

const fixtures = fileURLToPath(new URL('../../../../test/fixtures/hugging-face', import.meta.url));

let modelsDir: string;
let folder: string;
beforeEach(async () => {
  modelsDir = await mkdtemp(join(tmpdir(), 'onqueue-exports-'));
  folder = join(modelsDir, 'mood', '1');
});
afterEach(() => rm(modelsDir, { recursive: true }));

const MULTILABEL = (id2label: object) => ({ problem_type: 'multi_label_classification', id2label });
const put = (name: 'classifier' | 'encoder') => cp(join(fixtures, name), folder, { recursive: true });
const readGraph = async (path: string) => outlineOf(await readOnnxModel(path));
const derived = () => manifestOfExport({ folder, name: 'mood', version: '1' }, readGraph);

async function change(file: string, edit: Record<string, unknown>): Promise<void> {
  const path = join(folder, file);
  await writeFile(path, JSON.stringify({ ...JSON.parse(await readFile(path, 'utf8')), ...edit }));
}

test('a classifier becomes a manifest with the labels of its config', async () => {
  await put('classifier');
  const [entry] = await scanModelRepository({ modelsDir });
  expect(entry?.manifest).toMatchObject({
    name: 'mood',
    version: '1',
    kind: 'text',
    artifact: { file: 'model.onnx', sha256: await fileSha256(join(folder, 'model.onnx')) },
    inputs: ['input_ids', 'attention_mask', 'token_type_ids'].map((name) => ({
      name,
      dtype: 'int64',
      shape: [-1, -1],
    })),
    outputs: [{ name: 'logits', dtype: 'float32', shape: [-1, 3] }],
    preprocess: { tokenizer: { file: 'tokenizer.json' }, max_length: 32, too_long: 'truncate', pad_id: 0 },
    postprocess: { type: 'classify', activation: 'softmax', labels: ['negative', 'neutral', 'positive'] },
  });
  expect(entry?.manifest?.golden).toBeUndefined();
});

test('a classifier of several labels at once answers those of its config that reach 0.5', async () => {
  await put('classifier');
  await change('config.json', { problem_type: 'multi_label_classification' });
  expect(await derived()).toMatchObject({
    outputs: [{ name: 'logits', dtype: 'float32', shape: [-1, 3] }],
    postprocess: {
      type: 'multilabel',
      output: 'logits',
      activation: 'sigmoid',
      labels: ['negative', 'neutral', 'positive'],
    },
  });
});

test('a runner tells of a graph what this process would read, and refuses what is none', async () => {
  await put('classifier');
  const path = join(folder, 'model.onnx');
  const options = { path, intraOpNumThreads: 1, startTimeoutMs: 60_000, env: process.env };
  expect(await RunnerProcess.outline(options)).toEqual(await readGraph(path));
  await writeFile(path, 'not a graph');
  await expect(RunnerProcess.outline(options)).rejects.toThrow('is not a model that can be loaded');
});

test('an encoder becomes the mean of its states, or what Sentence Transformers wrote beside it', async () => {
  await put('encoder');
  expect((await derived())?.postprocess).toMatchObject({ type: 'embed', pooling: 'mean', normalize: false });
  await mkdir(join(folder, '1_Pooling'));
  await writeFile(join(folder, '1_Pooling', 'config.json'), '{"pooling_mode_cls_token": true}');
  await writeFile(join(folder, 'modules.json'), '[{"type": "sentence_transformers.models.Normalize"}]');
  await writeFile(join(folder, 'sentence_bert_config.json'), '{"max_seq_length": 20}');
  expect(await derived()).toMatchObject({
    postprocess: { type: 'embed', output: 'last_hidden_state', pooling: 'cls', normalize: true },
    preprocess: { max_length: 20 },
  });
});

test('rows that were put beside it are its golden rows', async () => {
  await put('encoder');
  await writeFile(join(folder, 'golden.jsonl'), '{"input": {"text": "a"}, "output": {}}');
  expect((await derived())?.golden).toEqual({ file: 'golden.jsonl', tolerance: 1e-3 });
});

test('positions that are counted from behind the padding leave room for less', async () => {
  await put('encoder');
  await change('config.json', { model_type: 'roberta', max_position_embeddings: 30, pad_token_id: 1 });
  expect((await derived())?.preprocess).toMatchObject({ max_length: 28, pad_id: 1 });
});

test('a folder with a manifest of its own, or without one of the three files, is not taken for an export', async () => {
  await put('classifier');
  await writeFile(join(folder, 'model.json'), '{}');
  const [own] = await scanModelRepository({ modelsDir });
  expect(own?.error).toMatchObject({ file: join(folder, 'model.json') });
  await rm(join(folder, 'model.json'));
  await rm(join(folder, 'tokenizer.json'));
  expect(await derived()).toBeUndefined();
  const [none] = await scanModelRepository({ modelsDir });
  expect(none?.error?.message).toMatch(/model\.json: cannot be read/);
});

test.each([
  ['label names with a gap', { id2label: { 0: 'a', 2: 'b' } }, '/id2label'],
  ['one name for two labels', { id2label: { 0: 'a', 1: 'a', 2: 'b' } }, '/id2label'],
  ['fewer labels than logits, several at once', MULTILABEL({ 0: 'a', 1: 'b' }), '/id2label'],
  ['no labels for several at once', MULTILABEL({}), '/id2label'],
  ['a number for a name', { architectures: 7 }, '/architectures'],
])('an export with %s is told as a broken folder, with its place', async (_, edit, pointer) => {
  await put('classifier');
  await change('config.json', edit);
  const [entry] = await scanModelRepository({ modelsDir });
  expect(entry?.error).toMatchObject({ file: join(folder, 'config.json'), pointer });
});

test('a config that is no file, or larger than any, is told and not read', async () => {
  await put('encoder');
  await rm(join(folder, 'tokenizer_config.json'));
  await mkdir(join(folder, 'tokenizer_config.json'));
  await expect(derived()).rejects.toMatchObject({ file: join(folder, 'tokenizer_config.json') });
  await rm(join(folder, 'tokenizer_config.json'), { recursive: true });
  await writeFile(join(folder, 'config.json'), ' '.repeat(8 * 1024 * 1024 + 1));
  await expect(derived()).rejects.toThrow(/8388609 bytes, more than 8388608/);
});

test('an export of another task, and a graph that is none, are told as broken folders', async () => {
  await put('classifier');
  await change('config.json', { architectures: ['BertForTokenClassification'] });
  expect((await scanModelRepository({ modelsDir }))[0]?.error?.message).toMatch(/neither .* outputs "logits"/);
  await writeFile(join(folder, 'model.onnx'), 'not a graph');
  expect((await scanModelRepository({ modelsDir }))[0]?.error).toMatchObject({ file: join(folder, 'model.onnx') });
});
