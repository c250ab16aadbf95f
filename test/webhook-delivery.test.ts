import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { type RedisServer, startRedisServer } from '@onqueue/launcher';
import { generateWebhookSecret, type OutboxEvent, parseWebhookSecret } from '@onqueue/shared';
import { closeRedis, connectRedis, RedisOutbox } from '@onqueue/shared/redis';
import { Webhook } from 'standardwebhooks';
import { createDeliverySchedule } from '../apps/worker/src/webhooks/delivery-schedule.ts';
import { EndpointShares } from '../apps/worker/src/webhooks/endpoint-shares.ts';
import { startWebhooks } from '../apps/worker/src/webhooks/index.ts';
import { OutboxRelay, type OutboxRelayOptions } from '../apps/worker/src/webhooks/outbox-relay.ts';
import { createSsrfGuard } from '../apps/worker/src/webhooks/ssrf-guard.ts';
import { type WebhookAttempt, WebhookDispatcher } from '../apps/worker/src/webhooks/webhook-dispatcher.ts';
import { createBullWebhookQueue, type WebhookQueue, webhookKeys } from '../apps/worker/src/webhooks/webhook-queue.ts';
import {
  createWebhookSender,
  type WebhookSender,
  type WebhookSenderOptions,
} from '../apps/worker/src/webhooks/webhook-sender.ts';
import { type ReceivedRequest, type Receiver, startReceiver } from './support/receiver.ts';
import { until } from './support/until.ts';

const secretText = generateWebhookSecret();
const secret = parseWebhookSecret(secretText);
const loopback = createSsrfGuard({ allowCidrs: ['127.0.0.0/8'], allowHttp: true });
const readJob = async (_tenant: string, id: string) => ({
  view: { id, object: 'job', status: 'succeeded', model: 'fraud', request_id: `req_${id}`, run: 1, results: [] },
});

let server: RedisServer;
let receiver: Receiver;
let redis: ReturnType<typeof connectRedis>;
const note = (fields: object, message: string) => void logged.push({ fields, message });
const log = { info: note, warn: note, error: note };
const onError = () => {};
let testNumber = 0;
let prefix = '';
/** What the test opened, closed in the opposite order. */
let opened: (() => Promise<unknown>)[] = [];
let logged: { fields: object; message: string }[] = [];

beforeAll(async () => {
  server = await startRedisServer();
});
afterAll(() => server.stop());
beforeEach(async () => {
  testNumber += 1;
  prefix = `t${testNumber}:{fleet}:bull`;
  logged = [];
  receiver = await startReceiver();
  opened = [() => receiver.close()];
  redis = connect();
});
afterEach(async () => {
  for (const close of opened.reverse()) await close();
});

const outboxKey = () => `t${testNumber}:{0}:outbox`;

function connect(url = server.url) {
  const connection = connectRedis(url, { kind: 'worker' }, () => {});
  opened.push(() => closeRedis(connection));
  return connection;
}

function eventOf(id: string, url = receiver.url()): OutboxEvent {
  return {
    schema_version: 1,
    id: `evt_${id}`,
    type: 'job.succeeded',
    tenant: 'default',
    job_id: `job_${id}`,
    run: 1,
    occurred_at_ms: 1_700_000_000_000,
    url,
  };
}

/** What a commit does. */
const emit = (event: OutboxEvent) => redis.xadd(outboxKey(), '*', 'event', JSON.stringify(event));

function openOutbox(invalid: string[] = []) {
  return new RedisOutbox({
    redis: connect(),
    key: outboxKey(),
    consumer: 'relay',
    onInvalid: ({ entryId, reason }) => invalid.push(`${entryId} ${reason}`),
  });
}

const openShares = () => new EndpointShares({ redis, ...webhookKeys(prefix), limits: { pauseMs: 1 }, feedLimit: 32 });

function openQueue(delaysMs: readonly number[] = [0]): WebhookQueue {
  return createBullWebhookQueue({ shares: openShares(), schedule: createDeliverySchedule({ delaysMs }) });
}

