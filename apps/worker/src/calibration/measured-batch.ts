/** How long a batch took inside the runner, and for how much of it the runner had a core. */
export interface MeasuredBatch {
  computeMs: number;
  cpuMs: number;
}

/**
 * Batches of so much computing are corrected for the time in which others had the core. Systems count processor time in
 * steps of up to 16 ms, and what is shorter is seldom interrupted.
 */
const COUNTABLE_MS = 20;

/** The time that others took from a batch, as far as it can be known: of several threads what was taken is not seen. */
export function takenMs({ computeMs, cpuMs }: MeasuredBatch): number {
  return computeMs < COUNTABLE_MS ? 0 : Math.max(0, computeMs - cpuMs);
}
