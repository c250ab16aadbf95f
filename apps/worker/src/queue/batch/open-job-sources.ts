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

/** The sources of a partition's queues, not started; none when `signal` aborts before that is settled. */
export async function openJobSources({ kind, onUnproven, ...options }: JobSourcesOptions): Promise<JobSource[]> {
  const { signal, clock, onError } = options;
  while (kind === 'batch' && !signal.aborted) {
    const proof = await proveBatchScripts(options);
    if (proof.isProven) return [new BatchJobSource(options)];
    if (!proof.mayPass) {
      onUnproven(proof.reason);
      break;
    }
    onError(new Error(`the scripts cannot be tried now: ${proof.reason}`));
    await new Promise<void>((resolve) => clock.setTimeout(resolve, TRY_AGAIN_MS));
  }
  if (signal.aborted) return [];
  const bullPrefix = options.keys.bullPrefix(options.partition);
  return options.queues.map((queue) => new StockJobSource({ ...options, ...queue, bullPrefix }));
}
