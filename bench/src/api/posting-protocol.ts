import { z } from 'zod';

/** Post so many jobs, with so many connections, each one as soon as the one before it was answered. */
export const postingOrder = z.object({
  baseUrl: z.url(),
  bodies: z.array(z.string()).min(1),
  count: z.number().int().positive(),
  connections: z.number().int().positive(),
  timeoutMs: z.number().int().positive(),
});
export type PostingOrder = z.infer<typeof postingOrder>;

export const postingReport = z.object({
  perS: z.number().positive(),
  latencyMs: z.object({ p50: z.number(), p99: z.number() }),
});
export type PostingReport = z.infer<typeof postingReport>;
