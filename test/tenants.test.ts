import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { TENANT_DEFAULTS } from '@onqueue/shared';
import { closeRedis, connectRedis, type RedisConnection, RedisKeys } from '@onqueue/shared/redis';
import { request } from './support/client.ts';
import { bearer, type KeyBench, openKeyBench, TEST_ACTOR } from './support/keys.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';
import { until } from './support/until.ts';

/** What an operator has agreed with a tenant holds for its jobs, files and shares. */

let platform: TestPlatform;
let models: Awaited<ReturnType<typeof writeTestModels>>;
let bench: KeyBench;
let redis: RedisConnection;
const keys = new RedisKeys('oq');

beforeAll(async () => {
  models = await writeTestModels();
  platform = await startTestPlatform({
    modelsDir: models.dir,
    apiEnv: { ONQUEUE_AUTH: 'on', ONQUEUE_KEY_CACHE_MS: '0' },
  });
  bench = await openKeyBench(platform.redisUrl);
  redis = connectRedis(platform.redisUrl, { kind: 'worker' }, () => {});
});
afterAll(async () => {
  if (redis) await closeRedis(redis);
  await bench?.close();
  await platform?.stop();
  await models?.remove();
});

const call = <T = Record<string, unknown>>(key: string, method: string, path: string, body?: unknown) =>
  request<T>(`${platform.baseUrl}${path}`, {
    method,
    headers: { ...bearer(key), ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
const input = { x0: 1, x1: 2, x2: 3 };

async function newTenant(id: string, settings: object = {}): Promise<string> {
  await bench.tenants.create(id, { name: id, ...TENANT_DEFAULTS, ...settings }, TEST_ACTOR);
  return bench.key(['read', 'write', 'admin'], { tenant: id });
}

test('jobs are kept for as long as the tenant says, unless they say so themselves', async () => {
  const key = await newTenant('short', { retention_s: 600 });
  const keptMs = async (body: object) => {
    const { id } = (await call<{ id: string }>(key, 'POST', '/jobs', { model: 'linear', input, ...body })).body;
    await until('it has ended', async () => (await call(key, 'GET', `/jobs/${id}`)).body.status === 'succeeded');
    return redis.pttl(keys.job(0, 'short', id));
  };
  const bySettings = await keptMs({});
  expect([bySettings > 500_000, bySettings <= 600_000]).toEqual([true, true]);
  const byItself = await keptMs({ retention: 60 });
  expect([byItself > 0, byItself <= 60_000]).toEqual([true, true]);
  await call(key, 'PATCH', '/admin/tenants/short', { retention_s: null });
  expect(await keptMs({})).toBeGreaterThan(600_000);
});

test('a key has its rate and a tenant its day, and what is refused for other reasons is not charged', async () => {
  const key = await newTenant('metered', { quotas: { rows_per_day: 5 } });
  const limits = { rows_per_s: 0.01, burst_rows: 3 };
  const slow = await bench.key(['read', 'write'], { tenant: 'metered', limits });
  const post = (by: string, rows: number, more: object = {}) =>
    call(by, 'POST', '/jobs', { model: 'linear', inputs: Array(rows).fill(input), ...more });
  const first = await post(slow, 2);
  expect(first.status).toBe(202);
  expect(first.headers.get('ratelimit-policy')).toBe('"rows";q=3;w=300, "rows_per_day";q=5;w=86400');
  expect(first.headers.get('ratelimit')).toMatch(/^"rows";r=1;t=200, "rows_per_day";r=3;t=\d+$/);
  const limited = await post(slow, 2);
  expect([limited.status, limited.body.code, limited.headers.get('retry-after')]).toEqual([429, 'rate_limited', '100']);
  expect(limited.headers.get('ratelimit')).toMatch(/^"rows";r=1;/);
  // The lane takes nothing: both are given back.
  await call(key, 'POST', '/admin/models/linear/lanes/bulk/drain');
  expect((await post(slow, 1, { lane: 'bulk' })).body.code).toBe('lane_draining');
  await call(key, 'POST', '/admin/models/linear/lanes/bulk/resume');
  expect((await post(slow, 1)).status).toBe(202);
  expect((await post(key, 3)).body.code).toBe('quota_exceeded');
  expect((await post(key, 2)).status).toBe(202);
});

test('what was refused does not pass for nothing when it comes again with its Idempotency-Key', async () => {
  await newTenant('keyed');
  const slow = await bench.key(['read', 'write'], { tenant: 'keyed', limits: { rows_per_s: 0.01, burst_rows: 3 } });
  const post = (rows: number, key: string) =>
    request<{ id: string; code: string }>(`${platform.baseUrl}/jobs`, {
      method: 'POST',
      headers: { ...bearer(slow), 'content-type': 'application/json', 'idempotency-key': key },
      body: JSON.stringify({ model: 'linear', inputs: Array(rows).fill(input) }),
    });
  const made = await post(2, 'a');
  expect(made.status).toBe(202);
  for (let time = 0; time < 2; time++) expect((await post(2, 'b')).body.code).toBe('rate_limited');
  const again = await post(2, 'a');
  expect([again.status, again.body.id, again.headers.get('ratelimit')]).toEqual([202, made.body.id, null]);
});

test('files are as many as the tenant may have', async () => {
  const key = await newTenant('small', { storage: { max_files: 1 } });
  const upload = () =>
    request(`${platform.baseUrl}/files`, {
      method: 'POST',
      headers: { ...bearer(key), 'content-type': 'text/plain' },
      body: 'x',
    });
  expect((await upload()).status).toBe(201);
  expect((await upload()).body.code).toBe('files_full');
  await call(key, 'PATCH', '/admin/tenants/small', { storage: { max_files: 2 } });
  expect((await upload()).status).toBe(201);
});

test('a weight counts for jobs that are parked already', async () => {
  const [light, heavy] = [await newTenant('light'), await newTenant('heavy')];
  const run = async (key: string, count: number) => {
    const ids: string[] = [];
    for (let i = 0; i < count; i += 1) {
      const { body } = await call<{ id: string }>(key, 'POST', '/jobs', { model: 'linear', input, lane: 'bulk' });
      ids.push(body.id);
    }
    return ids;
  };
  await call(light, 'POST', '/admin/models/linear/lanes/bulk/pause');
  // Beyond what goes straight to the wait list jobs are parked, with their tenants'.
  await run(light, 70);
  await Promise.all([run(light, 60), run(heavy, 60)]);
  const parked = (tenant: string) => redis.zcard(keys.parked(0, 'linear.bulk', tenant));
  const before = [await parked('light'), await parked('heavy')] as [number, number];
  expect(Math.min(...before)).toBeGreaterThan(30);
  await call(heavy, 'PATCH', '/admin/tenants/heavy', { weight: 1000 });
  // Fed until one of the two has nothing parked any more: that is the heavy one, and the light one has most of its jobs.
  await call(light, 'POST', '/admin/models/linear/lanes/bulk/resume');
  const ended = await until('the heavy tenant is through', async () => {
    const { body } = await call<{ data: unknown[]; has_more: boolean }>(heavy, 'GET', '/jobs?status=queued&limit=100');
    return body.data.length === 0;
  });
  expect(ended).toBe(true);
  const order = await firstStarts();
  expect(order.heavy).toBeLessThan(order.light);
});

/** The mean place of each tenant's jobs among all that were parked and have started. */
async function firstStarts(): Promise<{ light: number; heavy: number }> {
  const startedOf = async (tenant: string) => {
    const ids = await redis.zrange(keys.jobs(0, tenant, 'linear'), '0', '-1');
    const times = await until('all have started', async () => {
      const found = await Promise.all(ids.map((id) => redis.hget(keys.job(0, tenant, id), 'started_us')));
      return found.every((time) => time !== null) && found.map(Number);
    });
    return times.slice(-60);
  };
  const [light, heavy] = [await startedOf('light'), await startedOf('heavy')];
  const mean = (times: number[]) => times.reduce((sum, time) => sum + time, 0) / times.length;
  return { light: mean(light), heavy: mean(heavy) };
}

test('what is done to endpoints stands in the audit log, with the key that did it, and no secret', async () => {
  const key = await newTenant('hooks');
  const { body } = await call<{ id: string; secret: string }>(key, 'POST', '/webhooks/endpoints', {
    url: 'https://example.com/hook',
    events: ['job.succeeded'],
    models: [],
  });
  await call(key, 'PATCH', `/webhooks/endpoints/${body.id}`, { status: 'disabled' });
  await call(key, 'POST', `/webhooks/endpoints/${body.id}/rotate`, {});
  await call(key, 'DELETE', `/webhooks/endpoints/${body.id}`);
  const audit = await call<{ data: { text: string; entry: Record<string, unknown> }[] }>(
    key,
    'GET',
    '/admin/audit?chain=0&limit=1000',
  );
  const lines = audit.body.data.filter(({ entry }) => entry.endpoint_id === body.id);
  expect(lines.map(({ entry }) => entry.action)).toEqual([
    'endpoint.created',
    'endpoint.changed',
    'endpoint.rotated',
    'endpoint.deleted',
  ]);
  expect(new Set(lines.map(({ entry }) => entry.key))).toEqual(new Set([key.split('_')[2]]));
  expect(JSON.stringify(lines)).not.toContain(body.secret);
});
