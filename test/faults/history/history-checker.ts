import { isTerminal, type JobState } from '@onqueue/shared';
import type { Observed } from './history-event.ts';
import { type History, type JobHistory, readHistory } from './job-history.ts';

export type Rule =
  | 'acknowledged-ends'
  | 'runs-are-complete'
  | 'only-requested'
  | 'one-job-a-request'
  | 'monotone'
  | 'terminal-is-final'
  | 'cancel-holds'
  | 'right-answer'
  | 'webhook-arrives'
  | 'one-event-id'
  | 'event-tells-the-end'
  | 'same-bytes'
  | 'report-holds'
  | 'backlog-is-empty';

/** A promise that the platform did not keep. */
export interface Violation {
  rule: Rule;
  /** The job, request or model. */
  subject: string;
  detail: string;
}

/**
 * Holds what clients saw against what the platform promises, after the fact and without the platform. The history must
 * end with the runs of every job that was acknowledged or seen, and the backlogs.
 *
 * Answers that were on their way at the same time say nothing about each other's order: only one that was there before
 * the other was asked for counts as earlier.
 */
export function checkHistory(lines: readonly string[]): Violation[] {
  const history = readHistory(lines);
  const jobs = [...history.jobs.values()];
  return [
    ...jobs.flatMap((job) => JOB_RULES.flatMap((rule) => rule(job, history))),
    ...checkRequests(history, jobs),
    ...checkEventIds(jobs),
    ...checkBacklogs(history),
  ];
}

const JOB_RULES: ((job: JobHistory, history: History) => Violation[])[] = [
  checkEnds,
  checkRuns,
  checkOrder,
  checkTerminal,
  checkCancels,
  checkAnswers,
  checkWebhooks,
  checkFullBodies,
  checkReports,
];

function checkEnds({ id, isAcknowledged, isMissing, endStates }: JobHistory): Violation[] {
  // One that nobody was told of may be gone; one that was seen is there.
  if (!isAcknowledged && !endStates && !isMissing) return [];
  if (isMissing) return [{ rule: 'acknowledged-ends', subject: id, detail: 'is gone' }];
  if (!endStates) return [{ rule: 'acknowledged-ends', subject: id, detail: 'was never seen to end' }];
  return [...endStates].flatMap(([run, state]) =>
    isTerminal(state) ? [] : [{ rule: 'acknowledged-ends', subject: id, detail: `run ${run} is still ${state}` }],
  );
}

/** Runs are 1, 2, … without a hole, and none that was asked for is missing. */
function checkRuns({ id, endStates, retriedRuns, observations }: JobHistory): Violation[] {
  if (!endStates) return [];
  const expected = Math.max(endStates.size, 1, ...retriedRuns, ...observations.map(({ run }) => run));
  return Array.from({ length: expected }, (_, index) => index + 1).flatMap((run) =>
    endStates.has(run) ? [] : [{ rule: 'runs-are-complete' as const, subject: id, detail: `run ${run} is missing` }],
  );
}

/** Runs and attempts count up, and what has ended stays ended. */
function checkOrder({ id, observations }: JobHistory): Violation[] {
  const violations: Violation[] = [];
  for (const later of observations) {
    if ((later.state === 'running' || later.state === 'succeeded') && later.attempt < 1) {
      violations.push({ rule: 'monotone', subject: id, detail: `${later.state} without an attempt` });
    }
    const earlier = observations.find((other) => other.at <= later.from && goesBack(other, later));
    if (earlier) {
      violations.push({ rule: 'monotone', subject: id, detail: `${describe(earlier)}, and later ${describe(later)}` });
    }
  }
  return violations;
}

function goesBack(earlier: Observed, later: Observed): boolean {
  if (earlier.run !== later.run) return earlier.run > later.run;
  return earlier.attempt > later.attempt || (isTerminal(earlier.state) && !isTerminal(later.state));
}

