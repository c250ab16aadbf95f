import { type ModelManifest, type Postprocess, type RowResult, rowShapeOf } from '@onqueue/shared';
import type { Tensor } from './inference-engine.ts';
import { ModelLoadError } from './model-load-error.ts';
import { NON_FINITE } from './non-finite.ts';
import type { BatchPostprocess } from './postprocess.ts';
import type { VariableLengths } from './row-kinds/row-kind.ts';
import { elementReader } from './tensor-data.ts';

interface RawOutput {
  output: string;
  field: string;
  lengthOf: string | undefined;
  /** Positions in the dims of a row of those that vary. */
  variable: readonly number[];
}

/** Outputs as nested arrays, without what was computed from padding. */
export function rawOutputs(
  manifest: ModelManifest,
  postprocess: Extract<Postprocess, { type: 'raw' }>,
): BatchPostprocess {
  const { allow_non_finite: allowsNonFinite = false } = postprocess;
  const outputs = postprocess.outputs.map((output) => rawOutput(manifest, output));
  return {
    outputs: [...new Set(outputs.map(({ output }) => output))],
    results(fetches, batch, lengths) {
      return Array.from({ length: batch }, (_, row): RowResult => {
        const answer: Record<string, unknown> = {};
        for (const output of outputs) {
          const tensor = fetches[output.output];
          if (tensor?.dims[0] !== batch) {
            throw new Error(`Output "${output.output}" has the shape [${tensor?.dims.join(', ')}] for ${batch} rows.`);
          }
          const part = partOf(tensor, row, cutDims(tensor, row, output, lengths), allowsNonFinite);
          if (part === undefined) return NON_FINITE;
          answer[output.field] = part;
        }
        return { status: 'succeeded', output: answer };
      });
    },
  };
}

function rawOutput(
  { outputs, row, kind }: ModelManifest,
  { output, field = output, length_of: lengthOf }: Extract<Postprocess, { type: 'raw' }>['outputs'][number],
): RawOutput {
  const spec = outputs.find(({ name }) => name === output);
  if (!spec) throw new ModelLoadError(`Postprocessing reads "${output}", which is no output of the manifest.`);
  const variable = rowShapeOf(spec).flatMap((size, axis) => (size === -1 ? [axis] : []));
  if (lengthOf !== undefined) {
    const tensor = kind === 'tensor' ? row.tensors.find(({ name }) => name === lengthOf) : undefined;
    const lengths = tensor?.shape.filter((size) => size === -1).length ?? 0;
    if (variable.length === 0 || lengths < variable.length) {
      throw new ModelLoadError(
        `Output "${output}" is to be as long as "${lengthOf}" of the row, which has ${lengths} dimensions that vary; the output has ${variable.length}.`,
      );
    }
  }
  return { output, field, lengthOf, variable };
}

/** The dims of one row of an output, those that vary cut to what the row had itself. */
function cutDims(tensor: Tensor, row: number, { lengthOf, variable }: RawOutput, lengths?: VariableLengths): number[] {
  const dims = tensor.dims.slice(1);
  const own = lengthOf === undefined ? undefined : lengths?.get(lengthOf)?.[row];
  if (own) {
    for (const [order, axis] of variable.entries()) dims[axis] = Math.min(dims[axis] ?? 0, own[order] ?? 0);
  }
  return dims;
}

/** Undefined when a value is not finite and has to be. */
function partOf(tensor: Tensor, row: number, cut: readonly number[], allowsNonFinite: boolean): unknown {
  const dims = tensor.dims.slice(1);
  let isFit = true;
  const element = elementReader(tensor);
  const read = (position: number): unknown => {
    const value = element(position);
    if (typeof value !== 'number' || Number.isFinite(value)) return value;
    isFit &&= allowsNonFinite;
    return String(value);
  };
  const visit = (axis: number, position: number): unknown => {
    if (axis === dims.length) return read(position);
    const size = dims[axis] ?? 0;
    return Array.from({ length: cut[axis] ?? 0 }, (_, index) => visit(axis + 1, position * size + index));
  };
  const part = visit(0, row);
  return isFit ? part : undefined;
}