/** A relay that takes what is there, once. */
async function relayOnce(options: Partial<OutboxRelayOptions> = {}): Promise<void> {
  const relay = new OutboxRelay({
    outbox: openOutbox(),
    queue: openQueue(),
    readJob,
    log,
    onError,
    blockMs: 1,
    ...options,
  });
  relay.start();
  await relay.stop();
}

interface Running {
  attempts: WebhookAttempt[];
  /** Waits for the deliveries in flight. */
  close(): Promise<void>;
}

function startDispatcher(
  delaysMs: readonly number[] = [0],
  options: Partial<WebhookSenderOptions> & { sender?: WebhookSender } = {},
): Running {
  const attempts: WebhookAttempt[] = [];
  const dispatcher = new WebhookDispatcher({
    connection: redis,
    prefix,
    shares: openShares(),
    sender: options.sender ?? createWebhookSender({ secret, guard: loopback, version: '0', ...options }),
    schedule: createDeliverySchedule({ delaysMs }),
    log,
    onError,
    onAttempt: (attempt) => attempts.push(attempt),
    ...(options.wallClock && { wallClock: options.wallClock }),
  });
  dispatcher.start();
  opened.push(() => dispatcher.close());
  return { attempts, close: () => dispatcher.close() };
}

const outcomes = ({ attempts }: Running) => attempts.map(({ outcome }) => outcome);
const jobIs = async (state: 'completed' | 'failed' | 'delayed', id: string) =>
  (await redis.zscore(`${prefix}:webhooks:${state}`, `evt_${id}`)) !== null;
const attemptLines = () => logged.filter(({ message }) => message === 'webhook attempt').map(({ fields }) => fields);

function verify(request: ReceivedRequest | undefined): unknown {
  return new Webhook(secretText).verify(request?.body ?? '', request?.headers as Record<string, string>);
}

test('an event in the outbox reaches the receiver once, signed', async () => {
  const webhooks = startWebhooks({
    connection: redis,
    outboxKeys: [outboxKey()],
    queuePrefix: prefix,
    secret,
    version: '1.2.3',
    guard: { allowCidrs: ['127.0.0.0/8'], allowHttp: true },
    readJob,
    log,
    onError,
  });
  await emit(eventOf('a'));
  const [request] = await receiver.waitFor(1);
  expect(request?.headers).toMatchObject({ 'webhook-id': 'evt_a', 'user-agent': 'onqueue-webhooks/1.2.3' });
  expect(verify(request)).toEqual({
    type: 'job.succeeded',
    timestamp: '2023-11-14T22:13:20.000Z',
    data: (await readJob('default', 'job_a')).view,
  });
  await webhooks.close();
  expect(receiver.requests).toHaveLength(1);
  expect(await redis.xlen(outboxKey())).toBe(0);
  expect(await jobIs('completed', 'a')).toBe(true);
});

test('a receiver that fails twice gets the same id three times, each time with a new timestamp', async () => {
  receiver.respond({ status: 500 }, { status: 500 });
  const delaysMs = [0, 10, 10];
  let nowMs = Date.now();
  const wallClock = () => {
    nowMs += 5_000;
    return nowMs;
  };
  const running = startDispatcher(delaysMs, { wallClock });
  await emit(eventOf('a'));
  await relayOnce({ queue: openQueue(delaysMs) });
  const requests = await receiver.waitFor(3);
  await running.close();
  expect(outcomes(running)).toEqual(['retry', 'retry', 'delivered']);
  expect(new Set(requests.map(({ headers }) => headers['webhook-id']))).toEqual(new Set(['evt_a']));
  expect(new Set(requests.map(({ headers }) => headers['webhook-timestamp'])).size).toBe(3);
  expect(new Set(requests.map(({ body }) => body)).size).toBe(1);
  for (const request of requests) verify(request);
  expect(await jobIs('completed', 'a')).toBe(true);
});

test('when the schedule is used up the delivery has failed', async () => {
  receiver.respond({ status: 500 }, { status: 503 });
  const running = startDispatcher([0, 1]);
  await emit(eventOf('a'));
  await relayOnce({ queue: openQueue([0, 1]) });
  await receiver.waitFor(2);
  await running.close();
  expect(outcomes(running)).toEqual(['retry', 'exhausted']);
  expect(await jobIs('failed', 'a')).toBe(true);
});

