import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { ChildService, RedisServer } from '@onqueue/launcher';
import { API_KEY_SCOPES, apiKeyIdOf, newJobId, TENANT_DEFAULTS } from '@onqueue/shared';
import { closeRedis, connectRedis, type RedisConnection, RedisKeys, whenReady } from '@onqueue/shared/redis';
import { WebSocket } from 'ws';
import { onqueue } from './support/cli.ts';
import { request } from './support/client.ts';
import { bearer, type KeyBench, openKeyBench, TEST_ACTOR } from './support/keys.ts';
import { startPrivateRedis } from './support/platform.ts';
import { startApi } from './support/processes.ts';
import { until } from './support/until.ts';

/** Keys, from the first one to their ends, against real API processes. */

const keys = new RedisKeys('oq');
const ON = { ONQUEUE_AUTH: 'on' };
const KEY = /oq_live_[0-9a-f]{20}_[0-9A-Za-z]{43}/g;

let server: RedisServer;
let redis: RedisConnection;
let bench: KeyBench;
let apis: ChildService[] = [];

beforeAll(async () => {
  server = await startPrivateRedis();
  redis = connectRedis(server.url, { kind: 'worker' }, () => {});
  await whenReady(redis);
  bench = await openKeyBench(server.url);
});
afterAll(async () => {
  await bench?.close();
  if (redis) await closeRedis(redis);
  await server?.stop();
});
beforeEach(() => redis.flushall());
afterEach(async () => {
  await Promise.all(apis.map((api) => api.stop()));
  apis = [];
});

async function start(env: Record<string, string> = ON, redisUrl = server.url): Promise<ChildService> {
  const api = await startApi({ redisUrl, env });
  apis.push(api);
  await api.ready;
  return api;
}

const statusOf = async (api: ChildService, key: string, path = '/jobs') =>
  (await request(`${api.baseUrl}${path}`, { headers: bearer(key) })).status;
const printedBy = (...some: ChildService[]) => some.flatMap((api) => api.logs().join('\n').match(KEY) ?? []);
const firstKeyOf = (...some: ChildService[]) => until('a key is printed', async () => printedBy(...some)[0]);

describe('the first start', () => {
  test('of several APIs prints one key, which may do everything', async () => {
    const both = await Promise.all([start(), start()]);
    const key = await firstKeyOf(...both);
    for (const path of ['/jobs', '/metrics', '/admin/keys']) {
      expect([path, await statusOf(both[0] as ChildService, key, path)]).toEqual([path, 200]);
    }
    const { body } = await request<{ data: { id: string }[] }>(`${both[1]?.baseUrl}/admin/keys`, {
      headers: bearer(key),
    });
    expect(body.data.map(({ id }) => id)).toEqual([apiKeyIdOf(key)]);
    expect(printedBy(...both)).toEqual([key]);
  });

  test('is not the second', async () => {
    await firstKeyOf(await start());
    const second = await start();
    await until('it has looked', async () => second.logs().some((line) => line.includes('redis is ready')));
    expect(await statusOf(second, 'oq_live_x')).toBe(401);
    expect([await redis.hlen(keys.apiKeys), printedBy(second)]).toEqual([1, []]);
  });
});

describe('ONQUEUE_AUTH', () => {
  test('asks for no key on loopback, and takes one for nothing', async () => {
    const api = await start({});
    expect(await statusOf(api, 'oq_live_x')).toBe(200);
    expect((await request(`${api.baseUrl}/admin/tenants`)).status).toBe(200);
    expect(await redis.hlen(keys.apiKeys)).toBe(0);
  });

  test('asks for keys where others can ask', async () => {
    const api = await start({ ONQUEUE_HOST: '0.0.0.0' });
    expect((await request(`${api.baseUrl}/jobs`)).status).toBe(401);
    expect((await request(`${api.baseUrl}/readyz`)).status).toBe(200);
  });

  test('off is refused there, with what to do about it', async () => {
    const api = await startApi({ redisUrl: server.url, env: { ONQUEUE_AUTH: 'off', ONQUEUE_HOST: '0.0.0.0' } });
    api.ready.catch(() => {});
    expect(await api.exited).toMatchObject({ code: 1 });
    expect(api.logs().join('\n')).toMatch(/ONQUEUE_AUTH=off is accepted only.*set ONQUEUE_HOST=127\.0\.0\.1/s);
  });
});

