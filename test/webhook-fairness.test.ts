import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { type RedisServer, startRedisServer } from '@onqueue/launcher';
import { Queue } from 'bullmq';
import { type Receiver, startReceiver } from './support/receiver.ts';
import { until } from './support/until.ts';
import { startWebhookScene, type WebhookSceneOptions } from './support/webhook-scene.ts';

/** How endpoints share the dispatchers: none holds more than its part, whatever becomes of it. */
let server: RedisServer;
let testNumber = 0;
let opened: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  server = await startRedisServer();
});
afterAll(() => server.stop());
beforeEach(() => {
  testNumber += 1;
  opened = [];
});
afterEach(async () => {
  for (const close of opened.reverse()) await close();
});

async function receive(): Promise<Receiver> {
  const receiver = await startReceiver();
  opened.push(() => receiver.close());
  return receiver;
}

function scene(options: Partial<WebhookSceneOptions> = {}) {
  const made = startWebhookScene({ redisUrl: server.url, prefix: `s${testNumber}:{fleet}:bull`, ...options });
  opened.push(() => made.close());
  return made;
}

/** Answers that wait until they are let go. */
function gate() {
  let open = () => {};
  const after = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, answer: { after, status: 200 } };
}

test('a dead endpoint with a thousand deliveries holds one of them, and the others are not behind it', async () => {
  const [dead, healthy] = [await receive(), await receive()];
  dead.respondAlways({ hang: 'headers' });
  const { add, slotsOf, parkedAt } = scene({ concurrency: 4 });
  await Promise.all(Array.from({ length: 1000 }, (_, i) => add(`dead${i}`, dead.url())));
  await dead.waitFor(1);
  await Promise.all(Array.from({ length: 50 }, (_, i) => add(`ok${i}`, healthy.url())));
  await healthy.waitFor(50);
  expect(dead.requests).toHaveLength(1);
  expect(await slotsOf(dead.url())).toBe(1);
  expect(await parkedAt(dead.url())).toBe(999);
  await dead.close();
});

test('endpoints of which none has ever answered hold half of a dispatcher together', async () => {
  const dead = await Promise.all(Array.from({ length: 6 }, receive));
  for (const receiver of dead) receiver.respondAlways({ hang: 'headers' });
  const healthy = await receive();
  const { add, attempted } = scene({ concurrency: 4 });
  // It is known to answer from before.
  await add('first', healthy.url());
  await attempted(1);
  for (const [i, receiver] of dead.entries()) await add(`dead${i}`, receiver.url());
  await until('two hang', () => dead.filter(({ requests }) => requests.length > 0).length === 2);
  for (let i = 0; i < 20; i++) await add(`ok${i}`, healthy.url());
  await healthy.waitFor(21);
  expect(dead.filter(({ requests }) => requests.length > 0)).toHaveLength(2);
  for (const receiver of dead) await receiver.close();
});

test('an endpoint that answers is given more at a time, up to its cap, by all dispatchers together', async () => {
  const receiver = await receive();
  let inFlight = 0;
  let most = 0;
  receiver.onRequest(() => {
    inFlight += 1;
    most = Math.max(most, inFlight);
  });
  const [a, b] = [scene({ limits: { concurrency: 3 } }), scene({ limits: { concurrency: 3 } })];
  const done = () => a.attempts.length + b.attempts.length;
  for (let i = 0; i < 10; i++) {
    await a.add(`warm${i}`, receiver.url());
    await until(`${i + 1} are delivered`, () => done() === i + 1);
  }
  inFlight = 0;
  most = 0;
  const { open, answer } = gate();
  receiver.respondAlways(answer);
  await Promise.all(Array.from({ length: 20 }, (_, i) => a.add(String(i), receiver.url())));
  await receiver.waitFor(13);
  expect(await a.slotsOf(receiver.url())).toBe(3);
  expect(most).toBe(3);
  open();
  await until('all are delivered', () => done() === 30);
  await until('all slots are free', async () => (await a.slotsOf(receiver.url())) === 0);
});

test('turns go round: an endpoint with few deliveries is not behind one with many', async () => {
  const [many, few] = [await receive(), await receive()];
  const order: string[] = [];
  many.onRequest(() => order.push('many'));
  few.onRequest(() => order.push('few'));
  const { add, attempted } = scene({ concurrency: 1 });
  await Promise.all([
    ...Array.from({ length: 40 }, (_, i) => add(`many${i}`, many.url())),
    ...Array.from({ length: 4 }, (_, i) => add(`few${i}`, few.url())),
  ]);
  await attempted(44);
  expect(order.lastIndexOf('few')).toBeLessThan(14);
});

test('two tenants that call one receiver have a share each', async () => {
  const receiver = await receive();
  const { open, answer } = gate();
  receiver.respond(answer);
  const { add, attempted } = scene();
  await add('a', receiver.url(), { tenant: 'one' });
  await receiver.waitFor(1);
  await add('b', receiver.url(), { tenant: 'one' });
  await add('c', receiver.url(), { tenant: 'two' });
  await receiver.waitFor(2);
  await attempted(1);
  open();
  await attempted(3);
  expect(receiver.requests.map(({ headers }) => headers['webhook-id'])).toEqual(['evt_a', 'evt_c', 'evt_b']);
});

