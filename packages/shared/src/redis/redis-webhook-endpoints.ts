import { randomBytes } from 'node:crypto';
import { type AuditActor, PLATFORM_ACTOR } from '../audit-line.ts';
import type { PlatformOutboxEvent } from '../events.ts';
import { faultPoint } from '../fault-point.ts';
import type { SecretSeal } from '../secret-seal.ts';
import {
  generateWebhookSecret,
  parseWebhookSecret,
  type WebhookKeys,
  type WebhookSecret,
} from '../standard-webhooks.ts';
import {
  type EndpointDisabledReason,
  newEndpointId,
  type WebhookEndpoint,
  webhookEndpoint,
} from '../webhook-endpoint.ts';
import type { EndpointChange, WebhookEndpoints } from '../webhook-endpoints.ts';
import { deriveSigningKey } from '../webhook-key-pair.ts';
import type { RedisConnection } from './connection.ts';
import type { RedisKeys } from './keys.ts';
import { auditActor } from './redis-audit-log.ts';
import { RedisWebhookSubscriptions } from './redis-webhook-subscriptions.ts';
import {
  CHANGE_ENDPOINT_LUA,
  FAILING_LUA,
  LIST_ENDPOINTS_LUA,
  READ_ENDPOINT_LUA,
} from './scripts/webhook-endpoints.ts';
import { translateStoreError } from './store-error.ts';

export interface RedisWebhookEndpointsOptions {
  redis: RedisConnection;
  keys: RedisKeys;
  partitions: number;
  seal: SecretSeal;
  /** Every one of them signs, with a key pair that is derived for the endpoint. */
  signingSeeds: readonly Uint8Array[];
  maxAuditLines: number;
}

/** Secrets that sign at once; a rotation that would make one more ends the oldest. */
const MAX_SECRETS = 5;
/** Parsed secrets that are remembered; their bytes never change. */
const MAX_CACHED = 1000;

/**
 * Endpoints in the first partition, and what they subscribe to in every partition, for the scripts that write events. While it
 * is changed an endpoint is subscribed to what it had and what it gets; the relay asks the endpoint itself. So a crash between
 * the two leaves at most events that nobody is told of; `reconcile` takes care of these.
 */
export class RedisWebhookEndpoints implements WebhookEndpoints {
  readonly #options: RedisWebhookEndpointsOptions;
  readonly #secrets = new Map<string, WebhookSecret>();
  readonly #subscriptions: RedisWebhookSubscriptions;

  constructor(options: RedisWebhookEndpointsOptions) {
    this.#options = options;
    this.#subscriptions = new RedisWebhookSubscriptions(options);
  }

