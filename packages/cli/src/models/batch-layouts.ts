import { type TensorSpec, tensorDtype } from '@onqueue/shared';
import type { GraphTensor } from './graph-tensor.ts';

/** A reading of a graph's shapes: where its batch may be. Whether it is true, only a run tells. */
export interface BatchLayout {
  batch: 'free' | 'fixed' | 'row_by_row';
  inputs: TensorSpec[];
  outputs: TensorSpec[];
}

interface Graph {
  inputs: readonly GraphTensor[];
  outputs: readonly GraphTensor[];
}

/**
 * The readings to be tried, the best one first: any number of rows at once; as many as the graph fixes; one by one, with the
 * batch in front; one by one, with the batch where its name says, as in states `[layers, batch, width]`; and last one
 * by one with every tensor as it is, which is always true.
 */
export function batchLayouts({ inputs, outputs }: Graph): BatchLayout[] {
  const layouts: BatchLayout[] = [];
  const add = (batch: BatchLayout['batch'], spec: (tensor: GraphTensor, side: 'input' | 'output') => TensorSpec) =>
    layouts.push({
      batch,
      inputs: inputs.map((tensor) => spec(tensor, 'input')),
      outputs: outputs.map((tensor) => spec(tensor, 'output')),
    });

  const sizes = new Set(inputs.map(({ shape }) => shape[0]).filter((size) => typeof size === 'number'));
  const [fixed] = sizes;
  const isInFront = inputs.length > 0 && inputs.every(({ shape }) => shape.length > 0);
  const outputsFit = outputs.every(({ shape: [size] }) => typeof size !== 'number' || size === fixed);
  if (isInFront && sizes.size <= 1 && outputsFit) add(fixed === undefined ? 'free' : 'fixed', inFront);
  if (isInFront && inputs.every(({ shape: [size] }) => typeof size === 'string' || size === 1))
    add('row_by_row', oneInFront);
  const batchName = inputs.map(({ shape }) => shape[0]).find((size) => typeof size === 'string' && size !== '');
  add('row_by_row', (tensor) => whereNamed(tensor, batchName));
  add('row_by_row', whole);
  return layouts.filter((layout, index) => layouts.findIndex((other) => isSame(other, layout)) === index);
}

/** The engine tells an output whose shape the graph leaves open as one without dimensions. */
function inFront(tensor: GraphTensor): TensorSpec {
  return specOf(tensor, tensor.shape.length === 0 ? [-1] : tensor.shape.map(sizeOf));
}

/** One row, although the graph may take more. */
function oneInFront(tensor: GraphTensor, side: 'input' | 'output'): TensorSpec {
  const [first, ...rest] = tensor.shape;
  if (side === 'output' && typeof first === 'number' && first !== 1) return whole(tensor);
  return specOf(tensor, [1, ...rest.map(sizeOf)]);
}

function whereNamed(tensor: GraphTensor, batchName: string | number | undefined): TensorSpec {
  const named = batchName === undefined ? -1 : tensor.shape.indexOf(batchName);
  const free = tensor.shape.flatMap((size, axis) => (typeof size === 'string' ? [axis] : []));
  // Without names: the first dimension that varies, or the second one of a state that is stacked by layer.
  const axis = named >= 0 ? named : batchName === undefined && (free[0] === 0 || free[0] === 1) ? free[0] : undefined;
  if (axis === undefined) return whole(tensor);
  return specOf(tensor, tensor.shape.map(sizeOf), axis === 0 ? undefined : axis);
}

function whole(tensor: GraphTensor): TensorSpec {
  return specOf(tensor, tensor.shape.map(sizeOf), tensor.shape.length === 0 ? undefined : null);
}

function specOf({ name, dtype }: GraphTensor, shape: number[], axis?: number | null): TensorSpec {
  return { name, dtype: tensorDtype.parse(dtype), shape, ...(axis === undefined ? {} : { batch_axis: axis }) };
}

function sizeOf(size: number | string): number {
  return typeof size === 'number' ? size : -1;
}

function isSame(a: BatchLayout, b: BatchLayout): boolean {
  return JSON.stringify([a.inputs, a.outputs]) === JSON.stringify([b.inputs, b.outputs]);
}
