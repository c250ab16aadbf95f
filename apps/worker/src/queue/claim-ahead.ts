import type { ManagedVersion } from '../models/managed-version.ts';

/**
 * How many jobs of a model are held here at once: all that its runners hold and one batch more, so that the next one is there when one ends; and of bulk
 * two batches a runner, of jobs that are larger than a batch two, so that one is there when one ends.
 */
export function claimAhead(
  versions: readonly ManagedVersion[],
  { instances, runnerDepth }: { instances: number; runnerDepth: number },
): { concurrency: number; bulkRows: { max: number; minJobs: number } } {
  // Of what is in memory the size is measured, of the others it is what the manifest allows.
  const sizes = versions.map(({ served, manifest }) => served?.maxBatchSize ?? manifest?.batching.max_batch_size ?? 1);
  const runners = Math.max(instances, ...versions.map(({ manifest }) => manifest?.serving?.instances ?? instances));
  const maxBatchSize = Math.max(1, ...sizes);
  return {
    // BullMQ's Worker gains nothing above 256.
    concurrency: Math.min(256, Math.max(16, (runnerDepth + 1) * maxBatchSize * runners)),
    bulkRows: { max: Math.max(16, 2 * maxBatchSize * runners), minJobs: 2 * runners },
  };
}
