import { z } from 'zod';

export const tensorDtype = z.enum(['float32', 'int64', 'string']);
export type TensorDtype = z.infer<typeof tensorDtype>;

/** A named tensor of the graph; -1 in `shape` is a dimension that may vary, the first one being the batch. */
export const tensorSpec = z.strictObject({
  name: z.string().min(1),
  dtype: tensorDtype,
  shape: z.array(z.number().int().min(-1)).min(1),
});
export type TensorSpec = z.infer<typeof tensorSpec>;
