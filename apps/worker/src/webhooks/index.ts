import { type Clock, systemClock, type Tracer, type WebhookSecret } from '@onqueue/shared';
import type { RedisConnection } from '@onqueue/shared/redis';
import { duplicateConnection, RedisOutbox } from '@onqueue/shared/redis';
import type { DeliveryLedger } from './delivery-ledger.ts';
import { createDeliverySchedule, type DeliveryScheduleOptions } from './delivery-schedule.ts';
import { type EndpointLimits, EndpointShares } from './endpoint-shares.ts';
import { OutboxRelay, type OutboxRelayOptions } from './outbox-relay.ts';
import { createSsrfGuard, type SsrfGuardOptions } from './ssrf-guard.ts';
import { DEFAULT_DISPATCHER_CONCURRENCY, type WebhookAttempt, WebhookDispatcher } from './webhook-dispatcher.ts';
import type { WebhookLog } from './webhook-log.ts';
import { createBullWebhookQueue, webhookKeys } from './webhook-queue.ts';
import { createWebhookSender } from './webhook-sender.ts';

export interface WebhooksOptions extends Pick<OutboxRelayOptions, 'readJob' | 'endpoints' | 'deliveries'> {
  /** `maxRetriesPerRequest: null`. Queue and dispatcher use it, each outbox gets a copy; the caller closes it, after us. */
  connection: RedisConnection;
  /** The streams that commits write events to: one a partition. */
  outboxKeys: readonly string[];
  /** BullMQ's key prefix for the webhook queue. */
  queuePrefix: string;
  secret: WebhookSecret;
  /** Ours, for the user agent. */
  version: string;
  guard: SsrfGuardOptions;
  schedule?: DeliveryScheduleOptions;
  timeoutMs?: number;
  maxResponseBytes?: number;
  concurrency?: number;
  endpointLimits?: Partial<EndpointLimits>;
  /** Whether the events of a job reach an endpoint one after the other. */
  isOrdered?: boolean;
  lockDurationMs?: number;
  stalledIntervalMs?: number;
  ledger?: DeliveryLedger | undefined;
  /** Mends what a crash between two steps has left of the endpoints' subscriptions; called at start and every 25 s. */
  reconcile?: () => Promise<void>;
  log: WebhookLog;
  /** What everything here goes on after by itself: mostly a Redis that is away, told by each connection at each attempt. */
  onError: (error: Error) => void;
  onAttempt?: (attempt: WebhookAttempt) => void;
  clock?: Clock;
  tracer?: Tracer | undefined;
}

export interface Webhooks {
  /** Whether no delivery is being sent. */
  readonly isIdle: boolean;
  /**
   * Takes nothing new and waits for the deliveries in flight. With Redis away this waits for it: bring a deadline and
   * close the connection then; what was in hand is taken up by the next process.
   */
  close(): Promise<void>;
}

/** Outboxes → queue → signed deliveries, in this process. Any number of processes may do so on the same Redis. */
export function startWebhooks(options: WebhooksOptions): Webhooks {
  const {
    connection,
    outboxKeys,
    queuePrefix: prefix,
    secret,
    version,
    readJob,
    log,
    onError,
    onAttempt,
    concurrency = DEFAULT_DISPATCHER_CONCURRENCY,
  } = options;
  const schedule = createDeliverySchedule(options.schedule);
  const shares = new EndpointShares({
    redis: connection,
    ...webhookKeys(prefix),
    limits: options.endpointLimits,
    feedLimit: concurrency,
  });
  const queue = createBullWebhookQueue({ shares, schedule, isOrdered: options.isOrdered });
  const guard = createSsrfGuard(options.guard);
  const sender = createWebhookSender({
    secret,
    version,
    guard,
    wallClock: () => shares.clock.now(),
    ...(options.timeoutMs !== undefined && { timeoutMs: options.timeoutMs }),
    ...(options.maxResponseBytes !== undefined && { maxResponseBytes: options.maxResponseBytes }),
  });
  const dispatcher = new WebhookDispatcher({
    connection,
    prefix,
    shares,
    sender,
    schedule,
    log,
    onError,
    ledger: options.ledger,
    tracer: options.tracer,
    ...(onAttempt && { onAttempt }),
    concurrency,
    ...(options.lockDurationMs !== undefined && { lockDurationMs: options.lockDurationMs }),
    ...(options.stalledIntervalMs !== undefined && { stalledIntervalMs: options.stalledIntervalMs }),
  });
  const readers: RedisConnection[] = [];
  const relays = outboxKeys.map((key) => {
    const redis = duplicateConnection(connection, { socketTimeoutMs: OUTBOX_SOCKET_TIMEOUT_MS, isForgetful: true });
    redis.on('error', onError);
    readers.push(redis);
    const outbox = new RedisOutbox({
      redis,
      key,
      consumer: 'relay',
      onInvalid: ({ entryId, reason }) => log.error({ entry: entryId, reason }, 'outbox entry dropped'),
    });
    const { endpoints, deliveries } = options;
    return new OutboxRelay({ outbox, queue, readJob, endpoints, deliveries, log, onError });
  });
  const { clock = systemClock, reconcile } = options;
  let timer: { cancel(): void } | undefined;
  let reconciling: Promise<void> | undefined;
  const reconcileNow = () => {
    reconciling = reconcile?.()
      .catch(onError)
      .finally(() => {
        timer = isClosing ? undefined : clock.setTimeout(reconcileNow, RECONCILE_EVERY_MS);
      });
  };
  let isClosing = false;
  reconcileNow();
  dispatcher.start();
  for (const relay of relays) relay.start();
  return {
    get isIdle() {
      return dispatcher.isIdle;
    },
    async close() {
      isClosing = true;
      timer?.cancel();
      await Promise.all([reconciling, dispatcher.close(), ...relays.map((relay) => relay.stop())]);
      for (const reader of readers) reader.disconnect();
      guard.close();
    },
  };
}

/** Twice within a minute: what a crash left too much of is taken away at the second look. */
const RECONCILE_EVERY_MS = 25_000;

/** Five times what a read waits for entries: silence for longer means a dead connection. */
const OUTBOX_SOCKET_TIMEOUT_MS = 10_000;
