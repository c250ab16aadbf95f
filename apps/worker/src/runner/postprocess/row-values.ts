import type { Postprocess } from '@onqueue/shared';
import type { Numbers } from '../output-numbers.ts';
import { activated, largest } from './activation.ts';
import { scoreCalibrator } from './score-calibration.ts';

/** Postprocessing that reads one output, a fixed number of values a row. */
export type ValuePostprocess = Extract<Postprocess, { type: 'score' | 'classify' | 'argmax' | 'multilabel' }>;

export type RowOutput = (values: Numbers) => Record<string, unknown>;

/** What a row's values become. The labels are in the manifest by now, wherever they come from. */
export function rowOutputOf(postprocess: ValuePostprocess): RowOutput {
  switch (postprocess.type) {
    case 'score':
      return scoreOf(postprocess);
    case 'classify':
      return classesOf(postprocess);
    case 'argmax':
      return largestOf(postprocess);
    case 'multilabel':
      return labelsAbove(postprocess);
  }
}

/** The member of the output that a decision policy may read, if there is one. */
export function scoreFieldOf(postprocess: ValuePostprocess): string | undefined {
  const fields = { score: undefined, classify: 'probability', argmax: 'value', multilabel: undefined };
  return postprocess.type === 'score' ? postprocess.field : fields[postprocess.type];
}

function scoreOf(postprocess: Extract<ValuePostprocess, { type: 'score' }>): RowOutput {
  const { field, index = 0, activation = 'none' } = postprocess;
  const calibrated = scoreCalibrator(postprocess.calibration);
  return (values) => {
    const [value = Number.NaN] = activated(values.subarray(index, index + 1), activation);
    const score = calibrated(value);
    return { [field]: Number.isFinite(score) ? score : String(score) };
  };
}

function classesOf(postprocess: Extract<ValuePostprocess, { type: 'classify' }>): RowOutput {
  const { labels = [], activation, top_k: topK } = postprocess;
  return (values) => {
    const probabilities = activated(values, activation);
    const best = probabilities.indexOf(largest(probabilities));
    return {
      label: labels[best],
      probability: probabilities[best],
      ...(topK === undefined
        ? { probabilities: byLabel(labels, probabilities) }
        : {
            top: positionsOfBest(probabilities, topK).map((at) => ({
              label: labels[at],
              probability: probabilities[at],
            })),
          }),
    };
  };
}

function largestOf({ labels }: Extract<ValuePostprocess, { type: 'argmax' }>): RowOutput {
  return (values) => {
    const index = values.indexOf(largest(values));
    return { ...(labels ? { label: labels[index] } : {}), index, value: values[index] };
  };
}

const DEFAULT_THRESHOLD = 0.5;

function labelsAbove(postprocess: Extract<ValuePostprocess, { type: 'multilabel' }>): RowOutput {
  const { labels = [], activation, threshold = DEFAULT_THRESHOLD } = postprocess;
  const thresholds = labels.map((label) => postprocess.thresholds?.[label] ?? threshold);
  const calibrators = labels.map((label) => scoreCalibrator(postprocess.calibrations?.[label]));
  return (values) => {
    const probabilities = Float64Array.from(
      activated(values, activation),
      (value, index) => calibrators[index]?.(value) ?? value,
    );
    return {
      labels: labels.filter((_, index) => (probabilities[index] ?? 0) >= (thresholds[index] ?? 0)),
      probabilities: byLabel(labels, probabilities),
    };
  };
}

function byLabel(labels: readonly string[], probabilities: Numbers): Record<string, number | undefined> {
  return Object.fromEntries(labels.map((label, index) => [label, probabilities[index]]));
}

/** The positions of the largest values, the largest first, of equal ones the first. */
function positionsOfBest(values: Numbers, count: number): number[] {
  return [...values.keys()].sort((a, b) => (values[b] ?? 0) - (values[a] ?? 0)).slice(0, count);
}
