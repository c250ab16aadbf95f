import { type Clock, faultPoint, type OutboxEvent, systemClock, type TraceContext } from '@onqueue/shared';
import type { OutboxEntry, OutboxReader } from '@onqueue/shared/redis';
import type { WebhookLog } from './webhook-log.ts';
import { type WebhookDelivery, type WebhookQueue, webhookDelivery } from './webhook-queue.ts';

/** What events tell of a job. */
export interface RelayedJob {
  /** As `GET /jobs/{id}` shows it. */
  view: Record<string, unknown>;
  /** Sent along with the delivery, beside its body. */
  trace?: TraceContext | undefined;
}

export interface OutboxRelayOptions {
  outbox: OutboxReader;
  queue: WebhookQueue;
  /** Null when it is gone. */
  readJob: (tenant: string, jobId: string) => Promise<RelayedJob | null>;
  log: WebhookLog;
  /** A turn of the loop failed, or some of its entries; it goes on after a pause. */
  onError: (error: Error) => void;
  clock?: Clock;
  /** Entries taken at once. */
  count?: number;
  /** How long a read waits for entries: also how long `stop` may take. */
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
 * error waits 0.1 s, 0.2 s, … up to 5 s. Stopping, it ends the step it is in. Any number may run on one outbox.
 */
export class OutboxRelay {
  readonly #options: Required<OutboxRelayOptions>;
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
  }

  start(): void {
    if (this.#loop) throw new Error('The outbox relay was started twice. This is a bug.');
    this.#loop = this.#run();
  }

  /** Resolves when the step in hand has ended; with Redis away, when its connections are closed. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#endPause();
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { outbox, log, onError, clock, count, blockMs, reclaimEveryMs, reclaimIdleMs } = this.#options;
    let reclaimAtMs = clock.now();
    let failures = 0;
    while (!this.#isStopping) {
      try {
        if (clock.now() >= reclaimAtMs) {
          faultPoint('relay.reclaim.before');
          const left = await outbox.reclaim(reclaimIdleMs, count);
          if (left.length > 0) faultPoint('relay.reclaim.after');
          // A full hand may have left more behind.
          if (left.length < count) reclaimAtMs = clock.now() + reclaimEveryMs;
          if (left.length > 0) log.info({ entries: left.length }, 'outbox reclaimed');
          await this.#relay(left);
        }
        await this.#relay(await outbox.read(count, blockMs));
        failures = 0;
      } catch (error) {
        if (this.#isStopping) return;
        onError(error instanceof Error ? error : new Error(String(error)));
        await this.#pause(Math.min(5000, 100 * 2 ** Math.min(failures++, 10)));
      }
    }
  }

  /** Each entry for itself: one that cannot be relayed keeps none of the others. It stays pending, for a later reclaim. */
  async #relay(entries: readonly OutboxEntry[]): Promise<void> {
    const { outbox, queue, readJob, log } = this.#options;
    if (entries.length > 0) faultPoint('relay.read.after');
    const relayed: string[] = [];
    const failures: unknown[] = [];
    await Promise.all(
      entries.map(async ({ entryId, event }) => {
        try {
          const job = await readJob(event.tenant, event.job_id);
          if (tellsOfLostCommit(event, job?.view ?? null)) {
            log.warn(
              { event_id: event.id, job_id: event.job_id },
              'event dropped: Redis has lost the end that it tells',
            );
          } else {
            faultPoint('relay.add.before');
            await queue.add(toDelivery(event, job));
            faultPoint('relay.add.after');
          }
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

/** Of a body; the specification asks senders to stay below it and to send a link instead. */
const MAX_BODY_BYTES = 20 * 1024;

/**
 * A Redis that comes back without its last moments (a power cut under `everysec`, a failover) may have forgotten an end of
 * which this process had read the event already. The run ends once more, and that end has the same event id: told now, the
 * event would show a job that runs, and keep the right one from being sent.
 */
function tellsOfLostCommit(event: OutboxEvent, job: Record<string, unknown> | null): boolean {
  if (job === null || typeof job.run !== 'number') return false;
  return job.run < event.run || (job.run === event.run && event.type !== `job.${job.status}`);
}

const jobNames = webhookDelivery.pick({ request_id: true, model: true });

function toDelivery(event: OutboxEvent, relayed: RelayedJob | null): WebhookDelivery {
  const job = relayed?.view ?? null;
  const render = (data: Record<string, unknown>) =>
    JSON.stringify({ type: event.type, timestamp: new Date(event.occurred_at_ms).toISOString(), data });
  let body: string;
  if (job === null || (job.run !== undefined && job.run !== event.run)) {
    // Past its retention, or run again since: what there is now is not what the event tells.
    body = render({ id: event.job_id, object: 'job', status: event.type.slice('job.'.length) });
  } else {
    body = render(job);
    if (Buffer.byteLength(body) > MAX_BODY_BYTES) body = render({ ...job, results: null, results_truncated: true });
  }
  const { id, type, tenant, job_id, url, occurred_at_ms } = event;
  const about = jobNames.parse(job ?? {});
  return {
    schema_version: 1,
    event_id: id,
    type,
    tenant,
    job_id,
    url,
    body,
    occurred_at_ms,
    ...about,
    ...relayed?.trace,
  };
}
