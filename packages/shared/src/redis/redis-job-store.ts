import { z } from 'zod';
import { type BlobRef, blobRef } from '../blob-store.ts';
import { faultPoint } from '../fault-point.ts';
import { batchTrace, JOB_SCHEMA_VERSION, type JobRecord, jobRecord, type RunRecord, runRecord } from '../job.ts';
import { parseJobId } from '../job-id.ts';
import type { JobPayloads } from '../job-payloads.ts';
import { jobState, terminalState } from '../job-state.ts';
import { LANES, type Lane } from '../lane.ts';
import { partitionOf } from '../partition.ts';
import type {
  Backlog,
  BacklogLimits,
  CancelOutcome,
  ClaimOutcome,
  Commit,
  CommitOutcome,
  EnqueueOutcome,
  FedQueue,
  JobRef,
  JobStore,
  LaneBacklog,
  NewJob,
  RetriedRows,
  RetryOutcome,
  Reuse,
  SweepOutcome,
} from '../ports.ts';
import { Problem } from '../problems.ts';
import type { RowResult } from '../row-result.ts';
import { tenantWeight } from '../tenant.ts';
import type { RedisConnection } from './connection.ts';
import { queueJobId, queueName, type RedisKeys } from './keys.ts';
import { metadataTags } from './metadata-tags.ts';
import { RedisOrigins } from './origins.ts';
import { type ClaimReply, commitArguments, originArguments, toClaimOutcome, toCommitOutcome } from './record-codec.ts';
import { BACKLOG_LUA } from './scripts/backlog.ts';
import { CANCEL_LUA } from './scripts/cancel.ts';
import { CLAIM_LUA } from './scripts/claim.ts';
import { COMMIT_LUA } from './scripts/commit.ts';
import { ENQUEUE_LUA } from './scripts/enqueue.ts';
import { FEED_LUA } from './scripts/feed.ts';
import { RETRY_LUA } from './scripts/retry.ts';
import { SWEEP_LUA } from './scripts/sweep.ts';
import { withStoreErrors } from './store-error.ts';

export interface RedisJobStoreOptions {
  redis: RedisConnection;
  keys: RedisKeys;
  partitions: number;
  /** How long a job is kept after its end. */
  retentionMs: number;
  /** How often BullMQ hands a job out again after a retryable failure, and the wait before the second time. */
  attempts: number;
  retryDelayMs: number;
  /** Prediction records kept per model, about; 0 keeps none. */
  maxPredictions: number;
  /** The metadata keys that new jobs are listed under; none unless given. */
  indexedMetadata?: readonly string[];
  /** For what is too large for a record; without it everything is kept there. */
  payloads?: JobPayloads;
}

/** Of a record that has its inputs and results in itself, so that processes of that version can read it. */
const INLINE_SCHEMA_VERSION = 2;

const LOST_RESULT: RowResult = {
  status: 'failed',
  error: { code: 'result_lost', detail: 'The result of this row was stored and can no longer be read.' },
};

/** The scripts, by the names of their commands. */
const SCRIPTS = {
  onqueueEnqueue: ENQUEUE_LUA,
  onqueueClaim: CLAIM_LUA,
  onqueueCommit: COMMIT_LUA,
  onqueueCancel: CANCEL_LUA,
  onqueueRetry: RETRY_LUA,
  onqueueSweep: SWEEP_LUA,
  onqueueFeed: FEED_LUA,
} as const;
type ScriptName = keyof typeof SCRIPTS;
type Argument = string | number;

/** Everything of a record but its inputs, in the order of the HMGET. */
const FIELDS = [
  'schema_version',
  'id',
  'tenant',
  'state',
  'run',
  'attempt',
  'model',
  'version',
  'lane',
  'rows',
  'created_us',
  'queued_us',
  'started_us',
  'finished_us',
  'expires_ms',
  'request',
  'results',
  'error',
  'provenance',
  'origin',
  'batch',
  'timings',
  'scheduled_ms',
  'progress',
] as const;
const JSON_FIELDS = new Set<string>(['request', 'results', 'error', 'provenance', 'batch', 'timings', 'progress']);

/** The job records in Redis: one hash a job, changed by scripts and nothing else. */
export class RedisJobStore implements JobStore {
  readonly #redis: RedisConnection;
  readonly #keys: RedisKeys;
  readonly #options: RedisJobStoreOptions;
  readonly #queueOptions: string;
  readonly #origins: RedisOrigins;

