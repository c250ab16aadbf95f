import {
  type Clock,
  faultPoint,
  type Span,
  systemClock,
  type Tracer,
  traceContextOf,
  traceIdOf,
} from '@onqueue/shared';
import type { RedisConnection } from '@onqueue/shared/redis';
import { DelayedError, type Job, UnrecoverableError, Worker } from 'bullmq';
import type { DeliveryLedger } from './delivery-ledger.ts';
import type { DeliverySchedule } from './delivery-schedule.ts';
import { EndpointFeeder } from './endpoint-feeder.ts';
import type { EndpointShares, EndpointSignal } from './endpoint-shares.ts';
import type { WebhookLog } from './webhook-log.ts';
import { placeOf, receiverOf, WEBHOOK_QUEUE_NAME, type WebhookDelivery, webhookDelivery } from './webhook-queue.ts';
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
  /** Of the queue. */
  shares: EndpointShares;
  sender: WebhookSender;
  schedule: DeliverySchedule;
  log: WebhookLog;
  /** Failures of the connections between two commands. */
  onError: (error: Error) => void;
  onAttempt?: (attempt: WebhookAttempt) => void;
  /** Knows endpoints, and keeps what became of attempts; without it every delivery goes to its own URL. */
  ledger?: Pick<DeliveryLedger, 'targetOf' | 'note'> | undefined;
  /** Undefined: no spans are recorded. */
  tracer?: Tracer | undefined;
  /** After how long a dispatcher that fell silent counts as dead; its deliveries are sent again within lock + 2 × interval. */
  lockDurationMs?: number;
  stalledIntervalMs?: number;
  /** Deliveries in flight. A slow receiver holds some of these and nothing else: inference has its own queues. */
  concurrency?: number;
  /** An endpoint that was registered has answered 410: it is to be disabled. Deliveries to a job's own URL just end. */
  onGone?: (delivery: WebhookDelivery) => Promise<void>;
  clock?: Clock;
  /** Unix milliseconds; Redis' unless a test says otherwise. */
  wallClock?: () => number;
}

/**
 * Takes deliveries from the queue and sends them, until they are delivered, refused, or out of attempts. A dispatcher
 * that dies leaves its deliveries to BullMQ's stalled check: they are sent again, under the same event id. When the next attempt
 * is, and whose turn it is, the shares decide (endpoint-shares.ts); BullMQ hands out what they feed it, and guards it with locks.
 */
export class WebhookDispatcher {
  readonly #options: WebhookDispatcherOptions;
  readonly #feeder: EndpointFeeder;
  #worker: Worker<WebhookDelivery> | undefined;
  #sending = 0;

  constructor(options: WebhookDispatcherOptions) {
    this.#options = options;
    this.#feeder = new EndpointFeeder(options);
  }

