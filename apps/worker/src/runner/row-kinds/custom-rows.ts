import { type ModelManifest, RowFailure, type RowTensor, rowShapeOf } from '@onqueue/shared';
import { exportOf, type ModelModule } from '../model-module.ts';
import { moduleFailure, synchronous } from '../module-error.ts';
import type { RowKind } from './row-kind.ts';
import { tensorRows } from './tensor-rows.ts';

/**
 * Rows that the code of the model turns into tensors, one row at a time, so that what it throws fails that row alone. From
 * there on they are rows of `tensor`: checked against the inputs, filled up to the longest of the batch.
 */
export function customRows(manifest: Extract<ModelManifest, { kind: 'custom' }>, module: ModelModule): RowKind {
  const preprocess = exportOf(module, 'preprocess');
  const tensors = manifest.inputs.map(
    (input): RowTensor => ({ name: input.name, dtype: input.dtype, shape: rowShapeOf(input) as RowTensor['shape'] }),
  );
  const kind = tensorRows({ inputs: manifest.inputs, row: { tensors } });
  return {
    async prepare(rows) {
      const read: unknown[] = [];
      const places: number[] = [];
      const failures = new Map<number, RowFailure>();
      for (const [index, row] of rows.entries()) {
        const tensorsOfRow = tensorsBy(preprocess, row);
        if (tensorsOfRow instanceof RowFailure) failures.set(index, tensorsOfRow);
        else places.push(index) && read.push(tensorsOfRow);
      }
      const { joined, failures: unfit, ...prepared } = await kind.prepare(read);
      // The row is not to blame for tensors that its code made of it.
      for (const [position, { message, pointer }] of unfit) {
        const detail = `Of what "preprocess" of the model gave: ${message}${pointer ? ` (${pointer})` : ''}`;
        failures.set(places[position] as number, new RowFailure('model_code_failed', detail));
      }
      return { ...prepared, joined: joined.map((position) => places[position] as number), failures };
    },
  };
}

function tensorsBy(preprocess: NonNullable<ModelModule['preprocess']>, row: unknown): unknown {
  try {
    return nestedArrays(synchronous(preprocess(structuredClone(row) as Record<string, unknown>), 'preprocess'));
  } catch (error) {
    return error instanceof RowFailure ? error : moduleFailure('invalid_row', error);
  }
}

/** Typed arrays may stand for the innermost arrays of a tensor. */
function nestedArrays(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, tensor]) => [name, plainArray(tensor)]));
}

function plainArray(value: unknown): unknown {
  if (Array.isArray(value)) return typeof value[0] === 'object' ? value.map(plainArray) : value;
  if (!ArrayBuffer.isView(value) || value instanceof DataView) return value;
  return Array.from(value as unknown as ArrayLike<number | bigint>, Number);
}
