import type { ApiKeyChange, ApiKeys, IssuedKey, KeyRefusal, KnownKey, ListedKey, NewApiKey } from '../access-ports.ts';
import { type ApiKey, apiKey, apiKeyHash, newApiKeyId, newApiKeyText } from '../api-key.ts';
import type { AuditActor } from '../audit-line.ts';
import { DEFAULT_TENANT } from '../tenant.ts';
import type { RedisConnection } from './connection.ts';
import type { RedisKeys } from './keys.ts';
import { auditActor } from './redis-audit-log.ts';
import { storedTenant } from './redis-tenants.ts';
import { CHANGE_KEY_LUA, FIND_KEY_LUA, NOTE_USE_LUA, READ_ENTRY_LUA } from './scripts/access.ts';
import { withStoreErrors } from './store-error.ts';

export interface RedisApiKeysOptions {
  redis: RedisConnection;
  keys: RedisKeys;
  /** With those that are revoked or over, as long as there is room for them. */
  maxKeys: number;
  maxAuditLines: number;
}

/** Secrets that are valid at once; a rotation that would make one more ends the oldest. */
const MAX_SECRETS = 5;

/** API keys in the fleet's slot, where tenants and their audit log are too: a change and its line are one script. */
export class RedisApiKeys implements ApiKeys {
  readonly #options: RedisApiKeysOptions;

  constructor(options: RedisApiKeysOptions) {
    this.#options = options;
  }

  async find(id: string): Promise<KnownKey | null> {
    const { apiKeys, apiKeysUsed, tenants } = this.#options.keys;
    const reply = await this.#eval(FIND_KEY_LUA, [apiKeys, apiKeysUsed, tenants], id);
    const [text, used, tenantText, tenantId, nowMs] = reply as [
      string | null,
      string | null,
      string | null,
      string,
      number,
    ];
    const tenant = storedTenant(tenantId, tenantText);
    if (text === null || tenant === null) return null;
    return { key: parse(text), tenant, lastUsedMs: used === null ? undefined : Number(used), nowMs };
  }

  async list(tenant?: string): Promise<ListedKey[]> {
    const { redis, keys } = this.#options;
    const [texts, uses] = await withStoreErrors(() =>
      Promise.all([redis.hvals(keys.apiKeys), redis.hgetall(keys.apiKeysUsed)]),
    );
    return texts
      .map(parse)
      .filter((key) => tenant === undefined || key.tenant === tenant)
      .toSorted((a, b) => a.created_ms - b.created_ms || (a.id < b.id ? -1 : 1))
      .map((key) => ({ key, lastUsedMs: uses[key.id] === undefined ? undefined : Number(uses[key.id]) }));
  }

  async read(id: string): Promise<ListedKey | null> {
    const { redis, keys } = this.#options;
    const [text, used] = await withStoreErrors(() =>
      Promise.all([redis.hget(keys.apiKeys, id), redis.hget(keys.apiKeysUsed, id)]),
    );
    return text === null ? null : { key: parse(text), lastUsedMs: used === null ? undefined : Number(used) };
  }

  async create(wanted: NewApiKey, by: AuditActor): Promise<IssuedKey | KeyRefusal> {
    const outcome = await this.#create(wanted, by, false);
    return outcome === 'not_first' ? 'full' : outcome;
  }

  async createFirst(wanted: NewApiKey, by: AuditActor): Promise<IssuedKey | undefined> {
    const outcome = await this.#create(wanted, by, true);
    return typeof outcome === 'string' ? undefined : outcome;
  }