/** All who see the end of a run see the same bytes, in whatever order they ask. */
function checkTerminal({ id, observations, endStates }: JobHistory): Violation[] {
  const ends = observations.filter(({ state }) => isTerminal(state));
  const violations: Violation[] = [];
  for (const [index, end] of ends.entries()) {
    const other = ends.slice(0, index).find(({ run, digest }) => run === end.run && digest !== end.digest);
    if (other) {
      const detail = `${describe(other)} as ${other.digest.slice(0, 8)}, and as ${end.digest.slice(0, 8)} ${describe(end)}`;
      violations.push({ rule: 'terminal-is-final', subject: id, detail });
    }
    const listed = endStates?.get(end.run);
    if (listed && listed !== end.state) {
      violations.push({ rule: 'terminal-is-final', subject: id, detail: `${describe(end)}, listed as ${listed}` });
    }
  }
  return violations;
}

/** A cancel that was told to hold is how the run ended; one that came too late changed nothing. */
function checkCancels({ id, cancels, endStates }: JobHistory): Violation[] {
  return cancels.flatMap(({ run, isCanceled }) => {
    const state = endStates?.get(run);
    if (!state || isCanceled === (state === 'canceled')) return [];
    const detail = `run ${run} is ${state} though its cancel ${isCanceled ? 'held' : 'came too late'}`;
    return [{ rule: 'cancel-holds' as const, subject: id, detail }];
  });
}

function checkAnswers({ id, key, observations }: JobHistory, { requests }: History): Violation[] {
  const expected = key === undefined ? undefined : requests.get(key)?.requested.score;
  if (expected === undefined) return [];
  return observations.flatMap(({ state, score }) =>
    state !== 'succeeded' || score === expected
      ? []
      : [{ rule: 'right-answer' as const, subject: id, detail: `${score} instead of ${expected}` }],
  );
}

function checkWebhooks({ id, key, webhooks, endStates }: JobHistory, { requests }: History): Violation[] {
  const violations: Violation[] = [];
  const typeOf = (state: JobState) => `job.${state}`;
  const isWanted = key !== undefined && requests.get(key)?.requested.webhook;
  for (const [run, state] of endStates ?? []) {
    if (!isTerminal(state)) continue;
    const ofRun = webhooks.filter((webhook) => webhook.run === run);
    const arrived = [...ofRun, ...webhooks.filter((webhook) => webhook.run === null)];
    if (isWanted && !arrived.some(({ type }) => type === typeOf(state))) {
      violations.push({ rule: 'webhook-arrives', subject: id, detail: `none tells that run ${run} is ${state}` });
    }
    for (const { type } of ofRun.filter((webhook) => webhook.type !== typeOf(state))) {
      violations.push({ rule: 'event-tells-the-end', subject: id, detail: `${type} of run ${run}, which is ${state}` });
    }
  }
  const ends = new Set([...(endStates?.values() ?? [])].map(typeOf));
  for (const { run, type } of webhooks) {
    if (endStates && run === null && !ends.has(type)) {
      violations.push({ rule: 'event-tells-the-end', subject: id, detail: `${type}, as no run ended` });
    }
  }
  return violations;
}

/** A body that shows the job shows it as it ended; where Redis has lost ends, perhaps as an attempt ended that it has lost. */
function checkFullBodies({ id, webhooks, ends }: JobHistory, { isRolledBack }: History): Violation[] {
  return webhooks.flatMap(({ type, run, attempt, score }) => {
    const end = ends.find((other) => other.run === run);
    if (attempt === null || !end || ((attempt === end.attempt || isRolledBack) && score === end.score)) return [];
    const detail = `${type} of run ${run} shows ${score} of attempt ${attempt}, the record ${end.score} of ${end.attempt}`;
    return [{ rule: 'event-tells-the-end' as const, subject: id, detail }];
  });
}

