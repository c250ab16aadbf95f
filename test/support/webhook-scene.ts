import { generateWebhookSecret, parseWebhookSecret } from '@onqueue/shared';
import { closeRedis, connectRedis } from '@onqueue/shared/redis';
import { createDeliverySchedule } from '../../apps/worker/src/webhooks/delivery-schedule.ts';
import { type EndpointLimits, EndpointShares } from '../../apps/worker/src/webhooks/endpoint-shares.ts';
import { createSsrfGuard, type SsrfGuardOptions } from '../../apps/worker/src/webhooks/ssrf-guard.ts';
import { type WebhookAttempt, WebhookDispatcher } from '../../apps/worker/src/webhooks/webhook-dispatcher.ts';
import {
  createBullWebhookQueue,
  type WebhookDelivery,
  webhookKeys,
} from '../../apps/worker/src/webhooks/webhook-queue.ts';
import {
  createWebhookSender,
  type DeliveryResult,
  type WebhookSenderOptions,
} from '../../apps/worker/src/webhooks/webhook-sender.ts';

export interface WebhookSceneOptions {
  redisUrl: string;
  prefix: string;
  delaysMs?: readonly number[];
  limits?: Partial<EndpointLimits>;
  concurrency?: number;
  isOrdered?: boolean;
  sender?: Partial<WebhookSenderOptions>;
  guard?: Partial<SsrfGuardOptions>;
  onGone?: (delivery: WebhookDelivery) => Promise<void>;
}

export type SeenAttempt = WebhookAttempt & Pick<DeliveryResult, 'errorClass' | 'status'> & { eventId: string };

/** Queue, shares and dispatcher of webhooks on a Redis, without a relay in front. */
export function startWebhookScene(options: WebhookSceneOptions) {
  const { redisUrl, prefix, delaysMs = [0], concurrency = 32 } = options;
  const redis = connectRedis(redisUrl, { kind: 'worker' }, () => {});
  const keys = webhookKeys(prefix);
  const schedule = createDeliverySchedule({ delaysMs, jitter: 0 });
  const shares = new EndpointShares({ redis, ...keys, limits: options.limits, feedLimit: concurrency });
  const queue = createBullWebhookQueue({ shares, schedule, isOrdered: options.isOrdered });
  const guard = createSsrfGuard({ allowCidrs: ['127.0.0.0/8'], allowHttp: true, ...options.guard });
  const sender = createWebhookSender({
    secret: parseWebhookSecret(generateWebhookSecret()),
    guard,
    version: '0',
    wallClock: () => shares.clock.now(),
    ...options.sender,
  });
  const attempts: SeenAttempt[] = [];
  let wake = () => {};
  const errors: Error[] = [];
  const dispatcher = new WebhookDispatcher({
    connection: redis,
    prefix,
    shares,
    schedule,
    concurrency,
    sender: {
      async send(attempt) {
        const result = await sender.send(attempt);
        pending.push({ eventId: attempt.eventId, result });
        return result;
      },
    },
    log: { info() {}, warn() {}, error() {} },
    onError: (error) => errors.push(error),
    onAttempt: (attempt) => {
      // Told right after `send` has resolved, in the same order.
      const { eventId = '', result } = pending.shift() ?? {};
      attempts.push({
        ...attempt,
        eventId,
        ...(result?.errorClass && { errorClass: result.errorClass }),
        ...(result?.status && { status: result.status }),
      });
      wake();
    },
    ...(options.onGone && { onGone: options.onGone }),
  });
  const pending: { eventId: string; result: DeliveryResult }[] = [];
  dispatcher.start();
  return {
    redis,
    shares,
    attempts,
    errors,
    add: (id: string, url: string, more: Partial<WebhookDelivery> = {}) =>
      queue.add({
        schema_version: 1,
        event_id: `evt_${id}`,
        type: 'job.succeeded',
        tenant: 'default',
        job_id: `job_${id}`,
        url,
        body: `{"id":"${id}"}`,
        ...more,
      }),
    /** Resolves with the first `n` attempts. */
    async attempted(n: number): Promise<SeenAttempt[]> {
      while (attempts.length < n) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      return attempts.slice(0, n);
    },
    /** Of an endpoint's key; ours begin with the tenant. */
    parkedAt: (url: string) => redis.zcard(`${keys.shareKeys}parked:default/${new URL(url).origin}`),
    slotsOf: (url: string) => redis.scard(`${keys.shareKeys}slots:default/${new URL(url).origin}`),
    stateOf: (url: string) => redis.hgetall(`${keys.shareKeys}endpoint:default/${new URL(url).origin}`),
    dueOf: async (url: string) => Number(await redis.zscore(`${keys.shareKeys}due`, `default/${new URL(url).origin}`)),
    async close() {
      await dispatcher.close();
      guard.close();
      await closeRedis(redis);
    },
  };
}
