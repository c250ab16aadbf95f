import { createHash } from 'node:crypto';

/**
 * The partition a model lives in: the hash tag that keeps every key of one script in one Redis Cluster slot.
 * A model belongs to one partition; jobs carry theirs in the id, so that changing the number of partitions
 * never hides a job that exists.
 */
export function partitionOf(model: string, partitions: number): number {
  if (partitions === 1) return 0;
  return createHash('sha256').update(model).digest().readUInt32BE(0) % partitions;
}