/** What a worker says it has committed is how the run ended, by that attempt and no other; what was refused is not said. */
function checkReports({ id, reports, fenced, ends }: JobHistory, { isRolledBack }: History): Violation[] {
  if (isRolledBack) return [];
  const violations: Violation[] = [];
  const blame = (detail: string) => violations.push({ rule: 'report-holds', subject: id, detail });
  for (const [index, { run, attempt, state, worker }] of reports.entries()) {
    const end = ends.find((other) => other.run === run);
    if (end && (end.state !== state || end.attempt !== attempt)) {
      blame(`${worker} ended run ${run} as ${state}, attempt ${attempt}; it is ${end.state}, attempt ${end.attempt}`);
    }
    if (reports.slice(0, index).some((other) => other.run === run)) blame(`run ${run} was ended twice`);
    // A refusal does not say which run it is about.
    const isRefused = ends.length === 1 && fenced.some((other) => other.attempt === attempt);
    if (isRefused) blame(`attempt ${attempt} was refused, and ended run ${run}`);
  }
  return violations;
}

/** An id names one event, an event has one id, and each delivery of it the same bytes. */
function checkEventIds(jobs: readonly JobHistory[]): Violation[] {
  const violations: Violation[] = [];
  const meanings = new Map<string, string>();
  const digests = new Map<string, string>();
  const ids = new Map<string, string>();
  const isNew = (map: Map<string, string>, name: string, value: string) => {
    const known = map.get(name);
    if (known === undefined) map.set(name, value);
    return known === undefined || known === value;
  };
  for (const { id, webhooks, ends } of jobs) {
    for (const type of new Set(webhooks.map((webhook) => webhook.type))) {
      // Also of bodies that do not show their run: there are no more events than runs that ended so.
      const events = new Set(webhooks.filter((webhook) => webhook.type === type).map(({ event }) => event));
      const runs = ends.filter(({ state }) => `job.${state}` === type).length;
      if (events.size > Math.max(1, runs)) {
        violations.push({
          rule: 'one-event-id',
          subject: id,
          detail: `${events.size} ids of ${type}, for ${runs} runs`,
        });
      }
    }
    for (const { event, type, run, digest } of webhooks) {
      const meaning = `${id} ${type}`;
      if (!isNew(meanings, event, meaning)) {
        violations.push({ rule: 'one-event-id', subject: id, detail: `${event} names ${meanings.get(event)} too` });
      }
      if (run !== null && !isNew(ids, `${meaning} ${run}`, event)) {
        violations.push({ rule: 'one-event-id', subject: id, detail: `${type} of run ${run} has two ids` });
      }
      if (digest !== null && !isNew(digests, event, digest)) {
        violations.push({ rule: 'same-bytes', subject: id, detail: `${event} was delivered with two bodies` });
      }
    }
  }
  return violations;
}

/** No result without a request that may have been accepted, and one job for each. */
function checkRequests({ requests, strangers }: History, jobs: readonly JobHistory[]): Violation[] {
  const violations: Violation[] = strangers.map((key) => ({
    rule: 'only-requested' as const,
    subject: key,
    detail: 'nobody asked for this',
  }));
  const jobOfKey = new Map<string, string>();
  for (const { id, key, observations } of jobs) {
    if (key === undefined) {
      if (observations.length > 0) violations.push({ rule: 'only-requested', subject: id, detail: 'nobody was told' });
      continue;
    }
    if (requests.get(key)?.isRefused) {
      violations.push({ rule: 'only-requested', subject: id, detail: `request ${key} was refused` });
    }
    const other = jobOfKey.get(key);
    if (other) violations.push({ rule: 'one-job-a-request', subject: key, detail: `${other} and ${id}` });
    jobOfKey.set(key, id);
  }
  return violations;
}

function checkBacklogs({ backlogs }: History): Violation[] {
  if (backlogs.length === 0) {
    return [{ rule: 'backlog-is-empty', subject: 'history', detail: 'does not say what is left' }];
  }
  return backlogs.flatMap(({ model, jobs, rows, bytes }) =>
    jobs === 0 && rows === 0 && bytes === 0
      ? []
      : [{ rule: 'backlog-is-empty' as const, subject: model, detail: `${jobs} jobs, ${rows} rows, ${bytes} bytes` }],
  );
}

function describe({ run, attempt, state }: Observed): string {
  return `${state} in run ${run}, attempt ${attempt}`;
}
