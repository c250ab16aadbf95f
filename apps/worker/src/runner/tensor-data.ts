import type { TensorDtype } from '@onqueue/shared';
import { float16Bits, float16Value } from './float16.ts';
import type { Tensor, TensorData } from './inference-engine.ts';

/** What an element is outside of a tensor; integers of 64 bits are strings where a number would not be exact. */
export type ElementValue = number | boolean | string;

/** A tensor to be filled; `set` takes values that the dtype holds, as `elementFault` has found. */
export function allocateTensor(
  dtype: TensorDtype,
  dims: readonly number[],
  fill?: ElementValue,
): { tensor: Tensor; set: (index: number, value: unknown) => void } {
  const length = dims.reduce((product, size) => product * size, 1);
  const data = ARRAYS[dtype](length) as unknown[];
  const stored = STORED[dtype] ?? Number;
  if (fill !== undefined) data.fill(stored(fill));
  return {
    tensor: { dtype, data, dims } as unknown as Tensor,
    set: (index, value) => {
      data[index] = stored(value);
    },
  };
}

/** Reads one element as JSON has it, but for NaN and infinity, which are left to the caller. */
export function elementReader(tensor: Tensor): (index: number) => ElementValue {
  const { dtype, data } = tensor;
  if (dtype === 'float16') return (index) => float16Value(data[index] as number);
  if (dtype === 'bool') return (index) => data[index] !== 0;
  if (dtype === 'int64' || dtype === 'uint64') return (index) => wideInteger(data[index] as bigint);
  return (index) => data[index] as number | string;
}

/** The rows from `start` on, of a tensor whose first dimension they are. Copies numbers not. */
export function rowsOf(tensor: Tensor, start: number, count: number): Tensor {
  const [rows = 0, ...rowDims] = tensor.dims;
  if (start === 0 && count === rows) return tensor;
  const size = rowDims.reduce((product, dim) => product * dim, 1);
  const range = [start * size, (start + count) * size] as const;
  const data = tensor.dtype === 'string' ? tensor.data.slice(...range) : tensor.data.subarray(...range);
  return { ...tensor, data, dims: [count, ...rowDims] } as Tensor;
}

/** Filled up to `count` rows with copies of the last one: a graph answers a real row without complaint, zeros perhaps not. */
export function withCopiesOfLastRow(tensor: Tensor, count: number): Tensor {
  const [rows = 0, ...rowDims] = tensor.dims;
  if (rows >= count) return tensor;
  const dims = [count, ...rowDims];
  const size = rowDims.reduce((product, dim) => product * dim, 1);
  const data = ARRAYS[tensor.dtype](count * size) as unknown[];
  const source = tensor.data as unknown as readonly unknown[];
  for (let index = 0; index < count * size; index++) {
    data[index] = source[Math.min(Math.floor(index / size), rows - 1) * size + (index % size)];
  }
  return { dtype: tensor.dtype, data, dims } as unknown as Tensor;
}

function wideInteger(value: bigint): number | string {
  const isExact = value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER);
  return isExact ? Number(value) : String(value);
}

const ARRAYS: { [Dtype in TensorDtype]: (length: number) => TensorData[Dtype] } = {
  float32: (length) => new Float32Array(length),
  float64: (length) => new Float64Array(length),
  float16: (length) => new Uint16Array(length),
  int8: (length) => new Int8Array(length),
  int16: (length) => new Int16Array(length),
  int32: (length) => new Int32Array(length),
  int64: (length) => new BigInt64Array(length),
  uint8: (length) => new Uint8Array(length),
  uint16: (length) => new Uint16Array(length),
  uint32: (length) => new Uint32Array(length),
  uint64: (length) => new BigUint64Array(length),
  bool: (length) => new Uint8Array(length),
  string: (length) => new Array<string>(length).fill(''),
};

/** From a value of JSON to an element, where that is not a number like any other; "NaN" and "Infinity" are read by Number. */
const STORED: Partial<Record<TensorDtype, (value: unknown) => unknown>> = {
  float16: (value) => float16Bits(Number(value)),
  int64: (value) => BigInt(value as string | number),
  uint64: (value) => BigInt(value as string | number),
  string: String,
};
