import { expect, test } from '@jest/globals';
import type { ModelManifest, RowResult } from '@onqueue/shared';
import type { Tensors } from '../inference-engine.ts';
import { type BatchContext, batchPostprocess } from '../postprocess.ts';

/** Fourteen boxes and their scores for three classes; what is kept of them is what OpenCV 4's `NMSBoxes` and `NMSBoxesBatched` keep. */
// biome-ignore format: rows of numbers
const BOXES = [
  [2.89, 29.55, 29.97, 40.38], [30.94, 4.39, 49.21, 18.48], [12.48, 42.56, 22.31, 70.27], [4.79, 10.86, 22.25, 22.11],
  [46.01, 34.87, 68.82, 47.32], [14.53, 29.18, 42.37, 41.96], [38.78, 17.56, 47.51, 29.97], [9.1, 40.24, 24.7, 58.56],
  [29.55, 23.95, 57.49, 47.29], [43.1, 33.27, 58.57, 41.64], [53.29, 5.26, 64.8, 35.19], [28.63, 22.58, 46.74, 45.78],
  [23.06, 35.21, 32.27, 43.95], [8.46, 39.64, 35.07, 60.58],
] as [number, number, number, number][];
// biome-ignore format: rows of numbers
const SCORES = [
  [0.309, 0.317, 0.089], [0.173, 0.025, 0.839], [0.466, 0.127, 0.739], [0.196, 0.062, 0.598], [0.896, 0.027, 0.805],
  [0.19, 0.093, 0.018], [0.293, 0.727, 0.493], [0.853, 0.217, 0.315], [0.258, 0.978, 0.941], [0.341, 0.436, 0.314],
  [0.747, 0.04, 0.067], [0.404, 0.245, 0.845], [0.742, 0.546, 0.661], [0.692, 0.781, 0.928],
];
const CLASSES = [1, 2, 2, 2, 0, 0, 1, 0, 1, 1, 0, 2, 0, 2];

const separate = {
  kind: 'image',
  preprocess: { width: 80, height: 80 },
  outputs: [
    { name: 'boxes', dtype: 'float32', shape: [-1, -1, 4] },
    { name: 'scores', dtype: 'float32', shape: [-1, -1, 3] },
  ],
  postprocess: {
    type: 'detect',
    boxes: 'boxes',
    scores: 'scores',
    box_format: 'xyxy',
    coordinates: 'pixels',
    activation: 'none',
    labels: ['a', 'b', 'c'],
    score_threshold: 0.55,
    iou_threshold: 0.1,
    max_detections: 100,
  },
};
type Change = { outputs?: unknown; postprocess?: Record<string, unknown>; kind?: string };

function manifestOf({ postprocess, ...change }: Change = {}): ModelManifest {
  return {
    ...separate,
    ...change,
    postprocess: { ...separate.postprocess, ...postprocess },
  } as unknown as ModelManifest;
}

const tensor = (values: readonly number[][], batch = 1) => ({
  dtype: 'float32' as const,
  data: Float32Array.from(values.flat()),
  dims: [batch, values.length / batch, values[0]?.length ?? 0],
});
const fetchesOf = (boxes: number[][] = BOXES, scores = SCORES): Tensors => ({
  boxes: tensor(boxes),
  scores: tensor(scores),
});

type Detection = { label?: string; class: number; score: number; box: number[] };

function detectionsOf(manifest: ModelManifest, fetches: Tensors, context?: BatchContext): Detection[] {
  const [result] = batchPostprocess(manifest).results(fetches, 1, undefined, context) as [RowResult];
  if (result.status === 'failed') throw new Error(result.error.code);
  return (result.output as { detections: Detection[] }).detections;
}

/** By their scores, of which no two are equal. */
function positions(found: readonly Detection[]): number[] {
  return found.map(({ score }) => SCORES.findIndex((scores) => Math.max(...scores).toFixed(3) === score.toFixed(3)));
}

test.each([
  [0.1, false, [8, 13, 4, 7, 11, 1, 10, 12, 6, 3]],
  [0.3, false, [8, 13, 4, 7, 11, 1, 10, 12, 2, 6, 3]],
  [0.1, true, [8, 13, 1, 10, 12, 6, 3]],
  [0.3, true, [8, 13, 4, 1, 10, 12, 2, 6, 3]],
])('keeps the boxes that OpenCV keeps, with an overlap of %d, across classes: %p', (iou, agnostic, kept) => {
  const found = detectionsOf(
    manifestOf({ postprocess: { iou_threshold: iou, class_agnostic: agnostic } }),
    fetchesOf(),
  );
  expect(positions(found)).toEqual(kept);
  expect(found.map(({ class: index }) => index)).toEqual(kept.map((position) => CLASSES[position]));
  const [best] = found as [Detection];
  expect(best).toEqual({
    label: 'b',
    class: 1,
    score: expect.closeTo(0.978, 6),
    box: [29.55, 23.95, 57.49, 47.29].map((value) => expect.closeTo(value, 4)),
  });
});

test('stops at the number of detections, and looks at the best candidates only', () => {
  expect(positions(detectionsOf(manifestOf({ postprocess: { max_detections: 3 } }), fetchesOf()))).toEqual([8, 13, 4]);
  expect(positions(detectionsOf(manifestOf({ postprocess: { max_candidates: 2 } }), fetchesOf()))).toEqual([8, 13]);
});

test('a box is of its best class, or of all that reach the threshold', () => {
  const scores = [[0.6, 0.7, 0.1]];
  const all = detectionsOf(manifestOf({ postprocess: { multi_class: true } }), fetchesOf([[0, 0, 1, 1]], scores));
  expect(all.map(({ label }) => label)).toEqual(['b', 'a']);
  expect(detectionsOf(manifestOf(), fetchesOf([[0, 0, 1, 1]], scores)).map(({ label }) => label)).toEqual(['b']);
});

