import { expect, test } from '@jest/globals';
import type { ModelManifest, RowFailure } from '@onqueue/shared';
import { tabularColumns } from './tabular-columns.ts';

const manifest = {
  kind: 'tabular',
  inputs: [
    { name: 'amount', dtype: 'float32', shape: [-1, 1] },
    { name: 'hour', dtype: 'int64', shape: [-1, 1] },
    { name: 'a/b', dtype: 'string', shape: [-1, 1] },
  ],
  row: {
    fields: [
      { name: 'amount', type: 'number' },
      { name: 'hour', type: 'integer' },
      { name: 'a/b', type: 'string' },
    ],
  },
} as unknown as Extract<ModelManifest, { kind: 'tabular' }>;

test('every field becomes a column of its own', async () => {
  const { feeds, joined } = await tabularColumns(manifest).prepare([
    { amount: 0.1, hour: 23, 'a/b': 'x' },
    { amount: -5, hour: -1, 'a/b': '' },
  ]);
  expect(joined).toEqual([0, 1]);
  expect(feeds).toEqual({
    amount: { dtype: 'float32', data: Float32Array.of(0.1, -5), dims: [2, 1] },
    hour: { dtype: 'int64', data: BigInt64Array.of(23n, -1n), dims: [2, 1] },
    'a/b': { dtype: 'string', data: ['x', ''], dims: [2, 1] },
  });
});

test('a row without a value for every tensor stays out of the batch, and says which', async () => {
  const good = { amount: 1, hour: 2, 'a/b': 'x' };
  const bad: [unknown, string | undefined][] = [
    [null, undefined],
    ['text', undefined],
    [{ ...good, amount: '1' }, '/amount'],
    [{ ...good, amount: 1e39 }, '/amount'],
    [{ ...good, amount: Number.NaN }, '/amount'],
    [{ ...good, hour: 1.5 }, '/hour'],
    [{ ...good, hour: 2 ** 53 }, '/hour'],
    [{ amount: 1, hour: 2 }, '/a~1b'],
  ];
  const rows = bad.flatMap(([row]) => [row, good]);
  const { feeds, joined, failures } = await tabularColumns(manifest).prepare(rows);
  expect(joined).toEqual(bad.map((_, index) => 2 * index + 1));
  expect(feeds.hour).toEqual({ dtype: 'int64', data: new BigInt64Array(bad.length).fill(2n), dims: [bad.length, 1] });
  expect(feeds['a/b']?.data).toHaveLength(bad.length);
  const told = [...failures.values()].map(({ code, pointer }: RowFailure) => ({ code, pointer }));
  expect(told).toEqual(bad.map(([, pointer]) => ({ code: 'invalid_row', pointer })));
});

test.each([
  [{ inputs: manifest.inputs.slice(1) }, 'Field "amount" has no input'],
  [{ row: { fields: manifest.row.fields.slice(1) } }, 'Input "amount" has no field'],
  [{ inputs: [{ name: 'amount', dtype: 'float32', shape: [-1, 2] }] }, 'shape [-1, 1]'],
  [{ inputs: [{ name: 'amount', dtype: 'string', shape: [-1, 1] }] }, 'is of type number, input "amount" of string'],
])('a manifest whose fields and inputs do not fit is refused: %#', (change, message) => {
  expect(() => tabularColumns({ ...manifest, ...change } as typeof manifest)).toThrow(message);
});
