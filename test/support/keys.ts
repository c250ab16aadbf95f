import { type ApiKeyScope, DEFAULT_TENANT, type NewApiKey } from '@onqueue/shared';
import { closeRedis, connectRedis, RedisApiKeys, RedisKeys, RedisTenants, whenReady } from '@onqueue/shared/redis';

/** Keys and tenants for a platform that asks for keys, made in its Redis. */
export interface KeyBench {
  /** The text of a new key. */
  key(scopes: readonly ApiKeyScope[], wanted?: Partial<NewApiKey>): Promise<string>;
  keys: RedisApiKeys;
  tenants: RedisTenants;
  close(): Promise<void>;
}

export const TEST_ACTOR = { requestId: 'test' };

export async function openKeyBench(redisUrl: string): Promise<KeyBench> {
  const redis = connectRedis(redisUrl, { kind: 'worker' }, () => {});
  await whenReady(redis);
  const common = { redis, keys: new RedisKeys('oq'), maxAuditLines: 100_000 };
  const keys = new RedisApiKeys({ ...common, maxKeys: 1000 });
  return {
    keys,
    tenants: new RedisTenants({ ...common, partitions: 1, maxTenants: 1000 }),
    async key(scopes, wanted = {}) {
      const base = { tenant: DEFAULT_TENANT, name: 'of a test', env: 'test', limits: {} };
      const issued = await keys.create({ ...base, scopes, ...wanted }, TEST_ACTOR);
      if (typeof issued === 'string') throw new Error(`no key was made: ${issued}`);
      return issued.text;
    },
    close: () => closeRedis(redis),
  };
}

export function bearer(key: string): { authorization: string } {
  return { authorization: `Bearer ${key}` };
}
