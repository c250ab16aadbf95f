import type { DeliveryLog, NotedAttempt, WebhookEndpoints, WebhookKeys } from '@onqueue/shared';
import { CallGatherer } from './call-gatherer.ts';
import { logIdOf } from './event-fanout.ts';
import type { WebhookDelivery } from './webhook-queue.ts';
import type { DeliveryResult } from './webhook-sender.ts';

/** Where an attempt goes, and what signs it; `refused` when nobody is to be called. */
export type DeliveryTarget = { url: string; keys: WebhookKeys } | { refused: 'endpoint_disabled' | 'endpoint_deleted' };

export interface DeliveryLedgerOptions {
  /** Of the webhooks that jobs name themselves. */
  keysOf: (tenant: string) => WebhookKeys;
  endpoints: WebhookEndpoints;
  deliveries: DeliveryLog;
  /** An endpoint that has answered no 2xx for so long is disabled. */
  disableAfterMs: number;
  onDisabled: (endpoint: { tenant: string; id: string; reason: 'gone' | 'failing' }) => void;
}

/**
 * What is known of receivers before an attempt, and kept of it afterwards. An endpoint is asked for its URL and secrets at
 * every attempt, so that what was changed or rotated counts at once.
 */
export class DeliveryLedger {
  readonly #options: DeliveryLedgerOptions;
  /** Written many at a time. */
  readonly #notes: CallGatherer<NotedAttempt, undefined>;

  constructor(options: DeliveryLedgerOptions) {
    this.#options = options;
    this.#notes = new CallGatherer(async (attempts): Promise<undefined[]> => {
      await options.deliveries.note(attempts);
      return [];
    });
  }

  async targetOf({ tenant, endpoint_id: id, url, type }: WebhookDelivery): Promise<DeliveryTarget> {
    const { endpoints, keysOf } = this.#options;
    if (id === undefined) return { url, keys: keysOf(tenant) };
    const endpoint = await endpoints.read(tenant, id);
    if (endpoint === null) return { refused: 'endpoint_deleted' };
    // A test is how somebody finds out whether the receiver is well again.
    if (endpoint.status === 'disabled' && type !== 'endpoint.test') return { refused: 'endpoint_disabled' };
    return { url: endpoint.url, keys: await endpoints.keys(endpoint) };
  }

  /** `isOver`: no further attempt follows by itself. */
  async note(delivery: WebhookDelivery, result: DeliveryResult, isOver: boolean): Promise<void> {
    const isDelivered = result.outcome === 'delivered';
    const status = isDelivered ? 'delivered' : isOver ? 'failed' : 'pending';
    const attempt = {
      latency_ms: Math.round(result.latencyMs),
      outcome: result.outcome,
      ...(result.status !== undefined && { status: result.status }),
      ...(result.errorClass !== undefined && { error_class: result.errorClass }),
      ...(result.answer !== undefined && { answer: result.answer }),
    };
    await this.#notes.call({ tenant: delivery.tenant, id: logIdOf(delivery), attempt, status });
    if (delivery.endpoint_id !== undefined) await this.#judge(delivery.tenant, delivery.endpoint_id, result);
  }

  async #judge(tenant: string, id: string, { outcome, errorClass }: DeliveryResult): Promise<void> {
    const { endpoints, disableAfterMs, onDisabled } = this.#options;
    if (errorClass === 'endpoint_disabled' || errorClass === 'endpoint_deleted') return;
    if (outcome === 'delivered') return endpoints.noteSuccess(tenant, id);
    const failingForMs = await endpoints.noteFailure(tenant, id);
    const reason = outcome === 'gone' ? 'gone' : failingForMs >= disableAfterMs ? 'failing' : undefined;
    if (reason && (await endpoints.disable(tenant, id, reason))) onDisabled({ tenant, id, reason });
  }
}
