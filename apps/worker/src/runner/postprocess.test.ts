import { expect, test } from '@jest/globals';
import type { ModelManifest } from '@onqueue/shared';
import { ModelLoadError } from './model-load-error.ts';
import { batchPostprocess } from './postprocess.ts';

const score = {
  outputs: [{ name: 'p', dtype: 'float32', shape: [-1, 1] }],
  postprocess: { type: 'score', output: 'p', field: 'probability' },
  decision: { score: 'probability', bands: [{ decision: 'block', above: 0.82 }, { decision: 'allow' }] },
} as unknown as ModelManifest;

const classify = {
  outputs: [{ name: 'logits', dtype: 'float32', shape: [-1, 3] }],
  postprocess: { type: 'classify', output: 'logits', activation: 'softmax', labels: ['a', 'b', 'c'] },
} as unknown as ModelManifest;

const float32 = (values: number[]) => ({ dtype: 'float32' as const, data: Float32Array.from(values), dims: [] });

test('a score becomes a field and, with a policy, a decision', () => {
  expect(batchPostprocess(score).results({ p: float32([0.25, 0.875]) }, 2)).toEqual([
    { status: 'succeeded', output: { probability: 0.25, decision: 'allow' } },
    { status: 'succeeded', output: { probability: 0.875, decision: 'block' } },
  ]);
});

test('an integer score is a number', () => {
  const manifest = { ...score, outputs: [{ name: 'p', dtype: 'int64', shape: [-1] }] } as ModelManifest;
  const fetches = { p: { dtype: 'int64' as const, data: BigInt64Array.of(7n), dims: [1] } };
  expect(batchPostprocess(manifest).results(fetches, 1)).toEqual([
    { status: 'succeeded', output: { probability: 7, decision: 'block' } },
  ]);
});

test('logits become probabilities, also those that overflow an exponential', () => {
  const [small, large] = batchPostprocess(classify).results(
    { logits: float32([0, Math.log(2), 0, 1000, -1000, 0]) },
    2,
  );
  const close = (value: number) => expect.closeTo(value, 6);
  expect(small).toEqual({
    status: 'succeeded',
    output: { label: 'b', probability: close(0.5), probabilities: { a: close(0.25), b: close(0.5), c: close(0.25) } },
  });
  expect(large).toEqual({
    status: 'succeeded',
    output: { label: 'a', probability: 1, probabilities: { a: 1, b: 0, c: 0 } },
  });
});

test('probabilities of the graph are taken as they are', () => {
  const manifest = { ...classify, postprocess: { ...classify.postprocess, activation: 'none' } } as ModelManifest;
  const [row] = batchPostprocess(manifest).results({ logits: float32([0.25, 0.25, 0.5]) }, 1);
  expect(row).toEqual({
    status: 'succeeded',
    output: { label: 'c', probability: 0.5, probabilities: { a: 0.25, b: 0.25, c: 0.5 } },
  });
});

test('NaN and infinity are strings where the manifest allows them, and no score for a decision', () => {
  const postprocess = { ...score.postprocess, allow_non_finite: true };
  const { decision: _, ...undecided } = { ...score, postprocess };
  const values = [0.5, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  expect(batchPostprocess(undecided as ModelManifest).results({ p: float32(values) }, 4)).toEqual(
    [0.5, 'NaN', 'Infinity', '-Infinity'].map((probability) => ({ status: 'succeeded', output: { probability } })),
  );
  expect(() => batchPostprocess({ ...score, postprocess } as ModelManifest)).toThrow('may be NaN');
});

test('NaN and infinity fail their own row', () => {
  const logits = [1, Number.NaN, 1, 1, 1, 1, Number.NEGATIVE_INFINITY, 0, 0];
  const results = batchPostprocess(classify).results({ logits: float32(logits) }, 3);
  const failed = { status: 'failed', error: expect.objectContaining({ code: 'non_finite_output' }) };
  expect(results).toEqual([failed, expect.objectContaining({ status: 'succeeded' }), failed]);
});

test('a graph that answers another number of rows than it got is not believed', () => {
  expect(() => batchPostprocess(score).results({ p: float32([1, 2, 3]) }, 2)).toThrow('3 values for 2 rows');
});

test.each([
  [{ postprocess: { ...score.postprocess, output: 'q' } }, 'no output of the manifest'],
  [{ outputs: [{ name: 'p', dtype: 'float32', shape: [-1, 2] }] }, 'needs 1 value(s) a row of "p"'],
  [{ outputs: [{ name: 'p', dtype: 'string', shape: [-1, 1] }] }, 'holds strings'],
  [{ decision: { ...score.decision, score: 'other' } }, 'reads "other", the output has "probability"'],
])('a manifest whose postprocessing cannot work is refused: %#', (change, message) => {
  expect(() => batchPostprocess({ ...score, ...change } as ModelManifest)).toThrow(message);
});

test('raw outputs are nested arrays, without what was computed from padding', () => {
  const manifest = {
    kind: 'tensor',
    outputs: [
      { name: 'states', dtype: 'float32', shape: [-1, -1, 2] },
      { name: 'ids', dtype: 'int64', shape: [-1] },
    ],
    row: { tensors: [{ name: 'tokens', dtype: 'int64', shape: [-1] }] },
    postprocess: {
      type: 'raw',
      outputs: [
        { output: 'states', length_of: 'tokens' },
        { output: 'ids', field: 'id' },
      ],
    },
  } as unknown as ModelManifest;
  const fetches = {
    states: { dtype: 'float32' as const, data: Float32Array.of(1, 2, Number.NaN, 4, 5, 6, 7, 8), dims: [2, 2, 2] },
    ids: { dtype: 'int64' as const, data: BigInt64Array.of(1n, 2n), dims: [2] },
  };
  const lengths = new Map([['tokens', [[1], [2]]]]);
  const { outputs, results } = batchPostprocess(manifest);
  expect(outputs).toEqual(['states', 'ids']);
  expect(results(fetches, 2, lengths)).toEqual([
    // The NaN is of the padding.
    { status: 'succeeded', output: { states: [[1, 2]], id: 1 } },
    {
      status: 'succeeded',
      output: {
        states: [
          [5, 6],
          [7, 8],
        ],
        id: 2,
      },
    },
  ]);
  expect(results(fetches, 2, new Map([['tokens', [[2], [2]]]]))).toMatchObject([
    { status: 'failed', error: { code: 'non_finite_output' } },
    { status: 'succeeded' },
  ]);
  const allowing = { ...manifest, postprocess: { ...manifest.postprocess, allow_non_finite: true } } as ModelManifest;
  expect(batchPostprocess(allowing).results(fetches, 2)).toMatchObject([
    {
      output: {
        states: [
          [1, 2],
          ['NaN', 4],
        ],
      },
    },
    { status: 'succeeded' },
  ]);
});

test.each([
  ['an output that is not there', { outputs: [{ output: 'x' }] }],
  ['a length of a tensor that does not vary', { outputs: [{ output: 'states', length_of: 'age' }] }],
])('refuses raw outputs with %s', (_, raw) => {
  const manifest = {
    kind: 'tensor',
    outputs: [{ name: 'states', dtype: 'float32', shape: [-1, -1] }],
    row: { tensors: [{ name: 'age', dtype: 'float32', shape: [] }] },
    postprocess: { type: 'raw', ...raw },
  } as unknown as ModelManifest;
  expect(() => batchPostprocess(manifest)).toThrow(ModelLoadError);
});