test('a redirect is a failure and is not followed', async () => {
  receiver.respond({ status: 307, headers: { location: receiver.url('/elsewhere') } });
  const running = startDispatcher([0, 1]);
  await emit(eventOf('a'));
  await relayOnce({ queue: openQueue([0, 1]) });
  const requests = await receiver.waitFor(2);
  await running.close();
  expect(requests.map(({ path }) => path)).toEqual(['/hook', '/hook']);
  expect(outcomes(running)).toEqual(['retry', 'delivered']);
});

test('an answer without end is cut at the cap', async () => {
  receiver.respond({ endless: true });
  const running = startDispatcher([0], { maxResponseBytes: 100_000 });
  await emit(eventOf('a'));
  await relayOnce();
  await receiver.waitFor(1);
  await receiver.waitForClosed(1);
  await running.close();
  expect(outcomes(running)).toEqual(['delivered']);
});

test('410 is not tried again', async () => {
  receiver.respond({ status: 410 });
  const running = startDispatcher([0, 1, 1]);
  await emit(eventOf('a'));
  await relayOnce({ queue: openQueue([0, 1, 1]) });
  await receiver.waitFor(1);
  await running.close();
  expect(outcomes(running)).toEqual(['gone']);
  expect(await jobIs('failed', 'a')).toBe(true);
});

test('Retry-After puts the next attempt off', async () => {
  receiver.respond({ status: 429, headers: { 'retry-after': '3600' } });
  const running = startDispatcher([0, 10]);
  await emit(eventOf('a'));
  await relayOnce({ queue: openQueue([0, 10]) });
  await receiver.waitFor(1);
  await running.close();
  const parked = `${prefix}:webhooks-shares:parked:default/http://127.0.0.1:${receiver.port}`;
  const dueMs = Number(await redis.zscore(parked, 'evt_a'));
  expect(dueMs - Date.now()).toBeGreaterThan(3_500_000);
  expect(dueMs - Date.now()).toBeLessThan(3_700_000);
});

test('loopback is refused unless allowed: no request, and no further attempt', async () => {
  const guarded = createWebhookSender({
    secret,
    version: '0',
    guard: createSsrfGuard({ allowCidrs: [], allowHttp: true }),
  });
  const { promise: isSent, resolve } = newPromise();
  const sender: WebhookSender = {
    async send(attempt) {
      const result = await guarded.send(attempt);
      resolve();
      return result;
    },
  };
  const running = startDispatcher([0, 1, 1], { sender });
  await emit(eventOf('a'));
  await relayOnce({ queue: openQueue([0, 1, 1]) });
  await isSent;
  await running.close();
  expect(outcomes(running)).toEqual(['refused']);
  expect(receiver.connections).toBe(0);
  expect(await jobIs('failed', 'a')).toBe(true);
});

test('a relay that dies between queueing and acknowledging delivers once', async () => {
  const queue = openQueue();
  const dying: WebhookQueue = {
    async add(delivery) {
      await queue.add(delivery);
      throw new Error('killed');
    },
  };
  const running = startDispatcher();
  await emit(eventOf('a'));
  await relayOnce({ queue: dying });
  await receiver.waitFor(1);
  expect(await redis.xlen(outboxKey())).toBe(1);
  await relayOnce({ reclaimIdleMs: 0 });
  expect(await redis.xlen(outboxKey())).toBe(0);
  await emit(eventOf('b'));
  await relayOnce();
  await receiver.waitFor(2);
  await running.close();
  expect(receiver.requests.map(({ headers }) => headers['webhook-id'])).toEqual(['evt_a', 'evt_b']);
});

test('a receiver that hangs holds no delivery to another', async () => {
  const hanging = await startReceiver();
  opened.push(() => hanging.close());
  hanging.respond({ hang: 'headers' });
  const running = startDispatcher();
  await emit(eventOf('slow', hanging.url()));
  await relayOnce();
  await hanging.waitFor(1);
  await emit(eventOf('fast'));
  await relayOnce();
  await receiver.waitFor(1);
  await hanging.close();
  await running.close();
  expect(outcomes(running)).toEqual(['delivered', 'exhausted']);
});

