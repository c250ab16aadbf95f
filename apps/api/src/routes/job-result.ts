import { type JobResult, Problem, toJobResult } from '@onqueue/shared';
import type { Request, Response } from 'express';
import { sendConditional } from '../http/conditional-json.ts';
import type { JobWaiter } from '../job-waiter.ts';
import { awaitJob, type FindJobOptions } from './find-job.ts';

export interface JobResultOptions extends FindJobOptions {
  waiter: JobWaiter;
  maxWaitS: number;
}

const NDJSON = 'application/x-ndjson';

/**
 * `GET /jobs/:id/result`: how the job ended and its rows, or the rows alone, one a line, for whoever asks for NDJSON. 200 says that
 * there is a result, `status` whether it is a good one.
 */
export async function readJobResult(options: JobResultOptions, request: Request, response: Response): Promise<void> {
  const job = await awaitJob(options, request, response);
  if (!job) return;
  const result = toJobResult(job);
  if (!result) {
    throw new Problem('job_not_finished', `The job is ${job.state}; it has no result so far.`, { retryAfterS: 1 });
  }
  response.vary('Accept');
  if (request.accepts('application/json', NDJSON) === NDJSON) {
    sendConditional(request, response, toLines(result), NDJSON);
  } else {
    sendConditional(request, response, result);
  }
}

/** @throws Problem job_without_rows */
function toLines({ status, results, error }: JobResult): string {
  if (results === null) {
    throw new Problem('job_without_rows', `The job ${status} without rows: ${error?.code}: ${error?.detail}`);
  }
  return results.map((row, index) => `${JSON.stringify({ index, ...row })}\n`).join('');
}
