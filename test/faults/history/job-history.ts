import type { JobState } from '@onqueue/shared';
import {
  type HistoryEvent,
  historyEvent,
  type Observed,
  type Reported,
  type Requested,
  type RunEnd,
  type WebhookReceived,
} from './history-event.ts';

type EventOf<Kind extends HistoryEvent['kind']> = Extract<HistoryEvent, { kind: Kind }>;

export interface RequestHistory {
  requested: Requested;
  /** The answer promised that nothing was stored. */
  isRefused: boolean;
}

/** All that was ever seen of one job. */
export interface JobHistory {
  id: string;
  /** Undefined when nobody was told this id, and no webhook names the request. */
  key: string | undefined;
  isAcknowledged: boolean;
  observations: Observed[];
  cancels: EventOf<'cancel'>[];
  retriedRuns: number[];
  /** By run; undefined when the history has no list of them. */
  endStates: Map<number, JobState> | undefined;
  ends: RunEnd[];
  reports: Reported[];
  fenced: EventOf<'fenced'>[];
  webhooks: WebhookReceived[];
  isMissing: boolean;
}

export interface History {
  requests: Map<string, RequestHistory>;
  /** Webhooks, acknowledgements and refusals whose key nobody asked for. */
  strangers: string[];
  jobs: Map<string, JobHistory>;
  backlogs: EventOf<'backlog'>[];
  /** Workers do not say when they did what they report. */
  isRolledBack: boolean;
}

/** Sorts the lines of a history by what they are about. */
export function readHistory(lines: readonly string[]): History {
  const history: History = { requests: new Map(), strangers: [], jobs: new Map(), backlogs: [], isRolledBack: false };
  for (const line of lines) read(history, historyEvent.parse(JSON.parse(line)));
  return history;
}

function read(history: History, event: HistoryEvent): void {
  const { requests } = history;
  switch (event.kind) {
    case 'request':
      requests.set(event.key, { requested: event, isRefused: false });
      break;
    case 'acknowledged': {
      const job = jobOf(history, event.id);
      job.key = event.key;
      job.isAcknowledged = true;
      withRequest(history, event.key, () => {});
      break;
    }
    case 'refused':
      withRequest(history, event.key, (request) => {
        request.isRefused = true;
      });
      break;
    case 'observed':
      jobOf(history, event.id).observations.push(event);
      break;
    case 'missing':
      jobOf(history, event.id).isMissing = true;
      break;
    case 'cancel':
      jobOf(history, event.id).cancels.push(event);
      break;
    case 'retried':
      jobOf(history, event.id).retriedRuns.push(event.run);
      break;
    case 'runs':
      jobOf(history, event.id).ends = event.runs;
      jobOf(history, event.id).endStates = new Map(event.runs.map(({ run, state }) => [run, state]));
      break;
    case 'webhook': {
      const job = jobOf(history, event.id);
      job.key ??= event.key;
      job.webhooks.push(event);
      withRequest(history, event.key, () => {});
      break;
    }
    case 'rollback':
      rollBack(history, event.lost);
      break;
    case 'reported':
      jobOf(history, event.id).reports.push(event);
      break;
    case 'fenced':
      jobOf(history, event.id).fenced.push(event);
      break;
    case 'backlog':
      history.backlogs.push(event);
  }
}

/** What was seen before binds nobody, but for the ids of the events: those are the same each time. */
function rollBack(history: History, lost: readonly string[]): void {
  history.isRolledBack = true;
  for (const id of lost) history.jobs.delete(id);
  for (const job of history.jobs.values()) {
    job.observations = [];
    job.webhooks = job.webhooks.map((webhook) => ({ ...webhook, attempt: null, score: null, digest: null }));
  }
}

function jobOf({ jobs }: History, id: string): JobHistory {
  const known = jobs.get(id);
  if (known) return known;
  const job: JobHistory = {
    id,
    key: undefined,
    isAcknowledged: false,
    observations: [],
    cancels: [],
    retriedRuns: [],
    endStates: undefined,
    ends: [],
    reports: [],
    fenced: [],
    webhooks: [],
    isMissing: false,
  };
  jobs.set(id, job);
  return job;
}

function withRequest({ requests, strangers }: History, key: string, change: (request: RequestHistory) => void): void {
  const request = requests.get(key);
  if (request) change(request);
  else strangers.push(key);
}
