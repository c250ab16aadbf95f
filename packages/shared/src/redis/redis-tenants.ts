import type { TenantRefusal, Tenants } from '../access-ports.ts';
import type { AuditActor } from '../audit-line.ts';
import { DEFAULT_TENANT, TENANT_DEFAULTS, type Tenant, type TenantSettings, tenant } from '../tenant.ts';
import type { RedisConnection } from './connection.ts';
import type { RedisKeys } from './keys.ts';
import { auditActor } from './redis-audit-log.ts';
import { CHANGE_TENANT_LUA, READ_ENTRY_LUA } from './scripts/access.ts';
import { withStoreErrors } from './store-error.ts';

export interface RedisTenantsOptions {
  redis: RedisConnection;
  keys: RedisKeys;
  partitions: number;
  maxTenants: number;
  maxAuditLines: number;
}

/** Tenants in the fleet's slot, and their weights in every partition, for the scripts that share queues. */
export class RedisTenants implements Tenants {
  readonly #options: RedisTenantsOptions;

  constructor(options: RedisTenantsOptions) {
    this.#options = options;
  }

  async list(): Promise<Tenant[]> {
    const { redis, keys } = this.#options;
    const texts = await withStoreErrors(() => redis.hvals(keys.tenants));
    const found = texts.map((text) => tenant.parse(JSON.parse(text)));
    const isDefaultStored = found.some(({ id }) => id === DEFAULT_TENANT);
    return [...(isDefaultStored ? [] : [defaultTenant()]), ...found].toSorted((a, b) => (a.id < b.id ? -1 : 1));
  }

  async read(id: string): Promise<Tenant | null> {
    const { redis, keys } = this.#options;
    return storedTenant(id, await withStoreErrors(() => redis.hget(keys.tenants, id)));
  }

  async create(id: string, settings: TenantSettings, by: AuditActor): Promise<Tenant | TenantRefusal> {
    const { text, nowMs } = await this.#read(id);
    if (text !== '' || id === DEFAULT_TENANT) return 'exists';
    const created: Tenant = { schema_version: 1, id, ...settings, created_ms: nowMs, updated_ms: nowMs };
    const code = await this.#replace(id, '', created, { action: 'tenant.created' }, by);
    if (code === 0) return 'exists';
    if (code === -1) return 'full';
    await this.#setWeight(id, created.weight);
    return created;
  }

  /** Tries until nobody else has changed it meanwhile. */
  async update(id: string, change: Partial<TenantSettings>, by: AuditActor): Promise<Tenant | TenantRefusal> {
    for (;;) {
      const { text, nowMs } = await this.#read(id);
      const before = storedTenant(id, text === '' ? null : text);
      if (before === null) return 'missing';
      const after: Tenant = { ...before, ...change, updated_ms: nowMs };
      const line = { action: 'tenant.changed', fields: Object.keys(change) };
      const code = await this.#replace(id, text, after, line, by);
      if (code === -1) return 'full';
      if (code !== 1) continue;
      await this.#setWeight(id, after.weight);
      return after;
    }
  }

  async delete(id: string, by: AuditActor): Promise<'deleted' | TenantRefusal> {
    for (;;) {
      const { text } = await this.#read(id);
      if (id === DEFAULT_TENANT) return 'has_keys';
      if (text === '') return 'missing';
      const code = await this.#replace(id, text, undefined, { action: 'tenant.deleted' }, by);
      if (code === -2) return 'has_keys';
      if (code !== 1) continue;
      await this.#setWeight(id, undefined);
      return 'deleted';
    }
  }

  async reconcile(): Promise<void> {
    for (const { id, weight } of await this.list()) await this.#setWeight(id, weight);
  }

  /** Counts at the next job that is fed, also for those that are parked already. */
  async #setWeight(id: string, weight: number | undefined): Promise<void> {
    const { redis, keys, partitions } = this.#options;
    const hashes = Array.from({ length: partitions }, (_, partition) => keys.weights(partition));
    await withStoreErrors(() =>
      Promise.all(
        hashes.map((key) =>
          weight === undefined || weight === 1 ? redis.hdel(key, id) : redis.hset(key, id, String(weight)),
        ),
      ),
    );
  }

  async #replace(
    id: string,
    before: string,
    after: Tenant | undefined,
    line: Record<string, unknown>,
    by: AuditActor,
  ): Promise<number> {
    const { keys, maxTenants, maxAuditLines } = this.#options;
    const places = [keys.tenants, keys.apiKeys, keys.fleetAudit, keys.fleetAuditHead];
    const code = await this.#eval(
      CHANGE_TENANT_LUA,
      places,
      id,
      before,
      after ? JSON.stringify(after) : '',
      maxTenants,
      JSON.stringify({ ...line, tenant: id }),
      auditActor(by),
      maxAuditLines,
    );
    return Number(code);
  }

  async #read(id: string): Promise<{ text: string; nowMs: number }> {
    const [text, nowMs] = (await this.#eval(READ_ENTRY_LUA, [this.#options.keys.tenants], id)) as [
      string | null,
      number,
    ];
    return { text: text ?? '', nowMs };
  }

  #eval(lua: string, keys: readonly string[], ...args: (string | number)[]): Promise<unknown> {
    return withStoreErrors(() => this.#options.redis.eval(lua, keys.length, ...keys, ...args));
  }
}

/** The default tenant is there also where nobody has said anything of it. */
export function storedTenant(id: string, text: string | null): Tenant | null {
  if (text !== null) return tenant.parse(JSON.parse(text));
  return id === DEFAULT_TENANT ? defaultTenant() : null;
}

function defaultTenant(): Tenant {
  return { schema_version: 1, id: DEFAULT_TENANT, name: 'Default', ...TENANT_DEFAULTS, created_ms: 0, updated_ms: 0 };
}
