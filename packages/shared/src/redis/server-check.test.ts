import { describe, expect, test } from '@jest/globals';
import type { Redis } from 'ioredis';
import { checkRedisServer, UnsuitableRedisError } from './server-check.ts';

const SUITABLE = { redis_version: '7.0.15', role: 'master', maxmemory_policy: 'noeviction', aof_enabled: '1' };

/** A server that answers INFO, and CONFIG GET unless its operator forbids it. */
function server(info: Record<string, string>, appendfsync?: string): Redis {
  return {
    info: async () =>
      Object.entries({ ...SUITABLE, ...info })
        .map(([key, value]) => `${key}:${value}`)
        .join('\r\n'),
    config: async () => {
      if (appendfsync === undefined) throw new Error('NOPERM');
      return ['appendfsync', appendfsync];
    },
  } as unknown as Redis;
}

describe('checkRedisServer', () => {
  test.each([
    ['1', 'always', 'durable'],
    ['1', 'everysec', 'default'],
    ['1', 'no', 'volatile'],
    ['0', 'always', 'volatile'],
    ['1', undefined, 'unknown'],
  ])('with aof_enabled %s and appendfsync %s reports %s', async (aofEnabled, appendfsync, durability) => {
    expect(await checkRedisServer(server({ aof_enabled: aofEnabled }, appendfsync))).toEqual({
      version: '7.0.15',
      maxmemoryPolicy: 'noeviction',
      durability,
    });
  });

  test.each(['6.2.0', '7.4.1', '8.0.0'])('takes Redis %s', async (version) => {
    await expect(checkRedisServer(server({ redis_version: version }))).resolves.toMatchObject({ version });
  });

  test.each(['6.0.16', '5.0.14', '2.8.0'])('refuses Redis %s and says which it needs', async (version) => {
    const refused = checkRedisServer(server({ redis_version: version }));
    await expect(refused).rejects.toThrow(UnsuitableRedisError);
    await expect(refused).rejects.toThrow('needs 6.2 or newer');
  });

  test.each(['allkeys-lru', 'volatile-ttl', 'allkeys-random'])(
    'refuses the policy %s and says how to change it',
    async (policy) => {
      await expect(checkRedisServer(server({ maxmemory_policy: policy }))).rejects.toThrow(
        'CONFIG SET maxmemory-policy noeviction',
      );
    },
  );

  test('refuses a replica, as something that passes', async () => {
    const refused = checkRedisServer(server({ role: 'slave' }));
    await expect(refused).rejects.toThrow('Redis is a replica');
    await expect(refused).rejects.not.toThrow(UnsuitableRedisError);
  });
});
