import type { ModelManifest } from '@onqueue/shared';
import type { Trial } from './model-trial.ts';
import type { Row } from './option-values.ts';

type Tabular = Extract<ModelManifest, { kind: 'tabular' }>;

const FIELD_TYPES = { float32: 'number', int64: 'integer', string: 'string' } as const;

/** A graph that takes each column of a table by its name: rows are nicer as plain values. */
export function areColumns({ layout }: Trial): boolean {
  return (
    layout.batch === 'free' &&
    layout.inputs.every(({ dtype, shape }) => dtype in FIELD_TYPES && shape.length === 2 && shape[1] === 1)
  );
}

/** What of a manifest makes columns of its rows. */
export function columnsSection({ layout }: Trial): Pick<Tabular, 'kind' | 'row' | 'preprocess'> {
  const fields = layout.inputs.map(({ name, dtype }) => ({
    name,
    type: FIELD_TYPES[dtype as keyof typeof FIELD_TYPES],
  }));
  return { kind: 'tabular', row: { fields }, preprocess: { type: 'columns' } };
}

export function asColumns(row: Row): Row {
  return Object.fromEntries(Object.entries(row).map(([name, value]) => [name, (value as unknown[])[0]]));
}
