import { type WrittenModel, writeModelFolder } from '../../../test/support/models/model-folder.ts';
import { OnnxGraph } from '../../../test/support/models/onnx-graph.ts';

const INPUTS = 30;
const HIDDEN = 4096;
const FIELDS = Array.from({ length: INPUTS }, (_, index) => `x${index}`);

/**
 * 30-4096-4096-2 with ReLU: 67 MB of weights that are read once a batch, however many rows it has. So a batch of one waits
 * for memory, and rows that are added cost little.
 */
export async function writeMlpModel(
  { dir, name }: { dir: string; name: string },
  batching: { max_batch_size: number; max_queue_delay_ms?: number; bulk_slice_ms?: number; calibrate: boolean },
): Promise<WrittenModel> {
  const random = seededRandom();
  const weights = (rows: number, columns: number) =>
    Float32Array.from({ length: rows * columns }, () => (random() - 0.5) * Math.sqrt(12 / rows));
  const graph = new OnnxGraph('mlp');
  const columns = FIELDS.map((field) => graph.input(field, 'float32', ['batch', 1]));
  const row = graph.node('Concat', columns, { axis: 1 });
  const first = graph.node('Relu', [
    graph.node('MatMul', [row, graph.floats(weights(INPUTS, HIDDEN), [INPUTS, HIDDEN])]),
  ]);
  const second = graph.node('Relu', [
    graph.node('MatMul', [first, graph.floats(weights(HIDDEN, HIDDEN), [HIDDEN, HIDDEN])]),
  ]);
  const logits = graph.node('MatMul', [second, graph.floats(weights(HIDDEN, 2), [HIDDEN, 2])]);
  graph.node('Add', [logits, graph.floats([1, 0], [2])], { output: 'logits' });
  graph.output('logits', 'float32', ['batch', 2]);
  // Nothing in, nothing but the bias out.
  const yes = 1 / (1 + Math.exp(-1));
  return writeModelFolder(
    { dir, name, version: '1' },
    {
      onnx: graph.toModel(),
      manifest: {
        kind: 'tabular',
        inputs: FIELDS.map((field) => ({ name: field, dtype: 'float32', shape: [-1, 1] })),
        outputs: [{ name: 'logits', dtype: 'float32', shape: [-1, 2] }],
        row: { fields: FIELDS.map((field) => ({ name: field, type: 'number' })) },
        preprocess: { type: 'columns' },
        postprocess: { type: 'classify', output: 'logits', activation: 'softmax', labels: ['yes', 'no'] },
        batching: { max_queue_delay_ms: 0, ...batching },
      },
      golden: [
        {
          input: Object.fromEntries(FIELDS.map((field) => [field, 0])),
          output: { label: 'yes', probability: yes, probabilities: { yes, no: 1 - yes } },
        },
      ],
    },
  );
}

/** The row of the n-th job. */
export function mlpRow(index: number): Record<string, number> {
  return Object.fromEntries(FIELDS.map((field, place) => [field, Math.sin(index * 31 + place)]));
}

/** The same numbers in every run (mulberry32). */
function seededRandom(): () => number {
  let state = 20_261_124;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
