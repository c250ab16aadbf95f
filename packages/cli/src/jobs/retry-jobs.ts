import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { type ApiClient, ApiError } from '../api/api-client.ts';
import { CliError, EXIT } from '../cli-error.ts';

/** Which jobs a command is about, as commander parses it. */
export interface JobFilter {
  status?: string;
  model?: string;
  createdAfter?: string;
  createdBefore?: string;
  metadata?: Record<string, string>;
}

export interface RetryJobsOptions {
  api: ApiClient;
  rows: string | undefined;
  /** For room in the backlog, in all. */
  timeoutS: number;
  progress: ((text: string) => void) | undefined;
}

const retriedJob = z.looseObject({
  id: z.string(),
  retried: z.boolean(),
  run: z.number().nullable(),
  code: z.string().nullable(),
});
export type RetriedJob = z.infer<typeof retriedJob>;

const retriedJobs = z.looseObject({
  data: z.array(retriedJob),
  next: z.string().nullable(),
  stopped_by: z.string().nullable(),
});

/** Goes away by itself, since jobs end; whatever else stops a call wants somebody to look. */
const BACKLOG_FULL = 'backlog_full';
const MAX_PAUSE_S = 5;

/**
 * Runs all jobs again that a filter lets through, the newest first, in as many calls as it takes. Where the backlog is full it waits for room.
 * @throws CliError timedOut, unavailable, ApiError; the message says how far it came
 */
export async function retryJobs(filter: JobFilter, options: RetryJobsOptions): Promise<RetriedJob[]> {
  const { api, rows, timeoutS, progress } = options;
  const startedAtMs = performance.now();
  const leftS = () => timeoutS - (performance.now() - startedAtMs) / 1000;
  const done: RetriedJob[] = [];
  let after: string | undefined;
  for (;;) {
    const body = { ...filterBody(filter), rows, starting_after: after };
    const { page, retryAfterS } = await call(api, body).catch((error: Error) => {
      throw done.length === 0 ? error : interrupted(error, done);
    });
    done.push(...page.data);
    after = page.next ?? after;
    progress?.(`${retriedText(done)}${page.stopped_by === null ? '' : `, ${page.stopped_by}: waiting for room`}`);
    if (page.next === null && page.stopped_by === null) return done;
    if (page.stopped_by === null) continue;
    if (page.stopped_by !== BACKLOG_FULL) throw stopped(page.stopped_by, done, EXIT.unavailable);
    if (leftS() <= 0) throw stopped(page.stopped_by, done, EXIT.timedOut);
    await delay(Math.max(0, Math.min(retryAfterS, MAX_PAUSE_S, leftS())) * 1000);
  }
}

function filterBody({ status, model, createdAfter, createdBefore, metadata }: JobFilter): Record<string, unknown> {
  return { status, model, created_after: createdAfter, created_before: createdBefore, metadata };
}

/** A call that found no room for its first job is refused as a whole: the same as one that stopped before it. */
async function call(
  api: ApiClient,
  body: Record<string, unknown>,
): Promise<{ page: z.infer<typeof retriedJobs>; retryAfterS: number }> {
  try {
    const { headers, body: page } = await api.answer(retriedJobs, 'POST', '/jobs/retry', { body });
    return { page, retryAfterS: Number(headers.get('retry-after') ?? 1) };
  } catch (error) {
    if (!(error instanceof ApiError) || error.problemCode !== BACKLOG_FULL) throw error;
    return { page: { data: [], next: null, stopped_by: BACKLOG_FULL }, retryAfterS: error.retryAfterS ?? 1 };
  }
}

/** How many, and why the others were passed over. */
export function retriedText(jobs: readonly RetriedJob[]): string {
  const passedOver = new Map<string, number>();
  for (const { retried, code } of jobs)
    if (!retried) passedOver.set(String(code), (passedOver.get(String(code)) ?? 0) + 1);
  const reasons = [...passedOver].map(([code, count]) => `${count} passed over (${code})`);
  return [`${jobs.filter(({ retried }) => retried).length} run again`, ...reasons].join(', ');
}

const GO_ON = 'The same command goes on with those that are left.';

function stopped(code: string, done: readonly RetriedJob[], exitCode: typeof EXIT.unavailable | typeof EXIT.timedOut) {
  return new CliError(`${retriedText(done)}; then ${code}. ${GO_ON}`, { exitCode, details: { data: done } });
}

function interrupted(error: Error, done: readonly RetriedJob[]): Error {
  if (!(error instanceof CliError)) return error;
  const { exitCode, message, details } = error;
  return new CliError(`${message}\n${retriedText(done)} before that. ${GO_ON}`, {
    exitCode,
    cause: error,
    details: { ...details, data: done },
  });
}
