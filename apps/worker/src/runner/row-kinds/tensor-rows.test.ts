import { expect, test } from '@jest/globals';
import type { ModelManifest } from '@onqueue/shared';
import { ModelLoadError } from '../model-load-error.ts';
import { tensorRows } from './tensor-rows.ts';

type TensorManifest = Extract<ModelManifest, { kind: 'tensor' }>;

function manifestOf(tensors: TensorManifest['row']['tensors']): TensorManifest {
  const inputs = tensors.map(({ name, dtype, shape }) => ({ name, dtype, shape: [-1, ...shape] }));
  return { kind: 'tensor', inputs, row: { tensors } } as unknown as TensorManifest;
}

test('rows are filled up to the longest of their batch, in every dimension that varies', async () => {
  const manifest = manifestOf([
    { name: 'ids', dtype: 'int64', shape: [-1], pad_value: 7 },
    { name: 'grid', dtype: 'float32', shape: [-1, 2, -1], pad_value: -1 },
    { name: 'words', dtype: 'string', shape: [-1], pad_value: '[PAD]' },
    { name: 'age', dtype: 'float32', shape: [] },
  ]);
  const { feeds, joined, lengths } = await tensorRows(manifest).prepare([
    { ids: [1, 2, 3], grid: [[[1], [2]]], words: ['a'], age: 30 },
    {
      ids: [4],
      grid: [
        [
          [1, 2],
          [3, 4],
        ],
        [
          [5, 6],
          [7, 8],
        ],
      ],
      words: ['b', 'c'],
      age: 40,
    },
  ]);
  expect(joined).toEqual([0, 1]);
  expect(feeds).toEqual({
    ids: { dtype: 'int64', data: BigInt64Array.of(1n, 2n, 3n, 4n, 7n, 7n), dims: [2, 3] },
    grid: {
      dtype: 'float32',
      data: Float32Array.of(1, -1, 2, -1, -1, -1, -1, -1, 1, 2, 3, 4, 5, 6, 7, 8),
      dims: [2, 2, 2, 2],
    },
    words: { dtype: 'string', data: ['a', '[PAD]', 'b', 'c'], dims: [2, 2] },
    age: { dtype: 'float32', data: Float32Array.of(30, 40), dims: [2] },
  });
  expect(Object.fromEntries(lengths ?? [])).toEqual({
    ids: [[3], [1]],
    grid: [
      [1, 1],
      [2, 2],
    ],
    words: [[1], [2]],
    age: [[], []],
  });
});

test('a row that does not fit its tensors stays out of the batch, and makes no other longer', async () => {
  const manifest = manifestOf([{ name: 'a/b', dtype: 'int64', shape: [-1, -1], max_length: [3, 2] }]);
  const bad: [unknown, string | undefined][] = [
    [null, undefined],
    [{}, '/a~1b'],
    [{ 'a/b': [] }, '/a~1b'],
    [{ 'a/b': [[1], [2], [3], [4]] }, '/a~1b'],
    [{ 'a/b': [[1, 2, 3]] }, '/a~1b/0'],
    [{ 'a/b': [[1, 2], [3]] }, '/a~1b/1'],
    [{ 'a/b': [[1, 0.5]] }, '/a~1b/0/1'],
    [{ 'a/b': [['one']] }, '/a~1b/0/0'],
  ];
  const { feeds, joined, failures } = await tensorRows(manifest).prepare([
    ...bad.map(([row]) => row),
    { 'a/b': [[5]] },
  ]);
  expect(joined).toEqual([bad.length]);
  expect([...failures.values()].map((failure) => failure.toRowError().pointer)).toEqual(
    bad.map(([, pointer]) => pointer),
  );
  expect(feeds['a/b']).toEqual({ dtype: 'int64', data: BigInt64Array.of(5n), dims: [1, 1, 1] });
});

test.each([
  ['another shape', [{ name: 'x', dtype: 'float32', shape: [-1, -1, 3] }]],
  ['another dtype', [{ name: 'x', dtype: 'int64', shape: [-1, -1] }]],
  ['another name', [{ name: 'y', dtype: 'float32', shape: [-1, -1] }]],
  ['no input', []],
] as const)('refuses a manifest whose inputs have %s', (_, inputs) => {
  const manifest = {
    ...manifestOf([{ name: 'x', dtype: 'float32', shape: [-1] }]),
    inputs,
  } as unknown as TensorManifest;
  expect(() => tensorRows(manifest)).toThrow(ModelLoadError);
});
