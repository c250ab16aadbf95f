import { setTimeout as delay } from 'node:timers/promises';
import { isTerminal } from '@onqueue/shared';
import { type ApiClient, ApiError } from '../api/api-client.ts';
import { CliError, EXIT } from '../cli-error.ts';
import { type ShownJob, shownJob } from './shown-job.ts';

export interface WaitOptions {
  api: ApiClient;
  timeoutS: number;
  progress: ((text: string) => void) | undefined;
}

/** One long poll; the API may cut it shorter. */
const POLL_S = 20;
/** An API that is being restarted is waited for, this long without an answer. */
const PATIENCE_MS = 30_000;
const MAX_PAUSE_S = 5;
const PROGRESS_MS = 1000;

/**
 * The job as it ended. An API that is away for a while in between is no reason to give up.
 * @throws CliError timedOut, ApiError
 */
export async function waitForJob(id: string, { api, timeoutS, progress }: WaitOptions): Promise<ShownJob> {
  const startedAtMs = performance.now();
  const leftS = () => timeoutS - (performance.now() - startedAtMs) / 1000;
  let status = 'asking';
  const show = () => progress?.(`${id}  ${status}, ${Math.round((performance.now() - startedAtMs) / 1000)} s`);
  const timer = progress && setInterval(show, PROGRESS_MS);
  let answeredAtMs = startedAtMs;
  try {
    for (;;) {
      show();
      try {
        const job = await readJob(api, id, Math.max(0, Math.min(POLL_S, Math.ceil(leftS()))));
        if (isTerminal(job.status)) return job;
        status = job.status;
        answeredAtMs = performance.now();
      } catch (error) {
        if (!isPassing(error) || performance.now() - answeredAtMs > PATIENCE_MS) throw error;
        await delay(Math.max(0, Math.min(error.retryAfterS ?? 1, MAX_PAUSE_S, leftS())) * 1000);
      }
      if (leftS() <= 0) throw tooLate(id, timeoutS);
    }
  } finally {
    clearInterval(timer);
  }
}

export async function readJob(api: ApiClient, id: string, waitS = 0): Promise<ShownJob> {
  const query = waitS === 0 ? {} : { wait: waitS };
  return api.ask(shownJob, 'GET', `/jobs/${encodeURIComponent(id)}`, { query });
}

/** @throws CliError jobNotSucceeded */
export function assertSucceeded(job: ShownJob): void {
  if (job.status !== 'succeeded') throw new CliError('', { exitCode: EXIT.jobNotSucceeded });
}

function isPassing(error: unknown): error is ApiError {
  return error instanceof ApiError && error.exitCode === EXIT.unavailable;
}

function tooLate(id: string, timeoutS: number): CliError {
  return new CliError(
    `The job ${id} has not ended in ${timeoutS} s; it goes on. Wait for it with: onqueue jobs wait ${id}`,
    {
      exitCode: EXIT.timedOut,
      details: { id },
    },
  );
}