test('an endpoint has its own rate where it has any, and none goes before its time', async () => {
  const receiver = await receive();
  const { add, attempted, parkedAt, dueOf, shares } = scene();
  const own = { concurrency: 1, rate_per_s: 1 / 3600 };
  for (let i = 0; i < 6; i++) await add(String(i), receiver.url(), own);
  await attempted(1);
  await shares.feed();
  expect(await parkedAt(receiver.url())).toBe(5);
  const inMs = (await dueOf(receiver.url())) - shares.clock.now();
  expect(inMs).toBeGreaterThan(3_500_000);
  expect(inMs).toBeLessThan(3_700_000);
  expect(receiver.requests).toHaveLength(1);
});

test('a circuit opens after so many failures in a row, lets one probe through at a time, and closes by a success', async () => {
  const receiver = await receive();
  receiver.respondAlways({ status: 500 });
  const delaysMs = Array.from({ length: 20 }, () => 0);
  const { add, attempted, attempts, stateOf, shares } = scene({
    delaysMs,
    limits: { circuitFailures: 3, circuitOpenMs: 300, circuitOpenMaxMs: 300 },
  });
  for (let i = 0; i < 5; i++) await add(String(i), receiver.url());
  await attempted(3);
  await until('the circuit is open', async () => (await stateOf(receiver.url())).opens === '1');
  const openUntil = Number((await stateOf(receiver.url())).open_until);
  expect(attempts).toHaveLength(3);
  await attempted(4);
  expect(shares.clock.now()).toBeGreaterThanOrEqual(openUntil);
  receiver.respondAlways({ status: 200 });
  await until('all are delivered', () => attempts.filter(({ outcome }) => outcome === 'delivered').length === 5);
  await until('the circuit is closed', async () => (await stateOf(receiver.url())).opens === '0');
});

test.each([429, 502, 503, 504])(
  '%i slows the endpoint down: it is left alone for a while, then longer',
  async (status) => {
    const receiver = await receive();
    receiver.respond({ status }, { status });
    const at: number[] = [];
    const { add, attempted, shares } = scene({ delaysMs: [0, 0, 0, 0], limits: { pauseMs: 100 } });
    receiver.onRequest(() => at.push(shares.clock.now()));
    await add('a', receiver.url());
    await attempted(3);
    expect(Number(at[1]) - Number(at[0])).toBeGreaterThanOrEqual(99);
    expect(Number(at[2]) - Number(at[1])).toBeGreaterThanOrEqual(199);
  },
);

test('in order, a job is told of one event after the other; other jobs are not behind it', async () => {
  const receiver = await receive();
  receiver.respond({ status: 500 });
  const { add, attempted } = scene({ isOrdered: true, delaysMs: [0, 200] });
  await add('1', receiver.url(), { job_id: 'job_a' });
  await add('2', receiver.url(), { job_id: 'job_a' });
  await add('3', receiver.url(), { job_id: 'job_b' });
  await attempted(4);
  const ids = receiver.requests.map(({ headers }) => headers['webhook-id']);
  expect(ids.filter((id) => id !== 'evt_3')).toEqual(['evt_1', 'evt_1', 'evt_2']);
  expect(ids.indexOf('evt_3')).toBeLessThan(3);
});

test('in order, what is given up does not hold what comes after it', async () => {
  const receiver = await receive();
  receiver.respond({ status: 410 });
  const { add, attempted } = scene({ isOrdered: true });
  await add('1', receiver.url(), { job_id: 'job_a' });
  await add('2', receiver.url(), { job_id: 'job_a' });
  expect(await attempted(2)).toMatchObject([{ outcome: 'gone' }, { outcome: 'delivered' }]);
});

test('a slot whose delivery somebody removed is given back', async () => {
  const receiver = await receive();
  const { open, answer } = gate();
  receiver.respond(answer);
  const { add, slotsOf, shares, redis } = scene();
  await add('a', receiver.url());
  await receiver.waitFor(1);
  expect(await shares.reconcile()).toBe(0);
  const keys = await redis.keys(`s${testNumber}:{fleet}:bull:webhooks:evt_a*`);
  await redis.del(...keys);
  expect(await shares.reconcile()).toBe(1);
  expect(await slotsOf(receiver.url())).toBe(0);
  open();
});

test('what an older version has queued, and put off in BullMQ, is delivered too, and put off by Redis from then on', async () => {
  const receiver = await receive();
  receiver.respond({ status: 500 });
  const { add, attempted, redis } = scene({ delaysMs: [0, 50] });
  const queue = new Queue('webhooks', { connection: redis, prefix: `s${testNumber}:{fleet}:bull` });
  const data = {
    schema_version: 1,
    event_id: 'evt_old',
    type: 'job.succeeded',
    tenant: 'default',
    job_id: 'job_old',
    url: receiver.url(),
    body: '{}',
  };
  const options = { attempts: 2, backoff: { type: 'custom' } };
  await queue.add('job.succeeded', data, { ...options, jobId: 'evt_old' });
  expect(await attempted(2)).toMatchObject([{ outcome: 'retry' }, { outcome: 'delivered' }]);
  await queue.add('job.succeeded', { ...data, event_id: 'evt_late' }, { ...options, jobId: 'evt_late', delay: 50 });
  await attempted(3);
  // Its id is known: a second relay of the same event adds nothing.
  await add('late', receiver.url());
  await add('new', receiver.url());
  await attempted(4);
  const ids = receiver.requests.map(({ headers }) => headers['webhook-id']);
  expect(ids).toEqual(['evt_old', 'evt_old', 'evt_late', 'evt_new']);
  await queue.close();
});
