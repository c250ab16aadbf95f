import { z } from 'zod';
import { tensorDtype } from './tensor-spec.ts';
import { elementFault, elementSchema, isFloatDtype } from './tensor-value.ts';

/** Of a dimension that may vary, unless the manifest says less. */
const DEFAULT_MAX_LENGTH = 10_000;
/** Videos have five dimensions, and few graphs more. */
const MAX_RANK = 8;

/** One tensor of a row, as nested arrays: its shape has no batch, and -1 for what may vary from row to row. */
export const rowTensor = z
  .strictObject({
    name: z.string().min(1),
    description: z.string().optional(),
    dtype: tensorDtype,
    shape: z.array(z.union([z.literal(-1), z.number().int().positive()])).max(MAX_RANK),
    /** Of each dimension that may vary, in their order; one number holds for all of them. */
    max_length: z.union([z.number().int().positive(), z.array(z.number().int().positive()).min(1)]).optional(),
    /** What rows are filled up with to the longest of their batch; 0, false or the empty string unless given. */
    pad_value: z.union([z.number(), z.string(), z.boolean()]).optional(),
    /** Of floats: "NaN", "Infinity" and "-Infinity" are values too, for models that read NaN as "not known". */
    allow_non_finite: z.boolean().optional(),
  })
  .refine(({ shape, max_length, pad_value }) => {
    const variable = shape.filter((size) => size === -1).length;
    if (variable === 0) return max_length === undefined && pad_value === undefined;
    return !Array.isArray(max_length) || max_length.length === variable;
  }, 'max_length and pad_value are for dimensions of -1, a list of lengths has one for each')
  .refine(
    ({ dtype, pad_value }) => pad_value === undefined || elementFault(pad_value, dtype) === undefined,
    'pad_value is a value of the dtype',
  )
  .refine(
    ({ dtype, allow_non_finite }) => allow_non_finite !== true || isFloatDtype(dtype),
    'allow_non_finite is for floats',
  );
export type RowTensor = z.infer<typeof rowTensor>;

/** A row of tensors, all of them required. */
export const tensorRow = z.strictObject({
  tensors: z
    .array(rowTensor)
    .min(1)
    .refine((tensors) => new Set(tensors.map(({ name }) => name)).size === tensors.length, 'two tensors have one name'),
});
export type TensorRow = z.infer<typeof tensorRow>;

export interface TensorFault {
  /** Into the value. */
  path: number[];
  message: string;
}

/**
 * The first thing that is wrong with a value for a tensor, if anything is. A schema of nested arrays would tell all of them, at some µs
 * each, of which a body may hold half a million; nor could it say that dimensions that vary have to be equal within a row.
 */
export function tensorFault(value: unknown, tensor: RowTensor): TensorFault | undefined {
  const limits = dimensionLimits(tensor);
  const sizes = limits.map(({ min, max }) => (min === max ? min : undefined));
  const visit = (part: unknown, axis: number): TensorFault | undefined => {
    if (axis === sizes.length) {
      const message = elementFault(part, tensor.dtype, tensor.allow_non_finite);
      return message === undefined ? undefined : { path: [], message };
    }
    const size = sizes[axis];
    const { min, max } = limits[axis] ?? { min: 1, max: 1 };
    const isFit =
      Array.isArray(part) && (size === undefined ? part.length >= min && part.length <= max : part.length === size);
    if (!isFit) return { path: [], message: `is not an array of ${size ?? `${min} to ${max}`} elements` };
    sizes[axis] = part.length;
    for (const [index, element] of part.entries()) {
      const fault = visit(element, axis + 1);
      if (fault) return { ...fault, path: [index, ...fault.path] };
    }
    return undefined;
  };
  return visit(value, 0);
}

/** The sizes of the dimensions that may vary, of a value without fault. */
export function variableSizes(value: unknown, { shape }: Pick<RowTensor, 'shape'>): number[] {
  const sizes: number[] = [];
  let part = value;
  for (const size of shape) {
    const elements = Array.isArray(part) ? part : [];
    if (size === -1) sizes.push(elements.length);
    part = elements[0];
  }
  return sizes;
}

/** What one element may be, for JSON Schema. */
export function tensorSchema(tensor: RowTensor): z.ZodType {
  const schema = dimensionLimits(tensor).reduceRight<z.ZodType>(
    (part, { min, max }) => z.array(part).min(min).max(max),
    elementSchema(tensor.dtype, tensor.allow_non_finite),
  );
  return tensor.description ? schema.describe(tensor.description) : schema;
}

function dimensionLimits({ shape, max_length = DEFAULT_MAX_LENGTH }: RowTensor): { min: number; max: number }[] {
  let variable = 0;
  return shape.map((size) => {
    if (size !== -1) return { min: size, max: size };
    const max = Array.isArray(max_length) ? max_length[variable++] : max_length;
    return { min: 1, max: max ?? DEFAULT_MAX_LENGTH };
  });
}
