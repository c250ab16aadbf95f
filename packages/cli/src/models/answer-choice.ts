import { isFloatDtype, type ModelManifest, type Postprocess, type TensorSpec } from '@onqueue/shared';
import { CliError } from '../cli-error.ts';
import type { Trial } from './model-trial.ts';

/** How outputs become an answer, and why so. */
export interface AnswerChoice {
  postprocess: Postprocess;
  outputs: ModelManifest['outputs'];
  reason: string;
}

export interface AnswerHints {
  /** From the command line. */
  labels: readonly string[] | undefined;
  /** From a ZipMap that was taken off, with the tensor that it read. */
  zipMap: { tensor: string; labels: readonly string[] } | undefined;
}

/**
 * `classify` where labels are known for the values of an output, `score` for a single number, else all outputs as they are.
 * @throws CliError when labels were given and no output has as many values.
 */
export function chooseAnswer(trial: Trial, hints: AnswerHints): AnswerChoice {
  const { zipMap, labels } = hints;
  const numbers = trial.layout.outputs.filter(({ dtype }) => isFloatDtype(dtype));
  if (labels) {
    const output = numbers.find(({ name }) => widthOf(trial, name) === labels.length);
    if (output) return classify(trial, output, labels, 'the labels were given');
    const widths = trial.layout.outputs.map(({ name }) => `"${name}" has ${widthOf(trial, name) ?? 'varying'}`);
    throw new CliError(
      `There are ${labels.length} labels, but no output with as many values a row: ${widths.join(', ')}.`,
    );
  }
  const mapped = numbers.find(({ name }) => name === zipMap?.tensor);
  if (zipMap && mapped && zipMap.labels.length >= 2 && widthOf(trial, mapped.name) === zipMap.labels.length) {
    return classify(trial, mapped, zipMap.labels, 'the labels are those of the ZipMap at the end of the graph');
  }
  const numbered = numberedClasses(trial, numbers);
  if (numbered)
    return classify(trial, numbered.output, numbered.labels, `the labels are the numbers that "${numbered.by}" gives`);
  const [only, ...others] = trial.layout.outputs;
  if (only && others.length === 0 && isFloatDtype(only.dtype) && widthOf(trial, only.name) === 1)
    return score(trial, only);
  return raw(trial);
}

function classify(trial: Trial, output: TensorSpec, labels: readonly string[], why: string): AnswerChoice {
  const sums = trial.answers.map((answer) => numbersIn(answer[output.name]));
  const areProbabilities = sums.every(
    (values) =>
      values.every((value) => value >= 0) && Math.abs(values.reduce((sum, value) => sum + value, 0) - 1) < 1e-3,
  );
  return {
    postprocess: {
      type: 'classify',
      output: output.name,
      activation: areProbabilities ? 'none' : 'softmax',
      labels: [...labels],
    },
    outputs: observed(trial, output.name),
    reason: `${why}; ${areProbabilities ? 'the values are probabilities already' : 'the values do not add up to 1, so they go through a softmax'}`,
  };
}

function score(trial: Trial, output: TensorSpec): AnswerChoice {
  const field = /^[A-Za-z_]\w{0,63}$/.test(output.name) ? output.name : 'score';
  return {
    postprocess: {
      type: 'score',
      output: output.name,
      field,
      ...(trial.hasNonFinite ? { allow_non_finite: true } : {}),
    },
    outputs: observed(trial, output.name),
    reason: 'the model gives one number a row',
  };
}

function raw(trial: Trial): AnswerChoice {
  const outputs = trial.layout.outputs.map(({ name }) => ({
    output: name,
    ...(trial.lengthOf[name] ? { length_of: trial.lengthOf[name] } : {}),
  }));
  return {
    postprocess: { type: 'raw', outputs, ...(trial.hasNonFinite ? { allow_non_finite: true } : {}) },
    outputs: observed(trial),
    reason: 'every output is given as it is, as nested arrays',
  };
}

/**
 * A classifier that gives its decision beside the probabilities: if the decision is the place of the largest one in all rows, classes
 * are called by their places.
 */
function numberedClasses(trial: Trial, numbers: readonly TensorSpec[]) {
  const by = trial.layout.outputs.find(({ name, dtype }) => /label|class/i.test(name) && dtype === 'int64');
  const [output, ...others] = numbers;
  if (!by || !output || others.length > 0 || trial.layout.outputs.length !== 2) return undefined;
  const width = widthOf(trial, output.name) ?? 0;
  const isArgmax = trial.answers.every((answer) => {
    const values = numbersIn(answer[output.name]);
    return numbersIn(answer[by.name])[0] === values.indexOf(Math.max(...values));
  });
  if (!isArgmax || width < 2) return undefined;
  return { output, by: by.name, labels: Array.from({ length: width }, (_, index) => String(index)) };
}

/** The shapes that the graph leaves open are those that were seen, of one output or of all whose rank it does not tell. */
function observed(trial: Trial, read?: string): TensorSpec[] {
  return trial.layout.outputs.map((spec) => {
    const shape = shapeOf(trial.answers[0]?.[spec.name]);
    const isOpen = spec.shape.length <= 1 && shape.length > 0 && spec.batch_axis === undefined;
    if (isOpen) return { ...spec, shape: [spec.shape[0] ?? -1, ...shape] };
    if (spec.name !== read) return spec;
    const axis = spec.batch_axis === undefined ? 0 : spec.batch_axis;
    let next = 0;
    return { ...spec, shape: spec.shape.map((size, place) => (place === axis ? size : (shape[next++] ?? size))) };
  });
}

/** Values a row of an output; undefined when that differs from row to row. */
function widthOf(trial: Trial, name: string): number | undefined {
  const widths = new Set(trial.answers.map((answer) => numbersIn(answer[name]).length));
  return widths.size === 1 ? [...widths][0] : undefined;
}

function numbersIn(value: unknown): number[] {
  return Array.isArray(value) ? value.flatMap(numbersIn) : [Number(value)];
}

function shapeOf(value: unknown): number[] {
  return Array.isArray(value) ? [value.length, ...shapeOf(value[0])] : [];
}
