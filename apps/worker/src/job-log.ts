import { type ClaimedJob, type JobOutcome, traceContextOf, traceIdOf } from '@onqueue/shared';
import type { Logger } from 'pino';
import { type EndedJob, phasesOf } from './job-phases.ts';
import type { WorkerMetrics } from './metrics.ts';

/**
 * One line and one set of counts per attempt that ended; never the rows themselves. `storeMs`: from the end of scoring
 * to the answer to the commit, when it is known.
 */
export function logJobEnd(
  { logger, metrics }: { logger: Logger; metrics: WorkerMetrics },
  job: ClaimedJob,
  outcome: JobOutcome,
  storeMs: number | undefined,
): void {
  if (outcome.state === 'queued') {
    // One that waits for its model comes and goes, thousands of them.
    if (outcome.delayMs !== undefined) {
      logger.debug(identityOf(job), 'job waits for its model');
      return;
    }
    metrics.attemptsRetried.inc({ model: job.model });
    logger.warn(identityOf(job), 'job queued again');
    return;
  }
  const failed = outcome.results.filter((row) => row.status === 'failed').length;
  const phases = Object.entries(phasesOf(job, outcome, storeMs));
  countEnd(metrics, job, outcome, failed);
  countTarget(metrics, job, phases);
  for (const [phase, ms] of phases) metrics.phaseDuration.observe({ model: job.model, phase }, ms / 1000);
  // A line that nobody reads is not worth being put together, thousands of times a second.
  if (!logger.isLevelEnabled('info')) return;
  const { state: status, results, error, batch } = outcome;
  logger.info(
    {
      ...identityOf(job),
      status,
      rows: { succeeded: results.length - failed, failed },
      ...(error ? { error: error.code } : {}),
      batch_size: batch?.batch_size,
      ...Object.fromEntries(phases.map(([phase, ms]) => [`${phase}_ms`, rounded(ms)])),
    },
    'job',
  );
}

function identityOf(job: ClaimedJob) {
  const trace = traceContextOf(job.request);
  return {
    job_id: job.id,
    request_id: job.request.request_id,
    ...(trace && { trace_id: traceIdOf(trace) }),
    tenant: job.tenant,
    model: job.model,
    version: job.version,
    lane: job.lane,
    run: job.run,
    attempt: job.attempt,
  };
}

/** To the microsecond, which is all that clocks are good for. */
function rounded(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

function countEnd(
  metrics: WorkerMetrics,
  { model, version }: ClaimedJob,
  { state, results }: EndedJob,
  failed: number,
) {
  metrics.jobsFinished.inc({ model, version, status: state });
  if (failed < results.length)
    metrics.rowsFinished.inc({ model, version, status: 'succeeded' }, results.length - failed);
  if (failed > 0) metrics.rowsFinished.inc({ model, version, status: 'failed' }, failed);
}

/** As far as this worker knows: from queueing to its last phase. */
function countTarget(
  metrics: WorkerMetrics,
  { model, request: { service } }: ClaimedJob,
  phases: readonly [string, number][],
) {
  if (!service) return;
  const totalMs = phases.reduce((sum, [, ms]) => sum + ms, 0);
  metrics.serviceTargets.inc({ model, service_class: service.class, met: String(totalMs <= service.slo_s * 1000) });
}
