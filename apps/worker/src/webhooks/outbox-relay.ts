import {
  type Clock,
  type DeliveryContent,
  type DeliveryLog,
  faultPoint,
  type OutboxEvent,
  systemClock,
} from '@onqueue/shared';
import type { OutboxEntry, OutboxReader } from '@onqueue/shared/redis';
import { CallGatherer } from './call-gatherer.ts';
import { contentOf, EventFanout, type EventFanoutOptions } from './event-fanout.ts';
import type { WebhookLog } from './webhook-log.ts';
import type { WebhookQueue } from './webhook-queue.ts';

export interface OutboxRelayOptions extends Pick<EventFanoutOptions, 'readJob' | 'endpoints'> {
  outbox: OutboxReader;
  queue: WebhookQueue;
  /** Where every delivery is entered before it is queued. */
  deliveries?: Pick<DeliveryLog, 'open' | 'read'> | undefined;
  log: WebhookLog;
  /** A turn of the loop failed, or some of its entries; it goes on after a pause. */
  onError: (error: Error) => void;
  clock?: Clock;
  /** Entries taken at once. */
  count?: number;
  /** How long a read waits for entries. */
  blockMs?: number;
  /** Time between two looks for entries of relays that died. The first is at start. */
  reclaimEveryMs?: number;
  /** How long an entry must have been in a relay's hands to count as left behind. A relay that is only slow loses
   * nothing by it: the queue drops the second add. */
  reclaimIdleMs?: number;
}

/**
 * Carries events from the outbox into the webhook queue: add, then acknowledge. It may die anywhere: before the add, the
 * entry is reclaimed; between the two, it is reclaimed and the second add dropped, since the queue's job id is the event's.
 *
 * States: idle → (start) running → (stop) stopping → stopped. Running, it reads, reclaims when it is time, and after an
 * error waits 0.1 s, 0.2 s, … up to 5 s. Stopping, it ends the step it is in, but for a read that waits. Any number may run on one outbox.
 */
export class OutboxRelay {
  readonly #options: OutboxRelayOptions & Required<Pick<OutboxRelayOptions, Defaulted>>;
  readonly #fanout: EventFanout;
  readonly #entries: CallGatherer<DeliveryContent, undefined>;
  #loop: Promise<void> | undefined;
  #isStopping = false;
  #endPause = () => {};

  constructor(options: OutboxRelayOptions) {
    this.#options = {
      clock: systemClock,
      count: 64,
      blockMs: 2000,
      reclaimEveryMs: 2000,
      reclaimIdleMs: 5000,
      ...options,
    };
    this.#fanout = new EventFanout(options);
    this.#entries = new CallGatherer(async (contents): Promise<undefined[]> => {
      await options.deliveries?.open(contents);
      return [];
    });
  }

  start(): void {
    if (this.#loop) throw new Error('The outbox relay was started twice. This is a bug.');
    this.#loop = this.#run();
  }

  /** Resolves when the step in hand has ended; with Redis away, when its connections are closed. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#endPause();
    this.#options.outbox.interrupt();
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { outbox, onError, clock, count, blockMs, reclaimEveryMs } = this.#options;
    let reclaimAtMs = clock.now();
    let failures = 0;
    while (!this.#isStopping) {
      try {
        if (clock.now() >= reclaimAtMs) {
          const left = await this.#reclaim();
          // A full hand may have left more behind.
          if (left.length < count) reclaimAtMs = clock.now() + reclaimEveryMs;
          await this.#relay(left);
        }
        await this.#relay(await outbox.read(count, this.#isStopping ? 1 : blockMs));
        failures = 0;
      } catch (error) {
        if (this.#isStopping) return;
        onError(error instanceof Error ? error : new Error(String(error)));
        await this.#pause(Math.min(5000, 100 * 2 ** Math.min(failures++, 10)));
      }
    }
  }

  async #reclaim(): Promise<OutboxEntry[]> {
    const { outbox, log, count, reclaimIdleMs } = this.#options;
    faultPoint('relay.reclaim.before');
    const left = await outbox.reclaim(reclaimIdleMs, count);
    if (left.length > 0) faultPoint('relay.reclaim.after');
    if (left.length > 0) log.info({ entries: left.length }, 'outbox reclaimed');
    return left;
  }

  /** Each entry for itself: one that cannot be relayed keeps none of the others. It stays pending, for a later reclaim. */
  async #relay(entries: readonly OutboxEntry[]): Promise<void> {
    const { outbox } = this.#options;
    if (entries.length > 0) faultPoint('relay.read.after');
    const relayed: string[] = [];
    const failures: unknown[] = [];
    await Promise.all(
      entries.map(async ({ entryId, event }) => {
        try {
          await this.#relayEvent(event);
          relayed.push(entryId);
        } catch (error) {
          failures.push(error);
        }
      }),
    );
    if (relayed.length > 0) faultPoint('relay.acknowledge.before');
    await outbox.acknowledge(relayed);
    if (relayed.length > 0) faultPoint('relay.acknowledge.after');
    if (failures.length > 0) {
      throw new Error(`${failures.length} of ${entries.length} entries stay in the outbox`, { cause: failures[0] });
    }
  }

  async #relayEvent(event: OutboxEvent): Promise<void> {
    const { queue, log } = this.#options;
    const { deliveries, isLost } = await this.#fanout.of(event);
    if (isLost) {
      log.warn({ event_id: event.id }, 'event dropped: Redis has lost the end that it tells');
      return;
    }
    for (const delivery of deliveries) {
      faultPoint('relay.add.before');
      if (this.#options.deliveries) await this.#entries.call(contentOf(delivery));
      await queue.add(delivery);
      faultPoint('relay.add.after');
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#options.clock.setTimeout(resolve, ms);
      this.#endPause = () => {
        timer.cancel();
        resolve();
      };
    });
  }
}

type Defaulted = 'clock' | 'count' | 'blockMs' | 'reclaimEveryMs' | 'reclaimIdleMs';