test('close waits for the delivery in flight', async () => {
  const { promise: isSending, resolve: beginSending } = newPromise();
  const { promise: isAnswered, resolve: answer } = newPromise();
  const sender: WebhookSender = {
    async send() {
      beginSending();
      await isAnswered;
      return { outcome: 'delivered', latencyMs: 1 };
    },
  };
  const running = startDispatcher([0], { sender });
  await emit(eventOf('a'));
  await relayOnce();
  await isSending;
  const closed = running.close();
  answer();
  await closed;
  expect(await jobIs('completed', 'a')).toBe(true);
});

test('one log line an attempt, without the path, query, credentials or body', async () => {
  receiver.respond({ status: 500 });
  const running = startDispatcher([0, 1]);
  await emit(eventOf('a', receiver.url('/hooks/T0K3N?key=S3CR3T')));
  await relayOnce({ queue: openQueue([0, 1]) });
  await receiver.waitFor(2);
  await running.close();
  expect(attemptLines()).toMatchObject([
    {
      event_id: 'evt_a',
      job_id: 'job_a',
      request_id: 'req_job_a',
      attempt: 1,
      outcome: 'retry',
      status: 500,
      error_class: 'status',
    },
    { event_id: 'evt_a', attempt: 2, outcome: 'delivered', status: 200, receiver: `http://127.0.0.1:${receiver.port}` },
  ]);
  for (const leak of ['T0K3N', 'S3CR3T', 'results', secretText]) expect(JSON.stringify(logged)).not.toContain(leak);
});

test('each attempt says how long the receiver has waited since the job ended', async () => {
  receiver.respond({ status: 500 });
  const waited = 90_000;
  const running = startDispatcher([0, 1], { wallClock: () => eventOf('a').occurred_at_ms + waited });
  await emit(eventOf('a'));
  await relayOnce({ queue: openQueue([0, 1]) });
  await receiver.waitFor(2);
  await running.close();
  expect(running.attempts).toMatchObject([
    { outcome: 'retry', model: 'fraud', sinceEventS: 90 },
    { outcome: 'delivered', model: 'fraud', sinceEventS: 90 },
  ]);
});

test('relay and dispatcher outlive a restart of Redis', async () => {
  const own = await startRedisServer();
  opened.push(() => own.stop());
  const connection = connect(own.url);
  const webhooks = startWebhooks({
    connection,
    outboxKeys: [outboxKey()],
    queuePrefix: prefix,
    secret,
    version: '0',
    guard: { allowCidrs: ['127.0.0.0/8'], allowHttp: true },
    readJob,
    log,
    onError,
  });
  opened.push(() => webhooks.close());
  const add = (id: string) => connection.xadd(outboxKey(), '*', 'event', JSON.stringify(eventOf(id)));
  await add('before');
  await receiver.waitFor(1);
  await own.kill();
  await own.restart();
  await add('after');
  const ids = (await receiver.waitFor(2)).map(({ headers }) => headers['webhook-id']);
  expect(ids).toEqual(['evt_before', 'evt_after']);
});

test('relay and dispatcher end, though Redis was away when they were told to', async () => {
  const own = await startRedisServer();
  opened.push(() => own.stop());
  const connection = connect(own.url);
  const webhooks = startWebhooks({
    connection,
    outboxKeys: [outboxKey()],
    queuePrefix: prefix,
    secret,
    version: '0',
    guard: { allowCidrs: ['127.0.0.0/8'], allowHttp: true },
    readJob,
    log,
    onError,
  });
  await connection.xadd(outboxKey(), '*', 'event', JSON.stringify(eventOf('a')));
  await receiver.waitFor(1);
  await own.kill();
  await until('it tries to come back', () => connection.status === 'reconnecting');
  const closed = webhooks.close();
  await own.restart();
  await closed;
});