  start(): void {
    if (this.#worker) throw new Error('The webhook dispatcher was started twice. This is a bug.');
    const { connection, prefix, schedule, onError, concurrency = DEFAULT_DISPATCHER_CONCURRENCY } = this.#options;
    const { lockDurationMs = DEFAULT_LOCK_MS, stalledIntervalMs = 5000 } = this.#options;
    this.#feeder.start();
    this.#worker = new Worker<WebhookDelivery>(WEBHOOK_QUEUE_NAME, (job, token) => this.#deliver(job, token ?? ''), {
      connection,
      prefix,
      concurrency,
      lockDuration: lockDurationMs,
      stalledInterval: stalledIntervalMs,
      // A death in the middle of a delivery is not the delivery's fault; only one that comes again and again is given up.
      maxStalledCount: 100,
      // For attempts that could not be settled; all others are put off by the shares.
      settings: { backoffStrategy: (attemptsMade) => schedule.delayBeforeAttempt(attemptsMade + 1) },
    });
    this.#worker.on('error', onError);
  }

  /** Whether no delivery is being sent. */
  get isIdle(): boolean {
    return this.#sending === 0;
  }

  /**
   * Takes no more deliveries and waits for those in flight, at most one send timeout. BullMQ's worker never ends its close when it was
   * told so while its connection was broken: it is not waited for once nothing has been sent for a while.
   */
  async close(): Promise<void> {
    let timer: { cancel(): void } | undefined;
    const isLongIdle = new Promise<void>((resolve) => {
      const look = () => {
        timer = (this.#options.clock ?? systemClock).setTimeout(() => (this.isIdle ? resolve() : look()), CLOSE_MS);
      };
      look();
    });
    await Promise.race([this.#worker?.close(), isLongIdle]);
    timer?.cancel();
    await this.#feeder.stop();
  }

  async #deliver(job: Job<unknown>, token: string): Promise<void> {
    const { sender, shares, schedule, log, ledger, tracer, onAttempt, onGone, onError } = this.#options;
    const { wallClock = () => shares.clock.now() } = this.#options;
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
    // Signatures carry Redis' time, which the first answer of the shares brings.
    if (!shares.clock.isSet) await shares.feed();
    const target = (await ledger?.targetOf(parsed.data)) ?? { url };
    faultPoint('delivery.before');
    const startMs = wallClock();
    const jobTrace = traceContextOf(parsed.data);
    const span = tracer?.start({ name: `POST ${type}`, kind: 'client', parent: jobTrace, startMs });
    const trace = span?.context ?? jobTrace;
    this.#sending += 1;
    const stopRenewing = this.#renewLock(job, token);
    // It never rejects.
    const result: DeliveryResult =
      'refused' in target
        ? { outcome: 'refused', errorClass: target.refused, latencyMs: 0 }
        : await sender.send({ eventId: event_id, body, trace, ...target });
    stopRenewing();
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
        ...(trace && { trace_id: traceIdOf(trace) }),
        receiver: receiverOf(url),
        attempt,
        outcome,
        status: result.status,
        error_class: result.errorClass,
        latency_ms: Math.round(result.latencyMs),
      },
      'webhook attempt',
    );
    if (span) endSpan(span, { startMs, delivery: parsed.data, attempt, outcome, result });
    onAttempt?.({
      outcome,
      durationS: result.latencyMs / 1000,
      ...(model !== undefined && { model }),
      // Nobody has waited less than nothing.
      ...(occurred_at_ms !== undefined && { sinceEventS: Math.max(0, wallClock() - occurred_at_ms) / 1000 }),
    });
    // What is kept of an attempt changes nothing about it. Before the next attempt it has to be there: the later one tells how it stands.
    const noted = ledger?.note(parsed.data, result, outcome !== 'retry').catch(onError);
    if (outcome === 'retry') await noted;
    if (outcome === 'gone' && parsed.data.endpoint_id !== undefined) await onGone?.(parsed.data);
    const { retryAfterMs } = result;
    const retryMs =
      outcome === 'retry' ? Math.max(schedule.delayBeforeAttempt(attempt + 1), retryAfterMs ?? 0) : undefined;
    await shares.settle({
      ...placeOf(parsed.data),
      token,
      signal: signalOf(result),
      retryMs,
      pauseMs: retryAfterMs,
    });
    await noted;
    // It stands where the shares have put it, or is in other hands; BullMQ has nothing to do for either.
    if (outcome === 'retry') throw new DelayedError();
    if (outcome !== 'delivered') throw new UnrecoverableError(reasonOf(result));
  }

  /** BullMQ renews by the wall clock, and not at all for as long as that was set back. Timers are monotonic. */
  #renewLock(job: Job<unknown>, token: string): () => void {
    const { lockDurationMs = DEFAULT_LOCK_MS, clock = systemClock, onError } = this.#options;
    let timer: { cancel(): void };
    const renewLater = () => {
      timer = clock.setTimeout(() => {
        job.extendLock(token, lockDurationMs).catch(onError);
        renewLater();
      }, lockDurationMs / 3);
    };
    renewLater();
    return () => timer.cancel();
  }
}

export const DEFAULT_DISPATCHER_CONCURRENCY = 128;
const DEFAULT_LOCK_MS = 10_000;
/** Longer than settling a delivery takes. */
const CLOSE_MS = 2000;

interface SpanOfAttempt {
  startMs: number;
  delivery: WebhookDelivery;
  attempt: number;
  outcome: AttemptOutcome;
  result: DeliveryResult;
}

function endSpan(span: Span, { startMs, delivery, attempt, outcome, result }: SpanOfAttempt): void {
  span.end({
    endMs: startMs + result.latencyMs,
    attributes: {
      'http.request.method': 'POST',
      'http.response.status_code': result.status,
      'http.request.resend_count': attempt - 1,
      'server.address': receiverOf(delivery.url),
      'onqueue.job.id': delivery.job_id,
      'onqueue.event.id': delivery.event_id,
      'onqueue.outcome': outcome,
    },
    error: outcome === 'delivered' ? undefined : (result.errorClass ?? outcome),
  });
}

/** A good answer that took longer widens an endpoint's share slowly. */
const SLOW_MS = 1000;
const BUSY = new Set([429, 502, 503, 504]);

function signalOf({ outcome, status, latencyMs }: DeliveryResult): EndpointSignal {
  if (outcome === 'delivered') return latencyMs > SLOW_MS ? 'slow' : 'good';
  if (outcome !== 'retry') return 'neutral';
  if (status === undefined) return 'failed';
  if (BUSY.has(status)) return 'busy';
  return status >= 500 ? 'failed' : 'neutral';
}

function reasonOf({ outcome, status, errorClass }: DeliveryResult): string {
  return [outcome, errorClass, status].filter((part) => part !== undefined).join(' ');
}
