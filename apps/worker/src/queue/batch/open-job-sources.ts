import type { ClaimedJob, Clock, JobOutcome, JobStore } from '@onqueue/shared';
import type { RedisConnection, RedisKeys } from '@onqueue/shared/redis';
import type { JobSource } from '../job-source.ts';
import { StockJobSource } from '../stock-job-source.ts';
import { BatchJobSource } from './batch-job-source.ts';
import { proveBatchScripts } from './proof.ts';
import type { ServedQueue } from './queue-slot.ts';

export interface JobSourcesOptions {
  kind: 'batch' | 'stock';
  worker: string;
  partition: number;
  queues: readonly ServedQueue[];
  keys: RedisKeys;
  redis: RedisConnection;
  store: Pick<JobStore, 'claim' | 'commit'>;
  retentionMs: number;
  maxPredictions: number;
  /** Minutes of BullMQ's metrics that are kept; 0 keeps none. */
  queueMetricsMinutes: number;
  lockDurationMs: number;
  stalledIntervalMs: number;
  clock: Clock;
  onFenced: (job: ClaimedJob) => void;
  onCommitted: (job: ClaimedJob, outcome: JobOutcome) => void;
  onError: (error: Error) => void;
  /** The batch source was asked for and does not work here; the stock one does the same, more slowly. */
  onUnproven: (reason: string) => void;
}

/** The sources of a partition's queues, not started. */
export async function openJobSources({ kind, onUnproven, ...options }: JobSourcesOptions): Promise<JobSource[]> {
  if (kind === 'batch') {
    const proof = await proveBatchScripts(options);
    if (proof.isProven) return [new BatchJobSource(options)];
    onUnproven(proof.reason);
  }
  const bullPrefix = options.keys.bullPrefix(options.partition);
  return options.queues.map((queue) => new StockJobSource({ ...options, ...queue, bullPrefix }));
}