  async list(tenant: string): Promise<WebhookEndpoint[]> {
    const [texts, nowMs] = (await this.#eval(LIST_ENDPOINTS_LUA, [this.#keys.endpoints(tenant)])) as [string[], number];
    return texts
      .map((text) => withLiveSecrets(parse(text), nowMs))
      .toSorted((a, b) => a.created_ms - b.created_ms || (a.id < b.id ? -1 : 1));
  }

  async read(tenant: string, id: string): Promise<WebhookEndpoint | null> {
    const { text, nowMs } = await this.#read(tenant, id);
    return text === '' ? null : withLiveSecrets(parse(text), nowMs);
  }

  async create(
    tenant: string,
    wanted: Pick<WebhookEndpoint, 'url' | 'events' | 'models'> & EndpointChange,
    maxEndpoints: number,
    by: AuditActor,
  ): Promise<{ endpoint: WebhookEndpoint; secret: string } | undefined> {
    const id = newEndpointId();
    const { nowMs } = await this.#read(tenant, id);
    const secret = { id: newSecretId(), text: generateWebhookSecret() };
    const base: WebhookEndpoint = {
      schema_version: 1,
      id,
      tenant,
      url: wanted.url,
      events: wanted.events,
      models: wanted.models,
      status: 'enabled',
      secrets: [{ id: secret.id, created_ms: nowMs }],
      created_ms: nowMs,
      updated_ms: nowMs,
    };
    const endpoint = changed(base, wanted, nowMs);
    const outcome = await this.#replace(tenant, id, '', endpoint, { maxEndpoints, secret, action: 'created', by });
    return outcome === 'full' ? undefined : { endpoint, secret: secret.text };
  }

  async update(tenant: string, id: string, change: EndpointChange, by: AuditActor): Promise<WebhookEndpoint | null> {
    return this.#change(tenant, id, (before, nowMs) => ({
      endpoint: changed(before, change, nowMs),
      isForgiven: change.status === 'enabled',
      action: 'changed',
      by,
    }));
  }

  async delete(tenant: string, id: string, by: AuditActor): Promise<boolean> {
    for (;;) {
      const { text } = await this.#read(tenant, id);
      if (text === '') return false;
      const dropped = parse(text).secrets.map((secret) => secret.id);
      if ((await this.#replace(tenant, id, text, undefined, { dropped, action: 'deleted', by })) === 'done')
        return true;
    }
  }

  async rotate(
    tenant: string,
    id: string,
    overlapMs: number,
    by: AuditActor,
  ): Promise<{ endpoint: WebhookEndpoint; secret: string } | null> {
    const secret = { id: newSecretId(), text: generateWebhookSecret() };
    const endpoint = await this.#change(tenant, id, (before, nowMs) => {
      const older = before.secrets
        .filter(({ expires_ms = Number.POSITIVE_INFINITY }) => expires_ms > nowMs)
        .map((one) => ({ ...one, expires_ms: Math.min(one.expires_ms ?? Number.POSITIVE_INFINITY, nowMs + overlapMs) }))
        .slice(0, MAX_SECRETS - 1);
      const secrets = [{ id: secret.id, created_ms: nowMs }, ...older];
      const kept = new Set(secrets.map((one) => one.id));
      const dropped = before.secrets.map((one) => one.id).filter((one) => !kept.has(one));
      return { endpoint: { ...before, secrets, updated_ms: nowMs }, secret, dropped, action: 'rotated', by };
    });
    return endpoint && { endpoint, secret: secret.text };
  }

  async keys({ tenant, id, secrets }: WebhookEndpoint): Promise<WebhookKeys> {
    const missing = secrets.map((secret) => secret.id).filter((one) => !this.#secrets.has(one));
    if (missing.length > 0) {
      if (this.#secrets.size > MAX_CACHED) this.#secrets.clear();
      const { redis, seal } = this.#options;
      const sealed = await this.#guard(() => redis.hmget(this.#keys.endpointSecrets(tenant), ...missing));
      for (const [index, secretId] of missing.entries()) {
        const text = sealed[index];
        if (text) this.#secrets.set(secretId, parseWebhookSecret(seal.open(text, ownerOf(tenant, id, secretId))));
      }
    }
    return {
      // One that is missing was deleted since the endpoint was read.
      secrets: secrets.flatMap((secret) => this.#secrets.get(secret.id) ?? []),
      privateKeys: this.#options.signingSeeds.map((seed) => deriveSigningKey(seed, id)),
    };
  }

  async test({ tenant, id }: WebhookEndpoint): Promise<string> {
    const { nowMs } = await this.#read(tenant, id);
    const event = platformEvent('endpoint.test', tenant, nowMs, { id, object: 'webhook_endpoint' });
    const text = JSON.stringify({ ...event, endpoint_id: id });
    await this.#guard(() => this.#options.redis.xadd(this.#keys.outbox(0), '*', 'event', text));
    return event.id;
  }

  async noteSuccess(tenant: string, id: string): Promise<void> {
    await this.#guard(() => this.#options.redis.hdel(this.#keys.endpointsFailing(tenant), id));
  }

  async noteFailure(tenant: string, id: string): Promise<number> {
    const keys = [this.#keys.endpointsFailing(tenant), this.#keys.endpoints(tenant)];
    return Number(await this.#eval(FAILING_LUA, keys, id));
  }

  async disable(tenant: string, id: string, reason: EndpointDisabledReason): Promise<boolean> {
    for (;;) {
      const { text, nowMs } = await this.#read(tenant, id);
      if (text === '') return false;
      const before = parse(text);
      if (before.status === 'disabled') return false;
      const endpoint = changed(before, { status: 'disabled' }, nowMs, reason);
      const { url } = endpoint;
      const data = { id, object: 'webhook_endpoint', url: new URL(url).origin, reason };
      const event = platformEvent('endpoint.disabled', tenant, nowMs, data);
      if (
        (await this.#replace(tenant, id, text, endpoint, { event, action: 'disabled', by: PLATFORM_ACTOR })) === 'done'
      )
        return true;
    }
  }

  tenants(): Promise<string[]> {
    return this.#guard(() => this.#options.redis.smembers(this.#keys.endpointTenants));
  }

  /** Makes the subscriptions of every partition what the endpoints say, within two calls. */
  async reconcile(): Promise<void> {
    const typesByEndpoint = async (tenant: string) =>
      new Map((await this.list(tenant)).map((endpoint) => [endpoint.id, typesOf(endpoint)]));
    const without = await this.#subscriptions.reconcile(await this.tenants(), typesByEndpoint);
    if (without.length === 0) return;
    await this.#guard(() => this.#options.redis.srem(this.#keys.endpointTenants, ...without));
  }

  get #keys(): RedisKeys {
    return this.#options.keys;
  }

  /** Tries until nobody else has changed it meanwhile. */
  async #change(
    tenant: string,
    id: string,
    change: (before: WebhookEndpoint, nowMs: number) => Change & { endpoint: WebhookEndpoint },
  ): Promise<WebhookEndpoint | null> {
    for (;;) {
      const { text, nowMs } = await this.#read(tenant, id);
      if (text === '') return null;
      const { endpoint, ...rest } = change(parse(text), nowMs);
      if ((await this.#replace(tenant, id, text, endpoint, rest)) === 'done') return withLiveSecrets(endpoint, nowMs);
    }
  }

  async #replace(
    tenant: string,
    id: string,
    before: string,
    after: WebhookEndpoint | undefined,
    { maxEndpoints = 0, secret, dropped = [], event, isForgiven = false, action, by }: Change,
  ): Promise<'done' | 'changed' | 'full'> {
    const types = after ? typesOf(after) : '';
    const both = before === '' ? types : `${typesOf(parse(before))} ${types}`.trim();
    const keys = this.#keys;
    // First, since `reconcile` looks at those alone: a crash may leave subscriptions of an endpoint that never came to be.
    if (after) await this.#guard(() => this.#options.redis.sadd(keys.endpointTenants, tenant));
    if (both !== '') await this.#subscriptions.set(tenant, id, both);
    faultPoint('endpoint.subscribed.after');
    const code = await this.#eval(
      CHANGE_ENDPOINT_LUA,
      [
        keys.endpoints(tenant),
        keys.endpointSecrets(tenant),
        keys.endpointTenants,
        keys.outbox(0),
        keys.endpointsFailing(tenant),
        keys.audit(0),
        keys.auditHead(0),
      ],
      tenant,
      id,
      before,
      after ? JSON.stringify(after) : '',
      maxEndpoints,
      secret?.id ?? '',
      secret ? this.#options.seal.seal(secret.text, ownerOf(tenant, id, secret.id)) : '',
      dropped.join(' '),
      event ? JSON.stringify(event) : '',
      isForgiven ? '1' : '0',
      JSON.stringify({ action: `endpoint.${action}`, tenant, endpoint_id: id }),
      auditActor(by),
      this.#options.maxAuditLines,
    );
    faultPoint('endpoint.changed.after');
    if (code === 0) return 'changed';
    await this.#subscriptions.set(tenant, id, code === 1 ? types : '');
    return code === 1 ? 'done' : 'full';
  }

  async #read(tenant: string, id: string): Promise<{ text: string; nowMs: number }> {
    const reply = await this.#eval(READ_ENDPOINT_LUA, [this.#keys.endpoints(tenant)], id);
    const [text, nowMs] = reply as [string | null, number];
    return { text: text ?? '', nowMs };
  }

  #eval(lua: string, keys: readonly string[], ...args: (string | number)[]): Promise<unknown> {
    return this.#guard(() => this.#options.redis.eval(lua, keys.length, ...keys, ...args));
  }

  async #guard<T>(command: () => Promise<T>): Promise<T> {
    try {
      return await command();
    } catch (error) {
      throw translateStoreError(error);
    }
  }
}

