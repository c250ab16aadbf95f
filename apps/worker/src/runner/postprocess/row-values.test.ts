import { expect, test } from '@jest/globals';
import { type ModelManifest, type ScoreCalibration, scoreCalibration } from '@onqueue/shared';
import { batchPostprocess } from '../postprocess.ts';
import { scoreCalibrator } from './score-calibration.ts';

/** Numbers with many digits were computed with scipy 1.16 (`expit`, `softmax`) and scikit-learn 1.7 (`CalibratedClassifierCV`'s sigmoid, `IsotonicRegression`). */
const LOGITS = [1.5, -0.25, 3, 0.75];
const LABELS = ['a', 'b', 'c', 'd'];
const SOFTMAX = [0.16318991726892082, 0.028358155455172264, 0.7313664686134955, 0.07708545866241151];
const SIGMOID = [0.8175744761936437, 0.43782349911420193, 0.9525741268224334, 0.679178699175393];

function answerTo(values: readonly number[], postprocess: object, change: object = {}): unknown {
  const manifest = {
    kind: 'tabular',
    outputs: [{ name: 'y', dtype: 'float32', shape: [-1, values.length] }],
    postprocess: { output: 'y', ...postprocess },
    ...change,
  } as unknown as ModelManifest;
  const y = { dtype: 'float32' as const, data: Float32Array.from(values), dims: [1, values.length] };
  const [result] = batchPostprocess(manifest).results({ y }, 1);
  return result?.status === 'succeeded' ? result.output : result?.error.code;
}

const close = (value: number | undefined) => expect.closeTo(value ?? Number.NaN, 12);
const byLabel = (values: readonly number[]) =>
  Object.fromEntries(LABELS.map((label, index) => [label, close(values[index])]));

test('the best classes come first, as many as are asked for', () => {
  const classify = { type: 'classify', labels: LABELS };
  expect(answerTo(LOGITS, { ...classify, activation: 'softmax', top_k: 2 })).toEqual({
    label: 'c',
    probability: close(SOFTMAX[2]),
    top: [
      { label: 'c', probability: close(SOFTMAX[2]) },
      { label: 'a', probability: close(SOFTMAX[0]) },
    ],
  });
  expect(answerTo([1, 1, 0, 1], { ...classify, activation: 'none', top_k: 9 })).toMatchObject({
    top: [{ label: 'a' }, { label: 'b' }, { label: 'd' }, { label: 'c' }],
  });
  expect(answerTo(LOGITS, { ...classify, activation: 'sigmoid' })).toEqual({
    label: 'c',
    probability: close(SIGMOID[2]),
    probabilities: byLabel(SIGMOID),
  });
});

test('the largest value has a place, and a label if there are labels', () => {
  expect(answerTo(LOGITS, { type: 'argmax' })).toEqual({ index: 2, value: 3 });
  expect(answerTo([-5, -1, -1, -9], { type: 'argmax', labels: LABELS })).toEqual({ label: 'b', index: 1, value: -1 });
  expect(answerTo([1, Number.NaN], { type: 'argmax' })).toBe('non_finite_output');
});

test('several labels hold at once, each from a threshold of its own on', () => {
  const multilabel = { type: 'multilabel', labels: LABELS, activation: 'sigmoid' };
  expect(answerTo(LOGITS, multilabel)).toEqual({ labels: ['a', 'c', 'd'], probabilities: byLabel(SIGMOID) });
  expect(answerTo(LOGITS, { ...multilabel, threshold: 0.9, thresholds: { b: 0.4 } })).toMatchObject({
    labels: ['b', 'c'],
  });
  // Inclusive.
  expect(answerTo([0.5, 0.25], { type: 'multilabel', labels: ['x', 'y'], activation: 'none' })).toMatchObject({
    labels: ['x'],
  });
  const calibrations = { a: { type: 'platt', a: 1, b: 0 } };
  expect(answerTo(LOGITS, { ...multilabel, activation: 'none', threshold: 0.2, calibrations })).toMatchObject({
    labels: ['c', 'd'],
    probabilities: { a: close(1 - (SIGMOID[0] ?? 0)), c: 3 },
  });
});

