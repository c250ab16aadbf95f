import { type ClaimedJob, type JobOutcome, type Tracer, traceContextOf } from '@onqueue/shared';
import { phasesOf } from './job-phases.ts';

/**
 * The spans of a run that ended here: one from queueing to the commit, and one within it for each phase. They are made when all is
 * known; runs that end without a worker (canceled, expired) have none.
 *
 * Times are those of Redis' clock, by which the job was queued and claimed; the phases after the claim follow one another. What an
 * earlier attempt took is in the queue's.
 */
export function traceRun(tracer: Tracer, job: ClaimedJob, outcome: JobOutcome, storeMs: number | undefined): void {
  if (outcome.state === 'queued') return;
  const phases = Object.entries(phasesOf(job, outcome, storeMs));
  const startMs = Number(job.claimedUs) / 1000 - job.queuedMs;
  const destination = `${job.model}.${job.lane}`;
  const run = tracer.start({
    name: `process ${destination}`,
    kind: 'consumer',
    parent: traceContextOf(job.request),
    startMs,
    attributes: {
      'messaging.system': 'onqueue',
      'messaging.operation.type': 'process',
      'messaging.destination.name': destination,
      'messaging.message.id': job.id,
      'onqueue.job.id': job.id,
      'onqueue.request_id': job.request.request_id,
      'onqueue.model': job.model,
      'onqueue.model.version': job.version,
      'onqueue.run': job.run,
      'onqueue.attempt': job.attempt,
      'onqueue.rows': job.inputs.length,
    },
  });
  let phaseStartMs = startMs;
  for (const [name, ms] of phases) {
    const phaseEndMs = phaseStartMs + Math.max(0, ms);
    const span = tracer.start({ name, kind: 'internal', parent: run.context, startMs: phaseStartMs });
    span.end({ endMs: phaseEndMs });
    phaseStartMs = phaseEndMs;
  }
  run.end({
    endMs: phaseStartMs,
    attributes: { 'onqueue.status': outcome.state, 'onqueue.batch_size': outcome.batch?.batch_size },
    error: outcome.error?.code,
  });
}