describe('a key', () => {
  test('that is rotated goes on beside the new one for as long as was asked, and no longer', async () => {
    const api = await start({ ...ON, ONQUEUE_KEY_CACHE_MS: '0' });
    const admin = await bench.key(['admin']);
    const old = await bench.key(['read']);
    const rotate = async (overlapS: number) => {
      const answer = await request<{ key: string }>(`${api.baseUrl}/admin/keys/${apiKeyIdOf(old)}/rotate`, {
        method: 'POST',
        headers: { ...bearer(admin), 'content-type': 'application/json' },
        body: JSON.stringify({ overlap_s: overlapS }),
      });
      return answer.body.key;
    };
    const next = await rotate(3600);
    expect(await Promise.all([old, next].map((key) => statusOf(api, key)))).toEqual([200, 200]);
    const last = await rotate(0);
    expect(await Promise.all([old, next, last].map((key) => statusOf(api, key)))).toEqual([401, 401, 200]);
  });

  test('that is revoked ends at once where it was revoked, and elsewhere when its time in memory is over', async () => {
    const [here, there] = await Promise.all([start(), start({ ...ON, ONQUEUE_KEY_CACHE_MS: '200' })]);
    const admin = await bench.key(['admin']);
    const key = await bench.key(['read']);
    expect(await Promise.all([here, there].map((api) => statusOf(api, key)))).toEqual([200, 200]);
    const url = `${here.baseUrl}/admin/keys/${apiKeyIdOf(key)}`;
    const first = await request(url, { method: 'DELETE', headers: bearer(admin) });
    expect([first.status, typeof first.body.revoked_at]).toEqual([200, 'string']);
    expect(await statusOf(here, key)).toBe(401);
    await until('the other API has read it anew', async () => (await statusOf(there, key)) === 401);
    expect(await request(url, { method: 'DELETE', headers: bearer(admin) })).toMatchObject({
      status: 200,
      body: first.body,
    });
    expect(
      (
        await request(`${url}/rotate`, {
          method: 'POST',
          headers: { ...bearer(admin), 'content-type': 'application/json' },
          body: '{}',
        })
      ).body.code,
    ).toBe('key_revoked');
  });

  test('is needed for a WebSocket too', async () => {
    const api = await start();
    const key = await bench.key(['read']);
    const statusOfHandshake = (headers: Record<string, string>) =>
      new Promise<number | undefined>((resolve, reject) => {
        const socket = new WebSocket(
          `${api.baseUrl.replace('http', 'ws')}/jobs/${newJobId({ createdAtMs: Date.now(), partition: 0 })}/events`,
          { headers },
        );
        socket.on('unexpected-response', (_, response) => {
          resolve(response.statusCode);
          response.destroy();
        });
        socket.on('error', reject);
      });
    expect(await statusOfHandshake({})).toBe(401);
    expect(await statusOfHandshake(bearer(`${key}0`))).toBe(401);
    expect(await statusOfHandshake(bearer(key))).toBe(404);
  });

  test('tells when it was used', async () => {
    const api = await start();
    const key = await bench.key(API_KEY_SCOPES);
    await statusOf(api, key);
    const used = await until('it is written down', async () => {
      const { body } = await request(`${api.baseUrl}/admin/keys/${apiKeyIdOf(key)}`, { headers: bearer(key) });
      return body.last_used_at as string | null;
    });
    expect(Math.abs(Date.parse(String(used)) - Date.now())).toBeLessThan(60_000);
  });

  test('lets nobody in while Redis is away, and everybody again when it is back', async () => {
    const own = await startPrivateRedis();
    try {
      const api = await start({ ...ON, ONQUEUE_KEY_CACHE_MS: '0' }, own.url);
      const key = await firstKeyOf(api);
      expect(await statusOf(api, key, '/docs')).toBe(200);
      await own.kill();
      expect((await request(`${api.baseUrl}/jobs`, { headers: bearer(key) })).body.code).toBe('storage_unavailable');
      expect((await request(`${api.baseUrl}/metrics`, { headers: bearer(key) })).status).toBe(503);
      expect((await request(`${api.baseUrl}/jobs`)).status).toBe(401);
      await own.restart();
      await until('Redis is back', async () => (await statusOf(api, key)) === 200);
    } finally {
      await own.stop();
    }
  });
});

