import type { ClaimedJob, JobOutcome } from '@onqueue/shared';

export type EndedJob = Exclude<JobOutcome, { state: 'queued' }>;

/**
 * Where the time of a run went, in order, milliseconds. `storeMs`: from the end of scoring to the answer to the commit, when it is
 * known.
 */
export function phasesOf(job: ClaimedJob, { timings }: EndedJob, storeMs: number | undefined): Record<string, number> {
  return {
    queue: job.queuedMs,
    ...(timings && {
      batch_wait: timings.batch_wait_ms,
      preprocess: timings.preprocess_ms,
      inference: timings.inference_ms,
      postprocess: timings.postprocess_ms,
    }),
    ...(storeMs !== undefined && { store: storeMs }),
  };
}
