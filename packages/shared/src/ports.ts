import { z } from 'zod';
import type { AuditActor } from './audit-line.ts';
import type { BlobRef } from './blob-store.ts';
import type { CircuitState, FleetCircuit } from './circuit-state.ts';
import type {
  BatchTrace,
  JobError,
  JobRecord,
  JobRequestRecord,
  Origin,
  PredictionRecord,
  RunRecord,
  WorkerTimings,
} from './job.ts';
import type { JobState, TerminalState } from './job-state.ts';
import type { Lane } from './lane.ts';
import type { ModelDescriptor } from './model-descriptor.ts';
import type { RowError, RowResult } from './row-result.ts';
import type { ModelWant, Retirement, VersionState } from './version-state.ts';

/** A job that the API wants to accept. */
export interface NewJob {
  id: string;
  tenant: string;
  partition: number;
  model: string;
  version: string;
  lane: Lane;
  inputs: readonly Record<string, unknown>[];
  request: JobRequestRecord;
  /** How long each job before it takes, at best: one that expires before its turn can come is not accepted. */
  msPerJob?: number | undefined;
  /** How long it may be queued, about, as its model wants it. */
  maxQueueWaitS?: number | undefined;
  /** Missing for a job whose rows are to be computed whatever is known. */
  reuse?: ReuseOrder | undefined;
}

/** Says that rows need not be computed whose answers are kept, or are on their way. */
export interface ReuseOrder {
  /** Whose answers: as `sourceId` says. */
  source: string;
  /** Of every row, in their order. */
  keys: readonly string[];
  /** How long others wait for a row that this job computes, before one of them does so itself; undefined: nobody waits. */
  leaseMs: number | undefined;
}

/** What came of it. */
export interface Reuse {
  /** Rows that have their answers. */
  rows: number;
  /** `ended`: all of them. `following`: the others are being computed for equal rows. */
  state: 'ended' | 'following' | 'queued';
}

/** How much may wait for one model, counted from acceptance to the end of the run. */
export interface BacklogLimits {
  maxJobs: number;
  maxRows: number;
  maxBytes: number;
}

/** What waits for a model now, and how many jobs have ever ended. */
export interface Backlog {
  jobs: number;
  rows: number;
  bytes: number;
  finishedJobs: number;
  finishedRows: number;
}

/** A backlog, with what is known of each lane. */
export interface LaneBacklog extends Backlog {
  oldestUnclaimed: OldestUnclaimed[];
  finishedJobsOf: Readonly<Record<Lane, number>>;
}

/** What of a lane no worker has claimed. */
export interface OldestUnclaimed {
  lane: Lane;
  /** Of the oldest job; 0 when there is none. */
  ageS: number;
  /** About: of what was canceled some may still stand in the queue. Without jobs whose time has not come. */
  jobs: number;
}

export type EnqueueOutcome =
  /** `isNew`: this call stored it; else the id was there already, and nothing has changed. */
  | { status: 'accepted'; createdAtMs: number; isNew: boolean; reuse?: Reuse | undefined }
  /** The cap of this dimension would be passed. Nothing was stored. */
  | { status: 'backlog_full'; dimension: 'jobs' | 'rows' | 'bytes'; backlog: Backlog }
  /** It would expire before its turn came: after `waitMs`, at best. Nothing was stored. */
  | { status: 'deadline_unmeetable'; waitMs: number }
  /** An operator lets the lane run empty: it takes nothing new. */
  | { status: 'lane_draining' };

/** Names a run of a job. */
export interface JobRef {
  id: string;
  tenant: string;
  partition: number;
  run: number;
}

/** A job in a worker's hands. `attempt` is the fence: only its holder may commit. */
export interface ClaimedJob extends JobRef {
  attempt: number;
  model: string;
  version: string;
  lane: Lane;
  /** None as long as they are in the blob store. */
  inputs: readonly Record<string, unknown>[];
  /** Where they are, when they are not in the record. */
  inputsRef?: BlobRef;
  request: JobRequestRecord;
  /** Time between queueing and this claim, on Redis' clock. */
  queuedMs: number;
  /** When it was claimed: Unix microseconds of Redis' clock. */
  claimedUs: string;
  /** Of a run of the unfinished rows alone, which `inputs` are: what the others have, and where in the job these stand. */
  kept?: { run: number; results: readonly RowResult[]; rows: readonly number[]; total: number };
}

/** How many rows a job has, wherever they are. */
export function rowsOf({ inputs, inputsRef }: Pick<ClaimedJob, 'inputs' | 'inputsRef'>): number {
  return inputsRef?.rows ?? inputs.length;
}

export type ClaimOutcome =
  | { status: 'claimed'; job: ClaimedJob }
  /** The run has ended already, or the record is gone: finish the queue's job and say nothing. */
  | { status: 'over' }
  /** A newer version of the platform wrote the record: claimed, and to be handed on to a worker of that version. */
  | { status: 'too_new'; job: ClaimedJob }
  /** The record cannot be read, and never will be: claimed without inputs, and to be ended. */
  | { status: 'unreadable'; job: ClaimedJob; error: Error };

