import { z } from 'zod';

/**
 * `{<field>: number[], dimensions}` per row. The output is `[-1, tokens, dimensions]`, of which `pooling` makes one vector without what was
 * computed from padding: the mean, the largest value of each dimension, or the first token (`cls`); or `[-1, dimensions]`, with `none`.
 */
export const embedPostprocess = z.strictObject({
  type: z.literal('embed'),
  output: z.string(),
  pooling: z.enum(['mean', 'max', 'cls', 'none']),
  /** To a length of 1, so that a dot product is the cosine. */
  normalize: z.boolean().default(false),
  /** `embedding` unless given. */
  field: z.string().min(1).default('embedding'),
  /** Of `tensor` rows: the tensor that says how long a row is. Text has its tokens. */
  length_of: z.string().optional(),
});
export type EmbedPostprocess = z.infer<typeof embedPostprocess>;