  async update(id: string, change: ApiKeyChange, by: AuditActor): Promise<ApiKey | KeyRefusal> {
    const { expiresMs, ...rest } = change;
    return this.#change(id, 'key.changed', by, { fields: Object.keys(change) }, (before) => {
      const { expires_ms: _, ...others } = before;
      const expires = expiresMs === undefined ? before.expires_ms : (expiresMs ?? undefined);
      return { ...others, ...rest, ...(expires === undefined ? {} : { expires_ms: expires }) } as ApiKey;
    });
  }

  async rotate(id: string, overlapMs: number, by: AuditActor): Promise<IssuedKey | KeyRefusal> {
    let text = '';
    const key = await this.#change(id, 'key.rotated', by, { overlap_s: overlapMs / 1000 }, (before, nowMs) => {
      text = newApiKeyText(before);
      const older = before.secrets
        .map((one) => ({ ...one, expires_ms: Math.min(one.expires_ms ?? Number.POSITIVE_INFINITY, nowMs + overlapMs) }))
        .filter((one) => one.expires_ms > nowMs)
        .slice(0, MAX_SECRETS - 1);
      return { ...before, secrets: [{ sha256: apiKeyHash(text), created_ms: nowMs }, ...older] };
    });
    return typeof key === 'string' ? key : { key, text };
  }

  async revoke(id: string, by: AuditActor): Promise<ApiKey | KeyRefusal> {
    const found = await this.read(id);
    if (found?.key.revoked_ms !== undefined) return found.key;
    return this.#change(id, 'key.revoked', by, {}, (before, nowMs) => ({ ...before, revoked_ms: nowMs }));
  }

  async noteUse(id: string): Promise<void> {
    await this.#eval(NOTE_USE_LUA, [this.#options.keys.apiKeysUsed], id);
  }

  async #create(wanted: NewApiKey, by: AuditActor, isFirst: boolean): Promise<IssuedKey | KeyRefusal | 'not_first'> {
    const id = newApiKeyId();
    const text = newApiKeyText({ env: wanted.env, id });
    const { nowMs } = await this.#read(id);
    const { expiresMs, scopes, ...rest } = wanted;
    const key: ApiKey = {
      schema_version: 1,
      id,
      ...rest,
      scopes: [...scopes],
      secrets: [{ sha256: apiKeyHash(text), created_ms: nowMs }],
      created_ms: nowMs,
      updated_ms: nowMs,
      ...(expiresMs === undefined ? {} : { expires_ms: expiresMs }),
    };
    const line = { action: 'key.created', scopes: key.scopes };
    const code = await this.#replace(id, '', key, line, by, isFirst);
    if (code === -1) return 'full';
    if (code === -2) return 'tenant_missing';
    return code === -3 ? 'not_first' : { key, text };
  }

  /** Tries until nobody else has changed it meanwhile. */
  async #change(
    id: string,
    action: string,
    by: AuditActor,
    details: Record<string, unknown>,
    change: (before: ApiKey, nowMs: number) => ApiKey,
  ): Promise<ApiKey | KeyRefusal> {
    for (;;) {
      const { text, nowMs } = await this.#read(id);
      if (text === '') return 'missing';
      const before = parse(text);
      if (before.revoked_ms !== undefined) return 'revoked';
      const key = { ...change(before, nowMs), updated_ms: nowMs };
      if ((await this.#replace(id, text, key, { action, ...details }, by, false)) === 1) return key;
    }
  }

  async #replace(
    id: string,
    before: string,
    key: ApiKey,
    line: Record<string, unknown>,
    by: AuditActor,
    isFirst: boolean,
  ): Promise<number> {
    const { keys, maxKeys, maxAuditLines } = this.#options;
    const places = [keys.apiKeys, keys.apiKeysUsed, keys.tenants, keys.fleetAudit, keys.fleetAuditHead];
    const code = await this.#eval(
      CHANGE_KEY_LUA,
      places,
      id,
      before,
      JSON.stringify(key),
      maxKeys,
      key.tenant,
      DEFAULT_TENANT,
      isFirst ? '1' : '0',
      JSON.stringify({ ...line, key_id: id, tenant: key.tenant }),
      auditActor(by),
      maxAuditLines,
    );
    return Number(code);
  }

  async #read(id: string): Promise<{ text: string; nowMs: number }> {
    const [text, nowMs] = (await this.#eval(READ_ENTRY_LUA, [this.#options.keys.apiKeys], id)) as [
      string | null,
      number,
    ];
    return { text: text ?? '', nowMs };
  }

  #eval(lua: string, keys: readonly string[], ...args: (string | number)[]): Promise<unknown> {
    return withStoreErrors(() => this.#options.redis.eval(lua, keys.length, ...keys, ...args));
  }
}

const parse = (text: string) => apiKey.parse(JSON.parse(text));