/** How an attempt ended. */
export type JobOutcome =
  | {
      state: 'succeeded' | 'failed';
      results: readonly RowResult[];
      /** Where the results are, when they are too many for the record. */
      resultsRef?: BlobRef;
      error?: JobError;
      /** All three are missing only when no model ever saw the rows. Equal origins are best the same object. */
      origin?: Origin;
      batch?: BatchTrace;
      timings?: WorkerTimings;
      prediction?: PredictionRecord;
    }
  /** Back to the queue: a retryable failure with attempts left, or a worker that drains. */
  | {
      state: 'queued';
      /** Whether this counts against the attempts that the job has; not when it only came to the wrong worker. */
      spendsAttempt: boolean;
      /** How soon it is offered again when it spends no attempt; at once, nearly, unless given. */
      delayMs?: number;
    };

export interface Commit {
  job: ClaimedJob;
  outcome: JobOutcome;
}

export type CommitOutcome =
  | { status: 'committed' }
  /** Another attempt holds the job, or the run has ended: this attempt's result was discarded. */
  | { status: 'fenced' }
  /** The outcome cannot be written down: nothing was changed. */
  | { status: 'unwritable'; error: Error };

export type CancelOutcome =
  | { status: 'canceled' }
  | { status: 'missing' }
  /** The run had ended in this state before. */
  | { status: 'ended'; state: TerminalState };

export type RetryOutcome =
  | { status: 'queued'; run: number }
  | { status: 'missing' }
  /** Only a run that ended without success is retried. */
  | { status: 'not_retryable'; state: JobState }
  | Exclude<EnqueueOutcome, { status: 'accepted' | 'deadline_unmeetable' }>;

/** Which rows the next run scores: `unfinished` ones are those without an answer; the others keep theirs. */
export const retriedRows = z.enum(['all', 'unfinished']);
export type RetriedRows = z.infer<typeof retriedRows>;

/** A queue whose wait list is kept short, so that tenants have their shares. */
export interface FedQueue {
  model: string;
  lane: Lane;
  /** Jobs in its wait list: enough to fill the next batch. */
  limit: number;
}

export interface SweepOutcome {
  /** How many were due. */
  due: number;
  /** Until the next one is; undefined: none is waited for. */
  nextDueMs: number | undefined;
}

/** The job records. Our record is the truth; the queue only schedules. */
export interface JobStore {
  /** Writes the record and puts the job into its queue, both or neither. */
  enqueue(job: NewJob, limits: BacklogLimits): Promise<EnqueueOutcome>;
  /**
   * Null for an unknown id, a foreign tenant's, and one past its retention: the three look the same.
   * @throws Problem record_too_new
   */
  read(tenant: string, id: string): Promise<JobRecord | null>;
  /** Takes jobs for attempts of their own: state running, attempt + 1. Jobs of one call share a partition. */
  claim(refs: readonly JobRef[]): Promise<ClaimOutcome[]>;
  /** Ends attempts: record, results, events and counters together. Jobs of one call share a partition. */
  commit(commits: readonly Commit[]): Promise<CommitOutcome[]>;
  /** Ends a run that has not ended; final at once, also for one that a worker holds. */
  cancel(tenant: string, id: string): Promise<CancelOutcome>;
  /** Opens the next run of a job that failed, expired or was canceled. */
  retry(tenant: string, id: string, limits: BacklogLimits, rows?: RetriedRows): Promise<RetryOutcome>;
  /** The runs of a job before its latest one, oldest first. */
  runs(tenant: string, id: string): Promise<RunRecord[]>;
  /** Ends up to `limit` runs of a partition whose time is up. */
  sweep(partition: number, limit: number): Promise<SweepOutcome>;
  /** Says how many jobs suit the wait lists of these queues, and fills them from the jobs of all tenants that are parked. */
  feed(partition: number, queues: readonly FedQueue[]): Promise<void>;
  /** A tenant's share of every queue in which others wait too, in relation to theirs; 1 for whom nothing was set. 0.001…1000. */
  setWeight(tenant: string, weight: number): Promise<void>;
  backlog(model: string): Promise<LaneBacklog>;
}

/** What an idempotency key stands for. */
export interface JobReservation {
  jobId: string;
  /** Of the canonical JSON of the body that came with the key. */
  bodySha256: string;
}

/**
 * Idempotency keys: the id of a job is reserved before the job is made, so that whoever comes with the same key makes the
 * same job, or finds it made.
 */
export interface JobReservations {
  find(tenant: string, key: string): Promise<JobReservation | undefined>;
  /**
   * The reservation that stands from now on: this one, or the one that was there. `maxTtlMs`: no longer than its job is kept,
   * or a late repeat would make it anew.
   */
  reserve(tenant: string, key: string, reservation: JobReservation, maxTtlMs?: number): Promise<JobReservation>;
}

