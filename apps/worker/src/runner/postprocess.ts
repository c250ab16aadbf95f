import { type ModelManifest, type RowResult, rowShapeOf, type TensorSpec } from '@onqueue/shared';
import { decide } from './decision.ts';
import { embeddingOutputs } from './embedding-outputs.ts';
import type { Tensors } from './inference-engine.ts';
import { ModelLoadError } from './model-load-error.ts';
import type { ModelModule } from './model-module.ts';
import { NON_FINITE } from './non-finite.ts';
import { numbersOf, numericOutput } from './output-numbers.ts';
import { detections } from './postprocess/detections.ts';
import { moduleOutputs } from './postprocess/module-outputs.ts';
import { rowOutputOf, scoreFieldOf, type ValuePostprocess } from './postprocess/row-values.ts';
import { rawOutputs } from './raw-outputs.ts';
import type { PicturePlace } from './row-kinds/picture-place.ts';
import type { VariableLengths } from './row-kinds/row-kind.ts';

/** From what the engine computed to what the client reads, one result per row of the batch. */
export type BatchPostprocess = {
  /** The outputs of the graph that it reads. */
  outputs: readonly string[];
  results(fetches: Tensors, batch: number, lengths?: VariableLengths, context?: BatchContext): RowResult[];
};

/** What is known of the rows of a batch besides, in their order. */
export type BatchContext = {
  /** As they came. */
  rows: readonly unknown[];
  /** How the picture of a row lies in its tensor. */
  places?: readonly (PicturePlace | undefined)[] | undefined;
};

/**
 * Compiles a manifest's `postprocess` and `decision`; throws a {@link ModelLoadError} where they do not fit together. `module`
 * is the code that postprocessing of the type `module` names.
 */
export function batchPostprocess(manifest: ModelManifest, module?: ModelModule): BatchPostprocess {
  const { postprocess, decision } = manifest;
  if (postprocess.type === 'raw') {
    if (decision) throw new ModelLoadError('The decision policy reads a score, and raw outputs have none.');
    return rawOutputs(manifest, postprocess);
  }
  if (postprocess.type === 'embed') {
    if (decision) throw new ModelLoadError('The decision policy reads a score, and an embedding has none.');
    return embeddingOutputs(manifest, postprocess);
  }
  if (postprocess.type === 'detect') {
    if (decision) throw new ModelLoadError('The decision policy reads a score, and detections have many.');
    return detections(manifest, postprocess);
  }
  if (postprocess.type === 'module') {
    if (decision) throw new ModelLoadError('The decision policy reads a score; a module decides for itself.');
    if (!module) throw new Error('The code of a model was not loaded. This is a bug.');
    return moduleOutputs(manifest, postprocess, module);
  }
  return valueOutputs(manifest, postprocess);
}

function valueOutputs({ outputs, decision }: ModelManifest, postprocess: ValuePostprocess): BatchPostprocess {
  const width = outputWidth(outputs, postprocess);
  const rowOutput = rowOutputOf(postprocess);
  const scoreField = scoreFieldOf(postprocess);
  if (decision && decision.score !== scoreField) {
    throw new ModelLoadError(
      `The decision policy reads "${decision.score}", the output has ${scoreField === undefined ? 'no score' : `"${scoreField}"`}.`,
    );
  }
  const allowsNonFinite = postprocess.type === 'score' && postprocess.allow_non_finite === true;
  if (decision && allowsNonFinite) {
    throw new ModelLoadError(
      'The decision policy reads a score that may be NaN (allow_non_finite), which no band is for.',
    );
  }
  return {
    outputs: [postprocess.output],
    results(fetches, batch) {
      const data = numbersOf(fetches, postprocess.output);
      if (data.length !== batch * width) {
        throw new Error(
          `Output "${postprocess.output}" has ${data.length} values for ${batch} rows, not ${width} each.`,
        );
      }
      return Array.from({ length: batch }, (_, row): RowResult => {
        const values = data.subarray(row * width, (row + 1) * width);
        // An engine answers NaN without complaint; the neighbours' values are sound.
        if (!allowsNonFinite && !values.every(Number.isFinite)) return NON_FINITE;
        const output = rowOutput(values);
        if (decision) output.decision = decide(decision, output[decision.score] as number);
        return { status: 'succeeded', output };
      });
    },
  };
}

function outputWidth(outputs: readonly TensorSpec[], postprocess: ValuePostprocess): number {
  const spec = numericOutput(outputs, postprocess.output);
  const width = rowShapeOf(spec).reduce((product, size) => product * size, 1);
  const problem = widthProblem(width, postprocess);
  if (!problem) return width;
  throw new ModelLoadError(
    `Postprocessing needs ${problem} of "${spec.name}", whose shape is [${spec.shape.join(', ')}].`,
  );
}

/** What is wrong with so many values a row, if anything is; a width below 0 is one that varies. */
function widthProblem(width: number, postprocess: ValuePostprocess): string | undefined {
  if (postprocess.type === 'score') {
    const { index } = postprocess;
    if (index === undefined) return width === 1 ? undefined : '1 value(s) a row';
    return index < width ? undefined : `a value at ${index} a row`;
  }
  const { labels, labels_file: file } = postprocess;
  if (!labels) return width > 0 ? undefined : 'a fixed number of values a row';
  const source = file ? ` (${file.file} has ${labels.length} labels)` : '';
  return width === labels.length ? undefined : `${labels.length} value(s) a row${source}`;
}
