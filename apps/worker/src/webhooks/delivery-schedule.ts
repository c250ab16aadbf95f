/** When a delivery is tried. */
export interface DeliverySchedule {
  /** Tries in all; when the last has failed, the delivery has. */
  attempts: number;
  /** Milliseconds to wait before attempt `n` (1, 2, …), counted from the end of the one before it. */
  delayBeforeAttempt(n: number): number;
}

export interface DeliveryScheduleOptions {
  /** Milliseconds before each attempt. */
  delaysMs?: readonly number[];
  /** The share by which a delay may be longer or shorter, so that what failed together does not come back together. */
  jitter?: number;
  /** 0 ≤ x < 1. */
  random?: () => number;
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** The example schedule of Standard Webhooks: ten attempts over some three days. */
export const DEFAULT_DELAYS_MS: readonly number[] = [
  0,
  5 * SECOND,
  5 * MINUTE,
  30 * MINUTE,
  2 * HOUR,
  5 * HOUR,
  10 * HOUR,
  14 * HOUR,
  20 * HOUR,
  24 * HOUR,
];

export function createDeliverySchedule({
  delaysMs = DEFAULT_DELAYS_MS,
  jitter = 0.1,
  random = Math.random,
}: DeliveryScheduleOptions = {}): DeliverySchedule {
  if (delaysMs.length === 0) throw new RangeError('a delivery schedule has at least one attempt');
  return {
    attempts: delaysMs.length,
    delayBeforeAttempt(n) {
      // A delivery may have been queued under a longer schedule than this process has: its further attempts wait like the last.
      const delayMs = delaysMs[Math.min(n, delaysMs.length) - 1] ?? 0;
      return Math.round(delayMs * (1 + jitter * (2 * random() - 1)));
    },
  };
}