/** What workers say about the models that they serve, and what operators want of them. */
export interface ModelRegistry {
  /** Jobs are accepted for it from now on. */
  publish(descriptor: ModelDescriptor): Promise<void>;
  /**
   * What `worker` says of all its versions, believed for `ttlMs`; an empty list takes the worker off. `reports` are of every version
   * that it knows, also those it does not serve.
   */
  beat(
    worker: string,
    versions: readonly VersionBeat[],
    ttlMs: number,
    reports?: readonly VersionReport[],
  ): Promise<FleetNews>;
  /** No jobs are accepted for it any more, unless another worker still takes them; whether it came to that. */
  retire(worker: string, version: VersionName, retirement: Omit<Retirement, 'at_ms'>): Promise<boolean>;
  /** Kept until the next order for the same; one for a whole model takes back those for its versions. Leaves a line in the audit log. */
  order(subject: ModelSubject, want: ModelWant, by?: AuditActor): Promise<ModelOrder>;
  list(): Promise<PublishedModel[]>;
  /** Every version of a model that anybody knows of, published or not. */
  versions(model: string): Promise<FleetModel>;
}

export interface VersionName {
  name: string;
  version: string;
}

/** A version, or a model as a whole. */
export interface ModelSubject {
  name: string;
  version?: string | undefined;
}

export interface ModelOrder extends ModelSubject {
  want: ModelWant;
  /** Unix ms, of Redis; another order has another. */
  atMs: number;
}

/** What a worker says of a version's life. */
export interface VersionReport extends VersionName {
  state: VersionState;
  reason: string | undefined;
  /** How long it has been in that state. */
  ageMs: number;
  /** Whether it takes jobs for it, if need be after loading it. */
  isOffered: boolean;
}

/** What a worker is told at a beat. */
export interface FleetNews {
  orders: ModelOrder[];
  /** Of the versions it reported as offered: those that are not published, since somebody retired them or Redis was emptied. */
  unpublished: VersionName[];
  /** Versions that no worker takes jobs for any more. */
  retired: (VersionName & Pick<Retirement, 'cause'>)[];
}

/** A model as all workers together know it. */
export interface FleetModel {
  order: ModelOrder | undefined;
  versions: FleetVersion[];
}

export interface FleetVersion {
  version: string;
  descriptor: ModelDescriptor | undefined;
  retirement: Retirement | undefined;
  order: ModelOrder | undefined;
  /** Of those that are up. */
  workers: { worker: string; state: VersionState; reason: string | undefined; sinceMs: number }[];
}

/** What a worker says of a version that it has. */
export interface VersionBeat {
  name: string;
  version: string;
  /** Whether it takes jobs for it now. */
  isReady: boolean;
  circuit: CircuitState;
  /** Until its circuit tries the model again; 0 unless it is open. */
  retryAfterMs: number;
}

export interface PublishedModel {
  descriptor: ModelDescriptor;
  /** Workers that serve this version now. */
  readyWorkers: number;
  circuit: FleetCircuit;
}

export type CachedModel = Pick<ModelDescriptor, 'name' | 'version'>;

export interface CachedOutput {
  output: Record<string, unknown>;
  ageMs: number;
}

/** An answer that is kept, or that a row is bad. `reuse`: it is given again to equal rows. */
export type KeptAnswer = { key: string; reuse?: { ttlMs: number; origin: Origin; batch: BatchTrace } } & (
  | { output: Record<string, unknown> }
  | { error: RowError }
);

/**
 * What versions answered of late: for equal rows, and for those that answer with it when they cannot compute. A key says what was
 * asked (result-reuse.ts).
 */
export interface ResultCache {
  /** What is kept of the version is from now on that of `source`; what another one answered goes. */
  open(model: CachedModel, source: string): Promise<void>;
  /** Keeps the `maxRows` newest of a version, none for longer than `maxAgeMs`; with a `source` as `open`. */
  write(
    model: CachedModel,
    answers: readonly KeptAnswer[],
    limits: { maxRows: number; maxAgeMs: number; source?: string | undefined },
  ): Promise<void>;
  /** In the order of the keys; undefined where nothing so young is kept. */
  read(model: CachedModel, keys: readonly string[], maxAgeMs: number): Promise<(CachedOutput | undefined)[]>;
}

/** Tells that a job has ended. */
export interface CompletionListener {
  /**
   * Calls back when the job may have ended: on its message, and also after every reconnect and every 10 s, since
   * pub/sub loses messages. The caller reads the record to know. Subscribed when the promise resolves.
   */
  watch(id: string, onHint: () => void): Promise<() => void>;
}

/** The time, so that tests can turn it. */
export interface Clock {
  /** Monotonic, milliseconds. */
  now(): number;
  setTimeout(callback: () => void, ms: number): { cancel(): void };
}

export const systemClock: Clock = {
  now: () => performance.now(),
  setTimeout: (callback, ms) => {
    const timer = setTimeout(callback, ms);
    return { cancel: () => clearTimeout(timer) };
  },
};
