import { Problem } from '../problems.ts';
import {
  type DeliveryContent,
  type DeliveryFilter,
  type DeliveryLog,
  type DeliveryPage,
  type DeliveryRecord,
  type DeliveryStatus,
  deliveryAttempt,
  deliveryRecord,
  deliveryStatus,
  type NotedAttempt,
} from '../webhook-delivery.ts';
import type { RedisConnection } from './connection.ts';
import type { RedisKeys } from './keys.ts';
import { NOTE_ATTEMPTS_LUA, OPEN_DELIVERIES_LUA, REDELIVER_LUA } from './scripts/webhook-deliveries.ts';
import { translateStoreError } from './store-error.ts';

export interface RedisWebhookDeliveriesOptions {
  redis: RedisConnection;
  keys: RedisKeys;
  /** Since its last attempt. */
  retentionMs: number;
  /** In the list of a tenant, and again among those that failed. */
  maxDeliveries: number;
}

/** Records that one page of a list may look at, however few of them suit its filter. */
const MAX_LOOKS = 1000;
const STRIDE = 100;

const SCRIPTS = {
  onqueueOpenDeliveries: OPEN_DELIVERIES_LUA,
  onqueueNoteAttempts: NOTE_ATTEMPTS_LUA,
  onqueueRedeliver: REDELIVER_LUA,
} as const;
type ScriptName = keyof typeof SCRIPTS;

/** The log of deliveries in Redis; scripts/webhook-deliveries.ts has its shape. */
export class RedisWebhookDeliveries implements DeliveryLog {
  readonly #options: RedisWebhookDeliveriesOptions;

  constructor(options: RedisWebhookDeliveriesOptions) {
    this.#options = options;
    for (const [name, lua] of Object.entries(SCRIPTS)) options.redis.defineCommand(name, { lua, numberOfKeys: 1 });
  }

  async open(contents: readonly DeliveryContent[]): Promise<void> {
    const { retentionMs, maxDeliveries } = this.#options;
    const items = contents.flatMap((content) => {
      const { tenant, id, job_id: jobId = '' } = content;
      return [tenant, id, JSON.stringify(content), jobId];
    });
    await this.#run('onqueueOpenDeliveries', retentionMs, maxDeliveries, ...items);
  }

  async note(attempts: readonly NotedAttempt[]): Promise<void> {
    const { retentionMs, maxDeliveries } = this.#options;
    const items = attempts.flatMap(({ tenant, id, attempt, status }) => [tenant, id, JSON.stringify(attempt), status]);
    await this.#run('onqueueNoteAttempts', retentionMs, maxDeliveries, ...items);
  }

