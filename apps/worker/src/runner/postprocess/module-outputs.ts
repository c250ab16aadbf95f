import { type ModelManifest, type Postprocess, RowFailure, type RowResult } from '@onqueue/shared';
import type { Tensor, Tensors } from '../inference-engine.ts';
import { ModelLoadError } from '../model-load-error.ts';
import { exportOf, type ModelModule, type ModuleTensor } from '../model-module.ts';
import { moduleFailure, synchronous } from '../module-error.ts';
import { NON_FINITE } from '../non-finite.ts';
import type { BatchPostprocess } from '../postprocess.ts';
import { NonFiniteNumberError, plainJson } from './plain-json.ts';

/** What the code of the model makes of outputs, one row at a time, so that what it throws fails that row alone. */
export function moduleOutputs(
  manifest: ModelManifest,
  { outputs }: Extract<Postprocess, { type: 'module' }>,
  module: ModelModule,
): BatchPostprocess {
  const postprocess = exportOf(module, 'postprocess');
  const stranger = outputs.find((output) => !manifest.outputs.some(({ name }) => name === output));
  if (stranger !== undefined) {
    throw new ModelLoadError(`Postprocessing reads "${stranger}", which is no output of the manifest.`);
  }
  return {
    outputs,
    results: (fetches, batch, _lengths, context) =>
      Array.from({ length: batch }, (_, row): RowResult => {
        const tensors = Object.fromEntries(outputs.map((name) => [name, rowOf(fetches, name, row, batch)]));
        return answerOf(() => postprocess(tensors, structuredClone(context?.rows[row]) as Record<string, unknown>));
      }),
  };
}

function answerOf(compute: () => unknown): RowResult {
  try {
    const output = plainJson(synchronous(compute(), 'postprocess'));
    if (typeof output === 'object' && output !== null && !Array.isArray(output)) {
      return { status: 'succeeded', output: output as Record<string, unknown> };
    }
    throw new Error('"postprocess" of the model gave no object.');
  } catch (error) {
    if (error instanceof NonFiniteNumberError) return NON_FINITE;
    const failure = error instanceof RowFailure ? error : moduleFailure('model_code_failed', error);
    return { status: 'failed', error: failure.toRowError() };
  }
}

/** A copy, which the code may change. */
function rowOf(fetches: Tensors, name: string, row: number, batch: number): ModuleTensor {
  const tensor = fetches[name];
  if (tensor?.dims[0] !== batch) {
    throw new Error(`Output "${name}" has the shape [${tensor?.dims.join(', ')}] for ${batch} rows.`);
  }
  const dims = tensor.dims.slice(1);
  const length = dims.reduce((product, size) => product * size, 1);
  return {
    dtype: tensor.dtype,
    data: (tensor.data as Sliceable<Tensor['data']>).slice(row * length, (row + 1) * length),
    dims,
  };
}

type Sliceable<Data> = Data & { slice(start: number, end: number): Data };
