import { JOB_SCHEMA_VERSION, type JobRecord, jobRecord } from '../job.ts';
import { firstJobIdAt } from '../job-id.ts';
import type { JobIndex, JobPage, JobQuery } from '../job-index.ts';
import type { JobState } from '../job-state.ts';
import type { RedisConnection } from './connection.ts';
import type { RedisKeys } from './keys.ts';
import { metadataTag } from './metadata-tags.ts';
import { LISTED_STATES } from './scripts/index-functions.ts';
import { PRUNE_LUA } from './scripts/prune.ts';
import { withStoreErrors } from './store-error.ts';

export interface RedisJobIndexOptions {
  redis: RedisConnection;
  keys: RedisKeys;
  partitions: number;
  retentionMs: number;
}

/** Ids carry the clock of the API that made them, `created_at` is Redis': so far they may be apart. */
const CLOCK_SLACK_MS = 60_000;
/** Records that are read at a time. */
const READ_AHEAD = 200;
/** Ids that one script of a walk looks at. */
const PRUNE_LOOKS = 500;
/** One process a minute walks over the lists of a partition. */
const PRUNE_EVERY_MS = 60_000;

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
  'error',
] as const;
const JSON_FIELDS = new Set<string>(['request', 'error']);

interface List {
  partition: number;
  key: string;
}

/** What is known of an id that a list names. */
type Look = { status: 'gone' } | { status: 'too_new' } | { status: 'read'; job: JobRecord };

/** The lists of jobs that the scripts write (scripts/index-functions.ts): one per model, put together here in the order of ids. */
export class RedisJobIndex implements JobIndex {
  readonly #options: RedisJobIndexOptions;

  constructor(options: RedisJobIndexOptions) {
    this.#options = options;
    options.redis.defineCommand('onqueuePrune', { lua: PRUNE_LUA, numberOfKeys: 2 });
  }

  /** Looks at records in the order of their ids until it has a page; one that is full has been looked at by one more. */
  list(query: JobQuery): Promise<JobPage> {
    return withStoreErrors(() => this.#list(query));
  }

  prune(partition: number): Promise<void> {
    return withStoreErrors(async () => {
      const { redis, keys } = this.#options;
      const turn = await redis.set(keys.pruneTurn(partition), '1', 'PX', PRUNE_EVERY_MS, 'NX');
      if (turn === null) return;
      for (const tenant of await redis.smembers(keys.jobTenants(partition))) {
        for (const model of await redis.smembers(keys.jobModels(partition, tenant))) {
          // Those by state first: a model is forgotten with the last entry of the list of all.
          for (const state of [...LISTED_STATES, undefined]) await this.#walk(partition, tenant, model, state);
        }
      }
    });
  }

  async #list(query: JobQuery): Promise<JobPage> {
    const { tenant, after, limit, maxLooks, createdAfterMs, createdBeforeMs } = query;
    const lists = await this.#listsOf(query);
    const lowest = createdAfterMs === undefined ? '-' : `[${firstJobIdAt(createdAfterMs - CLOCK_SLACK_MS)}`;
    let highest = createdBeforeMs === undefined ? '+' : `(${firstJobIdAt(createdBeforeMs + CLOCK_SLACK_MS)}`;
    if (after !== undefined && (highest === '+' || `(${after}` < highest)) highest = `(${after}`;
    const jobs: JobRecord[] = [];
    let looks = 0;
    let last: string | undefined;
    while (looks < maxLooks) {
      const count = Math.min(maxLooks - looks, isPlain(query) ? limit + 1 - jobs.length : READ_AHEAD);
      const entries = await this.#newest(lists, highest, lowest, count);
      const found = await Promise.all(entries.map(({ list, id }) => this.#look(list.partition, tenant, id)));
      await this.#forget(entries.filter((_, index) => found[index]?.status === 'gone'));
      for (const [index, { id }] of entries.entries()) {
        const look = found[index];
        if (look?.status === 'read' && matches(look.job, query)) {
          if (jobs.length === limit) return { jobs, next: jobs.at(-1)?.id };
          jobs.push(look.job);
        }
        last = id;
      }
      looks += entries.length;
      if (entries.length < count) return { jobs, next: undefined };
      highest = `(${last}`;
    }
    return { jobs, next: last };
  }

  /** The lists to look through: by metadata, else by state, where such are kept, else all of the models'. */
  async #listsOf({ tenant, model, states, metadata }: JobQuery): Promise<List[]> {
    const { redis, keys, partitions } = this.#options;
    const all = Array.from({ length: partitions }, (_, partition) => partition);
    const [tag] = Object.entries(metadata ?? {});
    if (tag) {
      return all.map((partition) => ({ partition, key: keys.taggedJobs(partition, tenant, metadataTag(...tag)) }));
    }
    const listed = states?.every((state) => (LISTED_STATES as readonly JobState[]).includes(state))
      ? states
      : [undefined];
    const lists = await Promise.all(
      all.map(async (partition) => {
        const models = await redis.smembers(keys.jobModels(partition, tenant));
        return models
          .filter((name) => model === undefined || name === model)
          .flatMap((name) => listed.map((state) => ({ partition, key: keys.jobs(partition, tenant, name, state) })));
      }),
    );
    return lists.flat();
  }

  async #newest(lists: readonly List[], highest: string, lowest: string, count: number) {
    const { redis } = this.#options;
    const ids = await Promise.all(
      lists.map(async (list) => {
        const members = await redis.zrevrangebylex(list.key, highest, lowest, 'LIMIT', 0, count);
        return members.map((id) => ({ list, id }));
      }),
    );
    return ids
      .flat()
      .sort((a, b) => (a.id < b.id ? 1 : -1))
      .slice(0, count);
  }