  async read(tenant: string, id: string): Promise<DeliveryRecord | null> {
    const { redis, keys } = this.#options;
    return toRecord(await this.#guard(() => redis.hgetall(keys.delivery(tenant, id))));
  }

  async statusOf(tenant: string, id: string): Promise<DeliveryStatus | null> {
    const { redis, keys } = this.#options;
    const status = await this.#guard(() => redis.hget(keys.delivery(tenant, id), 'status'));
    return status === null ? null : deliveryStatus.parse(status);
  }

  async list(tenant: string, filter: DeliveryFilter, limit: number, cursor?: string): Promise<DeliveryPage> {
    const key = this.#indexOf(tenant, filter);
    let at = cursor === undefined ? undefined : parseCursor(cursor);
    const deliveries: DeliveryRecord[] = [];
    for (let looks = 0; looks < MAX_LOOKS; looks += STRIDE) {
      const members = await this.#members(key, filter, at);
      const records = await Promise.all(members.map(({ id }) => this.read(tenant, id)));
      for (const [index, record] of records.entries()) {
        at = members[index];
        if (record === null || !suits(record, filter)) continue;
        deliveries.push(record);
        if (deliveries.length === limit) return { deliveries, next: at && formatCursor(at) };
      }
      if (members.length < STRIDE) return { deliveries, next: undefined };
    }
    return { deliveries, next: at && formatCursor(at) };
  }

  async redeliver(tenant: string, ids: readonly string[]): Promise<number> {
    if (ids.length === 0) return 0;
    return Number(await this.#run('onqueueRedeliver', tenant, this.#options.retentionMs, ...ids));
  }

  #indexOf(tenant: string, { status, jobId }: DeliveryFilter): string {
    const { keys } = this.#options;
    if (jobId !== undefined) return keys.deliveriesOf(tenant, jobId);
    return status === 'failed' ? keys.failedDeliveries(tenant) : keys.deliveries(tenant);
  }

  /** The next ones behind a place; of one millisecond those with the greater ids come first. */
  async #members(key: string, { fromMs, toMs }: DeliveryFilter, at: Place | undefined): Promise<Place[]> {
    const first = toMs === undefined ? '+inf' : `(${toMs}`;
    const [max, min] = [at ? String(at.atMs) : first, String(fromMs ?? '-inf')];
    const places: Place[] = [];
    for (let offset = 0; places.length < STRIDE; offset += STRIDE) {
      const reply = await this.#guard(() =>
        this.#options.redis.zrevrangebyscore(key, max, min, 'WITHSCORES', 'LIMIT', offset, STRIDE),
      );
      for (let i = 0; i < reply.length; i += 2) {
        const place = { id: String(reply[i]), atMs: Number(reply[i + 1]) };
        if (at === undefined || place.atMs < at.atMs || place.id < at.id) places.push(place);
      }
      if (reply.length < 2 * STRIDE) break;
    }
    return places.slice(0, STRIDE);
  }

  #run(name: ScriptName, ...args: (string | number)[]): Promise<unknown> {
    const { redis, keys } = this.#options;
    const commands = redis as unknown as Record<ScriptName, (...args: (string | number)[]) => Promise<unknown>>;
    return this.#guard(() => commands[name](keys.scratch(0), keys.partition(0), ...args));
  }

  async #guard<T>(command: () => Promise<T>): Promise<T> {
    try {
      return await command();
    } catch (error) {
      throw translateStoreError(error);
    }
  }
}

interface Place {
  id: string;
  atMs: number;
}

function formatCursor({ id, atMs }: Place): string {
  return Buffer.from(`${atMs} ${id}`).toString('base64url');
}

function parseCursor(text: string): Place {
  const [, atMs, id] = /^(\d{1,16}) (dlv_[0-9a-f]{32})$/.exec(Buffer.from(text, 'base64url').toString()) ?? [];
  if (atMs !== undefined && id !== undefined) return { atMs: Number(atMs), id };
  throw new Problem('invalid_request', 'The cursor is none that this server has given.', {
    errors: [{ pointer: '?cursor', detail: 'the `next_cursor` of the page before' }],
  });
}

function suits(record: DeliveryRecord, { status, endpointId, type, fromMs, toMs, jobId }: DeliveryFilter): boolean {
  if (status !== undefined && record.status !== status) return false;
  if (endpointId !== undefined && record.endpoint_id !== endpointId) return false;
  if (jobId !== undefined && record.job_id !== jobId) return false;
  if (status !== 'failed' && fromMs !== undefined && record.created_ms < fromMs) return false;
  if (status !== 'failed' && toMs !== undefined && record.created_ms >= toMs) return false;
  return type === undefined || record.type === type;
}

function toRecord(fields: Record<string, string>): DeliveryRecord | null {
  if (fields.content === undefined) return null;
  const log = Object.entries(fields)
    .filter(([name]) => /^a\d+$/.test(name))
    .map(([, text]) => {
      const blank = text.indexOf(' ');
      return deliveryAttempt.parse({ ...JSON.parse(text.slice(blank)), at_ms: Number(text.slice(0, blank)) });
    })
    .toSorted((a, b) => a.at_ms - b.at_ms);
  const { status, created_ms, attempts, round } = fields;
  return deliveryRecord.parse({ ...JSON.parse(fields.content), status, created_ms, attempts, round, log });
}
