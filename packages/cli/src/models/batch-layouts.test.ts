import { expect, test } from '@jest/globals';
import { batchLayouts } from './batch-layouts.ts';

const tensor = (name: string, shape: (number | string)[]) => ({ name, dtype: 'float32', shape });
const readings = (inputs: (number | string)[][], outputs: (number | string)[][]) =>
  batchLayouts({
    inputs: inputs.map((shape, index) => tensor(`in${index}`, shape)),
    outputs: outputs.map((shape, index) => tensor(`out${index}`, shape)),
  }).map(({ batch, ...sides }) => [
    batch,
    ...[sides.inputs, sides.outputs].map((specs) =>
      specs.map(({ shape, batch_axis: axis }) => (axis === undefined ? shape : { shape, axis })),
    ),
  ]);

test('a first dimension that varies is tried as a batch of any size, then of one row', () => {
  const [first, second] = readings([['N', 4]], [['N', 2]]);
  expect([first, second]).toEqual([
    ['free', [[-1, 4]], [[-1, 2]]],
    ['row_by_row', [[1, 4]], [[1, 2]]],
  ]);
});

test('a fixed first dimension is tried as a batch of that size, and else as none', () => {
  expect(readings([[4, 6]], [[4, 1]])).toEqual([
    ['fixed', [[4, 6]], [[4, 1]]],
    ['row_by_row', [{ shape: [4, 6], axis: null }], [{ shape: [4, 1], axis: null }]],
  ]);
});

test('a batch is followed by its name to where it stands in states', () => {
  const all = readings(
    [['B', 16], [], [2, 'B', 8]],
    [
      ['B', 1],
      [2, 'B', 8],
    ],
  );
  expect(all[0]).toEqual([
    'row_by_row',
    [[-1, 16], [], { shape: [2, -1, 8], axis: 1 }],
    [[-1, 1], { shape: [2, -1, 8], axis: 1 }],
  ]);
});

test('without names, the first of two leading dimensions that varies is taken for it', () => {
  const [first] = readings([['', 16], [], [2, '', 8]], [['', 1]]);
  expect(first).toEqual(['row_by_row', [[-1, 16], [], { shape: [2, -1, 8], axis: 1 }], [[-1, 1]]]);
});

test('the last reading takes every tensor as it is', () => {
  expect(readings([['N', 'M']], [[]]).at(-1)).toEqual(['row_by_row', [{ shape: [-1, -1], axis: null }], [[]]]);
});
