import { type ModelManifest, RowFailure, type TabularField, type TensorSpec } from '@onqueue/shared';
import type { Tensor, Tensors } from '../inference-engine.ts';
import { ModelLoadError } from '../model-load-error.ts';
import type { RowKind } from './row-kind.ts';

/**
 * Rows of named fields: each field is a tensor `[batch, 1]` of its own. The values' ranges were checked against the row
 * schema when the job was accepted; here a row only has to have a value of the right type for every tensor, because
 * what is read back from a queue may have been written by another version.
 */
export function tabularColumns(manifest: Extract<ModelManifest, { kind: 'tabular' }>): RowKind {
  const columns = manifest.inputs.map((input) => columnOf(input, manifest.row.fields));
  for (const { name } of manifest.row.fields) {
    if (!manifest.inputs.some((input) => input.name === name)) {
      throw new ModelLoadError(`Field "${name}" has no input of its name in the manifest.`);
    }
  }
  return { prepare: async (rows) => prepare(rows, columns) };
}

/** One input of the graph, filled from one field. */
type Column = { name: string; type: TabularField['type']; allocate(length: number): ColumnBuffer };

type ColumnBuffer = {
  /** False when the value is not one that the tensor can hold. */
  write(position: number, value: unknown): boolean;
  /** The first `length` values. */
  tensor(length: number): Tensor;
};

function columnOf(input: TensorSpec, fields: readonly TabularField[]): Column {
  const field = fields.find(({ name }) => name === input.name);
  if (!field) throw new ModelLoadError(`Input "${input.name}" has no field of its name in the manifest.`);
  if (input.shape.length !== 2 || input.shape[1] !== 1) {
    throw new ModelLoadError(`Input "${input.name}" must have the shape [-1, 1], as every column.`);
  }
  const allocate = BUFFERS[field.type][input.dtype];
  if (!allocate) {
    throw new ModelLoadError(
      `Field "${field.name}" is of type ${field.type}, input "${input.name}" of ${input.dtype}.`,
    );
  }
  return { name: field.name, type: field.type, allocate };
}

function prepare(rows: readonly unknown[], columns: readonly Column[]) {
  const buffers = columns.map((column) => ({ column, buffer: column.allocate(rows.length) }));
  const joined: number[] = [];
  const failures = new Map<number, RowFailure>();
  for (const [index, row] of rows.entries()) {
    // A row that fails half-way leaves values behind its position; the next row, or the cut at the end, removes them.
    const failure = writeRow(row, joined.length, buffers);
    if (failure) failures.set(index, failure);
    else joined.push(index);
  }
  const feeds: Tensors = {};
  for (const { column, buffer } of buffers) feeds[column.name] = buffer.tensor(joined.length);
  return { feeds, joined, failures };
}

function writeRow(row: unknown, position: number, buffers: readonly { column: Column; buffer: ColumnBuffer }[]) {
  if (typeof row !== 'object' || row === null) return new RowFailure('invalid_row', 'The row is not an object.');
  for (const { column, buffer } of buffers) {
    const value = (row as Record<string, unknown>)[column.name];
    if (!buffer.write(position, value)) {
      const problem = value === undefined ? 'is missing' : `is not ${VALUE_NAMES[column.type]}`;
      return new RowFailure('invalid_row', `Field "${column.name}" ${problem}.`, { pointer: pointerTo(column.name) });
    }
  }
  return undefined;
}

const VALUE_NAMES = { number: 'a number that is finite in float32', integer: 'an integer', string: 'a string' };

const BUFFERS: Record<TabularField['type'], Partial<Record<TensorSpec['dtype'], (length: number) => ColumnBuffer>>> = {
  number: { float32: (length) => float32Buffer(length, (value) => Number.isFinite(Math.fround(value))) },
  integer: { float32: (length) => float32Buffer(length, Number.isSafeInteger), int64: int64Buffer },
  string: { string: stringBuffer },
};

function float32Buffer(length: number, accepts: (value: number) => boolean): ColumnBuffer {
  const data = new Float32Array(length);
  return {
    write(position, value) {
      if (typeof value !== 'number' || !accepts(value)) return false;
      data[position] = value;
      return true;
    },
    tensor: (rows) => ({ dtype: 'float32', data: data.subarray(0, rows), dims: [rows, 1] }),
  };
}

function int64Buffer(length: number): ColumnBuffer {
  const data = new BigInt64Array(length);
  return {
    write(position, value) {
      if (typeof value !== 'number' || !Number.isSafeInteger(value)) return false;
      data[position] = BigInt(value);
      return true;
    },
    tensor: (rows) => ({ dtype: 'int64', data: data.subarray(0, rows), dims: [rows, 1] }),
  };
}

function stringBuffer(length: number): ColumnBuffer {
  const data = new Array<string>(length);
  return {
    write(position, value) {
      if (typeof value !== 'string') return false;
      data[position] = value;
      return true;
    },
    tensor: (rows) => ({ dtype: 'string', data: data.slice(0, rows), dims: [rows, 1] }),
  };
}

function pointerTo(name: string): string {
  return `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`;
}
