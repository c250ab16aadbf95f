import { z } from 'zod';
import { modulePreprocess } from './custom-row.ts';
import { declaredFile } from './declared-file.ts';

/** The postprocessing that a manifest may declare, beside what stands in model-manifest.ts. */

/** The names of classes: in the manifest, or in a file of one name a line, or a JSON array when it ends with `.json`. */
const labelFields = {
  labels: z.array(z.string()).min(1).optional(),
  labels_file: declaredFile.optional(),
};
type Labels = { labels?: string[] | undefined; labels_file?: unknown };

const hasLabels = ({ labels, labels_file: file }: Labels) => (labels === undefined) !== (file === undefined);
const NEEDS_LABELS = 'has either labels or a labels_file';
const hasLabelsOnce = ({ labels, labels_file: file }: Labels) => labels === undefined || file === undefined;
const LABELS_ONCE = 'has labels or a labels_file, not both';

const MAX_POINTS = 10_000;

/**
 * From a score to a probability, before anything compares it. Platt: `1 / (1 + exp(a · score + b))`. Isotonic: straight lines
 * between the points (x, y), level beyond them.
 */
export const scoreCalibration = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('platt'), a: z.number(), b: z.number() }),
  z
    .strictObject({
      type: z.literal('isotonic'),
      x: z.array(z.number()).min(2).max(MAX_POINTS),
      y: z.array(z.number()),
    })
    .refine(({ x, y }) => x.length === y.length, 'x and y have one length')
    .refine(({ x }) => x.every((value, index) => index === 0 || value > (x[index - 1] ?? 0)), 'x rises')
    .refine(({ y }) => y.every((value, index) => index === 0 || value >= (y[index - 1] ?? 0)), 'y does not fall'),
]);
export type ScoreCalibration = z.infer<typeof scoreCalibration>;

/**
 * One number per row, under `field`: the value of the output, or the one at `index` of several. With `allow_non_finite`, NaN
 * and infinities are answers too, as the strings "NaN", "Infinity" and "-Infinity", since JSON has no numbers for them; else
 * they fail the row.
 */
export const scorePostprocess = z.strictObject({
  type: z.literal('score'),
  output: z.string(),
  field: z.string(),
  index: z.number().int().min(0).optional(),
  activation: z.enum(['sigmoid', 'none']).optional(),
  calibration: scoreCalibration.optional(),
  allow_non_finite: z.boolean().optional(),
});

/** `{label, probability, probabilities}` per row; with `top_k`, `top` of the k best in place of `probabilities`. */
export const classifyPostprocess = z
  .strictObject({
    type: z.literal('classify'),
    output: z.string(),
    activation: z.enum(['softmax', 'sigmoid', 'none']),
    ...labelFields,
    top_k: z.number().int().min(1).max(1000).optional(),
  })
  .refine(hasLabels, NEEDS_LABELS);

/** `{label, index, value}` per row: the largest value, whatever the values mean. */
export const argmaxPostprocess = z
  .strictObject({ type: z.literal('argmax'), output: z.string(), ...labelFields })
  .refine(hasLabelsOnce, LABELS_ONCE);

/** `{labels, probabilities}` per row: every label whose probability is at least its threshold. */
export const multilabelPostprocess = z
  .strictObject({
    type: z.literal('multilabel'),
    output: z.string(),
    activation: z.enum(['sigmoid', 'none']),
    ...labelFields,
    /** For all labels; 0.5 unless given. */
    threshold: z.number().optional(),
    /** By label. */
    thresholds: z.record(z.string(), z.number()).optional(),
    calibrations: z.record(z.string(), scoreCalibration).optional(),
  })
  .refine(hasLabels, NEEDS_LABELS);

const MAX_DETECTIONS = 10_000;

/** `{detections: [{label, score, box}]}` per row, the best first; boxes are `[left, top, right, bottom]`. */
export const detectPostprocess = z
  .strictObject({
    type: z.literal('detect'),
    /** Four numbers a candidate: `[-1, n, 4]`. */
    boxes: z.string().optional(),
    /** One number a candidate and class, `[-1, n, classes]`; or one a candidate, `[-1, n]`, with `classes`. */
    scores: z.string().optional(),
    /** The class of each candidate: `[-1, n]`. */
    classes: z.string().optional(),
    /** All in one output: 4 numbers of the box, perhaps 1 of objectness, and those of the classes. */
    predictions: z
      .strictObject({
        output: z.string(),
        /** Whether `[-1, n, values]` or `[-1, values, n]`. */
        layout: z.enum(['candidates_first', 'values_first']),
        objectness: z.boolean().optional(),
      })
      .optional(),
    box_format: z.enum(['xyxy', 'cxcywh', 'xywh']),
    /** Of the tensor of the picture: its pixels, or parts of its width and height. */
    coordinates: z.enum(['pixels', 'normalized']),
    activation: z.enum(['sigmoid', 'none']),
    ...labelFields,
    score_threshold: z.number(),
    iou_threshold: z.number().min(0).max(1),
    max_detections: z.number().int().min(1).max(MAX_DETECTIONS),
    /** The best so many go on to where overlaps are removed. 1000 unless given. */
    max_candidates: z.number().int().min(1).max(MAX_DETECTIONS).optional(),
    /** Whether a box may be of several classes. Else it is of its best one. */
    multi_class: z.boolean().optional(),
    /** Whether a box removes those of other classes too. */
    class_agnostic: z.boolean().optional(),
  })
  .refine(
    ({ boxes, scores, classes, predictions }) =>
      predictions ? !boxes && !scores && !classes : boxes !== undefined && scores !== undefined,
    'boxes and scores, or predictions in their place',
  )
  .refine(hasLabelsOnce, LABELS_ONCE);

/** What the exported `postprocess(outputs, row)` of a module gives. */
export const modulePostprocess = z.strictObject({ ...modulePreprocess.shape, outputs: z.array(z.string()).min(1) });