test('a read that waits for a Redis that is away is interrupted too', async () => {
  const own = await startRedisServer();
  opened.push(() => own.stop());
  const connection = connect(own.url);
  const outbox = new RedisOutbox({ redis: connection, key: outboxKey(), consumer: 'relay' });
  outbox.interrupt(); // Nothing is read: nothing is lost by it.
  expect(await outbox.read(1, 1)).toEqual([]);
  await own.kill();
  await until('it tries to come back', () => connection.status === 'reconnecting');
  const read = outbox.read(1, 60_000);
  outbox.interrupt();
  await expect(read).rejects.toThrow();
});

test('the outbox hands each entry to one reader, also those older than the first reader', async () => {
  await emit(eventOf('1'));
  await emit(eventOf('2'));
  const [a, b] = [openOutbox(), openOutbox()];
  expect(await a.read(10, 1)).toEqual([]); // This one made the group.
  const read = [...(await a.read(1, 1)), ...(await b.read(10, 1))];
  expect(read.map(({ event }) => event.id)).toEqual(['evt_1', 'evt_2']);
  expect(read[0]?.event).toEqual(eventOf('1'));
  expect(await a.read(10, 1)).toEqual([]);
});

test('the outbox gives up unacknowledged entries after their idle time, acknowledged ones never', async () => {
  const [a, b] = [openOutbox(), openOutbox()];
  await a.read(1, 1);
  for (const id of ['1', '2', '3']) await emit(eventOf(id));
  const [first] = await a.read(3, 1);
  await a.acknowledge([first?.entryId ?? '']);
  expect(await b.reclaim(60_000, 10)).toEqual([]);
  const reclaimed = await b.reclaim(0, 10);
  expect(reclaimed.map(({ event }) => event.id)).toEqual(['evt_2', 'evt_3']);
  await b.acknowledge(reclaimed.map(({ entryId }) => entryId));
  expect(await a.reclaim(0, 10)).toEqual([]);
  expect(await redis.xlen(outboxKey())).toBe(0);
});

test('the outbox reclaims at most as many as asked for, from wherever they are', async () => {
  const outbox = openOutbox();
  await outbox.read(1, 1);
  for (let i = 0; i < 40; i++) await emit(eventOf(String(i)));
  await outbox.read(40, 1);
  expect(await outbox.reclaim(0, 7)).toHaveLength(7);
  expect(await outbox.reclaim(0, 100)).toHaveLength(40);
});

test('the outbox drops an entry that cannot be read, once, and says so without its content', async () => {
  const invalid: string[] = [];
  const outbox = openOutbox(invalid);
  await outbox.read(1, 1);
  await redis.xadd(outboxKey(), '*', 'event', '{"url":"https://S3CR3T.test"');
  await redis.xadd(outboxKey(), '*', 'event', JSON.stringify({ ...eventOf('x'), type: 'job.S3CR3T' }));
  await redis.xadd(outboxKey(), '*', 'other', 'S3CR3T');
  await emit(eventOf('good'));
  expect((await outbox.read(10, 1)).map(({ event }) => event.id)).toEqual(['evt_good']);
  expect(invalid).toHaveLength(3);
  expect(invalid.join()).not.toContain('S3CR3T');
  expect((await outbox.reclaim(0, 10)).map(({ event }) => event.id)).toEqual(['evt_good']);
  expect(invalid).toHaveLength(3);
  expect(await redis.xlen(outboxKey())).toBe(1);
});

test('the outbox goes on after Redis was emptied', async () => {
  const outbox = openOutbox();
  await outbox.read(1, 1);
  await redis.del(outboxKey());
  await emit(eventOf('a'));
  expect(await outbox.reclaim(0, 10)).toEqual([]);
  expect((await outbox.read(10, 1)).map(({ event }) => event.id)).toEqual(['evt_a']);
  await redis.del(outboxKey());
  await outbox.acknowledge(['1-1']);
  expect(await outbox.read(10, 1)).toEqual([]);
  await emit(eventOf('b'));
  expect((await outbox.read(10, 1)).map(({ event }) => event.id)).toEqual(['evt_b']);
});

function newPromise() {
  let resolve = () => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
