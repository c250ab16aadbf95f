import {
  type DeliveryContent,
  type DeliveryLog,
  deliveryId,
  EVERY_TENANT,
  isSubscribed,
  type OutboxEvent,
  type TraceContext,
  type WebhookEndpoint,
  type WebhookEndpoints,
} from '@onqueue/shared';
import { z } from 'zod';
import { jobEventBody, platformEventBody, type ShownJob, tellsOfLostCommit } from './event-body.ts';
import type { WebhookDelivery } from './webhook-queue.ts';

/** What events tell of a job. */
export interface RelayedJob {
  /** As `GET /jobs/{id}` shows it. */
  view: ShownJob;
  /** Sent along with the delivery, beside its body. */
  trace?: TraceContext | undefined;
}

export interface EventFanoutOptions {
  /** Null when it is gone. */
  readJob: (tenant: string, jobId: string) => Promise<RelayedJob | null>;
  /** Without it only the webhooks of jobs are told. */
  endpoints?: Pick<WebhookEndpoints, 'list' | 'tenants'> | undefined;
  /** What is ordered anew is read there. */
  deliveries?: Pick<DeliveryLog, 'read'> | undefined;
}

/** `lost`: Redis has lost the end that the event tells of; it will come again. */
export type Fanout = { deliveries: WebhookDelivery[]; isLost: boolean };

/** Whom an event is told to, and with which body. */
export class EventFanout {
  readonly #options: EventFanoutOptions;

  constructor(options: EventFanoutOptions) {
    this.#options = options;
  }

  async of(event: OutboxEvent): Promise<Fanout> {
    if (event.schema_version === 4) return { deliveries: await this.#anew(event), isLost: false };
    if (event.schema_version === 3) return { deliveries: await this.#ofPlatform(event), isLost: false };
    const relayed = await this.#options.readJob(event.tenant, event.job_id);
    const job = relayed?.view ?? null;
    if (tellsOfLostCommit(event, job)) return { deliveries: [], isLost: true };
    const about = { ...jobNames.parse(job ?? {}), ...relayed?.trace };
    const { id, type, tenant, job_id, occurred_at_ms } = event;
    const shared = { schema_version: 1 as const, event_id: id, type, tenant, job_id, occurred_at_ms, ...about };
    if (event.schema_version === 1) {
      return { deliveries: [{ ...shared, url: event.url, body: jobEventBody(event, job) }], isLost: false };
    }
    const endpoints = await this.#subscribed(tenant, (endpoint) => isSubscribed(endpoint, type, about.model));
    const body = endpoints.length > 0 ? jobEventBody(event, job) : '';
    return {
      deliveries: endpoints.map((endpoint) => ({ ...shared, ...toEndpoint(id, endpoint), body })),
      isLost: false,
    };
  }

  async #ofPlatform(event: Extract<OutboxEvent, { schema_version: 3 }>): Promise<WebhookDelivery[]> {
    const { id, type, model, occurred_at_ms, endpoint_id: only } = event;
    const tenants = event.tenant === EVERY_TENANT ? await this.#options.endpoints?.tenants() : [event.tenant];
    const body = platformEventBody(event);
    const told = await Promise.all(
      (tenants ?? []).map(async (tenant) => {
        const isTold = (endpoint: WebhookEndpoint) =>
          only === undefined ? isSubscribed(endpoint, type, model) : endpoint.id === only;
        const endpoints = await this.#subscribed(tenant, isTold);
        const shared = { schema_version: 1 as const, event_id: id, type, tenant, occurred_at_ms, body };
        return endpoints.map((endpoint) => ({
          ...shared,
          ...toEndpoint(id, endpoint),
          ...(model !== undefined && { model }),
        }));
      }),
    );
    return told.flat();
  }

  async #anew({ tenant, delivery_id, round }: Extract<OutboxEvent, { schema_version: 4 }>): Promise<WebhookDelivery[]> {
    const record = await this.#options.deliveries?.read(tenant, delivery_id);
    if (!record) return [];
    const { event_id, type, job_id, model, request_id, endpoint_id, url, body, occurred_at_ms } = record;
    const about = withoutUndefined({ job_id, model, request_id, endpoint_id });
    // Another id for the queue, which knows the one before; the same for the receiver.
    const queueId = `${delivery_id}-${round}`;
    return [{ schema_version: 1, event_id, type, tenant, url, body, occurred_at_ms, delivery_id: queueId, ...about }];
  }

  async #subscribed(tenant: string, isTold: (endpoint: WebhookEndpoint) => boolean): Promise<WebhookEndpoint[]> {
    const endpoints = (await this.#options.endpoints?.list(tenant)) ?? [];
    return endpoints.filter(isTold);
  }
}

/** What the log says of a delivery. */
export function contentOf(delivery: WebhookDelivery): DeliveryContent {
  const { event_id, type, tenant, job_id, model, request_id, endpoint_id, url, body, occurred_at_ms = 0 } = delivery;
  return {
    schema_version: 1,
    id: logIdOf(delivery),
    event_id,
    type,
    tenant,
    url,
    body,
    occurred_at_ms,
    ...withoutUndefined({ job_id, model, request_id, endpoint_id }),
  };
}

/** Under which the log keeps a delivery, whatever the queue calls it. */
export function logIdOf({ event_id, endpoint_id, url }: WebhookDelivery): string {
  return deliveryId(event_id, endpoint_id ?? url);
}

const jobNames = z.object({ request_id: z.string().optional(), model: z.string().optional() });

function toEndpoint(eventId: string, { id, url, concurrency, rate_per_s }: WebhookEndpoint) {
  return { endpoint_id: id, delivery_id: `${eventId}-${id}`, url, ...withoutUndefined({ concurrency, rate_per_s }) };
}

function withoutUndefined<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
