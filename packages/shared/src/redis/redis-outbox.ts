import { z } from 'zod';
import { type OutboxEvent, outboxEvent } from '../events.ts';
import type { RedisConnection } from './connection.ts';

export interface OutboxEntry {
  /** Of the entry, not of the event: what `acknowledge` takes. */
  entryId: string;
  event: OutboxEvent;
}

/** The events that commits have written and no relay has passed on yet. An entry stays until it is acknowledged. */
export interface OutboxReader {
  /** New entries, each to one reader only; waits up to `blockMs` (more than 0) for the first. */
  read(count: number, blockMs: number): Promise<OutboxEntry[]>;
  /** Entries that a reader, perhaps this one, took at least `minIdleMs` ago and has not acknowledged. */
  reclaim(minIdleMs: number, count: number): Promise<OutboxEntry[]>;
  acknowledge(entryIds: readonly string[]): Promise<void>;
  /**
   * Ends a read that waits for entries, which then fails; for a reader that wants no more. One that is just being handed
   * out stays pending, for a later reclaim.
   */
  interrupt(): void;
}

/** An entry that cannot be read, and never will be. */
export interface InvalidOutboxEntry {
  entryId: string;
  /** What is wrong with it, without its content. */
  reason: string;
}

export interface RedisOutboxOptions {
  /**
   * Its own connection, since reads block it, and a forgetful one: an acknowledgement that is sent again after Redis came
   * back may be for a delivery that it has lost. With ioredis' `socketTimeout` well above `blockMs`, or a half-open
   * connection holds a read for as long as TCP likes.
   */
  redis: RedisConnection;
  /** The stream that the commit script adds to: entries with one field, `event`, holding an outbox event as JSON. */
  key: string;
  group?: string;
  /**
   * Under which name entries are taken. It only shows in `XPENDING`: claiming goes by idle time, so all relays may share
   * one, which keeps Redis from remembering every process that ever was.
   */
  consumer: string;
  onInvalid?: (entry: InvalidOutboxEntry) => void;
}

/** The outbox as a Redis stream with a consumer group. Commands of Redis 6.2 and older. */
export class RedisOutbox implements OutboxReader {
  readonly #redis: RedisConnection;
  readonly #key: string;
  readonly #group: string;
  readonly #consumer: string;
  readonly #onInvalid: (entry: InvalidOutboxEntry) => void;
  #endRead: (() => void) | undefined;
  #breaks = 0;
  #breaksAtRead = 0;

  constructor({ redis, key, group = 'relay', consumer, onInvalid = () => {} }: RedisOutboxOptions) {
    this.#redis = redis;
    this.#key = key;
    this.#group = group;
    this.#consumer = consumer;
    this.#onInvalid = onInvalid;
    redis.on('close', () => {
      this.#breaks += 1;
    });
  }

  async read(count: number, blockMs: number): Promise<OutboxEntry[]> {
    this.#breaksAtRead = this.#breaks;
    // BLOCK 0 would wait for ever, and no relay could be stopped.
    const block = Math.max(1, Math.ceil(blockMs));
    const interrupted = new Promise<never>((_resolve, reject) => {
      this.#endRead = () => reject(new Error('The read was interrupted.'));
    });
    const command = this.#withGroup(() =>
      this.#redis.xreadgroup(
        'GROUP',
        this.#group,
        this.#consumer,
        'COUNT',
        count,
        'BLOCK',
        block,
        'STREAMS',
        this.#key,
        '>',
      ),
    );
    const reply = await Promise.race([command, interrupted]).finally(() => {
      this.#endRead = undefined;
    });
    return this.#parse(readReply.parse(reply ?? null)?.[0]?.[1] ?? []);
  }

  async reclaim(minIdleMs: number, count: number): Promise<OutboxEntry[]> {
    this.#breaksAtRead = this.#breaks;
    const taken: OutboxEntry[] = [];
    let cursor = '0-0';
    do {
      const reply = await this.#withGroup(() =>
        this.#redis.xautoclaim(this.#key, this.#group, this.#consumer, minIdleMs, cursor, 'COUNT', count),
      );
      if (reply === undefined) return taken;
      const [next, entries] = claimReply.parse(reply);
      taken.push(...(await this.#parse(entries)));
      cursor = next;
    } while (cursor !== '0-0' && taken.length < count);
    return taken;
  }

  /**
   * Acknowledged and deleted in one step: a stream keeps what was acknowledged for ever. Not when the connection broke since
   * the entries were read: a Redis that came back without its last moments has lost what was made of them, and keeps the
   * entries alone. They are relayed once more; the event's id makes one of two.
   */
  async acknowledge(entryIds: readonly string[]): Promise<void> {
    if (entryIds.length === 0) return;
    if (this.#breaks !== this.#breaksAtRead) throw new Error('The connection broke since the entries were read.');
    const replies = await this.#redis
      .multi()
      .xack(this.#key, this.#group, ...entryIds)
      .xdel(this.#key, ...entryIds)
      .exec();
    for (const [error] of replies ?? []) if (error) throw error;
  }

  interrupt(): void {
    if (!this.#endRead) return;
    this.#redis.disconnect();
    // Between two attempts to reconnect ioredis forgets what waits for the next one, without a word.
    this.#endRead();
  }

  /**
   * Runs a command of the group; undefined when the group was missing and has just been made. It is missing at the very
   * first call, and after somebody emptied Redis, also while a read waits. It starts at 0: an entry that was written
   * before the group is an event like any other.
   */
  async #withGroup<Reply>(command: () => Promise<Reply>): Promise<Reply | undefined> {
    try {
      return await command();
    } catch (error) {
      if (!(error instanceof Error) || !/NOGROUP|UNBLOCKED/.test(error.message)) throw error;
    }
    try {
      await this.#redis.xgroup('CREATE', this.#key, this.#group, '0', 'MKSTREAM');
    } catch (error) {
      if (!(error instanceof Error) || !error.message.includes('BUSYGROUP')) throw error; // Another relay was faster.
    }
    return undefined;
  }

  async #parse(entries: readonly RawEntry[]): Promise<OutboxEntry[]> {
    const parsed: OutboxEntry[] = [];
    const invalid: string[] = [];
    for (const entry of entries) {
      if (entry === null) continue; // Deleted since it was taken; Redis 6.2 shows a hole.
      const [entryId, fields] = entry;
      const result = parseEvent(fields ?? []);
      if (result.success) {
        parsed.push({ entryId, event: result.data });
      } else {
        invalid.push(entryId);
        const reason = result.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ');
        this.#onInvalid({ entryId, reason });
      }
    }
    // Left pending, such an entry would come back at every reclaim.
    await this.acknowledge(invalid);
    return parsed;
  }
}

const rawEntry = z.tuple([z.string(), z.array(z.string()).nullable()]).nullable();
type RawEntry = z.infer<typeof rawEntry>;
const readReply = z.array(z.tuple([z.string(), z.array(rawEntry)])).nullable();
/** Redis 7 adds the ids of deleted entries. */
const claimReply = z.tuple([z.string(), z.array(rawEntry)]).rest(z.unknown());

const eventJson = z.string().transform((text, context): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    context.addIssue({ code: 'custom', message: 'not JSON' });
    return z.NEVER;
  }
});
const eventField = eventJson.pipe(outboxEvent);

function parseEvent(fields: readonly string[]) {
  const at = fields.findIndex((name, index) => index % 2 === 0 && name === 'event');
  return eventField.safeParse(at < 0 ? undefined : fields[at + 1]);
}