  async #look(partition: number, tenant: string, id: string): Promise<Look> {
    const { redis, keys } = this.#options;
    const values = await redis.hmget(keys.job(partition, tenant, id), ...FIELDS);
    if (values[0] === null || values[0] === undefined) return { status: 'gone' };
    if (Number(values[0]) > JOB_SCHEMA_VERSION) return { status: 'too_new' };
    const entries = FIELDS.flatMap((field, index): [string, unknown][] => {
      const text = values[index];
      if (text === null || text === undefined) return [];
      return [[field, JSON_FIELDS.has(field) ? JSON.parse(text) : text]];
    });
    return { status: 'read', job: jobRecord.parse(Object.fromEntries(entries)) };
  }

  async #forget(entries: readonly { list: List; id: string }[]): Promise<void> {
    await Promise.all(entries.map(({ list, id }) => this.#options.redis.zrem(list.key, id)));
  }

  /** Records outlive their creation by the retention at least: younger entries need no look. */
  async #walk(partition: number, tenant: string, model: string, state: string | undefined): Promise<void> {
    const { redis, keys, retentionMs } = this.#options;
    const commands = redis as RedisConnection & Record<'onqueuePrune', PruneCommand>;
    const end = `(${firstJobIdAt(Date.now() - retentionMs)}`;
    let from = '-';
    for (;;) {
      const last = await commands.onqueuePrune(
        keys.jobs(partition, tenant, model, state),
        keys.jobModels(partition, tenant),
        keys.job(partition, tenant, ''),
        from,
        end,
        PRUNE_LOOKS,
        state === undefined ? model : '',
      );
      if (last === '') return;
      from = `(${last}`;
    }
  }
}

type PruneCommand = (...args: (string | number)[]) => Promise<string>;

/** Whether every record of its lists is wanted. */
function isPlain({ states, createdAfterMs, createdBeforeMs, metadata }: JobQuery): boolean {
  return [states, createdAfterMs, createdBeforeMs, metadata].every((filter) => filter === undefined);
}

function matches(job: JobRecord, { model, states, createdAfterMs, createdBeforeMs, metadata = {} }: JobQuery): boolean {
  const createdMs = Math.floor(job.created_us / 1000);
  const its = job.request.metadata ?? {};
  return (
    (model === undefined || job.model === model) &&
    (states === undefined || states.includes(job.state)) &&
    (createdAfterMs === undefined || createdMs >= createdAfterMs) &&
    (createdBeforeMs === undefined || createdMs < createdBeforeMs) &&
    Object.entries(metadata).every(([key, value]) => Object.hasOwn(its, key) && String(its[key]) === value)
  );
}
