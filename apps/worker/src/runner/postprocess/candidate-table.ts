import type { ModelManifest, Postprocess, TensorSpec } from '@onqueue/shared';
import type { Tensors } from '../inference-engine.ts';
import { ModelLoadError } from '../model-load-error.ts';
import { numbersOf, numericOutput } from '../output-numbers.ts';
import { sigmoid } from './activation.ts';
import type { Box } from './box.ts';

type Detect = Extract<Postprocess, { type: 'detect' }>;

/** The boxes of one row that a detector proposes, however its outputs hold them. */
export type CandidateTable = {
  count: number;
  /** Scores a candidate has. */
  classes: number;
  box(candidate: number): Box;
  score(candidate: number, place: number): number;
  /** The class of a candidate's score at a place. */
  classOf(candidate: number, place: number): number;
};

export type CandidateReader = {
  outputs: readonly string[];
  /** Undefined where the graph leaves it open. */
  classes: number | undefined;
  /** The tables of all rows of a batch. */
  tables(fetches: Tensors, batch: number): readonly CandidateTable[];
};

const BOX_VALUES = 4;

/** @throws ModelLoadError when the outputs are not laid out as the manifest says. */
export function candidateReader({ outputs }: ModelManifest, detect: Detect): CandidateReader {
  return detect.predictions ? combined(outputs, detect, detect.predictions) : separate(outputs, detect);
}

function combined(
  outputs: readonly TensorSpec[],
  { activation }: Detect,
  { output, layout, objectness = false }: NonNullable<Detect['predictions']>,
): CandidateReader {
  const valuesAxis = layout === 'values_first' ? 1 : 2;
  const spec = outputOfRank(outputs, output, 3);
  const before = BOX_VALUES + Number(objectness);
  const declared = spec.shape[valuesAxis] ?? -1;
  if (declared !== -1 && declared <= before) {
    throw new ModelLoadError(`Output "${output}" has ${declared} values a candidate, which leaves none for classes.`);
  }
  const activate = activation === 'sigmoid' ? sigmoid : (value: number) => value;
  return {
    outputs: [output],
    classes: declared === -1 ? undefined : declared - before,
    tables(fetches, batch) {
      const data = numbersOf(fetches, output);
      const [, first = 0, second = 0] = dimsOf(fetches, output, batch);
      const [count, values] = layout === 'values_first' ? [second, first] : [first, second];
      return Array.from({ length: batch }, (_, row) => {
        const start = row * count * values;
        const at = (candidate: number, value: number) =>
          data[start + (layout === 'values_first' ? value * count + candidate : candidate * values + value)] ??
          Number.NaN;
        return {
          count,
          classes: values - before,
          box: (candidate) => [at(candidate, 0), at(candidate, 1), at(candidate, 2), at(candidate, 3)],
          score(candidate, place) {
            const score = activate(at(candidate, before + place));
            return objectness ? score * activate(at(candidate, BOX_VALUES)) : score;
          },
          classOf: (_candidate, place) => place,
        };
      });
    },
  };
}

function separate(outputs: readonly TensorSpec[], detect: Detect): CandidateReader {
  const { boxes = '', scores = '', classes, activation } = detect;
  const boxSpec = outputOfRank(outputs, boxes, 3);
  if (![-1, BOX_VALUES].includes(boxSpec.shape[2] ?? 0)) {
    throw new ModelLoadError(`Output "${boxes}" must have 4 values a box; its shape is [${boxSpec.shape.join(', ')}].`);
  }
  const scoreSpec = outputOfRank(outputs, scores, classes === undefined ? 3 : 2);
  if (classes !== undefined) outputOfRank(outputs, classes, 2);
  const declared = scoreSpec.shape[2] ?? -1;
  const activate = activation === 'sigmoid' ? sigmoid : (value: number) => value;
  return {
    outputs: [boxes, scores, ...(classes === undefined ? [] : [classes])],
    classes: classes !== undefined || declared === -1 ? undefined : declared,
    tables(fetches, batch) {
      const [, count = 0] = dimsOf(fetches, boxes, batch);
      const [, scored, width = 1] = dimsOf(fetches, scores, batch);
      if (scored !== count) throw new Error(`"${boxes}" has ${count} candidates, "${scores}" ${scored}.`);
      const [boxData, scoreData] = [numbersOf(fetches, boxes), numbersOf(fetches, scores)];
      const classData = classes === undefined ? undefined : numbersOf(fetches, classes);
      return Array.from({ length: batch }, (_, row) => {
        const boxValue = (candidate: number, value: number) =>
          boxData[(row * count + candidate) * BOX_VALUES + value] ?? Number.NaN;
        return {
          count,
          classes: width,
          box: (candidate) => [0, 1, 2, 3].map((value) => boxValue(candidate, value)) as unknown as Box,
          score: (candidate, place) => activate(scoreData[(row * count + candidate) * width + place] ?? Number.NaN),
          classOf: (candidate, place) => classData?.[row * count + candidate] ?? place,
        };
      });
    },
  };
}

function outputOfRank(outputs: readonly TensorSpec[], name: string, rank: number): TensorSpec {
  const spec = numericOutput(outputs, name);
  if (spec.shape.length === rank) return spec;
  throw new ModelLoadError(`Output "${name}" must have ${rank} dimensions; its shape is [${spec.shape.join(', ')}].`);
}

function dimsOf(fetches: Tensors, name: string, batch: number): readonly number[] {
  const dims = fetches[name]?.dims ?? [];
  if (dims[0] === batch) return dims;
  throw new Error(`Output "${name}" has the shape [${dims.join(', ')}] for ${batch} rows.`);
}