describe('tenants', () => {
  const call = (api: ChildService, method: string, path: string, body?: unknown) =>
    request(`${api.baseUrl}${path}`, {
      method,
      ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    });

  test('are made, changed and deleted, and their weights reach the shares of queues', async () => {
    const api = await start({ ONQUEUE_PARTITIONS: '2' });
    const weights = () => Promise.all([0, 1].map((partition) => redis.hget(keys.weights(partition), 'acme')));
    const made = await call(api, 'POST', '/admin/tenants', { id: 'acme', weight: 3 });
    expect(made).toMatchObject({
      status: 201,
      body: { id: 'acme', name: 'acme', weight: 3, quotas: {}, retention_s: null },
    });
    expect(await weights()).toEqual(['3', '3']);
    expect((await call(api, 'POST', '/admin/tenants', { id: 'acme' })).body.code).toBe('tenant_exists');
    expect((await call(api, 'PATCH', '/admin/tenants/acme', { weight: 0.5, retention_s: 60 })).body).toMatchObject({
      weight: 0.5,
      retention_s: 60,
    });
    expect(await weights()).toEqual(['0.5', '0.5']);
    expect((await call(api, 'DELETE', '/admin/tenants/acme')).status).toBe(204);
    expect([await weights(), (await call(api, 'GET', '/admin/tenants/acme')).body.code]).toEqual([
      [null, null],
      'tenant_not_found',
    ]);
  });

  test.each([
    [{ id: 'Acme' }],
    [{ id: 'a:b' }],
    [{ id: 'a b' }],
    [{ id: '' }],
    [{ id: 'acme', weight: 0 }],
    [{ id: 'acme', weight: 1001 }],
    [{ id: 'acme', quotas: { jobs: 1 } }],
    [{ id: 'acme', retention_s: 0 }],
  ])('are refused: %j', async (body) => {
    const api = await start({});
    expect(await call(api, 'POST', '/admin/tenants', body)).toMatchObject({
      status: 400,
      body: { code: 'invalid_request' },
    });
  });

  test('with keys that can be used are not deleted, nor is the default one', async () => {
    const api = await start({});
    await call(api, 'POST', '/admin/tenants', { id: 'acme' });
    const key = await bench.key(['read'], { tenant: 'acme' });
    expect((await call(api, 'DELETE', '/admin/tenants/acme')).body.code).toBe('tenant_in_use');
    await bench.keys.revoke(apiKeyIdOf(key) ?? '', TEST_ACTOR);
    expect((await call(api, 'DELETE', '/admin/tenants/acme')).status).toBe(204);
    expect((await call(api, 'DELETE', '/admin/tenants/default')).body.code).toBe('tenant_in_use');
    expect((await call(api, 'PATCH', '/admin/tenants/default', { weight: 2 })).body).toMatchObject({ weight: 2 });
  });

  test('of which a crash left the weight behind are mended at the next start', async () => {
    await bench.tenants.create('acme', { name: 'acme', ...TENANT_DEFAULTS, weight: 7 }, TEST_ACTOR);
    await redis.del(keys.weights(0));
    await start({});
    await until('the weight is there', async () => (await redis.hget(keys.weights(0), 'acme')) === '7');
  });

  test('and keys have limits to their number; spent keys make room', async () => {
    const api = await start({ ONQUEUE_MAX_TENANTS: '1', ONQUEUE_MAX_API_KEYS: '2' });
    await call(api, 'POST', '/admin/tenants', { id: 'one' });
    expect((await call(api, 'POST', '/admin/tenants', { id: 'two' })).body.code).toBe('tenants_full');
    const first = await call(api, 'POST', '/admin/keys', {});
    await call(api, 'POST', '/admin/keys', { tenant: 'one' });
    expect((await call(api, 'POST', '/admin/keys', {})).body.code).toBe('keys_full');
    expect((await call(api, 'POST', '/admin/keys', { tenant: 'nobody' })).body.code).toBe('tenant_not_found');
    await call(api, 'DELETE', `/admin/keys/${first.body.id}`);
    expect((await call(api, 'POST', '/admin/keys', {})).status).toBe(201);
    expect(await redis.hlen(keys.apiKeys)).toBe(2);
  });
});

