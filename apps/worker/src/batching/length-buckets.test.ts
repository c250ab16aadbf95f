import { expect, test } from '@jest/globals';
import type { ModelManifest } from '@onqueue/shared';
import { ManualClock } from '../../../../test/support/manual-clock.ts';
import { DynamicBatcher } from './dynamic-batcher.ts';
import { HaltSignal } from './halt-signal.ts';
import { LengthBuckets, lengthBucketsOf } from './length-buckets.ts';

const tensors = [{ name: 'tokens', dtype: 'int64' as const, shape: [-1] as -1[] }];
const rowOf = (length: number) => ({ tokens: Array(length).fill(1) });
const bucketsOf = (lengths: LengthBuckets, ...all: number[]) => all.map((length) => lengths.bucketOf([length]));

test('buckets are powers of two, or those of the manifest and powers of two beyond', () => {
  expect(bucketsOf(new LengthBuckets({ tensors }), 1, 2, 3, 4, 5, 8, 9, 1000)).toEqual([0, 1, 2, 2, 3, 3, 4, 10]);
  expect(bucketsOf(new LengthBuckets({ tensors, bounds: [10, 40] }), 1, 10, 11, 40, 41, 80, 81)).toEqual([
    0, 0, 1, 1, 3, 3, 4,
  ]);
});

test('rows are alike in every size that varies, and cost what the largest tensor has', () => {
  const lengths = new LengthBuckets({
    tensors: [
      { name: 'image', dtype: 'float32', shape: [3, -1, -1] },
      { name: 'tokens', dtype: 'int64', shape: [-1] },
    ],
    maxPaddedCost: 1000,
  });
  const row = {
    image: Array(3).fill([
      [1, 2],
      [3, 4],
      [5, 6],
    ]),
    tokens: [1, 2, 3, 4],
  };
  expect(lengths.lengthsOf(row)).toEqual([3, 2, 4]);
  expect(lengths.bucketOf([3, 2, 4])).toBe(lengths.bucketOf([4, 2, 3]));
  expect(lengths.bucketOf([3, 2, 4])).not.toBe(lengths.bucketOf([2, 3, 4]));
  expect(lengths.elementsOf([3, 2, 4])).toBe(6);
  expect(lengths.rowsWithin([30, 10, 4])).toBe(3);
  expect(lengths.rowsWithin([300, 10, 4])).toBe(1);
  expect(lengths.lengthsOf(null)).toEqual([0, 0, 0]);
});

/** Batches of rows of these lengths on one runner, of which a batch takes a millisecond for each padded element. */
async function batchesOf(all: readonly number[], options: { bounds?: number[]; maxPaddedCost?: number } = {}) {
  const clock = new ManualClock();
  const batches: number[][] = [];
  const elements = { own: 0, padding: 0 };
  const batcher = new DynamicBatcher({
    policy: { max_batch_size: 8 },
    maxConcurrentBatches: 1,
    clock,
    lengths: new LengthBuckets({ tensors, ...options }),
    onBatch: (_, of) => {
      elements.own += of?.own ?? 0;
      elements.padding += of?.padding ?? 0;
    },
    run: async (rows) => {
      const lengths = (rows as { tokens: unknown[] }[]).map(({ tokens }) => tokens.length);
      batches.push(lengths);
      const startedAtMs = clock.now();
      const inference_ms = lengths.length * Math.max(...lengths);
      await clock.after(inference_ms);
      const batch = { size: rows.length, startedAtMs, timings: { preprocess_ms: 0, inference_ms, postprocess_ms: 0 } };
      return rows.map(() => ({ result: { status: 'succeeded', output: {} }, isRetryable: false, batch }));
    },
  });
  const jobs = all.map((length) =>
    batcher.submit([rowOf(length)], { lane: 'interactive', halt: new HaltSignal(), isApart: false }),
  );
  await clock.advance(100_000);
  const outcomes = (await Promise.all(jobs)).flat();
  return { batches, elements, batchMs: outcomes.map(({ batch }) => batch.timings.inference_ms) };
}

test('a long row holds up no short one in its batch, and no batch takes twice as long as of its longest rows', async () => {
  const { batches, elements } = await batchesOf([3, 500, 4, 300, 3, 6, 512]);
  expect(batches).toEqual([[3, 4, 3], [500, 300, 512], [6]]);
  expect(elements).toEqual({ own: 3 + 500 + 4 + 300 + 3 + 6 + 512, padding: 2 + 12 + 212 });
});

test('rows of any lengths wait for at most twice what their batch would take with rows of their own length', async () => {
  const all = Array.from({ length: 200 }, (_, index) => 1 + ((index * 7919) % 700));
  const { batches } = await batchesOf(all);
  for (const lengths of batches) expect(Math.max(...lengths)).toBeLessThan(2 * Math.min(...lengths));
});

test('a batch is cut to the padded cost', async () => {
  const { batches } = await batchesOf([100, 100, 90, 70, 10, 10, 10, 300], { maxPaddedCost: 200 });
  expect(batches).toEqual([[100, 100], [90, 70], [10, 10, 10], [300]]);
});

test('texts are alike by the tokens that they are guessed to have, and all beyond what the model reads', () => {
  const manifest = {
    kind: 'text',
    inputs: [{ name: 'input_ids', dtype: 'int64', shape: [-1, -1] }],
    row: { bytes_per_token: 2 },
    preprocess: { ids_input: 'input_ids', max_length: 32 },
    batching: { length_buckets: [8], max_padded_cost: 64 },
  } as unknown as Extract<ModelManifest, { kind: 'text' }>;
  const lengths = lengthBucketsOf(manifest);
  const sizes = [2, 16, 20, 64, 9000].map((characters) => lengths?.lengthsOf({ text: 'a'.repeat(characters) }));
  expect(sizes).toEqual([[1], [8], [10], [32], [32]]);
  expect(sizes.map((size = []) => lengths?.bucketOf(size))).toEqual([0, 0, 2, 3, 3]);
  expect([lengths?.rowsWithin([32]), lengths?.rowsWithin([8])]).toEqual([2, 8]);
  const fixed = { ...manifest, inputs: [{ name: 'input_ids', dtype: 'int64', shape: [-1, 32] }] } as ModelManifest;
  expect(lengthBucketsOf(fixed)).toBeUndefined();
});
