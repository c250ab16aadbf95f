import { isTerminal, type JobRecord, type QueuePlaces } from '@onqueue/shared';
import type { Request, Response } from 'express';
import type { BacklogMonitor } from '../backlog-monitor.ts';
import { sendConditional } from '../http/conditional-json.ts';
import type { JobWaiter } from '../job-waiter.ts';
import { type DeliveryStatuses, showJob } from '../shown-job.ts';
import { awaitJob, type FindJobOptions } from './find-job.ts';

export interface ReadJobOptions extends FindJobOptions {
  places: QueuePlaces;
  backlogMonitor: BacklogMonitor;
  waiter: JobWaiter;
  maxWaitS: number;
  deliveries: DeliveryStatuses;
  publicUrl: string | undefined;
}

/** How soon a client that polls may ask again: when the job is to start, within these. */
const POLL_AGAIN_S = 1;
const LONGEST_POLL_S = 30;

/** `GET /jobs/:id`: the job as it is, with its place while it waits. */
export async function readJob(options: ReadJobOptions, request: Request, response: Response): Promise<void> {
  const job = await awaitJob(options, request, response);
  if (!job) return;
  if (isTerminal(job.state)) {
    sendConditional(request, response, await showJob(options.deliveries, job, options.publicUrl));
    return;
  }
  const waits = await waitOf(options, job);
  response.set('Retry-After', String(Math.min(LONGEST_POLL_S, Math.max(POLL_AGAIN_S, waits.startsInS ?? 0))));
  sendConditional(request, response, { ...(await showJob(options.deliveries, job, options.publicUrl)), ...waits.view });
}

/** Where a queued job stands, and when it starts if the queue goes on as it did in the last seconds. */
async function waitOf({ places, backlogMonitor }: ReadJobOptions, job: JobRecord) {
  const place = job.state === 'queued' ? await places.placeOf(job) : undefined;
  if (!place) return { view: {} };
  const { position, startsBefore, isPaused } = place;
  const perSecond = isPaused ? 0 : backlogMonitor.jobsPerSecond(job.model, job.lane);
  if (perSecond <= 0 || startsBefore === undefined) return { view: { position } };
  const startsInS = Math.ceil(startsBefore / perSecond);
  // In whole seconds of the clock: a queue that goes on steadily leaves the answer, and its ETag, as they are.
  const estimated_start_at = new Date(Math.ceil(Date.now() / 1000 + startsInS) * 1000).toISOString();
  return { view: { position, estimated_start_at }, startsInS };
}