describe('onqueue keys, tenants and audit', () => {
  test('do what an operator needs, from the first key to the check of the log', async () => {
    const api = await start();
    const env = { ONQUEUE_API_URL: api.baseUrl, ONQUEUE_API_KEY: await firstKeyOf(api) };
    const run = async (...args: string[]) => {
      const { code, stdout, stderr } = await onqueue(args, { env });
      expect([args, code, stderr]).toEqual([args, 0, '']);
      return stdout;
    };
    expect(
      await run('tenants', 'create', 'acme', '--weight', '2', '--retention', '1h', '--quota', 'rows_per_day=1000'),
    ).toMatch(/acme +2 +3600 s +rows_per_day=1000/);
    const issued = JSON.parse(
      await run('keys', 'create', '--tenant', 'acme', '--scopes', 'read', '--expires-in', '1h', '--json'),
    );
    expect(issued).toMatchObject({ tenant: 'acme', scopes: ['read'], key: expect.stringMatching(/^oq_live_/) });
    expect(await statusOf(api, issued.key)).toBe(200);
    const rotated = JSON.parse(await run('keys', 'rotate', issued.id, '--overlap', '0s', '--json'));
    expect([await statusOf(api, issued.key), await statusOf(api, rotated.key)]).toEqual([401, 200]);
    expect(await run('keys', 'revoke', issued.id)).toMatch(/is revoked/);
    expect(await run('keys', 'list', '--tenant', 'acme')).toMatch(/revoked/);
    await run('tenants', 'delete', 'acme');
    const actions = (await run('audit', 'list', '--chain', 'fleet', '--json'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).action);
    expect(actions).toEqual([
      'key.created',
      'tenant.created',
      'key.created',
      'key.rotated',
      'key.revoked',
      'tenant.deleted',
    ]);
    const { chains } = JSON.parse(await run('audit', 'verify', '--json'));
    await run('audit', 'verify', '--known', chains[0].head.hash);

    const [[id, fields] = ['', []]] = await redis.xrange(keys.fleetAudit, '-', '+', 'COUNT', 1);
    await redis.xdel(keys.fleetAudit, id);
    const broken = await onqueue(['audit', 'verify'], { env });
    expect([broken.code, broken.stdout]).toEqual([1, expect.stringMatching(/fleet: lines 1 to 1 were removed/)]);
    expect(JSON.parse(String(fields[1])).action).toBe('key.created');
  });

  test('say which key is missing, and never show one in their help', async () => {
    const api = await start();
    const env = { ONQUEUE_API_URL: api.baseUrl };
    const refused = await onqueue(['keys', 'list'], { env });
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringMatching(/unauthorized, 401.*ONQUEUE_API_KEY/s)]);
    const help = await onqueue(['keys', 'list', '--help'], { env: { ...env, ONQUEUE_API_KEY: 'canary-key' } });
    expect([help.code, help.stdout.includes('--key'), help.stdout.includes('canary-key')]).toEqual([0, true, false]);
  });
});
