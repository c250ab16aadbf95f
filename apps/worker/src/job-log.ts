import type { ClaimedJob, JobOutcome } from '@onqueue/shared';
import type { Logger } from 'pino';
import type { WorkerMetrics } from './metrics.ts';

type EndedJob = Exclude<JobOutcome, { state: 'queued' }>;

/** One line and one set of counts per attempt that ended; never the rows themselves. */
export function logJobEnd(
  { logger, metrics }: { logger: Logger; metrics: WorkerMetrics },
  job: ClaimedJob,
  outcome: JobOutcome,
): void {
  if (outcome.state === 'queued') {
    metrics.attemptsRetried.inc({ model: job.model });
    logger.warn(identityOf(job), 'job queued again');
    return;
  }
  const failed = outcome.results.filter((row) => row.status === 'failed').length;
  countEnd(metrics, job, outcome, failed);
  // A line that nobody reads is not worth being put together, thousands of times a second.
  if (!logger.isLevelEnabled('info')) return;
  const { state: status, results, error, timings, batch } = outcome;
  logger.info(
    {
      ...identityOf(job),
      status,
      rows: { succeeded: results.length - failed, failed },
      ...(error ? { error: error.code } : {}),
      batch_size: batch?.batch_size,
      queue_ms: job.queuedMs,
      ...timings,
    },
    'job',
  );
}

function identityOf(job: ClaimedJob) {
  return {
    job_id: job.id,
    request_id: job.request.request_id,
    tenant: job.tenant,
    model: job.model,
    version: job.version,
    lane: job.lane,
    run: job.run,
    attempt: job.attempt,
  };
}

function countEnd(
  metrics: WorkerMetrics,
  job: ClaimedJob,
  { state, results, timings }: EndedJob,
  failed: number,
): void {
  const { model, version } = job;
  metrics.jobsFinished.inc({ model, version, status: state });
  if (failed < results.length)
    metrics.rowsFinished.inc({ model, version, status: 'succeeded' }, results.length - failed);
  if (failed > 0) metrics.rowsFinished.inc({ model, version, status: 'failed' }, failed);
  const observe = (phase: string, ms: number) => metrics.phaseDuration.observe({ model, phase }, ms / 1000);
  observe('queue', job.queuedMs);
  if (!timings) return;
  observe('batch_wait', timings.batch_wait_ms);
  observe('preprocess', timings.preprocess_ms);
  observe('inference', timings.inference_ms);
  observe('postprocess', timings.postprocess_ms);
}
