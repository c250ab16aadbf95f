import { z } from 'zod';

/** Every element type that ONNX Runtime takes from JavaScript; graphs with others (bfloat16, float8, complex) cannot be fed. */
export const tensorDtype = z.enum([
  'float32',
  'float64',
  'float16',
  'int8',
  'int16',
  'int32',
  'int64',
  'uint8',
  'uint16',
  'uint32',
  'uint64',
  'bool',
  'string',
]);
export type TensorDtype = z.infer<typeof tensorDtype>;

/**
 * A named tensor of the graph; -1 in `shape` is a dimension that may vary. One dimension is the batch: -1 there takes any number of
 * rows, a number takes exactly so many.
 */
export const tensorSpec = z
  .strictObject({
    name: z.string().min(1),
    dtype: tensorDtype,
    shape: z.array(z.number().int().min(-1)),
    /** Which dimension is the batch: the first unless given. null: none, the tensor belongs to a single row. */
    batch_axis: z.union([z.number().int().nonnegative(), z.null()]).optional(),
  })
  .refine(({ shape, batch_axis: axis }) => typeof axis !== 'number' || axis < shape.length, {
    path: ['batch_axis'],
    error: 'is no dimension of the shape',
  });
export type TensorSpec = z.infer<typeof tensorSpec>;

type Shaped = Pick<TensorSpec, 'shape' | 'batch_axis'>;

/** A scalar has no batch. */
export function batchAxisOf({ shape, batch_axis: axis }: Shaped): number | null {
  if (axis !== undefined) return axis;
  return shape.length === 0 ? null : 0;
}

/** What a single row has of the tensor: the shape without the batch. */
export function rowShapeOf(spec: Shaped): number[] {
  const axis = batchAxisOf(spec);
  return axis === null ? spec.shape : spec.shape.toSpliced(axis, 1);
}
