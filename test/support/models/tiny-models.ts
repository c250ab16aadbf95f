import type { BatchingPolicy, DecisionPolicy } from '@onqueue/shared';
import { type ModelPlace, type WrittenModel, writeModelFolder } from './model-folder.ts';
import { OnnxGraph } from './onnx-graph.ts';

const BATCHING: BatchingPolicy = { max_batch_size: 64, max_queue_delay_ms: 0, calibrate: true };
const SCORE = { type: 'score', output: 'score', field: 'score' } as const;
const SCORE_TENSOR = { name: 'score', dtype: 'float32', shape: [-1, 1] } as const;
const COLUMNS = { type: 'columns' } as const;

type Common = ModelPlace & { batching?: Partial<BatchingPolicy> };

/**
 * score = bias + Σ weight · field, of the number fields `x0`, `x1`, …; by default x0 + x1 + x2. Large weights make
 * infinities (3e38 · 10) and NaN (3e38 · 10 - 3e38 · 10) out of valid rows.
 */
export async function writeLinearModel(
  options: Common & { weights?: readonly number[]; bias?: number; decision?: DecisionPolicy },
): Promise<WrittenModel> {
  const { weights = [1, 1, 1], bias = 0, decision, batching, ...place } = options;
  const names = weights.map((_, index) => `x${index}`);
  const graph = new OnnxGraph('linear');
  const columns = names.map((name) => graph.input(name, 'float32', ['batch', 1]));
  const row = graph.node('Concat', columns, { axis: 1 });
  const sum = graph.node('MatMul', [row, graph.floats(weights, [weights.length, 1])]);
  graph.node('Add', [sum, graph.floats([bias], [1])], { output: 'score' });
  graph.output('score', 'float32', ['batch', 1]);

  const lastBand = decision?.bands.findLast(({ above, from }) => above === undefined && from === undefined);
  return writeModelFolder(place, {
    onnx: graph.toModel(),
    manifest: {
      kind: 'tabular',
      inputs: names.map((name) => ({ name, dtype: 'float32', shape: [-1, 1] })),
      outputs: [{ ...SCORE_TENSOR, shape: [-1, 1] }],
      row: { fields: names.map((name) => ({ name, type: 'number' })) },
      preprocess: COLUMNS,
      postprocess: SCORE,
      batching: { ...BATCHING, ...batching },
      ...(decision ? { decision } : {}),
    },
    // All zeros scores the bias, which a policy of a test leaves to its last band.
    golden: [
      {
        input: Object.fromEntries(names.map((name) => [name, 0])),
        output: { score: bias, ...(lastBand ? { decision: lastBand.decision } : {}) },
      },
    ],
  });
}

/** Steps that no test waits for: some hundred thousand years. */
export const HANGING_STEPS = 2 ** 53 - 1;

/**
 * score = steps, after as many matrix products as the largest `steps` of the batch; about 1 ms each on one core
 * (0.5 to 2 on other machines). {@link HANGING_STEPS} hangs in the engine.
 */
export async function writeSlowModel({ batching, ...place }: Common): Promise<WrittenModel> {
  const graph = new OnnxGraph('slow');
  const steps = graph.input('steps', 'int64', ['batch', 1]);
  const one = oneAfterProducts(graph, graph.node('ReduceMax', [steps], { keepdims: 0 }));
  graph.node('Mul', [graph.cast(steps, 'float32'), one], { output: 'score' });
  graph.output('score', 'float32', ['batch', 1]);
  return writeIntegerModel(place, { graph, field: 'steps', score: 0, ...(batching ? { batching } : {}) });
}

/** score = steps, after as many steps of a loop that does next to nothing: a file of a kilobyte that keeps a core busy. */
export async function writeLoopModel({ batching, ...place }: Common): Promise<WrittenModel> {
  const graph = new OnnxGraph('loop');
  const steps = graph.input('steps', 'int64', ['batch', 1]);
  const body = new OnnxGraph('count');
  body.input('step', 'int64', []);
  const goesOn = body.input('goes-on', 'bool', []);
  const count = body.input('count', 'float32', []);
  body.node('Identity', [goesOn], { output: 'goes-on-still' });
  body.node('Add', [count, body.floats([1], [])], { output: 'next-count' });
  body.output('goes-on-still', 'bool', []);
  body.output('next-count', 'float32', []);
  const most = graph.node('ReduceMax', [steps], { keepdims: 0 });
  const counted = graph.node('Loop', [most, graph.bool(true), graph.floats([0], [])], { body });
  // The score depends on the loop, so that no optimizer removes it.
  const zero = graph.node('Mul', [counted, graph.floats([0], [])]);
  graph.node('Add', [graph.cast(steps, 'float32'), zero], { output: 'score' });
  graph.output('score', 'float32', ['batch', 1]);
  return writeIntegerModel(place, { graph, field: 'steps', score: 0, ...(batching ? { batching } : {}) });
}

