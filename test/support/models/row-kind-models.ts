import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ModelManifest } from '@onqueue/shared';
import { type GoldenLine, type ModelPlace, type WrittenModel, writeModelFolder } from './model-folder.ts';
import { OnnxGraph } from './onnx-graph.ts';

const BATCHING = { max_batch_size: 16, max_queue_delay_ms: 0, calibrate: false } as const;
/** A model of one input, which is its output too. */
const ECHO_OUTPUT = 'y';

type Declared = { file: string; sha256: string };

/** Writes a file beside a model; what a manifest says of it. */
export async function writeDeclaredFile(place: ModelPlace, file: string, text: string): Promise<Declared> {
  const folder = join(place.dir, place.name, place.version);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, file), text);
  return { file, sha256: createHash('sha256').update(text).digest('hex') };
}

/** The kinds differ in more than a test wants to spell out for the compiler; every manifest is parsed when it is loaded. */
type LooseManifest = { kind: ModelManifest['kind']; row: unknown; preprocess: unknown } & Partial<
  Omit<ModelManifest, 'kind' | 'row' | 'preprocess' | 'outputs'>
>;

/**
 * A model whose answer is its one input, of the given shape without the batch (-1 varies): what a row becomes is there to
 * be read in the answer, unless a postprocessing says otherwise.
 */
export function writeEchoModel(
  place: ModelPlace,
  model: {
    input: string;
    shape: readonly number[];
    manifest: LooseManifest;
    golden: readonly [GoldenLine, ...GoldenLine[]];
  },
): Promise<WrittenModel> {
  const { input, shape, manifest, golden } = model;
  const graph = new OnnxGraph('echo');
  const dims = ['batch', ...shape.map((size, axis) => (size === -1 ? `d${axis}` : size))];
  graph.node('Identity', [graph.input(input, 'float32', dims)], { output: ECHO_OUTPUT });
  graph.output(ECHO_OUTPUT, 'float32', dims);
  const tensor = { dtype: 'float32', shape: [-1, ...shape] } as const;
  return writeModelFolder(place, {
    onnx: graph.toModel(),
    manifest: {
      inputs: [{ name: input, ...tensor }],
      outputs: [{ name: ECHO_OUTPUT, ...tensor }],
      postprocess: { type: 'raw', outputs: [{ output: ECHO_OUTPUT }], allow_non_finite: true },
      batching: BATCHING,
      ...manifest,
    } as unknown as Parameters<typeof writeModelFolder>[1]['manifest'],
    golden,
  });
}

/** Finds the same boxes, of the classes `cat` and `dog`, in every picture. */
export function writeDetectorModel(
  place: ModelPlace,
  model: {
    size: { width: number; height: number };
    boxes: readonly (readonly number[])[];
    scores: readonly (readonly number[])[];
    golden: GoldenLine;
  },
): Promise<WrittenModel> {
  const { size, boxes, scores, golden } = model;
  const shape = [3, size.height, size.width];
  const count = boxes.length;
  const graph = new OnnxGraph('detector');
  const image = graph.input('image', 'float32', ['batch', ...shape]);
  const sums = graph.node('ReduceSum', [image, graph.ints([3], [1])], { keepdims: 0 });
  // Zero for each picture, so that the constants get its batch.
  const zero = graph.node('Mul', [
    graph.node('ReduceSum', [sums, graph.ints([1, 2], [2])], { keepdims: 1 }),
    graph.floats([0], [1]),
  ]);
  graph.node('Add', [zero, graph.floats(boxes.flat(), [1, count, 4])], { output: 'boxes' });
  graph.node('Add', [zero, graph.floats(scores.flat(), [1, count, 2])], { output: 'scores' });
  graph.output('boxes', 'float32', ['batch', count, 4]);
  graph.output('scores', 'float32', ['batch', count, 2]);
  return writeModelFolder(place, {
    onnx: graph.toModel(),
    manifest: {
      kind: 'image',
      inputs: [{ name: 'image', dtype: 'float32', shape: [-1, ...shape] }],
      outputs: [
        { name: 'boxes', dtype: 'float32', shape: [-1, count, 4] },
        { name: 'scores', dtype: 'float32', shape: [-1, count, 2] },
      ],
      row: { image: { formats: ['png'], max_bytes: 100_000, max_pixels: 1_000_000 } },
      preprocess: { type: 'photo', ...size, color: 'rgb', fit: 'contain', resample: 'bilinear', layout: 'NCHW' },
      postprocess: {
        type: 'detect',
        boxes: 'boxes',
        scores: 'scores',
        box_format: 'xyxy',
        coordinates: 'pixels',
        activation: 'none',
        labels: ['cat', 'dog'],
        score_threshold: 0.5,
        iou_threshold: 0.5,
        max_detections: 10,
      },
      batching: BATCHING,
    },
    golden: [golden],
  });
}
