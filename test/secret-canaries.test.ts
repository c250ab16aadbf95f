import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Platform, RedisServer } from '@onqueue/launcher';
import { API_KEY_SCOPES, apiKeyIdOf } from '@onqueue/shared';
import { closeRedis, connectRedis, whenReady } from '@onqueue/shared/redis';
import { bearer, type KeyBench, openKeyBench } from './support/keys.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { startPlatformForTests, startPrivateRedis } from './support/platform.ts';
import { type Receiver, startReceiver } from './support/receiver.ts';
import { startTraceCollector, type TraceCollector } from './support/trace-collector.ts';
import { until } from './support/until.ts';

/** Secrets that are planted in real processes, and looked for in all that these say to anybody. */

const REDIS_PASSWORD = 'canary0redis0password0b61f';

let folder: string;
let models: Awaited<ReturnType<typeof writeTestModels>>;
let server: RedisServer;
let receiver: Receiver;
let collector: TraceCollector;
let platform: Platform;
let bench: KeyBench;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'onqueue-canaries-'));
  models = await writeTestModels();
  receiver = await startReceiver();
  collector = await startTraceCollector();
  server = await startPrivateRedis();
  const redis = connectRedis(server.url, { kind: 'worker' }, () => {});
  await whenReady(redis);
  await redis.config('SET', 'requirepass', REDIS_PASSWORD);
  await closeRedis(redis);
  const url = `redis://:${REDIS_PASSWORD}@127.0.0.1:${server.port}`;
  bench = await openKeyBench(url);
  // Before the first start, which prints none then.
  await bench.key(['read'], { name: 'before' });
  platform = await startPlatformForTests({
    modelsDir: models.dir,
    redis: { url },
    log: { file: join(folder, 'log') },
    env: {
      ONQUEUE_AUTH: 'on',
      ONQUEUE_LOG_LEVEL: 'trace',
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      ONQUEUE_WEBHOOK_MASTER_KEYS: Buffer.alloc(32, 'canary0master0key').toString('base64'),
      ONQUEUE_WEBHOOK_SIGNING_KEYS: `whsk_${Buffer.alloc(32, 'canary0signing0key').toString('base64')}`,
    },
  });
});
afterAll(async () => {
  await platform?.stop();
  await bench?.close();
  await server?.stop();
  await collector?.close();
  await receiver?.close();
  await models?.remove();
  await rm(folder, { recursive: true, force: true });
});

test('no secret stands in an answer, a log, a metric, a span or a webhook, however things go wrong', async () => {
  const said: string[] = [];
  const ask = async (path: string, init: RequestInit = {}) => {
    const response = await fetch(path.startsWith('http') ? path : `${platform.baseUrl}${path}`, init);
    const text = await response.text();
    const answer = JSON.stringify([...response.headers]) + text;
    return { status: response.status, text, answer };
  };
  const key = await bench.key(API_KEY_SCOPES);
  const json = { ...bearer(key), 'content-type': 'application/json' };
  const post = (path: string, body: unknown, headers: Record<string, string> = json) =>
    ask(path, { method: 'POST', headers, body: typeof body === 'string' ? body : JSON.stringify(body) });
  /** Answers that show a secret because they must. */
  const issued = JSON.parse((await post('/admin/keys', { name: 'shown once' })).text) as { key: string; id: string };
  const endpoint = JSON.parse(
    (await post('/webhooks/endpoints', { url: receiver.url('/hook'), events: ['job.succeeded'], models: [] })).text,
  ) as {
    id: string;
    secret: string;
  };
  const rotated = JSON.parse((await post(`/admin/keys/${issued.id}/rotate`, {})).text) as { key: string };

  const ordinary = [
    await post('/jobs', { model: 'linear', input: { x0: 1, x1: 2, x2: 3 }, webhook: receiver.url('/own') }),
    await ask('/admin/keys', { headers: json }),
    await ask(`/admin/keys/${issued.id}`, { headers: json }),
    await ask('/admin/audit?limit=1000', { headers: json }),
    await ask('/webhooks/endpoints', { headers: json }),
    await ask('/metrics', { headers: json }),
    await ask(`${platform.workers[0]?.baseUrl}/metrics`),
  ];
  expect(ordinary.map(({ status }) => status)).toEqual([202, 200, 200, 200, 200, 200, 200]);
  const refused = [
    await ask('/jobs', { headers: bearer(`${key}0`) }),
    await ask('/jobs', { headers: bearer(key.replace('oq_test', 'oq_live')) }),
    await ask('/jobs', { headers: { authorization: `Basic ${key}` } }),
    await ask('/admin/keys', { headers: bearer(issued.key) }),
    await ask('/nothing', { headers: json }),
    await post('/jobs', '{"model":', json),
    await post('/jobs', { model: 'linear', input: {} }, json),
    await ask('/jobs', { headers: { ...json, 'x-request-id': `bad ${key}` } }),
  ];
  expect(refused.slice(0, 7).map(({ status }) => status)).toEqual([401, 401, 401, 403, 404, 400, 400]);
  await until('both deliveries are there', () => receiver.requests.length >= 2);
  await collector.waitFor(({ name }) => name.includes('/jobs'));
  said.push(...[...ordinary, ...refused].map(({ answer }) => answer));
  // A connection that breaks is what most often takes a URL into a log.
  await server.kill();
  said.push(
    (await ask('/jobs', { headers: bearer(await Promise.resolve(key)) })).answer,
    (await ask('/readyz')).answer,
  );
  const log = () => readFile(join(folder, 'log'), 'utf8');
  await until('the loss is in the log', async () => (await log()).includes('redis connection'));
  await server.restart();
  // It comes back without its password, and so refuses the one that it is sent: errors of another kind.
  said.push((await ask('/readyz')).answer);
  await platform.stop();

  said.push(await log(), JSON.stringify(collector.spans), JSON.stringify(receiver.requests));
  const secretOf = (text: string) => String(text.split('_')[3]);
  const canaries = {
    key: secretOf(key),
    issued: secretOf(issued.key),
    rotated: secretOf(rotated.key),
    redisPassword: REDIS_PASSWORD,
    webhookSecret: platform.webhookSecret.slice('whsec_'.length),
    endpointSecret: endpoint.secret.slice('whsec_'.length),
    masterKey: Buffer.alloc(32, 'canary0master0key').toString('base64'),
    signingKey: Buffer.alloc(32, 'canary0signing0key').toString('base64'),
  };
  const everything = said.join('\n');
  const hits = Object.entries(canaries).filter(([, secret]) => everything.includes(secret));
  expect(hits.map(([name]) => name)).toEqual([]);
  // What was looked through is what was meant: ids of keys are no secrets, and stand in the log.
  expect(everything).toContain(`"key":"${apiKeyIdOf(key)}"`);
  expect(everything).toContain('redis connection');
  expect(collector.spans.length).toBeGreaterThan(5);
});
