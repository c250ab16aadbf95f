import { type ModelManifest, RowFailure, type TensorSpec } from '@onqueue/shared';
import type { Tensors } from '../inference-engine.ts';
import { ModelLoadError } from '../model-load-error.ts';
import { allocateTensor, rowsOf } from '../tensor-data.ts';
import { type FieldReader, fieldReader } from './field-reader.ts';
import type { RowKind } from './row-kind.ts';

type TabularManifest = Extract<ModelManifest, { kind: 'tabular' }>;

/**
 * Rows of named fields: each input is a matrix `[batch, width]` of one field, or of several side by side. The values' ranges
 * were checked against the row schema when the job was accepted; here a row only has to have a value of the right type for every
 * place, because what is read back from a queue may have been written by another version.
 */
export function tabularColumns(manifest: TabularManifest): RowKind {
  const matrices = manifest.inputs.map((input) => matrixOf(input, manifest));
  const fed = new Set(matrices.flatMap(({ readers }) => readers.map(({ name }) => name)));
  const idle = manifest.row.fields.find(({ name }) => !fed.has(name));
  if (idle) throw new ModelLoadError(`Field "${idle.name}" has no input of its name in the manifest.`);
  assertPacksAreInputs(manifest);
  return { prepare: async (rows) => prepare(rows, matrices) };
}

/** One input of the graph, and the fields that fill it. */
type Matrix = {
  name: string;
  readers: readonly FieldReader[];
  width: number;
  dtype: TensorSpec['dtype'];
  /** Whether the batch is the only dimension. */
  isFlat: boolean;
};

function matrixOf(input: TensorSpec, manifest: TabularManifest): Matrix {
  const readers = fieldNamesOf(input, manifest).map((name) => {
    const field = manifest.row.fields.find((candidate) => candidate.name === name);
    if (!field) throw new ModelLoadError(`Input "${input.name}" has no field "${name}" in the manifest.`);
    return fieldReader(field, input.dtype, input.name);
  });
  const width = readers.reduce((sum, reader) => sum + reader.width, 0);
  const isFlat = input.shape.length === 1 && width === 1;
  if (!isFlat && (input.shape.length !== 2 || input.shape[1] !== width)) {
    throw new ModelLoadError(
      `Input "${input.name}" must have the shape [-1, ${width}], for ${readers.map(({ name }) => `"${name}"`).join(', ')}.`,
    );
  }
  return { name: input.name, readers, width, isFlat, dtype: input.dtype };
}

function fieldNamesOf({ name }: TensorSpec, { preprocess }: TabularManifest): readonly string[] {
  const pack = preprocess.type === 'pack' ? preprocess.inputs.find(({ input }) => input === name) : undefined;
  return pack?.fields ?? [name];
}

function assertPacksAreInputs({ inputs, preprocess }: TabularManifest): void {
  if (preprocess.type !== 'pack') return;
  const stranger = preprocess.inputs.find(({ input }) => !inputs.some(({ name }) => name === input));
  if (stranger) throw new ModelLoadError(`Preprocessing packs "${stranger.input}", which is no input of the manifest.`);
}

function prepare(rows: readonly unknown[], matrices: readonly Matrix[]) {
  const targets = matrices.map((matrix) => ({
    matrix,
    data: allocateTensor(matrix.dtype, matrix.isFlat ? [rows.length] : [rows.length, matrix.width]),
  }));
  const joined: number[] = [];
  const failures = new Map<number, RowFailure>();
  for (const [index, row] of rows.entries()) {
    // A row that fails half-way leaves values behind its position; the next row, or the cut at the end, removes them.
    const failure = writeRow(row, joined.length, targets);
    if (failure) failures.set(index, failure);
    else joined.push(index);
  }
  const feeds: Tensors = {};
  for (const { matrix, data } of targets) feeds[matrix.name] = rowsOf(data.tensor, 0, joined.length);
  return { feeds, joined, failures };
}

type Target = { matrix: Matrix; data: ReturnType<typeof allocateTensor> };

function writeRow(row: unknown, position: number, targets: readonly Target[]): RowFailure | undefined {
  if (typeof row !== 'object' || row === null) return new RowFailure('invalid_row', 'The row is not an object.');
  for (const { matrix, data } of targets) {
    let at = position * matrix.width;
    for (const reader of matrix.readers) {
      const value = Object.hasOwn(row, reader.name) ? (row as Record<string, unknown>)[reader.name] : undefined;
      const element = reader.read(value);
      if (element === undefined) {
        const detail = `Field "${reader.name}" ${reader.problemOf(value)}.`;
        return new RowFailure('invalid_row', detail, { pointer: pointerTo(reader.name) });
      }
      if (reader.width === 1) data.set(at, element);
      else writeOneHot(data, at, reader.width, element as number);
      at += reader.width;
    }
  }
  return undefined;
}

/** A position of no category, -1, is zeros throughout. */
function writeOneHot(data: Target['data'], from: number, width: number, hot: number): void {
  for (let position = 0; position < width; position++) data.set(from + position, Number(position === hot));
}

function pointerTo(name: string): string {
  return `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`;
}
