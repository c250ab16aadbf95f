import { expect, test } from '@jest/globals';
import type { TensorSpec } from '@onqueue/shared';
import { GraphRuns } from './graph-runs.ts';
import type { Tensors } from './inference-engine.ts';
import { ModelLoadError } from './model-load-error.ts';

const spec = (name: string, shape: number[], batch_axis?: number | null): TensorSpec => ({
  name,
  dtype: 'float32',
  shape,
  ...(batch_axis === undefined ? {} : { batch_axis }),
});
const tensors = (dims: number[]): Tensors => {
  const data = Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, index) => index);
  return { x: { dtype: 'float32', data, dims } };
};

test('a free batch in front takes any number of rows', () => {
  const runs = new GraphRuns({ inputs: [spec('x', [-1, 2])], outputs: [spec('y', [-1])] }, ['y']);
  expect(runs.rowsPerRun).toBe(Number.POSITIVE_INFINITY);
  expect(runs.feedsOf(tensors([3, 2])).x?.dims).toEqual([3, 2]);
});

test('a fixed batch is filled up, and what answers the filling is cut off', () => {
  const runs = new GraphRuns({ inputs: [spec('x', [4, 2])], outputs: [spec('y', [4, 1])] }, ['y']);
  expect(runs.rowsPerRun).toBe(4);
  expect(runs.feedsOf(tensors([3, 2])).x).toEqual({
    dtype: 'float32',
    data: Float32Array.of(0, 1, 2, 3, 4, 5, 4, 5),
    dims: [4, 2],
  });
  const y = { dtype: 'float32', data: Float32Array.of(1, 2, 3, 3), dims: [4, 1] } as const;
  expect(runs.rowsOf({ y }, 3).y).toEqual({ dtype: 'float32', data: Float32Array.of(1, 2, 3), dims: [3, 1] });
});

test('a batch that is elsewhere, or nowhere, makes a run of each row', () => {
  const inputs = [spec('x', [2, -1, 3], 1), spec('rate', []), spec('matrix', [2, 2], null)];
  const runs = new GraphRuns({ inputs, outputs: [spec('y', [2, -1], 1), spec('sum', [])] }, ['y', 'sum']);
  expect(runs.rowsPerRun).toBe(1);
  const { x } = tensors([1, 2, 3]);
  const { x: rate } = tensors([1]);
  const { x: matrix } = tensors([1, 2, 2]);
  const feeds = runs.feedsOf({ x, rate, matrix } as Tensors);
  expect([feeds.x?.dims, feeds.rate?.dims, feeds.matrix?.dims]).toEqual([[2, 1, 3], [], [2, 2]]);
  const { x: y } = tensors([2, 1]);
  const { x: sum } = tensors([]);
  const answers = runs.rowsOf({ y, sum } as Tensors, 1);
  expect([answers.y?.dims, answers.sum?.dims]).toEqual([[1, 2], [1]]);
});

test('an output that nothing reads decides nothing', () => {
  const outputs = [spec('y', [-1, 1]), spec('loss', [])];
  expect(new GraphRuns({ inputs: [spec('x', [-1, 2])], outputs }, ['y']).rowsPerRun).toBe(Number.POSITIVE_INFINITY);
  expect(new GraphRuns({ inputs: [spec('x', [-1, 2])], outputs }, ['y', 'loss']).rowsPerRun).toBe(1);
});

test.each([
  ['of several sizes', [spec('x', [4, 2]), spec('z', [2, 2])]],
  ['of no rows', [spec('x', [0, 2])]],
  ['fixed at more than one, with a tensor that has none', [spec('x', [4, 2]), spec('rate', [])]],
])('refuses a batch %s', (_, inputs) => {
  expect(() => new GraphRuns({ inputs, outputs: [] }, [])).toThrow(ModelLoadError);
});
