import { isTerminal, type JobOutboxEvent, jobState, type PlatformOutboxEvent } from '@onqueue/shared';

/** Of a body; the specification asks senders to stay below it and to send a link instead. */
const MAX_BODY_BYTES = 20 * 1024;

/** A job as `GET /jobs/{id}` shows it. */
export type ShownJob = Record<string, unknown>;

/**
 * A Redis that comes back without its last moments (a power cut under `everysec`, a failover) may have forgotten an end of
 * which this process had read the event already. The run ends once more, and that end has the same event id: told now, the
 * event would show a job that runs, and keep the right one from being sent.
 */
export function tellsOfLostCommit(event: JobOutboxEvent, job: ShownJob | null): boolean {
  if (job === null || typeof job.run !== 'number') return false;
  return job.run < event.run || (isEnd(event) && job.run === event.run && event.type !== `job.${job.status}`);
}

/** The body of an event about a job, below 20 KB: results that are too long for it are behind a link. */
export function jobEventBody(event: JobOutboxEvent, job: ShownJob | null): string {
  const status = stateOf(event);
  if (job === null || (job.run !== undefined && job.run !== event.run)) {
    // Past its retention, or run again since: what there is now is not what the event tells.
    return render(event, { id: event.job_id, object: 'job', status });
  }
  // The job may have gone on since; what does not change is told.
  if (!isEnd(event)) {
    const { run, progress } = event;
    return bounded(event, { ...pick(job, LASTING), status, run, ...(progress && { progress }) });
  }
  return bounded(event, job);
}

export function platformEventBody(event: PlatformOutboxEvent): string {
  return render(event, event.data);
}

const LASTING = ['id', 'object', 'model', 'version', 'lane', 'created_at', 'metadata', 'request_id', 'urls'];

function isEnd(event: JobOutboxEvent): boolean {
  return jobState.options.filter(isTerminal).some((state) => event.type === `job.${state}`);
}

function stateOf({ type }: JobOutboxEvent): string {
  return type === 'job.started' || type === 'job.progress' ? 'running' : type.slice('job.'.length);
}

function bounded(event: JobOutboxEvent, job: ShownJob): string {
  const whole = render(event, job);
  if (Buffer.byteLength(whole) <= MAX_BODY_BYTES) return whole;
  return render(event, { ...job, results: null, results_truncated: true });
}

function render(event: JobOutboxEvent | PlatformOutboxEvent, data: ShownJob): string {
  return JSON.stringify({ type: event.type, timestamp: new Date(event.occurred_at_ms).toISOString(), data });
}

function pick(job: ShownJob, names: readonly string[]): ShownJob {
  return Object.fromEntries(names.filter((name) => name in job).map((name) => [name, job[name]]));
}