/** score = size, after as many ones were made as the largest `size` of the batch says: each takes four bytes. */
export async function writeSwellingModel({ batching, ...place }: Common): Promise<WrittenModel> {
  const graph = new OnnxGraph('swelling');
  const size = graph.input('size', 'int64', ['batch', 1]);
  const shape = graph.node('ReduceMax', [size], { axes: [0], keepdims: 0 });
  const ones = graph.node('Expand', [graph.floats([1], [1]), shape]);
  const zero = graph.node('Sub', [graph.node('ReduceMax', [ones], { keepdims: 0 }), graph.floats([1], [])]);
  graph.node('Add', [graph.cast(size, 'float32'), zero], { output: 'score' });
  graph.output('score', 'float32', ['batch', 1]);
  return writeIntegerModel(place, { graph, field: 'size', score: 1, example: 1, ...(batching ? { batching } : {}) });
}

/**
 * score = value. A batch costs four matrix products, whatever it holds up to `knee` rows; each row beyond costs two more.
 * So batches of `knee` rows have at least twice the throughput of those half and twice as large.
 */
export async function writeKneeModel({ knee, batching, ...place }: Common & { knee: number }): Promise<WrittenModel> {
  const graph = new OnnxGraph('knee');
  const value = graph.input('value', 'int64', ['batch', 1]);
  const scalar = (number: number) => graph.ints([number], []);
  const rows = graph.node('Gather', [graph.node('Shape', [value]), scalar(0)]);
  const rowsBeyond = graph.node('Max', [graph.node('Sub', [rows, scalar(knee)]), scalar(0)]);
  const one = oneAfterProducts(graph, graph.node('Add', [graph.node('Mul', [rowsBeyond, scalar(2)]), scalar(4)]));
  graph.node('Mul', [graph.cast(value, 'float32'), one], { output: 'score' });
  graph.output('score', 'float32', ['batch', 1]);
  return writeIntegerModel(place, { graph, field: 'value', score: 0, ...(batching ? { batching } : {}) });
}

/** The number 1, after as many matrix products as `count`, a scalar, says. */
function oneAfterProducts(graph: OnnxGraph, count: string): string {
  const size = 320;
  const identity = Array.from({ length: size * size }, (_, index) => (index % (size + 1) === 0 ? 1 : 0));
  const matrix = graph.floats(identity, [size, size]);

  const body = new OnnxGraph('products');
  body.input('step', 'int64', []);
  const goesOn = body.input('goes-on', 'bool', []);
  const product = body.input('product', 'float32', [size, size]);
  body.node('Identity', [goesOn], { output: 'goes-on-still' });
  body.node('MatMul', [product, matrix], { output: 'next-product' });
  body.output('goes-on-still', 'bool', []);
  body.output('next-product', 'float32', [size, size]);

  const result = graph.node('Loop', [count, graph.bool(true), matrix], { body });
  // The largest element of an identity matrix is 1: it depends on the loop, so that no optimizer removes it.
  return graph.node('ReduceMax', [result], { keepdims: 0 });
}

/**
 * score = -2^63 / divisor in whole numbers. A divisor of -1 kills the process (SIGFPE: the quotient does not fit), which
 * no validation of a row foresees; on x86-64, other processors have an answer to it.
 */
export async function writeCrashModel({ batching, ...place }: Common): Promise<WrittenModel> {
  const lowest = -(2 ** 63);
  const graph = new OnnxGraph('crash');
  const divisor = graph.input('divisor', 'int64', ['batch', 1]);
  graph.cast(graph.node('Div', [graph.ints([lowest], [1]), divisor]), 'float32', 'score');
  graph.output('score', 'float32', ['batch', 1]);
  const golden = { field: 'divisor', example: 1, score: lowest };
  return writeIntegerModel(place, { graph, ...golden, ...(batching ? { batching } : {}) });
}

/** score = 10 · index, of an index of 0…9; any other makes the engine refuse the batch as a whole. */
export async function writeLookupModel({ batching, ...place }: Common): Promise<WrittenModel> {
  const graph = new OnnxGraph('lookup');
  const index = graph.input('index', 'int64', ['batch', 1]);
  const table = graph.floats(
    Array.from({ length: 10 }, (_, position) => position * 10),
    [10],
  );
  graph.node('Gather', [table, index], { output: 'score' });
  graph.output('score', 'float32', ['batch', 1]);
  return writeIntegerModel(place, { graph, field: 'index', score: 0, ...(batching ? { batching } : {}) });
}

/**
 * score = size, as long as the sizes of a batch add up to `memory` at most; beyond it the graph asks for 2^48 bytes, more
 * than any machine can address.
 */
