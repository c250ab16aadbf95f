import { type WrittenModel, writeModelFolder } from '../../../test/support/models/model-folder.ts';
import { OnnxGraph } from '../../../test/support/models/onnx-graph.ts';

const WIDTH = 512;
/** So many that a row takes more than 5 ms on processors of these years. */
const LAYERS = 800;

/**
 * score = value, after 800 products with one 512-wide matrix a row, which stays in the cache: what a batch costs is
 * arithmetic, in proportion to its rows.
 */
export function writeComputeModel(place: { dir: string; name: string }, maxBatchSize: number): Promise<WrittenModel> {
  const graph = new OnnxGraph('compute');
  const value = graph.input('value', 'float32', ['batch', 1]);
  // A permutation: numbers stay what they are, only their places change.
  const permutation = new Float32Array(WIDTH * WIDTH);
  for (let row = 0; row < WIDTH; row++) permutation[row * WIDTH + ((row + 1) % WIDTH)] = 1;
  const matrix = graph.floats(permutation, [WIDTH, WIDTH]);
  const ones = graph.floats(new Float32Array(WIDTH).fill(1), [1, WIDTH]);
  const body = new OnnxGraph('layers');
  body.input('layer', 'int64', []);
  const goesOn = body.input('goes-on', 'bool', []);
  const state = body.input('state', 'float32', ['batch', WIDTH]);
  body.node('Identity', [goesOn], { output: 'goes-on-still' });
  body.node('MatMul', [state, matrix], { output: 'next-state' });
  body.output('goes-on-still', 'bool', []);
  body.output('next-state', 'float32', ['batch', WIDTH]);
  const wide = graph.node('MatMul', [value, ones]);
  const result = graph.node('Loop', [graph.ints([LAYERS], []), graph.bool(true), wide], { body });
  const narrow = graph.floats(new Float32Array(WIDTH).fill(1 / WIDTH), [WIDTH, 1]);
  graph.node('MatMul', [result, narrow], { output: 'score' });
  graph.output('score', 'float32', ['batch', 1]);
  return writeModelFolder(
    { ...place, version: '1' },
    {
      onnx: graph.toModel(),
      manifest: {
        kind: 'tabular',
        inputs: [{ name: 'value', dtype: 'float32', shape: [-1, 1] }],
        outputs: [{ name: 'score', dtype: 'float32', shape: [-1, 1] }],
        row: { fields: [{ name: 'value', type: 'number' }] },
        preprocess: { type: 'columns' },
        postprocess: { type: 'score', output: 'score', field: 'score' },
        batching: { max_batch_size: maxBatchSize, max_queue_delay_ms: 0, calibrate: false },
      },
      golden: [{ input: { value: 1 }, output: { score: 1 } }],
    },
  );
}
