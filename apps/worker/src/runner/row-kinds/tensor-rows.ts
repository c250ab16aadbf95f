import {
  type ModelManifest,
  RowFailure,
  type RowTensor,
  rowShapeOf,
  tensorFault,
  variableSizes,
} from '@onqueue/shared';
import type { Tensor, Tensors } from '../inference-engine.ts';
import { ModelLoadError } from '../model-load-error.ts';
import { allocateTensor } from '../tensor-data.ts';
import type { RowKind } from './row-kind.ts';

type TensorManifest = Extract<ModelManifest, { kind: 'tensor' }>;

/**
 * Rows of nested arrays, one for each input of the graph. Dimensions that vary are filled up to the longest row of those that are
 * run together, behind the row's own values.
 */
export function tensorRows({ inputs, row: { tensors } }: Pick<TensorManifest, 'inputs' | 'row'>): RowKind {
  for (const input of inputs) {
    const tensor = tensors.find(({ name }) => name === input.name);
    if (!tensor) throw new ModelLoadError(`Input "${input.name}" has no tensor of its name in the row.`);
    if (tensor.dtype !== input.dtype || tensor.shape.join() !== rowShapeOf(input).join()) {
      throw new ModelLoadError(
        `Input "${input.name}" must be ${tensor.dtype} of [${tensor.shape.join(', ')}], as the tensor of the row, and the batch; it is ${input.dtype} of [${input.shape.join(', ')}].`,
      );
    }
  }
  for (const { name } of tensors) {
    if (!inputs.some((input) => input.name === name)) {
      throw new ModelLoadError(`Tensor "${name}" of the row has no input of its name in the manifest.`);
    }
  }
  return { prepare: async (rows) => prepare(rows, tensors) };
}

function prepare(rows: readonly unknown[], tensors: readonly RowTensor[]) {
  const joined: number[] = [];
  const failures = new Map<number, RowFailure>();
  for (const [index, row] of rows.entries()) {
    const failure = failureOf(row, tensors);
    if (failure) failures.set(index, failure);
    else joined.push(index);
  }
  const feeds: Tensors = {};
  const lengths = new Map<string, number[][]>();
  for (const tensor of tensors) {
    const values = joined.map((index) => (rows[index] as Record<string, unknown>)[tensor.name]);
    const sizes = values.map((value) => variableSizes(value, tensor));
    feeds[tensor.name] = padded(values, sizes, tensor);
    lengths.set(tensor.name, sizes);
  }
  return { feeds, joined, failures, lengths };
}

function failureOf(row: unknown, tensors: readonly RowTensor[]): RowFailure | undefined {
  if (typeof row !== 'object' || row === null) return new RowFailure('invalid_row', 'The row is not an object.');
  for (const tensor of tensors) {
    const fault = tensorFault((row as Record<string, unknown>)[tensor.name], tensor);
    if (!fault) continue;
    const name = tensor.name.replaceAll('~', '~0').replaceAll('/', '~1');
    const pointer = ['', name, ...fault.path].join('/');
    return new RowFailure('invalid_row', `Tensor "${tensor.name}" ${fault.message}, at ${pointer}.`, { pointer });
  }
  return undefined;
}

function padded(values: readonly unknown[], sizes: readonly (readonly number[])[], tensor: RowTensor): Tensor {
  let variable = 0;
  const rowDims = tensor.shape.map((size) => {
    if (size !== -1) return size;
    const axis = variable++;
    return sizes.reduce((longest, row) => Math.max(longest, row[axis] ?? 0), 0);
  });
  const { tensor: batch, set } = allocateTensor(tensor.dtype, [values.length, ...rowDims], tensor.pad_value);
  write(values, batch.dims, set);
  return batch;
}

/** Row-major; what a row has less of than `dims` stays as it is. */
function write(values: unknown, dims: readonly number[], set: (index: number, value: unknown) => void): void {
  const visit = (part: unknown, axis: number, position: number): void => {
    if (axis === dims.length) {
      set(position, part);
      return;
    }
    const size = dims[axis] ?? 0;
    for (const [index, element] of (part as readonly unknown[]).entries())
      visit(element, axis + 1, position * size + index);
  };
  visit(values, 0, 0);
}
