import { z } from 'zod';

/** Score that many rows, one after the other. */
export const ortQuestion = z.object({ rows: z.number().int().positive() });

/** How long each one took. */
export const ortAnswer = z.object({ timesMs: z.array(z.number().nonnegative()) });
