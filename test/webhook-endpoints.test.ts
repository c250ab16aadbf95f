import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { parsePublicKey, parseWebhookSecret, verifyWebhook } from '@onqueue/shared';
import { connectRedis } from '@onqueue/shared/redis';
import { WebhookVerifier } from '@onqueue/shared/webhooks';
import { Webhook } from 'standardwebhooks';
import { acceptedJob, endedJob, postJob, request } from './support/client.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { writeLinearModel } from './support/models/tiny-models.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';
import { type ReceivedRequest, type Receiver, startReceiver } from './support/receiver.ts';
import { until } from './support/until.ts';

interface Endpoint {
  id: string;
  url: string;
  events: string[];
  models: string[];
  status: string;
  disabled_reason: string | null;
  secret: string;
  secrets: { id: string; expires_at: string | null }[];
  public_keys: string[];
  urls: { self: string };
}
interface Delivery {
  id: string;
  event_id: string;
  type: string;
  status: string;
  job_id: string | null;
  endpoint_id: string | null;
  attempts: number;
  redeliveries: number;
  latest_attempts: { outcome: string; status: number | null; error_class: string | null; answer: string | null }[];
}
interface List<T> {
  data: T[];
  next_cursor: string | null;
}

const MASTER_KEY = Buffer.alloc(32, 7).toString('base64');
const linear = { model: 'linear', input: { x0: 1, x1: 2, x2: 3 } };

let platform: TestPlatform;
let models: Awaited<ReturnType<typeof writeTestModels>>;
let receiver: Receiver;
let baseUrl: string;

beforeAll(async () => {
  models = await writeTestModels();
  platform = await startTestPlatform({
    modelsDir: models.dir,
    env: {
      ONQUEUE_WEBHOOK_SCHEDULE_MS: '0,10',
      ONQUEUE_WEBHOOK_SIGNING_KEYS: `whsk_${Buffer.alloc(32, 9).toString('base64')}`,
      ONQUEUE_WEBHOOK_MASTER_KEYS: MASTER_KEY,
      ONQUEUE_WEBHOOK_MAX_ENDPOINTS: '4',
      ONQUEUE_WEBHOOK_DISABLE_AFTER_S: '1',
      ONQUEUE_WEBHOOK_PAUSE_MS: '10',
      ONQUEUE_WEBHOOK_CIRCUIT_FAILURES: '1000',
      ONQUEUE_MODELS_POLL_MS: '100',
    },
  });
  ({ baseUrl } = platform);
});
afterAll(async () => {
  await platform?.stop();
  await models?.remove();
});
beforeEach(async () => {
  receiver = await startReceiver();
});
afterEach(async () => {
  for (const { id } of (await get<List<Endpoint>>('/webhooks/endpoints')).body.data) {
    await request(`${baseUrl}/webhooks/endpoints/${id}`, { method: 'DELETE' });
  }
  await receiver.close();
});

const get = <T>(path: string) => request<T>(`${baseUrl}${path}`);
const send = <T>(method: string, path: string, body: unknown = {}) =>
  request<T>(`${baseUrl}${path}`, {
    method,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });

async function register(fields: object = {}): Promise<Endpoint> {
  const { status, body } = await send<Endpoint>('POST', '/webhooks/endpoints', { url: receiver.url(), ...fields });
  expect([status, body]).toEqual([201, body]);
  return body;
}

const typeOf = ({ body }: ReceivedRequest) => String(JSON.parse(body).type);
const headersOf = ({ headers }: ReceivedRequest) => headers as Record<string, string>;

async function deliveriesOf(jobId: string, isThere: (deliveries: Delivery[]) => boolean): Promise<Delivery[]> {
  let data: Delivery[] = [];
  await until(`the deliveries of ${jobId} are as expected`, async () => {
    ({ data } = (await get<List<Delivery>>(`/jobs/${jobId}/deliveries`)).body);
    return isThere(data);
  });
  return data;
}

test('an endpoint is told of the events that it wants, signed with its own secret', async () => {
  const endpoint = await register({ events: ['job.queued', 'job.started', 'job.succeeded'] });
  expect(endpoint).toMatchObject({ status: 'enabled', models: [], secret: expect.stringMatching(/^whsec_/) });
  const id = await acceptedJob(baseUrl, { ...linear, metadata: { order: 'A-7' } });
  const requests = await receiver.waitFor(3);
  expect(requests.map(typeOf).sort()).toEqual(['job.queued', 'job.started', 'job.succeeded']);
  for (const one of requests) {
    const event = new Webhook(endpoint.secret).verify(one.body, headersOf(one)) as { data: object };
    expect(event.data).toMatchObject({ id, object: 'job', model: 'linear', metadata: { order: 'A-7' } });
    expect(() => new Webhook(platform.webhookSecret).verify(one.body, headersOf(one))).toThrow();
  }
  expect(new Set(requests.map(({ headers }) => headers['webhook-id'])).size).toBe(3);
  const started = requests.find((one) => typeOf(one) === 'job.started');
  expect(JSON.parse(String(started?.body)).data).toMatchObject({ status: 'running', run: 1 });
});

