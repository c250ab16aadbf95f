import type { RedisServer } from '@onqueue/launcher';
import {
  type ClaimedJob,
  type JobOutcome,
  type JobRecord,
  LANES,
  type Lane,
  type NewJob,
  newJobId,
  systemClock,
} from '@onqueue/shared';
import {
  closeRedis,
  connectRedis,
  queueName,
  type RedisConnection,
  RedisJobStore,
  RedisKeys,
} from '@onqueue/shared/redis';
import { Queue } from 'bullmq';
import { BatchJobSource } from '../../apps/worker/src/queue/batch/batch-job-source.ts';
import type { Attempt, JobHandler, JobSource } from '../../apps/worker/src/queue/job-source.ts';
import { StockJobSource } from '../../apps/worker/src/queue/stock-job-source.ts';
import { startPrivateRedis } from './platform.ts';
import { until } from './until.ts';

export type SourceKind = 'stock' | 'batch';

export interface StartedSource {
  readonly committed: { job: ClaimedJob; outcome: JobOutcome }[];
  readonly fenced: ClaimedJob[];
  readonly errors: Error[];
  drain(): Promise<void>;
}

export interface SourceSettings {
  handler: JobHandler;
  concurrency?: number;
  /** Of the batch source only. */
  rows?: { max: number; minJobs: number };
  /** Another way to the same Redis. */
  url?: string;
  model?: string;
  lockDurationMs?: number;
  stalledIntervalMs?: number;
  pollMs?: number;
}

const LIMITS = { maxJobs: 1_000_000, maxRows: 1_000_000, maxBytes: 1_000_000_000 };
const RETENTION_MS = 60_000;
const MAX_PREDICTIONS = 100;

export const success: JobOutcome = { state: 'succeeded', results: [{ status: 'succeeded', output: { score: 1 } }] };
export const failure: JobOutcome = {
  state: 'failed',
  results: [{ status: 'failed', error: { code: 'invalid_row', detail: 'no' } }],
  error: { code: 'invalid_row', detail: 'no' },
};

/** A private Redis, and sources of one model, both lanes, on it: for tests of any kind of source. */
export class SourceBench {
  readonly server: RedisServer;
  readonly redis: RedisConnection;
  readonly store: RedisJobStore;
  readonly keys = new RedisKeys('oq');
  readonly #sources: StartedSource[] = [];
  readonly #connections: RedisConnection[] = [];
  readonly #queues: Queue[] = [];
  #started = 0;

  private constructor(server: RedisServer, redis: RedisConnection) {
    this.server = server;
    this.redis = redis;
    this.store = newStore(redis);
  }

  static async start(): Promise<SourceBench> {
    const server = await startPrivateRedis();
    const redis = connectRedis(server.url, { kind: 'worker' }, () => {});
    return new SourceBench(server, redis);
  }

  /** Starts a source; `kill`ed ones are drained at the end of the test, when their handlers let them. */
  source(kind: SourceKind, settings: SourceSettings): StartedSource {
    const committed: StartedSource['committed'] = [];
    const fenced: ClaimedJob[] = [];
    const errors: Error[] = [];
    const redis = connectRedis(settings.url ?? this.server.url, { kind: 'worker' }, () => {});
    this.#connections.push(redis);
    const { model = 'fraud', handler, concurrency = 16, rows } = settings;
    const common = {
      partition: 0,
      queueMetricsMinutes: 60,
      redis,
      lockDurationMs: settings.lockDurationMs ?? 2000,
      stalledIntervalMs: settings.stalledIntervalMs ?? 500,
      onCommitted: (job: ClaimedJob, outcome: JobOutcome) => void committed.push({ job, outcome }),
      onFenced: (job: ClaimedJob) => void fenced.push(job),
      onError: (error: Error) => void errors.push(error),
    };
    const queues = LANES.map((lane) => ({ model, lane, handler, concurrency, ...(rows ? { rows } : {}) }));
    this.#started += 1;
    const sources: JobSource[] =
      kind === 'stock'
        ? queues.map((queue) => {
            const bullPrefix = this.keys.bullPrefix(0);
            return new StockJobSource({ ...common, ...queue, bullPrefix, store: newStore(redis), clock: systemClock });
          })
        : [
            new BatchJobSource({
              ...common,
              worker: `w${this.#started}`,
              keys: this.keys,
              queues,
              retentionMs: RETENTION_MS,
              maxPredictions: MAX_PREDICTIONS,
              ...(settings.pollMs === undefined ? {} : { pollMs: settings.pollMs }),
            }),
          ];
    for (const source of sources) source.start();
    const drain = async () => void (await Promise.all(sources.map((source) => source.drain())));
    const started = { committed, fenced, errors, drain };
    this.#sources.push(started);
    return started;
  }

