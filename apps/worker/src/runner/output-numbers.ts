import type { TensorSpec } from '@onqueue/shared';
import type { Tensors } from './inference-engine.ts';
import { ModelLoadError } from './model-load-error.ts';
import { elementReader } from './tensor-data.ts';

export type Numbers = Float32Array | Float64Array;

/** What the manifest says of an output that postprocessing reads as numbers. @throws ModelLoadError */
export function numericOutput(outputs: readonly TensorSpec[], name: string): TensorSpec {
  const spec = outputs.find((output) => output.name === name);
  if (!spec) throw new ModelLoadError(`Postprocessing reads "${name}", which is no output of the manifest.`);
  if (spec.dtype === 'string') throw new ModelLoadError(`Postprocessing reads "${spec.name}", which holds strings.`);
  return spec;
}

/** The values of an output, of all rows of the batch. */
export function numbersOf(fetches: Tensors, name: string): Numbers {
  const tensor = fetches[name];
  if (!tensor || tensor.dtype === 'string') throw new Error(`Output "${name}" came back as ${tensor?.dtype}.`);
  if (tensor.dtype === 'float32' || tensor.dtype === 'float64') return tensor.data;
  const element = elementReader(tensor);
  return Float64Array.from({ length: tensor.data.length }, (_, index) => Number(element(index)));
}
