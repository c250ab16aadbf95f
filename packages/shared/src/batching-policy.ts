import { z } from 'zod';

/** How batches of a version are formed; all but the size has a default. The guide to models has the reasons. */
export const batching = z.strictObject({
  /** The hard limit, and with `calibrate` the largest size that is measured. */
  max_batch_size: z.number().int().min(1).max(4096),
  /** How long the first row of a batch may wait for company. 0: batches form by themselves while the runner is busy. */
  max_queue_delay_ms: z.number().min(0).max(60_000).optional(),
  /** Whether batches are kept to the size that a measurement at load finds worth while. */
  calibrate: z.boolean().default(true),
  /** What the defaults of the rest are for: few milliseconds, or many rows a second. */
  optimize: z.enum(['latency', 'throughput']).optional(),
  /** What the 99th percentile of an interactive row's time in the worker is held at: batches wait as long as that allows. */
  target_p99_ms: z.number().min(1).max(60_000).optional(),
  /** Sizes that the model computes best: where one of them can be formed, the batch is cut to it. */
  preferred_batch_sizes: z.array(z.number().int().positive()).min(1).max(16).optional(),
  /** Upper bounds of the lengths that share a batch; powers of two unless given. */
  length_buckets: z.array(z.number().int().positive()).min(1).max(32).optional(),
  /** Rows times the longest of them, at most, of rows that are padded. */
  max_padded_cost: z.number().int().positive().optional(),
  /** Whether rows have the same answers alone and in a batch, to the last bit; measured unless declared. */
  batch_invariant: z.boolean().optional(),
  /** For how long a batch without interactive rows may compute, and by how much bulk rows may lengthen one with them. */
  bulk_slice_ms: z.number().positive().max(60_000).optional(),
  /** The share of the rows that bulk gets even when interactive rows would fill every batch. */
  bulk_min_share: z.number().min(0).max(0.5).optional(),
});
export type BatchingPolicy = z.infer<typeof batching>;

/** A policy with nothing left open. */
export interface EffectiveBatching {
  maxBatchSize: number;
  maxQueueDelayMs: number;
  targetP99Ms: number | undefined;
  /** By rising size; those beyond the limit are left out. */
  preferredBatchSizes: readonly number[];
  bulkSliceMs: number;
  bulkMinShare: number;
}

/**
 * `latency`: batches never wait; a slice is half of what a person notices, so that two of them in the way of an interactive
 * row do not show. `throughput`: batches wait for as long as 1,000 rows a second need to fill one of twenty.
 */
const DEFAULTS = {
  latency: { maxQueueDelayMs: 0, bulkSliceMs: 25 },
  throughput: { maxQueueDelayMs: 20, bulkSliceMs: 100 },
};
const BULK_MIN_SHARE = 0.1;

export function effectiveBatching(policy: Omit<BatchingPolicy, 'calibrate'>): EffectiveBatching {
  const { max_batch_size: maxBatchSize, optimize = 'latency', preferred_batch_sizes: preferred = [] } = policy;
  const { target_p99_ms: targetP99Ms } = policy;
  const defaults = DEFAULTS[optimize];
  return {
    maxBatchSize,
    maxQueueDelayMs: policy.max_queue_delay_ms ?? defaults.maxQueueDelayMs,
    targetP99Ms,
    preferredBatchSizes: preferred.filter((size) => size <= maxBatchSize).sort((a, b) => a - b),
    bulkSliceMs: policy.bulk_slice_ms ?? (targetP99Ms === undefined ? defaults.bulkSliceMs : targetP99Ms / 4),
    bulkMinShare: policy.bulk_min_share ?? BULK_MIN_SHARE,
  };
}