test('filters keep events and models away that an endpoint does not want', async () => {
  await register({ events: ['job.failed'], url: receiver.url('/failed') });
  await register({ models: ['lookup'], url: receiver.url('/lookup') });
  await register({ url: receiver.url('/all') });
  await endedJob(baseUrl, await acceptedJob(baseUrl, linear));
  await endedJob(baseUrl, await acceptedJob(baseUrl, { model: 'lookup', input: { index: 99 } }));
  const requests = await receiver.waitFor(4);
  expect(requests.map((one) => `${one.path} ${typeOf(one)}`).sort()).toEqual([
    '/all job.failed',
    '/all job.succeeded',
    '/failed job.failed',
    '/lookup job.failed',
  ]);
});

test('one event goes to several endpoints and the webhook of its job under one id', async () => {
  await register({ url: receiver.url('/a') });
  await register({ url: receiver.url('/b') });
  const id = await acceptedJob(baseUrl, { ...linear, webhook: receiver.url('/own') });
  const requests = await receiver.waitFor(3);
  expect(requests.map(({ path }) => path).sort()).toEqual(['/a', '/b', '/own']);
  expect(new Set(requests.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
  await deliveriesOf(id, (all) => all.length === 3 && all.every(({ status }) => status === 'delivered'));
  expect((await get<{ webhook_status: string }>(`/jobs/${id}`)).body.webhook_status).toBe('delivered');
});

test('a job tells its own webhook of its start only when that is asked for', async () => {
  await acceptedJob(baseUrl, {
    ...linear,
    webhook: receiver.url(),
    webhook_events: ['job.queued', 'job.started', 'job.succeeded'],
  });
  expect((await receiver.waitFor(3)).map(typeOf).sort()).toEqual(['job.queued', 'job.started', 'job.succeeded']);
});

test('while a secret is rotated old and new sign side by side, without overlap only the new one', async () => {
  const before = await register();
  const rotate = (overlap_s: number) =>
    send<Endpoint>('POST', `/webhooks/endpoints/${before.id}/rotate`, { overlap_s });
  const rotated = (await rotate(3600)).body;
  expect(rotated.secret).not.toBe(before.secret);
  expect(rotated.secrets.map(({ expires_at }) => expires_at)).toEqual([null, expect.any(String)]);
  await endedJob(baseUrl, await acceptedJob(baseUrl, linear));
  const [first] = await receiver.waitFor(1);
  for (const secret of [before.secret, rotated.secret]) {
    new Webhook(secret).verify(String(first?.body), headersOf(first as ReceivedRequest));
  }
  expect(String(first?.headers['webhook-signature']).split(' ')).toHaveLength(3);

  const last = (await rotate(0)).body;
  expect(last.secrets).toHaveLength(1);
  await endedJob(baseUrl, await acceptedJob(baseUrl, linear));
  const second = (await receiver.waitFor(2))[1] as ReceivedRequest;
  new Webhook(last.secret).verify(second.body, headersOf(second));
  expect(() => new Webhook(rotated.secret).verify(second.body, headersOf(second))).toThrow();
});

test('v1a signatures are verified with the public key of the endpoint, and no other', async () => {
  const [mine, other] = [await register(), await register({ url: 'https://other.example/' })];
  const known = await get<{ keys: { public_key: string }[] }>(`/.well-known/webhook-keys?endpoint=${mine.id}`);
  expect(known.body.keys.map((key) => key.public_key)).toEqual(mine.public_keys);
  await send('DELETE', `/webhooks/endpoints/${other.id}`);
  await acceptedJob(baseUrl, linear);
  const [one] = (await receiver.waitFor(1)) as [ReceivedRequest];
  const verifier = new WebhookVerifier({ publicKeys: mine.public_keys });
  expect(await verifier.verify(one.headers, one.body)).toMatchObject({ type: 'job.succeeded' });
  await expect(verifier.verify(one.headers, one.body)).rejects.toMatchObject({ reason: 'replayed' });
  const foreign = { headers: one.headers, body: one.body, secrets: [], nowS: Date.now() / 1000 };
  expect(() => verifyWebhook({ ...foreign, publicKeys: other.public_keys.map(parsePublicKey) })).toThrow('no matching');
});

test('a secret is shown once, and kept encrypted', async () => {
  const { id, secret } = await register();
  expect(JSON.stringify((await get(`/webhooks/endpoints/${id}`)).body)).not.toContain(secret);
  expect(JSON.stringify((await get('/webhooks/endpoints')).body)).not.toContain(secret);
  const redis = connectRedis(platform.redisUrl, { kind: 'worker' }, () => {});
  try {
    const kept = Object.values(await redis.hgetall('oq:{0}:endpoint-secrets:default'));
    expect(kept).toHaveLength(1);
    expect(kept[0]).toMatch(/^aes-256-gcm:/);
    expect(Buffer.from(String(kept[0]).slice(12), 'base64').includes(secret)).toBe(false);
    expect(JSON.stringify(await redis.hgetall('oq:{0}:endpoints:default'))).not.toContain(secret.slice(6));
  } finally {
    redis.disconnect();
  }
});

test('an endpoint that was disabled is told nothing until it is enabled again', async () => {
  const { id } = await register();
  const disabled = await send<Endpoint>('PATCH', `/webhooks/endpoints/${id}`, { status: 'disabled' });
  expect(disabled.body).toMatchObject({ status: 'disabled', disabled_reason: 'requested' });
  await endedJob(baseUrl, await acceptedJob(baseUrl, linear));
  await send('PATCH', `/webhooks/endpoints/${id}`, { status: 'enabled' });
  const second = await acceptedJob(baseUrl, linear);
  const [told] = await receiver.waitFor(1);
  expect(JSON.parse(String(told?.body)).data.id).toBe(second);
});

test('an answer of 410 disables the endpoint, and the others are told', async () => {
  const gone = await register({ url: receiver.url('/gone?token=1'), models: ['linear'] });
  const watching = await startReceiver();
  const watcher = await register({ url: watching.url(), events: ['endpoint.disabled'] });
  receiver.respond({ status: 410, body: 'no more' });
  const id = await acceptedJob(baseUrl, linear);
  await until('it is disabled', async () => {
    const { body } = await get<Endpoint>(`/webhooks/endpoints/${gone.id}`);
    return body.status === 'disabled' && body.disabled_reason === 'gone';
  });
  const [delivery] = await deliveriesOf(id, ([first]) => first?.status === 'failed');
  expect(delivery?.latest_attempts).toMatchObject([{ outcome: 'gone', status: 410 }]);
  const [told] = (await watching.waitFor(1)) as [ReceivedRequest];
  expect(new Webhook(watcher.secret).verify(told.body, headersOf(told))).toEqual({
    type: 'endpoint.disabled',
    timestamp: expect.any(String),
    // Of a URL no more than its origin: the rest may be a secret.
    data: { id: gone.id, object: 'webhook_endpoint', url: new URL(receiver.url()).origin, reason: 'gone' },
  });
  // Once: a test makes sure that nothing is under way.
  const test = await send<{ event_id: string }>('POST', `/webhooks/endpoints/${watcher.id}/test`);
  expect((await watching.waitFor(2))[1]?.headers['webhook-id']).toBe(test.body.event_id);
  await watching.close();
});

test('an endpoint that has not answered well for its days is disabled, and the others are told', async () => {
  const failing = await register();
  const watching = await startReceiver();
  await register({ url: watching.url(), events: ['endpoint.disabled'] });
  receiver.respondAlways({ status: 500 });
  // Each has two attempts; the first failure begins the time, the one that comes after it ends it.
  await until('it is disabled', async () => {
    const id = await acceptedJob(baseUrl, linear);
    await deliveriesOf(id, ([first]) => first?.status === 'failed');
    return (await get<Endpoint>(`/webhooks/endpoints/${failing.id}`)).body.disabled_reason === 'failing';
  });
  const [told] = (await watching.waitFor(1)) as [ReceivedRequest];
  expect(JSON.parse(told.body)).toMatchObject({
    type: 'endpoint.disabled',
    data: { id: failing.id, reason: 'failing' },
  });
  // The way back: what failed is recovered once it is enabled.
  receiver.respondAlways({ status: 200 });
  await send('PATCH', `/webhooks/endpoints/${failing.id}`, { status: 'enabled' });
  const { deliveries } = (
    await send<{ deliveries: number }>('POST', '/webhooks/deliveries/recover', {
      since: new Date(Date.now() - 60_000).toISOString(),
      endpoint_id: failing.id,
    })
  ).body;
  expect(deliveries).toBeGreaterThan(0);
  await until('all of them are delivered', async () => {
    const path = `/webhooks/deliveries?endpoint=${failing.id}&status=delivered`;
    return (await get<List<Delivery>>(path)).body.data.length === deliveries;
  });
  await watching.close();
});

test('endpoints are told of a version that cannot be loaded, and why', async () => {
  await register({ events: ['model.failed', 'model.ready'], models: ['linear'] });
  await register({ events: ['model.failed'], models: ['lookup'], url: receiver.url('/other') });
  const { folder } = await writeLinearModel({ dir: models.dir, name: 'linear', version: '2', bias: 1 });
  const golden = join(folder, 'golden.jsonl');
  await writeFile(golden, (await readFile(golden, 'utf8')).replace('"score":1', '"score":7'));
  const requests = await receiver.waitFor(1);
  expect(requests.map(({ path }) => path)).toEqual(['/hook']);
  expect(JSON.parse(String(requests[0]?.body))).toMatchObject({
    type: 'model.failed',
    data: {
      object: 'model_version',
      model: 'linear',
      version: '2',
      worker: expect.any(String),
      reason: expect.stringContaining('golden'),
    },
  });
  await rm(folder, { recursive: true });
  await until('the version is gone', async () => {
    const { status, body } = await get<{ state: string }>('/models/linear/versions/2');
    return status !== 200 || body.state === 'removed';
  });
});

test('every attempt is recorded, a delivery that failed is kept, and can be sent anew under the same id', async () => {
  const { id: endpointId } = await register();
  receiver.respond({ status: 500, body: 'x'.repeat(5000) }, { status: 503, body: 'busy' });
  const id = await acceptedJob(baseUrl, linear);
  const [failed] = (await deliveriesOf(id, ([first]) => first?.status === 'failed')) as [Delivery];
  expect(failed).toMatchObject({ endpoint_id: endpointId, type: 'job.succeeded', attempts: 2, redeliveries: 0 });
  expect(failed.latest_attempts).toMatchObject([
    { outcome: 'retry', status: 500, error_class: 'status', answer: 'x'.repeat(1024) },
    { outcome: 'retry', status: 503, answer: 'busy' },
  ]);
  const listed = await get<List<Delivery>>(`/webhooks/deliveries?status=failed&endpoint=${endpointId}`);
  expect(listed.body.data.map((one) => one.id)).toEqual([failed.id]);

  const again = await send<Delivery>('POST', `/webhooks/deliveries/${failed.id}/redeliver`);
  expect([again.status, again.body]).toMatchObject([202, { status: 'pending', redeliveries: 1 }]);
  const [first, , third] = (await receiver.waitFor(3)) as [ReceivedRequest, ReceivedRequest, ReceivedRequest];
  expect([third.body, third.headers['webhook-id']]).toEqual([first.body, first.headers['webhook-id']]);
  await deliveriesOf(id, ([one]) => one?.status === 'delivered');
});

test('recover sends anew what failed since a time, replay what was made in a window', async () => {
  const since = new Date(Date.now() - 1000).toISOString();
  const { id: endpointId } = await register();
  receiver.respond(...Array.from({ length: 4 }, () => ({ status: 500 })));
  const ids = [await acceptedJob(baseUrl, linear), await acceptedJob(baseUrl, linear)];
  for (const id of ids) await deliveriesOf(id, ([one]) => one?.status === 'failed');
  const recovered = await send('POST', '/webhooks/deliveries/recover', { since, endpoint_id: endpointId });
  expect([recovered.status, recovered.body]).toEqual([202, { object: 'redelivery', deliveries: 2 }]);
  for (const id of ids) await deliveriesOf(id, ([one]) => one?.status === 'delivered');
  const before = receiver.requests.length;
  const window = { from: since, to: new Date(Date.now() + 60_000).toISOString(), endpoint_id: endpointId };
  expect((await send('POST', '/webhooks/deliveries/replay', window)).body).toMatchObject({ deliveries: 2 });
  await receiver.waitFor(before + 2);
  for (const id of ids) await deliveriesOf(id, ([one]) => one?.status === 'delivered' && one.redeliveries === 2);
});

test('deliveries are listed by pages, each once', async () => {
  const { id: endpointId } = await register();
  for (let i = 0; i < 5; i++) await acceptedJob(baseUrl, linear);
  await receiver.waitFor(5);
  const seen: string[] = [];
  let path = `/webhooks/deliveries?endpoint=${endpointId}&limit=2`;
  for (;;) {
    const { data, next_cursor: next } = (await get<List<Delivery>>(path)).body;
    seen.push(...data.map(({ id }) => id));
    if (next === null) break;
    path = `/webhooks/deliveries?endpoint=${endpointId}&limit=2&cursor=${next}`;
  }
  expect([seen.length, new Set(seen).size]).toEqual([5, 5]);
});

test('a test event goes to one endpoint, whatever it subscribes to', async () => {
  const { id, secret } = await register({ events: ['job.failed'], url: receiver.url('/tested') });
  await register({ url: receiver.url('/other') });
  const { status, body } = await send<{ event_id: string }>('POST', `/webhooks/endpoints/${id}/test`);
  expect(status).toBe(202);
  const [told] = (await receiver.waitFor(1)) as [ReceivedRequest];
  expect([told.path, told.headers['webhook-id'], typeOf(told)]).toEqual(['/tested', body.event_id, 'endpoint.test']);
  new Webhook(secret).verify(told.body, headersOf(told));
});

test('endpoints are told when a model is unloaded and ready again, if it is theirs', async () => {
  await register({ events: ['model.ready', 'model.unloaded', 'model.failed'], models: ['lookup'] });
  await send('POST', '/models/linear/unload');
  await send('POST', '/models/lookup/unload');
  await receiver.waitFor(1);
  await send('POST', '/models/linear/load');
  await send('POST', '/models/lookup/load');
  const requests = await receiver.waitFor(2);
  expect(requests.map((one) => JSON.parse(one.body))).toMatchObject([
    { type: 'model.unloaded', data: { object: 'model_version', model: 'lookup', version: '1' } },
    { type: 'model.ready', data: { object: 'model_version', model: 'lookup', version: '1' } },
  ]);
  await until('linear is ready too', async () => {
    const { body } = await get<{ ready: boolean }>('/models/linear');
    return body.ready;
  });
});

test('what was deleted is told nothing, and foreign ids are as unknown ones', async () => {
  const { id } = await register();
  expect((await send('DELETE', `/webhooks/endpoints/${id}`)).status).toBe(204);
  for (const [method, path] of [
    ['GET', ''],
    ['PATCH', ''],
    ['DELETE', ''],
    ['POST', '/rotate'],
    ['POST', '/test'],
  ] as const) {
    const answer = await request<{ code: string }>(`${baseUrl}/webhooks/endpoints/${id}${path}`, {
      method,
      headers: { 'content-type': 'application/json' },
      ...(method === 'GET' ? {} : { body: '{}' }),
    });
    expect([answer.status, answer.body.code]).toEqual([404, 'endpoint_not_found']);
  }
  expect(await get(`/webhooks/deliveries/dlv_${'0'.repeat(32)}`)).toMatchObject({
    status: 404,
    body: { code: 'delivery_not_found' },
  });
  await endedJob(baseUrl, await acceptedJob(baseUrl, linear));
  expect(receiver.requests).toHaveLength(0);
});

test.each([
  [{ url: 'ftp://x.example' }, '/url'],
  [{ url: 'http://10.0.0.1/' }, '/url'],
  [{ url: 'https://x.example', events: [] }, '/events'],
  [{ url: 'https://x.example', events: ['job.lost'] }, '/events/0'],
  [{ url: 'https://x.example', events: ['endpoint.test'] }, '/events/0'],
  [{ url: 'https://x.example', secret: 'whsec_mine' }, '/secret'],
  [{}, '/url'],
])('an endpoint that cannot be is refused: %j', async (body, pointer) => {
  const answer = await send<{ code: string; errors: { pointer: string }[] }>('POST', '/webhooks/endpoints', body);
  expect([answer.status, answer.body.code, answer.body.errors[0]?.pointer]).toEqual([400, 'invalid_request', pointer]);
});

test('there are as many endpoints as are allowed, and not one more', async () => {
  for (let i = 0; i < 4; i++) await register();
  expect(await send('POST', '/webhooks/endpoints', { url: receiver.url() })).toMatchObject({
    status: 409,
    body: { code: 'endpoints_full' },
  });
});

test('the state of a job does not depend on its webhook', async () => {
  receiver.respond({ status: 500 }, { status: 500 });
  const { body } = await postJob(baseUrl, { ...linear, webhook: receiver.url() }, { prefer: 'wait=30' });
  expect(body).toMatchObject({ status: 'succeeded', webhook_status: 'pending' });
  await until('the delivery has failed', async () => {
    const job = (await get<{ status: string; webhook_status: string }>(`/jobs/${body.id}`)).body;
    return job.status === 'succeeded' && job.webhook_status === 'failed';
  });
  expect(parseWebhookSecret(platform.webhookSecret).type).toBe('secret');
});
