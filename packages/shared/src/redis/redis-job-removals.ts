import type { AuditActor } from '../audit-line.ts';
import { parseJobId } from '../job-id.ts';
import type { JobRemovals, RemovalOutcome } from '../job-removals.ts';
import { jobState } from '../job-state.ts';
import type { RedisConnection } from './connection.ts';
import type { RedisKeys } from './keys.ts';
import { auditActor } from './redis-audit-log.ts';
import { REMOVE_LUA } from './scripts/remove.ts';
import { withStoreErrors } from './store-error.ts';

/** Longer than any client polls for. */
const REMEMBERED_MS = 30 * 86_400_000;

export interface RedisJobRemovalsOptions {
  redis: RedisConnection;
  keys: RedisKeys;
  retentionMs: number;
  /** Lines of the audit log that are kept per partition, about. */
  maxAuditLines: number;
}

/** Removals of jobs: a script that leaves a tombstone and a line in the audit log. */
export class RedisJobRemovals implements JobRemovals {
  readonly #options: RedisJobRemovalsOptions;

  constructor(options: RedisJobRemovalsOptions) {
    this.#options = options;
    options.redis.defineCommand('onqueueRemove', { lua: REMOVE_LUA, numberOfKeys: 1 });
  }

  async remove(tenant: string, id: string, by: AuditActor): Promise<RemovalOutcome> {
    const parts = parseJobId(id);
    if (!parts) return { status: 'missing' };
    const { redis, keys, retentionMs, maxAuditLines } = this.#options;
    const { partition } = parts;
    const commands = redis as RedisConnection & Record<'onqueueRemove', RemoveCommand>;
    const [status, value = ''] = await withStoreErrors(() =>
      commands.onqueueRemove(
        keys.scratch(partition),
        keys.partition(partition),
        retentionMs,
        tenant,
        id,
        REMEMBERED_MS,
        maxAuditLines,
        auditActor(by),
      ),
    );
    if (status === 'missing') return { status };
    if (status === 'active') return { status, state: jobState.parse(value) };
    return { status, removedAtMs: Number(value) };
  }

  async removedAtMs(tenant: string, id: string): Promise<number | undefined> {
    const parts = parseJobId(id);
    if (!parts) return undefined;
    const { redis, keys } = this.#options;
    const text = await withStoreErrors(() => redis.get(keys.deletedJob(parts.partition, tenant, id)));
    return text === null ? undefined : Number(text);
  }
}

type RemoveCommand = (...args: (string | number)[]) => Promise<['missing' | 'active' | 'removed', string?]>;