test.each([
  ['cxcywh', [43.52, 35.62, 27.94, 23.34]],
  ['xywh', [29.55, 23.95, 27.94, 23.34]],
])('reads boxes as %s', (format, box) => {
  const [found] = detectionsOf(manifestOf({ postprocess: { box_format: format } }), fetchesOf([box], [[0, 1, 0]]));
  expect(found?.box).toEqual([29.55, 23.95, 57.49, 47.29].map((value) => expect.closeTo(value, 4)));
});

/** A picture of 200 x 100, letterboxed into 80 x 80: 0.4 of its size, 20 pixels from the top. */
const context = {
  rows: [{}],
  places: [{ width: 200, height: 100, scaleX: 0.4, scaleY: 0.4, offsetX: 0, offsetY: 20 }],
};

test.each([
  ['pixels', [8, 24, 40, 90]],
  ['normalized', [0.1, 0.3, 0.5, 1.125]],
])('boxes in %s of the tensor are told in pixels of the picture, and end at its edge', (coordinates, box) => {
  const manifest = manifestOf({ postprocess: { coordinates } });
  const [found] = detectionsOf(manifest, fetchesOf([box], [[0, 1, 0]]), context);
  expect(found?.box).toEqual([20, 10, 100, 100].map((value) => expect.closeTo(value, 3)));
});

test.each([
  ['candidates_first', false],
  ['candidates_first', true],
  ['values_first', false],
  ['values_first', true],
])('reads one output that holds everything: %s, with objectness: %p', (layout, objectness) => {
  const rows = BOXES.map((box, index) => [...box, ...(objectness ? [0.9] : []), ...(SCORES[index] ?? [])]);
  const values = rows[0]?.length ?? 0;
  const table =
    layout === 'candidates_first'
      ? rows
      : Array.from({ length: values }, (_, value) => rows.map((row) => row[value] ?? 0));
  const manifest = manifestOf({
    outputs: [
      { name: 'out', dtype: 'float32', shape: layout === 'candidates_first' ? [-1, -1, values] : [-1, values, 14] },
    ],
    postprocess: {
      boxes: undefined,
      scores: undefined,
      predictions: { output: 'out', layout, objectness },
      score_threshold: objectness ? 0.55 * 0.9 : 0.55,
    },
  });
  const found = detectionsOf(manifest, { out: tensor(table) });
  const factor = objectness ? 0.9 : 1;
  expect(positions(found.map((one) => ({ ...one, score: one.score / factor })))).toEqual([
    8, 13, 4, 7, 11, 1, 10, 12, 6, 3,
  ]);
});

test('classes may come as an output of their own, and scores as logits', () => {
  const manifest = manifestOf({
    outputs: [
      { name: 'boxes', dtype: 'float32', shape: [-1, 2, 4] },
      { name: 'scores', dtype: 'float32', shape: [-1, 2] },
      { name: 'classes', dtype: 'int64', shape: [-1, 2] },
    ],
    postprocess: { classes: 'classes', activation: 'sigmoid' },
  });
  const found = detectionsOf(manifest, {
    boxes: tensor([
      [0, 0, 1, 1],
      [5, 5, 6, 6],
    ]),
    scores: { dtype: 'float32', data: Float32Array.of(1, 2), dims: [1, 2] },
    classes: { dtype: 'int64', data: BigInt64Array.of(2n, 0n), dims: [1, 2] },
  });
  expect(found.map(({ label, score }) => [label, score.toFixed(4)])).toEqual([
    ['a', '0.8808'],
    ['c', '0.7311'],
  ]);
});

test('a row without a candidate has no detections, one with a NaN fails alone', () => {
  const manifest = manifestOf();
  const boxes = tensor(
    [
      [0, 0, 1, 1],
      [0, 0, 1, 1],
      [0, 0, Number.NaN, 1],
    ],
    3,
  );
  const scores = tensor(
    [
      [0.1, 0.1, 0.1],
      [0.1, Number.NaN, 0.9],
      [0, 0, 0.9],
    ],
    3,
  );
  const results = batchPostprocess(manifest).results({ boxes, scores }, 3);
  expect(results).toMatchObject([
    { status: 'succeeded', output: { detections: [] } },
    { status: 'failed', error: { code: 'non_finite_output' } },
    { status: 'failed', error: { code: 'non_finite_output' } },
  ]);
});

test.each<[string, Change, string]>([
  [
    'labels of another number',
    { postprocess: { labels: ['a'] } },
    'The manifest has 1 labels, the outputs have 3 classes',
  ],
  ['an output that is not there', { postprocess: { boxes: 'b' } }, 'reads "b", which is no output'],
  ['boxes of three numbers', { outputs: [{ name: 'boxes', dtype: 'float32', shape: [-1, 9, 3] }] }, '4 values a box'],
  [
    'scores of another rank',
    { outputs: [separate.outputs[0], { name: 'scores', dtype: 'float32', shape: [-1, 3] }] },
    'must have 3 dimensions',
  ],
  [
    'no room for classes',
    {
      outputs: [{ name: 'out', dtype: 'float32', shape: [-1, 5, 10] }],
      postprocess: { predictions: { output: 'out', layout: 'values_first', objectness: true } },
    },
    'leaves none for classes',
  ],
])('a manifest is refused that has %s', (_, change, message) => {
  expect(() => batchPostprocess(manifestOf(change))).toThrow(message);
});
