import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { ModelManifest } from '@onqueue/shared';
import type { GoldenLine, WrittenModel } from '../../../../test/support/models/model-folder.ts';
import { writeDeclaredFile, writeEchoModel } from '../../../../test/support/models/row-kind-models.ts';
import { readGoldenRows } from '../models/golden-rows.ts';
import { scanModelRepository } from '../models/model-repository.ts';
import { ModelProgram } from './model-program.ts';
import { ortEngine } from './ort-engine.ts';
import { RunnerProcess } from './runner-process.ts';
import { warmUp } from './warm-up.ts';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'onqueue-refused-'));
});
afterAll(() => rm(dir, { recursive: true }));

const place = (name: string) => ({ dir, name, version: '1' });
const argmax = { type: 'argmax', output: 'y' };

/** A tensor of three numbers, and where the largest of them is. */
function echo(name: string, postprocess: object = argmax, golden: GoldenLine[] = []): Promise<WrittenModel> {
  return writeEchoModel(place(name), {
    input: 'x',
    shape: [3],
    manifest: {
      kind: 'tensor',
      row: { tensors: [{ name: 'x', dtype: 'float32', shape: [3] }] },
      preprocess: { type: 'pad' },
      postprocess: postprocess as ModelManifest['postprocess'],
    },
    golden: [{ input: { x: [0, 0, 1] }, output: {} }, ...golden],
  });
}

async function refusalOf({ folder, manifest }: WrittenModel): Promise<string> {
  const starting = RunnerProcess.start({
    folder,
    manifest,
    intraOpNumThreads: 1,
    startTimeoutMs: 60_000,
    env: process.env,
  });
  const error = await starting.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toMatchObject({ code: 'model_unavailable', reason: 'load_failed' });
  return (error as Error).message;
}

test('a file of labels that has too few of them, and one that is another', async () => {
  const file = await writeDeclaredFile(place('labels'), 'labels.txt', 'cat\ndog\n');
  expect(await refusalOf(await echo('labels', { ...argmax, labels_file: file }))).toBe(
    'Postprocessing needs 2 value(s) a row (labels.txt has 2 labels) of "y", whose shape is [-1, 3].',
  );
  const other = { ...file, sha256: '0'.repeat(64) };
  expect(await refusalOf(await echo('labels', { ...argmax, labels_file: other }))).toMatch(
    /labels\.txt has the SHA-256 [0-9a-f]{64}, the manifest says 0{64}\.$/,
  );
});

test('a postprocessing that reads a tensor that is not there, and a graph that lacks one', async () => {
  expect(await refusalOf(await echo('tensors', { ...argmax, output: 'z' }))).toBe(
    'Postprocessing reads "z", which is no output of the manifest.',
  );
  const { folder, manifest } = await echo('tensors');
  const more = {
    ...manifest,
    outputs: [...manifest.outputs, { name: 'z', dtype: 'float32', shape: [-1] }],
  } as ModelManifest;
  expect(await refusalOf({ folder, manifest: more })).toContain('output "z" is not in the graph, which has "y"');
});

test('an artifact with another digest than that of the manifest', async () => {
  const { folder, manifest } = await echo('digest');
  const artifact = { ...manifest.artifact, sha256: '0'.repeat(64) };
  expect(await refusalOf({ folder, manifest: { ...manifest, artifact } })).toContain(
    `the manifest says ${'0'.repeat(64)}`,
  );
});

test('golden rows that are answered otherwise: the row that is worst by its own tolerance is shown', async () => {
  const model = await echo('golden', argmax, [
    { input: { x: [0, 0, 1] }, output: { index: 2, value: 1.5 }, tolerance: 1 },
    { input: { x: [0, 0, 1] }, output: { index: 2, value: 1.25 }, tolerance: 0.125 },
    { input: { x: [0, 3, 1] }, output: { index: 1, value: 3.0625 } },
  ]);
  expect(await refusalOf(model)).toBe(
    '2 of 4 golden rows differ by more than is tolerated; the worst is that of line 4, at /value: ' +
      'expected 3.0625, got 3, with a tolerance of 0.00001.',
  );
});

test('golden rows within the tolerances of their own are no reason', async () => {
  const { folder, manifest } = await echo('tolerant', argmax, [
    { input: { x: [0, 0, 1] }, output: { index: 2, value: 1.5 }, tolerance: 0.5 },
  ]);
  const session = await ortEngine.load(join(folder, manifest.artifact.file), { intraOpNumThreads: 1 });
  const program = await ModelProgram.create({ manifest, session, folder });
  const rows = await readGoldenRows(join(folder, 'golden.jsonl'));
  await warmUp({ program, rows, tolerance: manifest.golden?.tolerance ?? 0, maxBatchSize: 2 });
  await program.release();
});

test('a manifest whose parts contradict each other says where', async () => {
  const { folder } = await echo('manifest');
  const path = join(folder, 'model.json');
  const manifest = JSON.parse(await readFile(path, 'utf8'));
  const errorOf = async (change: object) => {
    await writeFile(path, JSON.stringify({ ...manifest, ...change }));
    const entries = await scanModelRepository({ modelsDir: dir });
    return entries.find((entry) => entry.folder === folder)?.error;
  };
  const photo = { type: 'photo', width: 2, height: 2, color: 'rgb', resample: 'box', layout: 'NCHW' };
  const image = { image: { formats: ['png'], max_bytes: 9, max_pixels: 9 } };
  const preprocess = { ...photo, fit: 'stretch', shorter_side: 3 };
  expect(await errorOf({ kind: 'image', row: image, preprocess })).toMatchObject({
    pointer: '/preprocess/shorter_side',
    detail: 'shorter_side is for center_crop',
  });
  expect(await errorOf({ postprocess: { ...argmax, labels: ['a'], labels_file: manifest.artifact } })).toMatchObject({
    pointer: '/postprocess',
    detail: 'has labels or a labels_file, not both',
  });
  const category = { name: 'x', type: 'category', categories: ['a'], encode: 'one_hot', unknown: 'b' };
  expect(
    await errorOf({ kind: 'tabular', row: { fields: [category] }, preprocess: { type: 'columns' } }),
  ).toMatchObject({
    pointer: '/row/fields/0',
  });
  const schema = { type: 'object', properties: { a: { $ref: '#' } } };
  const module = { type: 'module', file: 'a.js', sha256: '0'.repeat(64) };
  expect(await errorOf({ kind: 'custom', row: { schema }, preprocess: module })).toMatchObject({
    pointer: '/row/schema/properties/a',
    detail: 'Unrecognized key: "$ref"',
  });
});
