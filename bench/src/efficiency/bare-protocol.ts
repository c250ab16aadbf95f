import { z } from 'zod';

/** Compute so many rows in batches of this size. */
export const bareQuestion = z.object({
  path: z.string(),
  batchSize: z.number().int().positive(),
  rows: z.number().int().positive(),
});

export const bareAnswer = z.object({ rowsPerS: z.number().positive() });