  queue(lane: Lane = 'interactive', model = 'fraud'): Queue {
    const queue = new Queue(`${model}.${lane}`, { connection: this.redis, prefix: this.keys.bullPrefix(0) });
    this.#queues.push(queue);
    return queue;
  }

  async enqueue(changes: Partial<NewJob> = {}): Promise<string> {
    const job: NewJob = {
      id: newJobId({ createdAtMs: Date.now(), partition: 0 }),
      tenant: 'default',
      partition: 0,
      model: 'fraud',
      version: '1',
      lane: 'interactive',
      inputs: [{ amount: 1 }],
      request: { on_row_error: 'fail', request_id: 'req_1', metadata: {} },
      ...changes,
    };
    await this.store.enqueue(job, LIMITS);
    return job.id;
  }

  enqueueMany(count: number, changes: (index: number) => Partial<NewJob> = () => ({})): Promise<string[]> {
    return Promise.all(Array.from({ length: count }, (_, index) => this.enqueue(changes(index))));
  }

  async record(id: string): Promise<JobRecord> {
    const record = await this.store.read('default', id);
    if (!record) throw new Error(`no record of ${id}`);
    return record;
  }

  ended(id: string): Promise<JobRecord> {
    return until(`${id} has ended`, async () => {
      const record = await this.record(id);
      return record.state !== 'queued' && record.state !== 'running' && record;
    });
  }

  /** How many jobs wait for their tenant's turn. */
  async parked(lane: Lane = 'interactive', model = 'fraud'): Promise<number> {
    const queue = queueName(model, lane);
    const tenants = await this.redis.zrange(this.keys.turns(0, queue), '0', '-1');
    const counts = await Promise.all(
      tenants.map((tenant) => this.redis.zcard(`oq:{0}:shares:${queue}:parked:${tenant}`)),
    );
    return counts.reduce((sum, count) => sum + count, 0);
  }

  /** Nothing is left of any job in BullMQ's lists and sets, nor among those that are parked. */
  async expectEmptyQueues(model = 'fraud'): Promise<void> {
    await until('the queues are empty', async () => {
      const counts = await Promise.all([
        ...LANES.map((lane) => this.count(`${this.keys.bullPrefix(0)}:${model}.${lane}:`)),
        ...LANES.map((lane) => this.parked(lane, model)),
      ]);
      return counts.every((count) => count === 0);
    });
  }

  async count(prefix: string): Promise<number> {
    const [wait, active, delayed, prioritized] = await Promise.all([
      this.redis.llen(`${prefix}wait`),
      this.redis.llen(`${prefix}active`),
      this.redis.zcard(`${prefix}delayed`),
      this.redis.zcard(`${prefix}prioritized`),
    ]);
    return wait + active + delayed + prioritized;
  }

  /** Drains what a test has started and empties Redis. */
  async reset(): Promise<void> {
    await Promise.all(this.#sources.splice(0).map((source) => source.drain()));
    await Promise.all(this.#queues.splice(0).map((queue) => queue.close()));
    await Promise.all(this.#connections.splice(0).map(closeRedis));
    await this.redis.flushall();
  }

  async close(): Promise<void> {
    await closeRedis(this.redis);
    await this.server.stop();
  }
}

function newStore(redis: RedisConnection): RedisJobStore {
  return new RedisJobStore({
    redis,
    keys: new RedisKeys('oq'),
    partitions: 1,
    retentionMs: RETENTION_MS,
    attempts: 3,
    retryDelayMs: 10,
    maxPredictions: MAX_PREDICTIONS,
  });
}

/** A handler whose jobs end when the test says so. */
export class HeldHandler {
  readonly calls: { job: ClaimedJob; attempt: Attempt }[] = [];
  readonly #waiting: ((outcome: JobOutcome) => void)[] = [];
  #always: JobOutcome | undefined;

  readonly handler: JobHandler = (job, attempt) => {
    this.calls.push({ job, attempt });
    if (this.#always) return Promise.resolve(this.#always);
    return new Promise((resolve) => this.#waiting.push(resolve));
  };

  /** Resolves when it holds, or held, that many. */
  called(count: number): Promise<unknown> {
    return until(`${count} jobs were handed over`, () => this.calls.length >= count);
  }

  /** Ends what it holds, and all that comes. */
  release(outcome: JobOutcome = success): void {
    this.#always = outcome;
    for (const resolve of this.#waiting.splice(0)) resolve(outcome);
  }

  /** Ends the one that it has held longest. */
  releaseOne(outcome: JobOutcome = success): void {
    this.#waiting.shift()?.(outcome);
  }
}
