import { faultPoint } from '@onqueue/shared';
import type { RedisConnection } from '@onqueue/shared/redis';
import { type Job, UnrecoverableError, Worker } from 'bullmq';
import type { DeliveryLedger } from './delivery-ledger.ts';
import type { DeliverySchedule } from './delivery-schedule.ts';
import type { WebhookLog } from './webhook-log.ts';
import { WEBHOOK_QUEUE_NAME, type WebhookDelivery, webhookDelivery } from './webhook-queue.ts';
import type { DeliveryOutcome, DeliveryResult, WebhookSender } from './webhook-sender.ts';

/** How an attempt ended for the delivery: `exhausted` is a `retry` after which no attempt is left. */
type AttemptOutcome = DeliveryOutcome | 'exhausted';

export interface WebhookAttempt {
  outcome: AttemptOutcome;
  durationS: number;
  /** Of the job, where the delivery says it. */
  model?: string;
  /** From the end of the job to the end of this attempt: how long the receiver has waited. */
  sinceEventS?: number;
}

export interface WebhookDispatcherOptions {
  /** `maxRetriesPerRequest: null`; BullMQ makes a second, blocking connection from it and closes that one itself. */
  connection: RedisConnection;
  /** As the queue's. */
  prefix: string;
  sender: WebhookSender;
  schedule: DeliverySchedule;
  log: WebhookLog;
  /** Failures of the connections between two commands. */
  onError: (error: Error) => void;
  onAttempt?: (attempt: WebhookAttempt) => void;
  /** Knows endpoints, and keeps what became of attempts; without it every delivery goes to its own URL. */
  ledger?: Pick<DeliveryLedger, 'targetOf' | 'note'> | undefined;
  /** After how long a dispatcher that fell silent counts as dead; its deliveries are sent again within lock + 2 × interval. */
  lockDurationMs?: number;
  stalledIntervalMs?: number;
  /** Deliveries in flight. A slow receiver holds some of these and nothing else: inference has its own queues. */
  concurrency?: number;
  /** Unix milliseconds. */
  wallClock?: () => number;
}

/**
 * Takes deliveries from the queue and sends them, until they are delivered, refused, or out of attempts. A dispatcher
 * that dies leaves its deliveries to BullMQ's stalled check: they are sent again, under the same event id.
 */
export class WebhookDispatcher {
  readonly #options: WebhookDispatcherOptions;
  #worker: Worker<WebhookDelivery> | undefined;
  #sending = 0;

  constructor(options: WebhookDispatcherOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#worker) throw new Error('The webhook dispatcher was started twice. This is a bug.');
    const { connection, prefix, schedule, onError, concurrency = 32 } = this.#options;
    const { lockDurationMs = 10_000, stalledIntervalMs = 5000 } = this.#options;
    this.#worker = new Worker<WebhookDelivery>(WEBHOOK_QUEUE_NAME, (job) => this.#deliver(job), {
      connection,
      prefix,
      concurrency,
      lockDuration: lockDurationMs,
      stalledInterval: stalledIntervalMs,
      // A death in the middle of a delivery is not the delivery's fault; only one that comes again and again is given up.
      maxStalledCount: 100,
      settings: {
        backoffStrategy: (attemptsMade, _type, error) => {
          const askedForMs = error instanceof DeliveryFailed ? error.retryAfterMs : 0;
          return Math.max(schedule.delayBeforeAttempt(attemptsMade + 1), askedForMs);
        },
      },
    });
    this.#worker.on('error', onError);
  }

  /** Whether no delivery is being sent. */
  get isIdle(): boolean {
    return this.#sending === 0;
  }

  /** Takes no more deliveries and waits for those in flight, at most one send timeout. */
  async close(): Promise<void> {
    await this.#worker?.close();
  }

  async #deliver(job: Job<unknown>): Promise<void> {
    const { sender, log, onAttempt, wallClock = Date.now } = this.#options;
    const parsed = webhookDelivery.safeParse(job.data);
    if (!parsed.success) {
      log.error(
        { event_id: job.id, fields: parsed.error.issues.map(({ path }) => path.join('.')) },
        'webhook unreadable',
      );
      throw new UnrecoverableError('the delivery cannot be read');
    }
    const { event_id, type, tenant, job_id, request_id, model, occurred_at_ms, url, body } = parsed.data;
    const attempt = job.attemptsMade + 1;
    const target = (await this.#options.ledger?.targetOf(parsed.data)) ?? { url };
    faultPoint('delivery.before');
    this.#sending += 1;
    // It never rejects.
    const result: DeliveryResult =
      'refused' in target
        ? { outcome: 'refused', errorClass: target.refused, latencyMs: 0 }
        : await sender.send({ eventId: event_id, body, ...target });
    this.#sending -= 1;
    faultPoint('delivery.after');
    const outcome =
      result.outcome === 'retry' && attempt >= (job.opts.attempts ?? 1) ? ('exhausted' as const) : result.outcome;
    log[outcome === 'delivered' ? 'info' : 'warn'](
      {
        event_id,
        type,
        tenant,
        job_id,
        request_id,
        receiver: receiverOf(url),
        attempt,
        outcome,
        status: result.status,
        error_class: result.errorClass,
        latency_ms: Math.round(result.latencyMs),
      },
      'webhook attempt',
    );
    onAttempt?.({
      outcome,
      durationS: result.latencyMs / 1000,
      ...(model !== undefined && { model }),
      // Redis' clock and ours may disagree; nobody has waited less than nothing.
      ...(occurred_at_ms !== undefined && { sinceEventS: Math.max(0, wallClock() - occurred_at_ms) / 1000 }),
    });
    await this.#options.ledger?.note(parsed.data, result, outcome !== 'retry');
    if (outcome === 'delivered') return;
    if (outcome === 'gone' || outcome === 'refused') throw new UnrecoverableError(reasonOf(result));
    throw new DeliveryFailed(reasonOf(result), result.retryAfterMs ?? 0);
  }
}

class DeliveryFailed extends Error {
  override readonly name = 'DeliveryFailed';
  readonly retryAfterMs: number;

  constructor(message: string, retryAfterMs: number) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}

function reasonOf({ outcome, status, errorClass }: DeliveryResult): string {
  return [outcome, errorClass, status].filter((part) => part !== undefined).join(' ');
}

/** Scheme, host and port: paths and queries of webhook URLs hold secrets often enough. */
function receiverOf(url: string): string {
  return URL.canParse(url) ? new URL(url).origin : 'unreadable';
}