  constructor(options: RedisJobStoreOptions) {
    const { redis, keys, attempts, retryDelayMs } = options;
    this.#options = options;
    this.#redis = redis;
    this.#keys = keys;
    this.#origins = new RedisOrigins(options);
    for (const [name, lua] of Object.entries(SCRIPTS)) redis.defineCommand(name, { lua, numberOfKeys: 1 });
    // Our record tells how a job ended: BullMQ forgets it at once.
    this.#queueOptions = JSON.stringify({
      attempts,
      backoff: { type: 'exponential', delay: retryDelayMs, jitter: 0.5 },
      removeOnComplete: true,
      removeOnFail: true,
    });
  }

  async enqueue(job: NewJob, limits: BacklogLimits): Promise<EnqueueOutcome> {
    const inputs = JSON.stringify(job.inputs);
    const { payloads } = this.#options;
    // Rows that need not be computed are not worth a way to the blob store.
    if (job.reuse && payloads?.isLargeInput(inputs)) {
      const reply = await this.#enqueue(job, '[]', limits, { onlyAnswered: true });
      if (reply[0] !== 'unanswered') return toEnqueueOutcome(reply);
    }
    const ref = await payloads?.writeInputs(job, inputs, job.inputs.length);
    if (ref) faultPoint('inputs.stored.after');
    const reply = await this.#enqueue(job, inputs, limits, { ref });
    if (ref && (reply[0] !== 'accepted' || reply[2] === 0)) await payloads?.discard(job, ref);
    return toEnqueueOutcome(reply);
  }

  async #enqueue(
    job: NewJob,
    inputs: string,
    limits: BacklogLimits,
    { ref, onlyAnswered = false }: { ref?: BlobRef | undefined; onlyAnswered?: boolean },
  ): Promise<EnqueueReply> {
    const { request, reuse } = job;
    return (await this.#run('onqueueEnqueue', job.partition, [
      job.id,
      job.tenant,
      job.model,
      job.version,
      job.lane,
      job.inputs.length,
      Buffer.byteLength(inputs),
      JSON.stringify(job.request),
      ref ? JSON.stringify(ref) : inputs,
      limits.maxJobs,
      limits.maxRows,
      limits.maxBytes,
      queueJobId(job.id, 1),
      queueJobData(job.tenant),
      this.#queueOptions,
      ref ? JOB_SCHEMA_VERSION : INLINE_SCHEMA_VERSION,
      request.webhook ?? '',
      milliseconds(request.timeout_s),
      milliseconds(request.expires_in_s),
      request.priority ?? 0,
      milliseconds(request.delay_s),
      request.run_at_ms ?? '',
      milliseconds(request.cancel_after_s),
      milliseconds(request.retention_s),
      request.webhook_events?.join(' ') ?? '',
      ref?.blob ?? '',
      metadataTags(request.metadata ?? {}, this.#options.indexedMetadata ?? []).join(' '),
      reuse?.source ?? '',
      reuse?.keys.join(' ') ?? '',
      reuse?.leaseMs ?? '',
      onlyAnswered ? '1' : '',
      request.expires_in_s === undefined ? '' : (job.msPerJob ?? ''),
    ])) as EnqueueReply;
  }

  async read(tenant: string, id: string): Promise<JobRecord | null> {
    const parts = parseJobId(id);
    if (!parts) return null;
    const key = this.#keys.job(parts.partition, tenant, id);
    const values = await withStoreErrors(() => this.#redis.hmget(key, ...FIELDS));
    if (values[0] === null || values[0] === undefined) return null;
    if (Number(values[0]) > JOB_SCHEMA_VERSION) throw recordTooNew(values[0]);
    const entries = FIELDS.flatMap((field, index): [string, unknown][] => {
      const text = values[index];
      if (text === null || text === undefined) return [];
      return [[field, JSON_FIELDS.has(field) ? JSON.parse(text) : text]];
    });
    const fields = await this.#withResults(tenant, Object.fromEntries(entries));
    return jobRecord.parse(await this.#withProvenance(parts.partition, fields));
  }

  async runs(tenant: string, id: string): Promise<RunRecord[]> {
    const parts = parseJobId(id);
    if (!parts) return [];
    const runs = await withStoreErrors(() => this.#redis.lrange(this.#keys.runs(parts.partition, tenant, id), 0, -1));
    return Promise.all(
      runs.map(async (text) =>
        runRecord.parse(
          await this.#withProvenance(
            parts.partition,
            await this.#withResults(tenant, withoutNulls(JSON.parse(text) as Record<string, unknown>)),
          ),
        ),
      ),
    );
  }

  async claim(refs: readonly JobRef[]): Promise<ClaimOutcome[]> {
    const [first] = refs;
    if (!first) return [];
    const replies = (await this.#run(
      'onqueueClaim',
      first.partition,
      refs.flatMap(({ tenant, id, run }) => [tenant, id, run]),
    )) as ClaimReply[];
    return refs.map((ref, index) => toClaimOutcome(ref, replies[index]));
  }

  async commit(commits: readonly Commit[]): Promise<CommitOutcome[]> {
    const prepared = commits.map(prepareCommit);
    const sound = prepared.filter((item) => item.status === 'prepared');
    const [first] = sound;
    const codes = first
      ? ((await this.#run('onqueueCommit', first.job.partition, [
          this.#options.maxPredictions,
          ...originArguments(sound.map(({ outcome }) => outcome)),
          ...sound.flatMap((item) => item.arguments),
        ])) as number[])
      : [];
    let at = 0;
    return prepared.map((item) => (item.status === 'prepared' ? toCommitOutcome(codes[at++] ?? 0) : item));
  }

  async cancel(tenant: string, id: string): Promise<CancelOutcome> {
    const parts = parseJobId(id);
    if (!parts) return { status: 'missing' };
    const reply = (await this.#run('onqueueCancel', parts.partition, [tenant, id])) as string;
    if (reply === '') return { status: 'missing' };
    return reply === 'canceled' ? { status: 'canceled' } : { status: 'ended', state: terminalState.parse(reply) };
  }

  async retry(tenant: string, id: string, limits: BacklogLimits, rows: RetriedRows = 'all'): Promise<RetryOutcome> {
    const parts = parseJobId(id);
    if (!parts) return { status: 'missing' };
    const reply = (await this.#run('onqueueRetry', parts.partition, [
      tenant,
      id,
      limits.maxJobs,
      limits.maxRows,
      limits.maxBytes,
      queueJobData(tenant),
      this.#queueOptions,
      rows === 'unfinished' ? '1' : '',
    ])) as ['missing'] | ['not_retryable', string] | ['queued', number] | BacklogFullReply;
    if (reply[0] === 'missing') return { status: 'missing' };
    if (reply[0] === 'not_retryable') return { status: 'not_retryable', state: jobState.parse(reply[1]) };
    if (reply[0] === 'queued') return { status: 'queued', run: reply[1] };
    return toBacklogFull(reply);
  }

  async sweep(partition: number, limit: number): Promise<SweepOutcome> {
    const [due, nextDueMs] = (await this.#run('onqueueSweep', partition, [limit, this.#queueOptions])) as [
      number,
      number,
    ];
    return { due, nextDueMs: nextDueMs < 0 ? undefined : nextDueMs };
  }

  async feed(partition: number, queues: readonly FedQueue[]): Promise<void> {
    const args = queues.flatMap(({ model, lane, limit }) => [model, lane, limit]);
    await this.#run('onqueueFeed', partition, args);
  }

  async setWeight(tenant: string, weight: number): Promise<void> {
    const text = String(tenantWeight.parse(weight));
    const partitions = Array.from({ length: this.#options.partitions }, (_, partition) => partition);
    await withStoreErrors(() =>
      Promise.all(partitions.map((partition) => this.#redis.hset(this.#keys.weights(partition), tenant, text))),
    );
  }

  async backlog(model: string): Promise<LaneBacklog> {
    const partition = partitionOf(model, this.#options.partitions);
    const listsOf = (lane: Lane) => [
      `${this.#keys.bullPrefix(partition)}:${queueName(model, lane)}:wait`,
      this.#keys.turns(partition, queueName(model, lane)),
    ];
    const keys = [this.#keys.backlog(partition, model), ...LANES.flatMap(listsOf)];
    const [nowMs, counts, oldest, waiting] = (await withStoreErrors(() =>
      this.#redis.eval(BACKLOG_LUA, keys.length, ...keys),
    )) as [number, (string | null)[], string[], number[]];
    return {
      ...toBacklog(counts.map(Number)),
      oldestUnclaimed: LANES.map((name, index) => ({
        lane: name,
        ageS: ageOf(oldest[index] ?? '', nowMs),
        jobs: waiting[index] ?? 0,
      })),
      finishedJobsOf: Object.fromEntries(
        LANES.map((name, index) => [name, Number(counts[COUNTS + index] ?? 0)]),
      ) as LaneBacklog['finishedJobsOf'],
    };
  }

  /** Results that are in the blob store. Those that it has lost are told as rows without a result, so that the rest can be read. */
  async #withResults(tenant: string, fields: Record<string, unknown>): Promise<Record<string, unknown>> {
    if (fields.results === undefined || Array.isArray(fields.results)) return fields;
    const ref = blobRef.parse(fields.results);
    const results = await this.#options.payloads?.read(tenant, ref);
    return { ...fields, results: results ?? Array.from({ length: ref.rows }, () => LOST_RESULT) };
  }

  /** A record of schema version 1 has its provenance in itself. */
  async #withProvenance(partition: number, fields: Record<string, unknown>): Promise<Record<string, unknown>> {
    if (fields.origin === undefined) return fields;
    const made = madeBy.parse(fields);
    return { ...fields, provenance: await withStoreErrors(() => this.#origins.provenanceOf(partition, made)) };
  }

  /** Runs a script in the slot of a partition; every script takes the prefix and the retention first. */
  #run(name: ScriptName, partition: number, args: Argument[]): Promise<unknown> {
    const commands = this.#redis as unknown as Record<ScriptName, (...args: Argument[]) => Promise<unknown>>;
    const { retentionMs } = this.#options;
    return withStoreErrors(() =>
      commands[name](this.#keys.scratch(partition), this.#keys.partition(partition), retentionMs, ...args),
    );
  }
}

/** A result that is no JSON must not keep those that are committed with it. */
function prepareCommit(
  commit: Commit,
): (Commit & { status: 'prepared'; arguments: Argument[] }) | Extract<CommitOutcome, { status: 'unwritable' }> {
  try {
    return { status: 'prepared', ...commit, arguments: commitArguments(commit) };
  } catch (error) {
    return { status: 'unwritable', error: error as Error };
  }
}

function recordTooNew(schemaVersion: string): Problem {
  return new Problem(
    'record_too_new',
    `The job has schema version ${schemaVersion}; this process understands ${JOB_SCHEMA_VERSION}. A newer one has to answer.`,
    { retryAfterS: 5 },
  );
}

const madeBy = z.object({
  origin: z.string(),
  batch: batchTrace,
  run: z.coerce.number().int(),
  attempt: z.coerce.number().int(),
});

type BacklogFullReply = ['backlog_full', 'jobs' | 'rows' | 'bytes' | 'draining', ...number[]];

type EnqueueReply =
  | ['accepted', string, 0 | 1, number?, Reuse['state']?]
  | ['unanswered']
  | ['deadline_unmeetable', number]
  | BacklogFullReply;

function toEnqueueOutcome(reply: EnqueueReply): EnqueueOutcome {
  if (reply[0] === 'unanswered') throw new Error('The script was to accept the job whatever is known. This is a bug.');
  if (reply[0] === 'backlog_full') return toBacklogFull(reply);
  if (reply[0] === 'deadline_unmeetable') return { status: 'deadline_unmeetable', waitMs: reply[1] };
  const [, createdUs, isNew, rows = 0, state = 'queued'] = reply;
  const createdAtMs = Math.floor(Number(createdUs) / 1000);
  return { status: 'accepted', createdAtMs, isNew: isNew === 1, reuse: { rows, state } };
}

function toBacklogFull([, dimension, ...counts]: BacklogFullReply): Exclude<
  EnqueueOutcome,
  { status: 'accepted' | 'deadline_unmeetable' }
> {
  if (dimension === 'draining') return { status: 'lane_draining' };
  return { status: 'backlog_full' as const, dimension, backlog: toBacklog(counts) };
}

function milliseconds(seconds: number | undefined): number | '' {
  return seconds === undefined ? '' : Math.round(seconds * 1000);
}

function queueJobData(tenant: string): string {
  return JSON.stringify({ tenant });
}

function toBacklog([jobs = 0, rows = 0, bytes = 0, finishedJobs = 0, finishedRows = 0]: readonly number[]): Backlog {
  return { jobs, rows, bytes, finishedJobs, finishedRows };
}

/** Of a model; those of its lanes come after them. */
const COUNTS = 5;

function ageOf(queuedAtMs: string, nowMs: number): number {
  return queuedAtMs === '' ? 0 : Math.max(0, (nowMs - Number(queuedAtMs)) / 1000);
}

function withoutNulls(record: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== null));
}
