import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { connectRedis, type RedisConnection } from '@onqueue/shared/redis';
import { Webhook } from 'standardwebhooks';
import { acceptedJob, endedJob, request } from '../support/client.ts';
import { writeTestModels } from '../support/models/models-dir.ts';
import { startTestPlatform, type TestPlatform } from '../support/platform.ts';
import { type ReceivedRequest, type Receiver, startReceiver } from '../support/receiver.ts';
import { sized } from './support/fault-size.ts';

/** An API that is killed in the midst of changing an endpoint leaves it as it was, or as it was to be. */

interface Endpoint {
  id: string;
  url: string;
  events: string[];
  status: string;
  secret: string;
  secrets: { id: string; expires_at: string | null }[];
}

const TIMEOUT_MS = sized({ small: 180_000, full: 900_000 });
const linear = { model: 'linear', input: { x0: 1, x1: 2, x2: 3 } };

let platform: TestPlatform;
let models: Awaited<ReturnType<typeof writeTestModels>>;
let receiver: Receiver;
let redis: RedisConnection;

beforeAll(async () => {
  models = await writeTestModels();
  platform = await startTestPlatform({ modelsDir: models.dir, workerEnv: { ONQUEUE_MODELS: 'linear' } });
  redis = connectRedis(platform.redisUrl, { kind: 'worker' }, () => {});
});
afterAll(async () => {
  redis?.disconnect();
  await platform?.stop();
  await models?.remove();
});
beforeEach(async () => {
  receiver = await startReceiver();
});
afterEach(async () => {
  for (const { id } of await endpoints()) await send(platform.baseUrl, 'DELETE', id);
  await receiver.close();
});

const send = (baseUrl: string, method: string, path = '', body: unknown = {}) =>
  request<Endpoint>(`${baseUrl}/webhooks/endpoints${path === '' ? '' : `/${path}`}`, {
    method,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
const endpoints = async () => (await request<{ data: Endpoint[] }>(`${platform.baseUrl}/webhooks/endpoints`)).body.data;

interface Change {
  name: string;
  method: string;
  path: (id: string) => string;
  body?: object;
  /** What is there of the endpoint when the change has taken place. */
  after: (before: Omit<Endpoint, 'secret'>) => object | undefined;
}

const CHANGES: Change[] = [
  {
    name: 'rotate',
    method: 'POST',
    path: (id) => `${id}/rotate`,
    body: { overlap_s: 3600 },
    after: ({ secrets: [secret] }) => ({
      status: 'enabled',
      secrets: [{ expires_at: null }, { id: secret?.id, expires_at: expect.any(String) }],
    }),
  },
  { name: 'delete', method: 'DELETE', path: (id) => id, after: () => undefined },
  {
    name: 'disable',
    method: 'PATCH',
    path: (id) => id,
    body: { status: 'disabled' },
    after: () => ({ status: 'disabled', disabled_reason: 'requested' }),
  },
  {
    name: 'other events',
    method: 'PATCH',
    path: (id) => id,
    body: { events: ['job.failed'] },
    after: ({ secrets }) => ({ status: 'enabled', events: ['job.failed'], secrets }),
  },
];
const POINTS = ['endpoint.subscribed.after', 'endpoint.changed.after'] as const;

test.each(CHANGES.flatMap((change) => POINTS.map((point) => [change.name, point, change] as const)))(
  '%s, killed at %s',
  async (_, point, { method, path, body, after }) => {
    const created = await send(platform.baseUrl, 'POST', '', { url: receiver.url(), events: ['job.succeeded'] });
    const { secret, ...before } = created.body;
    const api = await platform.startApi({ ONQUEUE_FAULT_POINTS: `${point}=kill` });
    await expect(send(api.baseUrl, method, path(before.id), body)).rejects.toThrow();
    expect(await api.exited).toMatchObject({ signal: 'SIGKILL' });

    const expected = point === 'endpoint.subscribed.after' ? before : after(before);
    const found = await endpoints();
    expect(found).toMatchObject(expected ? [{ id: before.id, ...expected }] : []);
    // No secret is without its endpoint, and none is missing.
    const kept = Object.keys(await redis.hgetall('oq:{0}:endpoint-secrets:default'));
    expect(kept.sort()).toEqual(found.flatMap(({ secrets }) => secrets.map(({ id }) => id)).sort());

    // Another receiver tells that all there is to tell has been told.
    await send(platform.baseUrl, 'POST', '', { url: receiver.url('/other'), events: ['job.succeeded'] });
    const isTold = found.some(({ status, events }) => status === 'enabled' && events.includes('job.succeeded'));
    const id = await acceptedJob(platform.baseUrl, linear);
    await endedJob(platform.baseUrl, id);
    const requests = await receiver.waitFor(isTold ? 2 : 1);
    const mine = requests.filter((one) => one.path === '/hook') as ReceivedRequest[];
    expect(mine).toHaveLength(isTold ? 1 : 0);
    for (const one of mine) {
      new Webhook(secret).verify(one.body, one.headers as Record<string, string>);
      expect(String(one.headers['webhook-signature']).split(' ')).toHaveLength(found[0]?.secrets.length ?? 0);
    }
    // And the next API goes on from there.
    const next = await send(platform.baseUrl, 'DELETE', before.id);
    expect(next.status).toBe(expected ? 204 : 404);
  },
  TIMEOUT_MS,
);

test.each(POINTS)(
  'create, killed at %s',
  async (point) => {
    const api = await platform.startApi({ ONQUEUE_FAULT_POINTS: `${point}=kill` });
    await expect(send(api.baseUrl, 'POST', '', { url: receiver.url() })).rejects.toThrow();
    expect(await api.exited).toMatchObject({ signal: 'SIGKILL' });
    const found = await endpoints();
    const kept = Object.keys(await redis.hgetall('oq:{0}:endpoint-secrets:default'));
    expect(found).toHaveLength(point === 'endpoint.changed.after' ? 1 : 0);
    expect(kept).toEqual(found.flatMap(({ secrets }) => secrets.map(({ id }) => id)));
    await endedJob(platform.baseUrl, await acceptedJob(platform.baseUrl, linear));
    await receiver.waitFor(found.length);
  },
  TIMEOUT_MS,
);