test('Platt calibrates as scikit-learn does', () => {
  const calibrated = scoreCalibrator({ type: 'platt', a: -1.7778236866329278, b: 0.006380324339031586 });
  const expected = [0.027597954251368722, 0.4984049243263385, 0.7073465392226821, 0.9951653046234725];
  for (const [index, score] of [-2, 0, 0.5, 3].entries()) expect(calibrated(score)).toEqual(close(expected[index]));
  expect([calibrated(-1e6), calibrated(1e6), calibrated(Number.NaN)]).toEqual([0, 1, Number.NaN]);
});

test('isotonic tables are read as scikit-learn reads them, level beyond their ends', () => {
  const calibrated = scoreCalibrator({
    type: 'isotonic',
    x: [
      -2.8281623068437627, -0.6680463461089501, -0.5677696061279298, 0.22578661322792176, 0.22915390521326254,
      0.7474079874793504, 0.8825389674564839, 3.3229995166448827,
    ],
    y: [0, 0, 0.391304347826087, 0.391304347826087, 0.7857142857142857, 0.7857142857142857, 1, 1],
  });
  const expected = [0, 0, 0.391304347826087, 0.391304347826087, 0.7857142857142857, 1, 1];
  for (const [index, score] of [-9, -1, -0.2, 0, 0.31, 1.2, 9].entries()) {
    expect(calibrated(score)).toEqual(close(expected[index]));
  }
  // Half-way between two points.
  expect(calibrated((-0.6680463461089501 - 0.5677696061279298) / 2)).toEqual(close(0.391304347826087 / 2));
  expect(calibrated(Number.NaN)).toBeNaN();
});

test('a score is one value of several, activated and calibrated before a decision', () => {
  const score = { type: 'score', field: 'p', index: 1, activation: 'sigmoid' };
  expect(answerTo(LOGITS, score)).toEqual({ p: close(SIGMOID[1]) });
  const calibration: ScoreCalibration = { type: 'isotonic', x: [0, 0.43782349911420193, 1], y: [0, 0.75, 1] };
  const decision = { score: 'p', bands: [{ decision: 'high', from: 0.7 }, { decision: 'low' }] };
  expect(answerTo(LOGITS, { ...score, calibration }, { decision })).toEqual({ p: close(0.75), decision: 'high' });
  expect(answerTo(LOGITS, score, { decision })).toMatchObject({ decision: 'low' });
  // Its neighbours may be what they like.
  expect(answerTo([Number.NaN, 1], { ...score, index: 0 })).toBe('non_finite_output');
  const allowing = { ...score, calibration, allow_non_finite: true };
  expect(answerTo([0, Number.NaN], allowing)).toEqual({ p: 'NaN' });
});

test.each([
  ['a place beyond the values', { type: 'score', field: 'p', index: 2 }, {}, 'a value at 2 a row of "y"'],
  ['several values and no place', { type: 'score', field: 'p' }, {}, 'needs 1 value(s) a row of "y"'],
  ['too few labels', { type: 'multilabel', labels: ['x'], activation: 'none' }, {}, 'needs 1 value(s) a row of "y"'],
  [
    'a decision without a score',
    { type: 'multilabel', labels: ['x', 'y'], activation: 'none' },
    { decision: { score: 'p', bands: [] } },
    'the output has no score',
  ],
])('a manifest is refused that has %s', (_, postprocess, change, message) => {
  expect(() => answerTo([1, 2], postprocess, change)).toThrow(message);
});

test.each([
  { type: 'isotonic', x: [0, 1], y: [0] },
  { type: 'isotonic', x: [1, 0], y: [0, 1] },
  { type: 'isotonic', x: [0, 0], y: [0, 1] },
  { type: 'isotonic', x: [0, 1], y: [1, 0] },
  { type: 'platt', a: 1 },
])('no calibration: %j', (calibration) => {
  expect(scoreCalibration.safeParse(calibration).success).toBe(false);
});
