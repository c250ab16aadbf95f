import type { AuditLog, AuditPage } from '../access-ports.ts';
import { AUDIT_START, type AuditActor, type AuditMark } from '../audit-line.ts';
import type { RedisConnection } from './connection.ts';
import type { RedisKeys } from './keys.ts';
import { AUDIT_PAGE_LUA } from './scripts/access.ts';
import { translateStoreError } from './store-error.ts';

/** What scripts write of an actor. */
export function auditActor({ requestId, keyId }: AuditActor): string {
  return JSON.stringify({ request_id: requestId, ...(keyId === undefined ? {} : { key: keyId }) });
}

/** One chain for keys, tenants and models, in the fleet's slot, and one for the jobs and lanes of each partition. */
export class RedisAuditLog implements AuditLog {
  readonly chains: readonly string[];
  readonly #redis: RedisConnection;
  readonly #keys: RedisKeys;

  constructor({ redis, keys, partitions }: { redis: RedisConnection; keys: RedisKeys; partitions: number }) {
    this.#redis = redis;
    this.#keys = keys;
    this.chains = [FLEET, ...Array.from({ length: partitions }, (_, partition) => String(partition))];
  }

  async page(chain: string, limit: number, after?: string): Promise<AuditPage> {
    const keys = this.#keys;
    const [stream, head] =
      chain === FLEET
        ? [keys.fleetAudit, keys.fleetAuditHead]
        : [keys.audit(Number(chain)), keys.auditHead(Number(chain))];
    const from = after === undefined ? '-' : `(${after}`;
    const [entries, fields] = (await this.#read(stream, head, from, limit + 1)) as [Entry[], (string | null)[]];
    const shown = entries.slice(0, limit);
    const lines = shown.flatMap(([id, [name, text = '', , hash = '']]) =>
      name === 'text' ? [{ id, text, hash }] : [],
    );
    const [seq, hash, beforeSeq, beforeHash] = fields;
    return {
      lines,
      unchained: shown.length - lines.length,
      before: toMark(beforeSeq, beforeHash),
      head: toMark(seq, hash),
      next: entries.length > limit ? shown.at(-1)?.[0] : undefined,
    };
  }

  async #read(stream: string, head: string, from: string, count: number): Promise<unknown> {
    try {
      return await this.#redis.eval(AUDIT_PAGE_LUA, 2, stream, head, from, count);
    } catch (error) {
      throw translateStoreError(error);
    }
  }
}

const FLEET = 'fleet';
type Entry = [id: string, fields: string[]];

function toMark(seq: string | null | undefined, hash: string | null | undefined): AuditMark {
  return seq && hash ? { seq: Number(seq), hash } : AUDIT_START;
}