interface Change {
  /** For the audit log. */
  action: 'created' | 'changed' | 'rotated' | 'deleted' | 'disabled';
  by: AuditActor;
  maxEndpoints?: number;
  /** A new one. */
  secret?: { id: string; text: string };
  /** Ids of secrets that go. */
  dropped?: readonly string[];
  event?: PlatformOutboxEvent;
  /** Whether its failures are forgotten. */
  isForgiven?: boolean;
}

const parse = (text: string) => webhookEndpoint.parse(JSON.parse(text));
const newSecretId = () => `whs_${randomBytes(12).toString('hex')}`;
const ownerOf = (tenant: string, id: string, secretId: string) => `${tenant} ${id} ${secretId}`;
const typesOf = ({ status, events }: WebhookEndpoint) => (status === 'enabled' ? events.join(' ') : '');

function withLiveSecrets(endpoint: WebhookEndpoint, nowMs: number): WebhookEndpoint {
  return { ...endpoint, secrets: endpoint.secrets.filter(({ expires_ms = nowMs + 1 }) => expires_ms > nowMs) };
}

function changed(
  before: WebhookEndpoint,
  change: EndpointChange,
  nowMs: number,
  reason: EndpointDisabledReason = 'requested',
): WebhookEndpoint {
  const after: Record<string, unknown> = { ...before, updated_ms: nowMs };
  for (const [name, value] of Object.entries(change)) {
    if (value === null) delete after[name];
    else if (value !== undefined) after[name] = value;
  }
  if (change.status === 'enabled') delete after.disabled_reason;
  if (change.status === 'disabled' && before.status === 'enabled') after.disabled_reason = reason;
  return webhookEndpoint.parse(after);
}

function platformEvent(
  type: PlatformOutboxEvent['type'],
  tenant: string,
  nowMs: number,
  data: Record<string, unknown>,
): PlatformOutboxEvent {
  // No state gives it a name, as a job's run does; it is written once, in the step that it tells of.
  const id = `evt_${randomBytes(16).toString('hex')}`;
  return { schema_version: 3, id, type, tenant, occurred_at_ms: nowMs, data };
}
