import { z } from 'zod';

/** What the load generator is asked to do. */
export const loadOrder = z.object({
  baseUrl: z.url(),
  ratePerS: z.number().positive(),
  count: z.number().int().positive().max(1_000_000),
  seed: z.number().int(),
  /** One request a job, with `Prefer: wait`; else one to post it and a long poll. */
  isHeld: z.boolean().default(false),
  /** Bodies of POST /jobs, taken in turn. */
  bodies: z.array(z.string()).min(1),
  /** Jobs that may be under way at once; one more is not sent and counts as an error. */
  maxInFlight: z.number().int().positive(),
  timeoutMs: z.number().int().positive(),
});
export type LoadOrder = z.input<typeof loadOrder>;

const ms = z.number().nonnegative();
const percentiles = z.object({ p50: ms, p90: ms, p99: ms, max: ms });

/** What it found. Latencies, in milliseconds, count from when a job should have been sent. */
export const loadReport = z.object({
  sent: z.number().int(),
  succeeded: z.number().int(),
  errors: z.number().int(),
  /** Of the errors: refused with 429 or 503 and a `Retry-After`; and answered 5xx otherwise. */
  refused: z.number().int(),
  errors5xx: z.number().int(),
  firstError: z.string().optional(),
  /** Jobs that succeeded per second, from the first send to the last answer. */
  achievedPerS: z.number(),
  latencyMs: percentiles,
  /** How late the generator itself was in sending; part of the latencies above. */
  lagMs: percentiles,
  histogram: z.array(z.object({ upToMs: ms, count: z.number().int() })),
});
export type LoadReport = z.infer<typeof loadReport>;
