import type { AuditActor } from './audit-line.ts';
import type { WebhookKeys } from './standard-webhooks.ts';
import type { EndpointDisabledReason, WebhookEndpoint } from './webhook-endpoint.ts';

/** What somebody may change of an endpoint. Null takes it away. */
export interface EndpointChange {
  url?: string;
  description?: string | null;
  events?: WebhookEndpoint['events'];
  models?: string[];
  rate_per_s?: number | null;
  concurrency?: number | null;
  status?: WebhookEndpoint['status'];
}

/** The endpoints of tenants, their secrets, and how they do. */
export interface WebhookEndpoints {
  list(tenant: string): Promise<WebhookEndpoint[]>;
  read(tenant: string, id: string): Promise<WebhookEndpoint | null>;
  /** With the secret as text, which is shown this once. Undefined when the tenant has as many as it may. */
  create(
    tenant: string,
    endpoint: Pick<WebhookEndpoint, 'url' | 'events' | 'models'> & EndpointChange,
    maxEndpoints: number,
    by: AuditActor,
  ): Promise<{ endpoint: WebhookEndpoint; secret: string } | undefined>;
  /** Null when there is none. */
  update(tenant: string, id: string, change: EndpointChange, by: AuditActor): Promise<WebhookEndpoint | null>;
  delete(tenant: string, id: string, by: AuditActor): Promise<boolean>;
  /** A new secret; those before it sign beside it for so long. Null when there is none. */
  rotate(
    tenant: string,
    id: string,
    overlapMs: number,
    by: AuditActor,
  ): Promise<{ endpoint: WebhookEndpoint; secret: string } | null>;
  /** What signs for an endpoint now. */
  keys(endpoint: WebhookEndpoint): Promise<WebhookKeys>;
  /** Has an event sent that tells nothing, to see whether it arrives. The event's id. */
  test(endpoint: WebhookEndpoint): Promise<string>;
  /** An answer of 2xx. */
  noteSuccess(tenant: string, id: string): Promise<void>;
  /** No such answer; since when there has been none, ms. */
  noteFailure(tenant: string, id: string): Promise<number>;
  /** In one step with the event that tells of it. False when it was not enabled. */
  disable(tenant: string, id: string, reason: EndpointDisabledReason): Promise<boolean>;
  /** The tenants that have any. */
  tenants(): Promise<string[]>;
}
