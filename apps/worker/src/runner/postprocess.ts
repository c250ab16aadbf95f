import { type ModelManifest, type Postprocess, type RowResult, rowShapeOf, type TensorSpec } from '@onqueue/shared';
import { decide } from './decision.ts';
import { embeddingOutputs } from './embedding-outputs.ts';
import type { Tensors } from './inference-engine.ts';
import { ModelLoadError } from './model-load-error.ts';
import { NON_FINITE } from './non-finite.ts';
import { rawOutputs } from './raw-outputs.ts';
import type { VariableLengths } from './row-kinds/row-kind.ts';
import { elementReader } from './tensor-data.ts';

/** From what the engine computed to what the client reads, one result per row of the batch. */
export type BatchPostprocess = {
  /** The outputs of the graph that it reads. */
  outputs: readonly string[];
  results(fetches: Tensors, batch: number, lengths?: VariableLengths): RowResult[];
};

type ValuePostprocess = Exclude<Postprocess, { type: 'raw' | 'embed' }>;

/** Compiles a manifest's `postprocess` and `decision`; throws a {@link ModelLoadError} where they do not fit together. */
export function batchPostprocess(manifest: ModelManifest): BatchPostprocess {
  const { postprocess, decision } = manifest;
  if (postprocess.type === 'raw') {
    if (decision) throw new ModelLoadError('The decision policy reads a score, and raw outputs have none.');
    return rawOutputs(manifest, postprocess);
  }
  if (postprocess.type === 'embed') {
    if (decision) throw new ModelLoadError('The decision policy reads a score, and an embedding has none.');
    return embeddingOutputs(manifest, postprocess);
  }
  return valueOutputs(manifest, postprocess);
}

function valueOutputs({ outputs, decision }: ModelManifest, postprocess: ValuePostprocess): BatchPostprocess {
  const width = outputWidth(outputs, postprocess);
  const rowOutput = rowOutputOf(postprocess);
  const scoreField = postprocess.type === 'score' ? postprocess.field : 'probability';
  if (decision && decision.score !== scoreField) {
    throw new ModelLoadError(`The decision policy reads "${decision.score}", the output has "${scoreField}".`);
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
        if (decision) output.decision = decide(decision, output[scoreField] as number);
        return { status: 'succeeded', output };
      });
    },
  };
}

function outputWidth(outputs: readonly TensorSpec[], postprocess: ValuePostprocess): number {
  const spec = outputs.find(({ name }) => name === postprocess.output);
  if (!spec)
    throw new ModelLoadError(`Postprocessing reads "${postprocess.output}", which is no output of the manifest.`);
  if (spec.dtype === 'string') throw new ModelLoadError(`Postprocessing reads "${spec.name}", which holds strings.`);
  const width = rowShapeOf(spec).reduce((product, size) => product * size, 1);
  const expected = postprocess.type === 'score' ? 1 : postprocess.labels.length;
  if (width !== expected) {
    throw new ModelLoadError(
      `Postprocessing needs ${expected} value(s) a row of "${spec.name}", whose shape is [${spec.shape.join(', ')}].`,
    );
  }
  return width;
}

function numbersOf(fetches: Tensors, name: string): Float32Array | Float64Array {
  const tensor = fetches[name];
  if (!tensor || tensor.dtype === 'string') throw new Error(`Output "${name}" came back as ${tensor?.dtype}.`);
  if (tensor.dtype === 'float32' || tensor.dtype === 'float64') return tensor.data;
  const element = elementReader(tensor);
  return Float64Array.from({ length: tensor.data.length }, (_, index) => Number(element(index)));
}

type RowOutput = (values: Float32Array | Float64Array) => Record<string, unknown>;

function rowOutputOf(postprocess: ValuePostprocess): RowOutput {
  if (postprocess.type === 'score') {
    const { field } = postprocess;
    return ([score]) => ({ [field]: Number.isFinite(score) ? score : String(score) });
  }
  const { labels, activation } = postprocess;
  return (values) => {
    const probabilities = activation === 'softmax' ? softmax(values) : values;
    const best = probabilities.indexOf(Math.max(...probabilities));
    return {
      label: labels[best],
      probability: probabilities[best],
      probabilities: Object.fromEntries(labels.map((label, index) => [label, probabilities[index]])),
    };
  };
}

/** In float64, and shifted by the maximum so that no exponential overflows. */
function softmax(logits: Float32Array | Float64Array): Float64Array {
  const maximum = Math.max(...logits);
  const exponentials = Float64Array.from(logits, (logit) => Math.exp(logit - maximum));
  const sum = exponentials.reduce((total, exponential) => total + exponential, 0);
  return exponentials.map((exponential) => exponential / sum);
}
