import { blobRef } from '../blob-store.ts';
import { JOB_SCHEMA_VERSION, jobRequestRecord, type Origin } from '../job.ts';
import type { ClaimedJob, ClaimOutcome, Commit, CommitOutcome, JobOutcome, JobRef } from '../ports.ts';
import { allResults, errorOfAll, withKept } from './kept-results.ts';
import { storedOrigin } from './origins.ts';

/** What the scripts' functions take and give for one job; scripts/record-functions.ts and scripts/commit.ts have the other side. */

/** Attempt, inputs, request, model, version, lane, queued µs, now µs, schema version, kept results or ''; empty when the run is over. */
export type ClaimReply = [] | [number, string, string, string, string, string, string, string, string, string];

/** Never throws: one record that cannot be read is no reason to lose the others. */
export function toClaimOutcome(ref: JobRef, reply: ClaimReply = []): ClaimOutcome {
  if (reply.length === 0) return { status: 'over' };
  const [attempt, inputs, request, model, version, lane, queuedUs, nowUs, schemaVersion, kept] = reply;
  const job: ClaimedJob = {
    ...ref,
    attempt,
    model,
    version,
    lane: lane === 'bulk' ? 'bulk' : 'interactive',
    inputs: [],
    request: UNREAD_REQUEST,
    queuedMs: (Number(nowUs) - Number(queuedUs)) / 1000,
    claimedUs: nowUs,
  };
  if (Number(schemaVersion) > JOB_SCHEMA_VERSION) return { status: 'too_new', job };
  try {
    job.request = jobRequestRecord.parse(JSON.parse(request));
    const stored: unknown = JSON.parse(inputs);
    if (Array.isArray(stored)) job.inputs = stored;
    else job.inputsRef = blobRef.parse(stored);
    return { status: 'claimed', job: withKept(job, kept) };
  } catch (error) {
    return { status: 'unreadable', job, error: error as Error };
  }
}

const UNREAD_REQUEST = { on_row_error: 'fail', request_id: '' } as const;

/** Tenant, id, run, attempt, state, results, error, origin's id, batch, timings, prediction; '' where there is nothing. */
export function commitArguments({ job, outcome }: Commit): (string | number)[] {
  const { id, tenant, run, attempt } = job;
  if (outcome.state === 'queued') {
    const untriedSince = outcome.spendsAttempt ? '' : job.claimedUs;
    return [tenant, id, run, attempt, 'queued', untriedSince, '', '', '', '', ''];
  }
  return [
    tenant,
    id,
    run,
    attempt,
    outcome.state,
    JSON.stringify(outcome.resultsRef ?? allResults(job, outcome.results)),
    json(errorOfAll(job, outcome.error)),
    outcome.origin === undefined ? '' : storedOrigin(outcome.origin).id,
    json(outcome.batch),
    json(outcome.timings),
    json(outcome.prediction),
  ];
}

/** How many origins the commits name, then the id and JSON of each. */
export function originArguments(outcomes: Iterable<JobOutcome>): (string | number)[] {
  const origins = new Map<string, string>();
  let last: Origin | undefined;
  for (const outcome of outcomes) {
    // Nearly always that of the one before.
    if (outcome.state === 'queued' || outcome.origin === undefined || outcome.origin === last) continue;
    last = outcome.origin;
    const { id, json } = storedOrigin(last);
    origins.set(id, json);
  }
  return [origins.size, ...[...origins].flat()];
}

export function toCommitOutcome(code: number): CommitOutcome {
  return { status: code === 0 ? 'fenced' : 'committed' };
}

function json(value: unknown): string {
  return value === undefined ? '' : JSON.stringify(value);
}
