import type { ApiKey, ApiKeyLimits, ApiKeyScope } from './api-key.ts';
import type { AuditActor, AuditLine, AuditMark } from './audit-line.ts';
import type { Tenant, TenantSettings } from './tenant.ts';

/** What the API reads to know who asks. */
export interface KnownKey {
  key: ApiKey;
  tenant: Tenant;
  /** Unix ms, of any process. */
  lastUsedMs: number | undefined;
  /** Of the store's clock, when this was read. */
  nowMs: number;
}

/** A key as operators see it. */
export interface ListedKey {
  key: ApiKey;
  lastUsedMs: number | undefined;
}

export interface NewApiKey {
  tenant: string;
  name: string;
  env: string;
  scopes: readonly ApiKeyScope[];
  limits: ApiKeyLimits;
  expiresMs?: number | undefined;
}

export interface ApiKeyChange {
  name?: string;
  scopes?: readonly ApiKeyScope[];
  limits?: ApiKeyLimits;
  /** Null: never. */
  expiresMs?: number | null;
}

/** A key with its text, which is told once and kept nowhere. */
export interface IssuedKey {
  key: ApiKey;
  text: string;
}

export type KeyRefusal = 'missing' | 'tenant_missing' | 'revoked' | 'full';

/** The API keys of the platform. Every change leaves a line in the audit log. */
export interface ApiKeys {
  /** Null for an id that is none, and for the key of a tenant that is gone. */
  find(id: string): Promise<KnownKey | null>;
  list(tenant?: string): Promise<ListedKey[]>;
  read(id: string): Promise<ListedKey | null>;
  create(wanted: NewApiKey, by: AuditActor): Promise<IssuedKey | KeyRefusal>;
  update(id: string, change: ApiKeyChange, by: AuditActor): Promise<ApiKey | KeyRefusal>;
  /** The secrets before go on for so long beside the new one. */
  rotate(id: string, overlapMs: number, by: AuditActor): Promise<IssuedKey | KeyRefusal>;
  /** Final. A repeat changes nothing. */
  revoke(id: string, by: AuditActor): Promise<ApiKey | KeyRefusal>;
  noteUse(id: string): Promise<void>;
  /** The first key there is; undefined when there are some. Of several callers one gets it. */
  createFirst(wanted: NewApiKey, by: AuditActor): Promise<IssuedKey | undefined>;
}

export type TenantRefusal = 'missing' | 'exists' | 'has_keys' | 'full';

/** The tenants of the platform. The default one is always there. Every change leaves a line in the audit log. */
export interface Tenants {
  list(): Promise<Tenant[]>;
  read(id: string): Promise<Tenant | null>;
  create(id: string, settings: TenantSettings, by: AuditActor): Promise<Tenant | TenantRefusal>;
  update(id: string, change: Partial<TenantSettings>, by: AuditActor): Promise<Tenant | TenantRefusal>;
  /** Only one without keys that can be used. Its data goes when its retention is over. */
  delete(id: string, by: AuditActor): Promise<'deleted' | TenantRefusal>;
  /** Makes the shares of every queue what the tenants' weights say: mends what a crash left, or a new partition lacks. */
  reconcile(): Promise<void>;
}

/** Lines of one chain, with what they hang between. */
export interface AuditPage {
  lines: AuditLine[];
  /** Lines that a version before chains wrote: nothing is known of them. */
  unchained: number;
  /** The newest line that is kept no more. */
  before: AuditMark;
  head: AuditMark;
  /** Where the next page begins; undefined on the last one. */
  next: string | undefined;
}

/** The audit log: a chain for each place where things happen, since what is done and the line about it are one step. */
export interface AuditLog {
  readonly chains: readonly string[];
  page(chain: string, limit: number, after?: string): Promise<AuditPage>;
}
