import { batchAxisOf, type TensorDtype } from '@onqueue/shared';
import type { BatchLayout } from './batch-layouts.ts';
import type { GraphTensor } from './graph-tensor.ts';
import type { Row } from './option-values.ts';

/** A tensor of a row; a string is a dimension that may vary. */
export interface RowPart {
  name: string;
  dtype: TensorDtype;
  dims: readonly (number | string)[];
}

/** What made-up values look like. */
export interface Recipe {
  /** Of integers: a few small ones, or all the same. Large ones would be beyond the tables of many graphs. */
  integers: readonly number[];
  /** Of every dimension that may vary. */
  length: number;
}

/** In the order in which they are tried: until the graph takes one. */
export const RECIPES: readonly Recipe[] = [
  { integers: [0, 1, 2], length: 4 },
  { integers: [0], length: 4 },
  { integers: [1], length: 4 },
  { integers: [1], length: 1 },
  { integers: [0, 1, 2], length: 16 },
  { integers: [0, 1], length: 512 },
];

/** What a row has of each input. */
export function rowPartsOf(layout: BatchLayout, inputs: readonly GraphTensor[]): RowPart[] {
  return layout.inputs.map((spec, index) => {
    const axis = batchAxisOf(spec);
    const shape = inputs[index]?.shape ?? [];
    return { name: spec.name, dtype: spec.dtype, dims: axis === null ? shape : shape.toSpliced(axis, 1) };
  });
}

/** The same row for the same seed. Names say what some inputs are in many exports. */
export function syntheticRow(parts: readonly RowPart[], recipe: Recipe, seed: number): Row {
  const random = randomNumbers(seed);
  return Object.fromEntries(
    parts.map((part) => {
      const value = valuesOf(part, recipe, random);
      const build = (axis: number): unknown => {
        const size = part.dims[axis];
        if (size === undefined) return value();
        return Array.from({ length: typeof size === 'number' ? size : recipe.length }, () => build(axis + 1));
      };
      return [part.name, build(0)];
    }),
  );
}

/** Values of a row with these dimensions. */
export function elementsOf(parts: readonly RowPart[], { length }: Recipe): number {
  const elements = ({ dims }: RowPart) =>
    dims.reduce<number>((product, size) => product * (typeof size === 'number' ? size : length), 1);
  return parts.reduce((sum, part) => sum + elements(part), 0);
}

function valuesOf({ name, dtype }: RowPart, { integers }: Recipe, random: () => number): () => unknown {
  const oneOf =
    <T>(values: readonly T[]) =>
    () =>
      values[Math.floor(random() * values.length)];
  if (dtype === 'string') return oneOf(['a', 'b', 'c']);
  if (dtype === 'bool') return oneOf([true, false]);
  // To three digits, so that a person can read them.
  if (dtype.startsWith('float')) return () => Math.round((random() * 2 - 1) * 1000) / 1000;
  const known = KNOWN_INTEGERS.find(([pattern]) => pattern.test(name));
  return known ? () => known[1] : oneOf(integers);
}

const KNOWN_INTEGERS: readonly [RegExp, number][] = [
  [/mask/i, 1],
  [/^(sr|sample_?rate|sampling_?rate)$/i, 16_000],
  [/type_ids|segment/i, 0],
];

/** Mulberry32: enough for rows that only have to differ. */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
