import { z } from 'zod';
import { fallbackTrace } from './fallback.ts';

/** Why a row failed. `code` is from the table in row-error.ts; `pointer` is a JSON pointer into the row. */
export const rowError = z.object({ code: z.string(), detail: z.string(), pointer: z.string().optional() });
export type RowError = z.infer<typeof rowError>;

/** How a row ended. */
export const rowResult = z.discriminatedUnion('status', [
  z.object({
    status: z.literal('succeeded'),
    output: z.record(z.string(), z.unknown()),
    /** Both only where the model had no answer and something else gave one. */
    served_by: z.literal('fallback').optional(),
    fallback: fallbackTrace.optional(),
    /** Both only where the answer was kept from an earlier, equal row. */
    cached: z.literal(true).optional(),
    /** Seconds since it was computed. */
    age_s: z.number().optional(),
    /** The earlier run that made it, where the job's latest one ran the unfinished rows alone. */
    run: z.number().int().optional(),
  }),
  z.object({ status: z.literal('failed'), error: rowError }),
]);
export type RowResult = z.infer<typeof rowResult>;
