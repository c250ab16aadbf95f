import { expect, test } from '@jest/globals';
import { embedPostprocess, type ModelManifest } from '@onqueue/shared';
import { embeddingOutputs } from './embedding-outputs.ts';
import { ModelLoadError } from './model-load-error.ts';

const text = {
  kind: 'text',
  outputs: [
    { name: 'states', dtype: 'float32', shape: [-1, -1, 2] },
    { name: 'vector', dtype: 'float32', shape: [-1, 2] },
    { name: 'ids', dtype: 'int64', shape: [-1, 2] },
  ],
  preprocess: { ids_input: 'input_ids' },
} as unknown as ModelManifest;

const embed = (change: object) =>
  embedPostprocess.parse({ type: 'embed', output: 'states', pooling: 'mean', ...change });

/** Two rows of three tokens; the first row has two of its own. */
const states = {
  dtype: 'float32' as const,
  data: Float32Array.of(3, 0, 5, 8, 99, 99, 1, -1, 1, -2, 1, -3),
  dims: [2, 3, 2],
};
const lengths = new Map([['input_ids', [[2], [3]]]]);

test.each([
  ['mean', [4, 4], [1, -2]],
  ['max', [5, 8], [1, -1]],
  ['cls', [3, 0], [1, -1]],
])('pools by %s without what was computed from padding', (pooling, first, second) => {
  expect(embeddingOutputs(text, embed({ pooling })).results({ states }, 2, lengths)).toEqual([
    { status: 'succeeded', output: { embedding: first, dimensions: 2 } },
    { status: 'succeeded', output: { embedding: second, dimensions: 2 } },
  ]);
});

test('a vector of the graph is taken as it is, and made as long as 1 if it is to be', () => {
  const vector = { dtype: 'float32' as const, data: Float32Array.of(3, 4, 0, 0), dims: [2, 2] };
  const postprocess = embed({ output: 'vector', pooling: 'none', normalize: true, field: 'v' });
  expect(embeddingOutputs(text, postprocess).results({ vector }, 2)).toEqual([
    { status: 'succeeded', output: { v: [expect.closeTo(0.6, 12), expect.closeTo(0.8, 12)], dimensions: 2 } },
    { status: 'succeeded', output: { v: [0, 0], dimensions: 2 } },
  ]);
});

test('a row that is not finite fails alone', () => {
  const data = Float32Array.from(states.data);
  data[2] = Number.NaN;
  const results = embeddingOutputs(text, embed({})).results({ states: { ...states, data } }, 2, lengths);
  expect(results.map(({ status }) => status)).toEqual(['failed', 'succeeded']);
  // Padding may hold anything.
  data.set([1, Number.POSITIVE_INFINITY], 4);
  data[2] = 1;
  expect(embeddingOutputs(text, embed({})).results({ states: { ...states, data } }, 2, lengths)[0]?.status).toBe(
    'succeeded',
  );
});

test('rows of tensors are as long as one of them, if one is named', () => {
  const tensors = {
    ...text,
    kind: 'tensor',
    row: { tensors: [{ name: 'tokens', dtype: 'int64', shape: [-1] }] },
  } as unknown as ModelManifest;
  const named = embeddingOutputs(tensors, embed({ length_of: 'tokens' }));
  const [first] = named.results({ states }, 2, new Map([['tokens', [[1], [3]]]]));
  expect(first).toMatchObject({ output: { embedding: [3, 0] } });
  const [whole] = embeddingOutputs(tensors, embed({})).results({ states }, 2);
  expect(whole).toMatchObject({ output: { embedding: [expect.closeTo(107 / 3, 5), expect.closeTo(107 / 3, 5)] } });
  expect(() => embeddingOutputs(tensors, embed({ length_of: 'other' }))).toThrow(ModelLoadError);
});

test.each([
  ['no such output', { output: 'none' }],
  ['a vector where states are pooled', { output: 'vector' }],
  ['states where a vector is wanted', { pooling: 'none' }],
  ['integers', { output: 'ids', pooling: 'none' }],
  ['a length that text already has', { length_of: 'input_ids' }],
])('refuses a manifest with %s', (_, change) => {
  expect(() => embeddingOutputs(text, embed(change))).toThrow(ModelLoadError);
});