export async function writeHungryModel({
  batching,
  memory,
  ...place
}: Common & { memory: number }): Promise<WrittenModel> {
  const graph = new OnnxGraph('hungry');
  const size = graph.input('size', 'int64', ['batch', 1]);
  const sum = graph.node('ReduceSum', [size], { keepdims: 0 });
  const excess = graph.node('Mul', [graph.node('Sub', [sum, graph.ints([memory], [1])]), graph.ints([2 ** 46], [1])]);
  const zeros = graph.node('ConstantOfShape', [graph.node('Max', [excess, graph.ints([1], [1])])]);
  // The score depends on the zeros, so that no optimizer removes them.
  const zero = graph.node('ReduceMax', [zeros], { keepdims: 0 });
  graph.node('Add', [graph.cast(size, 'float32'), zero], { output: 'score' });
  graph.output('score', 'float32', ['batch', 1]);
  return writeIntegerModel(place, { graph, field: 'size', score: 0, ...(batching ? { batching } : {}) });
}

/** Tells `ink` from `blank` by the mean of a grayscale picture of 8 x 8, bright ink on a dark ground. */
export async function writeImageModel({ batching, ...place }: Common): Promise<WrittenModel> {
  const graph = new OnnxGraph('image');
  const image = graph.input('image', 'float32', ['batch', 1, 8, 8]);
  const pixels = graph.node('Flatten', [image], { axis: 1 });
  const weights = Array.from({ length: 128 }, (_, index) => (index % 2 === 0 ? -1 : 1) / 64);
  graph.node('MatMul', [pixels, graph.floats(weights, [64, 2])], { output: 'logits' });
  graph.output('logits', 'float32', ['batch', 2]);
  const ink = 1 / (1 + Math.exp(-2));
  return writeModelFolder(place, {
    onnx: graph.toModel(),
    manifest: {
      kind: 'image',
      inputs: [{ name: 'image', dtype: 'float32', shape: [-1, 1, 8, 8] }],
      outputs: [{ name: 'logits', dtype: 'float32', shape: [-1, 2] }],
      row: {
        pixels: { length: 64, minimum: 0, maximum: 16 },
        image: { formats: ['png', 'jpeg'], max_bytes: 200_000, max_pixels: 4_000_000 },
      },
      preprocess: {
        type: 'image',
        width: 8,
        height: 8,
        color: 'grayscale',
        polarity: 'auto',
        fit: 'contain',
        resample: 'area',
        pixel_scale: 16,
      },
      postprocess: { type: 'classify', output: 'logits', activation: 'softmax', labels: ['blank', 'ink'] },
      batching: { ...BATCHING, ...batching },
    },
    golden: [
      {
        input: { pixels: new Array<number>(64).fill(16) },
        output: { label: 'ink', probability: ink, probabilities: { blank: 1 - ink, ink } },
      },
    ],
  });
}

/**
 * total = Σ tokens, and doubled = 2 · each token, of rows of 1 to `maxLength` tokens; computed over the padding as well, so a
 * `padValue` other than 0 shows in the total.
 */
export async function writeSequenceModel({
  batching,
  maxLength = 4096,
  padValue = 0,
  ...place
}: Common & { maxLength?: number; padValue?: number }): Promise<WrittenModel> {
  const graph = new OnnxGraph('sequence');
  const tokens = graph.cast(graph.input('tokens', 'int64', ['batch', 'length']), 'float32');
  graph.node('ReduceSum', [tokens, graph.ints([1], [1])], { keepdims: 1, output: 'total' });
  graph.node('Add', [tokens, tokens], { output: 'doubled' });
  graph.output('total', 'float32', ['batch', 1]);
  graph.output('doubled', 'float32', ['batch', 'length']);
  return writeModelFolder(place, {
    onnx: graph.toModel(),
    manifest: {
      kind: 'tensor',
      inputs: [{ name: 'tokens', dtype: 'int64', shape: [-1, -1] }],
      outputs: [
        { name: 'total', dtype: 'float32', shape: [-1, 1] },
        { name: 'doubled', dtype: 'float32', shape: [-1, -1] },
      ],
      row: { tensors: [{ name: 'tokens', dtype: 'int64', shape: [-1], max_length: maxLength, pad_value: padValue }] },
      preprocess: { type: 'pad' },
      postprocess: {
        type: 'raw',
        outputs: [{ output: 'total' }, { output: 'doubled', field: 'twice', length_of: 'tokens' }],
      },
      batching: { ...BATCHING, ...batching },
    },
    golden: [{ input: { tokens: [1, 2, 3] }, output: { total: [6], twice: [2, 4, 6] } }],
  });
}

/** A model of one integer field and one score. */
function writeIntegerModel(
  place: ModelPlace,
  model: { graph: OnnxGraph; field: string; score: number; example?: number; batching?: Partial<BatchingPolicy> },
): Promise<WrittenModel> {
  const { graph, field, score, example = 0, batching } = model;
  return writeModelFolder(place, {
    onnx: graph.toModel(),
    manifest: {
      kind: 'tabular',
      inputs: [{ name: field, dtype: 'int64', shape: [-1, 1] }],
      outputs: [{ ...SCORE_TENSOR, shape: [-1, 1] }],
      row: { fields: [{ name: field, type: 'integer' }] },
      preprocess: COLUMNS,
      postprocess: SCORE,
      batching: { ...BATCHING, ...batching },
    },
    golden: [{ input: { [field]: example }, output: { score } }],
  });
}
