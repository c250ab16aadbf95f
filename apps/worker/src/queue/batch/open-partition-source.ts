import type { ClaimedJob, Clock, JobOutcome, JobStore } from '@onqueue/shared';
import type { RedisConnection, RedisKeys } from '@onqueue/shared/redis';
import type { PartitionSource } from '../job-source.ts';
import { StockPartitionSource } from '../stock-partition-source.ts';
import { BatchJobSource } from './batch-job-source.ts';
import { proveBatchScripts } from './proof.ts';

export interface PartitionSourceOptions {
  kind: 'batch' | 'stock';
  worker: string;
  partition: number;
  keys: RedisKeys;
  redis: RedisConnection;
  store: Pick<JobStore, 'claim' | 'commit' | 'feed'>;
  retentionMs: number;
  maxPredictions: number;
  /** Minutes of BullMQ's metrics that are kept; 0 keeps none. */
  queueMetricsMinutes: number;
  lockDurationMs: number;
  stalledIntervalMs: number;
  clock: Clock;
  signal: AbortSignal;
  onFenced: (job: ClaimedJob) => void;
  onCommitted: (job: ClaimedJob, outcome: JobOutcome) => void;
  onError: (error: Error) => void;
  /** The batch source was asked for and does not work here; the stock one does the same, more slowly. */
  onUnproven: (reason: string) => void;
}

/** How soon the scripts are tried again while Redis cannot serve (it loads, fails over, is a replica for a moment). */
const TRY_AGAIN_MS = 1000;

/** The source of a partition, without queues and not started; undefined when `signal` aborts before it is settled of which kind. */
export async function openPartitionSource({
  kind,
  onUnproven,
  ...options
}: PartitionSourceOptions): Promise<PartitionSource | undefined> {
  const { signal, clock, onError } = options;
  while (kind === 'batch' && !signal.aborted) {
    const proof = await proveBatchScripts(options);
    if (proof.isProven) return new BatchJobSource({ ...options, queues: [] });
    if (!proof.mayPass) {
      onUnproven(proof.reason);
      break;
    }
    onError(new Error(`the scripts cannot be tried now: ${proof.reason}`));
    await new Promise<void>((resolve) => clock.setTimeout(resolve, TRY_AGAIN_MS));
  }
  if (signal.aborted) return undefined;
  return new StockPartitionSource({ ...options, bullPrefix: options.keys.bullPrefix(options.partition) });
}
