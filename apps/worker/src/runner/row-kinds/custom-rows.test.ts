import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { ModelManifest } from '@onqueue/shared';
import { loadPostprocess } from '../load-postprocess.ts';
import { ModelLoadError } from '../model-load-error.ts';
import { rowKindOf } from './row-kind.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'onqueue-module-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function moduleOf(code: string) {
  await writeFile(join(folder, 'code.js'), code);
  return { type: 'module', file: 'code.js', sha256: createHash('sha256').update(code).digest('hex') };
}

async function rowsBy(code: string, inputs: unknown = [{ name: 'x', dtype: 'float32', shape: [-1, -1] }]) {
  const manifest = { kind: 'custom', inputs, preprocess: await moduleOf(code) } as unknown as ModelManifest;
  return rowKindOf(manifest, folder);
}

async function answersBy(code: string, outputs = ['y']) {
  const postprocess = { ...(await moduleOf(code)), outputs };
  const manifest = {
    outputs: [{ name: 'y', dtype: 'float32', shape: [-1, 2] }],
    postprocess,
  } as unknown as ModelManifest;
  return loadPostprocess(manifest, folder);
}

test('rows become tensors one by one, filled up to the longest, nested or typed', async () => {
  const kind = await rowsBy(
    `export function preprocess({ words }) {
      words.push('end');
      return { x: Float32Array.from(words, (word) => word.length), box: [[words.length], [0]], id: 7n > 0 ? [7] : [] };
    }`,
    [
      { name: 'x', dtype: 'float32', shape: [-1, -1] },
      { name: 'box', dtype: 'float32', shape: [-1, 2, 1] },
      { name: 'id', dtype: 'int64', shape: [-1, 1] },
    ],
  );
  const rows = [{ words: ['a', 'bcd'] }, { words: [] }];
  const { feeds, joined, lengths } = await kind.prepare(rows);
  expect(joined).toEqual([0, 1]);
  expect(feeds).toEqual({
    x: { dtype: 'float32', data: Float32Array.of(1, 3, 3, 3, 0, 0), dims: [2, 3] },
    box: { dtype: 'float32', data: Float32Array.of(3, 0, 1, 0), dims: [2, 2, 1] },
    id: { dtype: 'int64', data: BigInt64Array.of(7n, 7n), dims: [2, 1] },
  });
  expect(lengths?.get('x')).toEqual([[3], [1]]);
  // The code had a copy.
  expect(rows).toEqual([{ words: ['a', 'bcd'] }, { words: [] }]);
});

test('what the code throws, or makes of a row that is no tensor, fails that row alone', async () => {
  const kind = await rowsBy(`export function preprocess({ n }) {
    if (n === 0) throw Object.assign(new Error('n is zero'), { pointer: '/n' });
    if (n === 1) throw 'text';
    if (n === 2) return { x: ['one'] };
    if (n === 3) return undefined;
    if (n === 4) return Promise.reject(new Error('nobody hears me'));
    return { x: [n] };
  }`);
  const { joined, feeds, failures } = await kind.prepare([0, 5, 1, 2, 3, 4, 6].map((n) => ({ n })));
  expect(joined).toEqual([1, 6]);
  expect(feeds.x?.data).toEqual(Float32Array.of(5, 6));
  expect(
    [...failures]
      .sort(([a], [b]) => a - b)
      .map(([index, { code, message, pointer }]) => [index, code, message, pointer]),
  ).toEqual([
    [0, 'invalid_row', 'n is zero', '/n'],
    [2, 'invalid_row', 'text', undefined],
    [3, 'model_code_failed', expect.stringContaining('at /x/0'), undefined],
    [4, 'model_code_failed', expect.stringContaining('not an object'), undefined],
    [5, 'model_code_failed', '"preprocess" of the model gave a promise; it has to be synchronous.', undefined],
  ]);
});

test('outputs become an answer one by one, with the row beside them', async () => {
  const { outputs, results } = await answersBy(`export function postprocess({ y }, row) {
    if (row.fail) throw new Error('no answer to this');
    if (row.wrong) return row.wrong === 'array' ? [1] : { f() {} };
    y.data[0] += 1;
    return { sum: y.data[0] + y.data[1], dims: y.dims, dtype: y.dtype, big: 2n ** 60n, all: y.data, none: undefined, name: row.name };
  }`);
  expect(outputs).toEqual(['y']);
  const y = { dtype: 'float32' as const, data: Float32Array.of(1, 2, 3, 4, 5, 6, Number.NaN, 0, 7, 8), dims: [5, 2] };
  const rows = [{ name: 'first' }, { fail: true }, { wrong: 'array' }, {}, { wrong: 'function' }];
  const failed = (code: string, detail: unknown) => ({ status: 'failed', error: { code, detail } });
  expect(results({ y }, 5, undefined, { rows })).toEqual([
    {
      status: 'succeeded',
      output: { sum: 4, dims: [2], dtype: 'float32', big: '1152921504606846976', all: [2, 2], name: 'first' },
    },
    failed('model_code_failed', 'no answer to this'),
    failed('model_code_failed', '"postprocess" of the model gave no object.'),
    failed('non_finite_output', expect.any(String)),
    failed('model_code_failed', 'A function is no answer.'),
  ]);
  expect(y.data[0]).toBe(1);
});

test.each([
  ['that exports nothing of use', 'export const x = 1;', 'code.js exports no function "preprocess".'],
  ['that is not JavaScript', 'export function (', 'code.js cannot be loaded: '],
  ['that throws', 'throw new Error("at once");', 'code.js cannot be loaded: at once'],
  ['that needs a file beside it', 'import "./other.js";', 'code.js cannot be loaded: '],
])('refuses a module %s', async (_, code, message) => {
  const loading = rowsBy(code);
  await expect(loading).rejects.toThrow(ModelLoadError);
  await expect(loading).rejects.toThrow(message);
  await expect(loading).rejects.not.toThrow('base64');
});

test('refuses a module that is not the one of the manifest, or is not there', async () => {
  const preprocess = await moduleOf('export function preprocess() {}');
  await writeFile(join(folder, 'code.js'), 'export function preprocess() { return {}; }');
  const inputs = [{ name: 'x', dtype: 'float32', shape: [-1, 1] }];
  const manifest = { kind: 'custom', inputs, preprocess } as unknown as ModelManifest;
  await expect(rowKindOf(manifest, folder)).rejects.toThrow(`the manifest says ${preprocess.sha256}`);
  const gone = { ...manifest, preprocess: { ...preprocess, file: 'gone.js' } } as unknown as ModelManifest;
  await expect(rowKindOf(gone, folder)).rejects.toThrow('gone.js cannot be read: ENOENT');
});

test('refuses to read outputs that are not there', async () => {
  await expect(answersBy('export function postprocess() {}', ['z'])).rejects.toThrow('reads "z", which is no output');
});
