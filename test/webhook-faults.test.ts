import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { type RedisServer, startRedisServer } from '@onqueue/launcher';
import { systemClock } from '@onqueue/shared';
import { type Receiver, startReceiver, type TestCertificate, testCa } from './support/receiver.ts';
import { startWebhookScene, type WebhookSceneOptions } from './support/webhook-scene.ts';

/** What a receiver does to a sender, and what becomes of the delivery. */
let server: RedisServer;
let receiver: Receiver;
let testNumber = 0;
let opened: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  server = await startRedisServer();
});
afterAll(() => server.stop());
beforeEach(async () => {
  testNumber += 1;
  receiver = await startReceiver();
  opened = [() => receiver.close()];
});
afterEach(async () => {
  for (const close of opened.reverse()) await close();
});

function scene(options: Partial<WebhookSceneOptions> = {}) {
  const made = startWebhookScene({
    redisUrl: server.url,
    prefix: `f${testNumber}:{fleet}:bull`,
    delaysMs: [0, 1],
    limits: { pauseMs: 1 },
    ...options,
  });
  opened.push(() => made.close());
  return made;
}

/** A clock whose timers of `ms` fire as soon as `moment` has come; all others are real. */
function clockWhere(ms: number, moment: () => Promise<unknown>) {
  return {
    now: systemClock.now,
    setTimeout(callback: () => void, delayMs: number) {
      if (delayMs !== ms) return systemClock.setTimeout(callback, delayMs);
      let isCanceled = false;
      void moment().then(() => !isCanceled && callback());
      return {
        cancel() {
          isCanceled = true;
        },
      };
    },
  };
}

test.each([200, 204])('%i: delivered', async (status) => {
  receiver.respond({ status });
  const { add, attempted } = scene();
  await add('a', receiver.url());
  expect(await attempted(1)).toMatchObject([{ outcome: 'delivered', status }]);
});

test('500: tried again', async () => {
  receiver.respond({ status: 500 });
  const { add, attempted } = scene();
  await add('a', receiver.url());
  expect(await attempted(2)).toMatchObject([{ outcome: 'retry', status: 500 }, { outcome: 'delivered' }]);
});

test('a receiver that never answers: cut off at the timeout and tried again', async () => {
  receiver.respond({ hang: 'headers' });
  const clock = clockWhere(15_000, () => receiver.waitFor(1));
  const { add, attempted } = scene({ sender: { clock } });
  await add('a', receiver.url());
  const [first] = await attempted(1);
  expect(first).toMatchObject({ outcome: 'retry', errorClass: 'timeout' });
  await receiver.waitForClosed(1);
});

test('an answer that drips a byte a second: the timeout is for all of it', async () => {
  const dripped: (() => void)[] = [];
  let drops = 0;
  const drip = () =>
    new Promise<void>((resolve) => {
      drops += 1;
      dripped.push(resolve);
      // The sender's second timer, below, is what lets the next byte come.
      if (drops < 5) setImmediate(resolve);
      else fifth();
    });
  let fifth = () => {};
  const isFifth = new Promise<void>((resolve) => {
    fifth = resolve;
  });
  receiver.respond({ drip });
  const clock = clockWhere(15_000, () => isFifth);
  const { add, attempted } = scene({ sender: { clock } });
  await add('a', receiver.url());
  expect(await attempted(1)).toMatchObject([{ outcome: 'retry', errorClass: 'timeout' }]);
  await receiver.waitForClosed(1);
  for (const release of dripped) release();
});

test('ten gigabytes: cut at 64 KB, delivered', async () => {
  receiver.respond({ endless: true });
  const { add, attempted } = scene();
  await add('a', receiver.url());
  expect(await attempted(1)).toMatchObject([{ outcome: 'delivered', status: 200 }]);
  await receiver.waitForClosed(1);
  // What the sockets of both sides held, and no more.
  expect(receiver.endlessBytes).toBeLessThan(50_000_000);
});

test('a redirect to the metadata of the cloud: not followed', async () => {
  receiver.respond({ status: 302, headers: { location: 'http://169.254.169.254/latest/meta-data/' } });
  const { add, attempted } = scene();
  await add('a', receiver.url());
  expect(await attempted(2)).toMatchObject([
    { outcome: 'retry', errorClass: 'redirect', status: 302 },
    { outcome: 'delivered' },
  ]);
  expect(receiver.requests.map(({ path }) => path)).toEqual(['/hook', '/hook']);
});

test('410: given up, and a registered endpoint is to be disabled', async () => {
  receiver.respondAlways({ status: 410 });
  const gone: (string | undefined)[] = [];
  const { add, attempted } = scene({ onGone: async ({ endpoint_id }) => void gone.push(endpoint_id) });
  await add('a', receiver.url());
  await add('b', receiver.url(), { endpoint_id: 'ep_1' });
  expect(await attempted(2)).toMatchObject([{ outcome: 'gone' }, { outcome: 'gone' }]);
  expect(gone).toEqual(['ep_1']);
});

test('429 with Retry-After: neither this delivery nor another goes there before', async () => {
  receiver.respond({ status: 429, headers: { 'retry-after': '3600' } });
  const { add, attempted, parkedAt, stateOf, shares } = scene();
  await add('a', receiver.url());
  await attempted(1);
  await add('b', receiver.url());
  const other = await startReceiver();
  opened.push(() => other.close());
  await add('c', other.url());
  await other.waitFor(1);
  expect(await parkedAt(receiver.url())).toBe(2);
  expect(receiver.requests).toHaveLength(1);
  const pausedForMs = Number((await stateOf(receiver.url())).pause_until) - shares.clock.now();
  expect(pausedForMs).toBeGreaterThan(3_500_000);
  expect(pausedForMs).toBeLessThan(3_700_000);
});

test.each<[TestCertificate, string]>([
  ['expired', 'tls_expired'],
  ['other-name', 'tls_hostname'],
  ['self-signed', 'tls_untrusted'],
])('a certificate that is %s: nothing is sent, and the attempt says %s', async (tls, errorClass) => {
  const secure = await startReceiver({ tls });
  opened.push(() => secure.close());
  const { add, attempted } = scene({ guard: { ca: testCa() } });
  await add('a', secure.url());
  expect(await attempted(1)).toMatchObject([{ outcome: 'retry', errorClass }]);
  expect(secure.requests).toHaveLength(0);
});

test('a certificate of an authority that nobody trusts is told from one that is right', async () => {
  const secure = await startReceiver({ tls: 'valid' });
  opened.push(() => secure.close());
  const distrusting = scene();
  await distrusting.add('a', secure.url());
  expect(await distrusting.attempted(1)).toMatchObject([{ errorClass: 'tls_untrusted' }]);
  await distrusting.close();
  opened.pop();
  testNumber += 1;
  const trusting = scene({ guard: { ca: testCa() } });
  await trusting.add('b', secure.url());
  expect(await trusting.attempted(1)).toMatchObject([{ outcome: 'delivered' }]);
});

test('a receiver that speaks no TLS: told apart from one whose certificate is wrong', async () => {
  const { add, attempted } = scene();
  await add('a', receiver.url().replace('http:', 'https:'));
  expect(await attempted(1)).toMatchObject([{ outcome: 'retry', errorClass: 'tls_protocol' }]);
});

test('a reset in the middle of the answer: tried again', async () => {
  receiver.respond({ reset: true });
  const { add, attempted } = scene();
  await add('a', receiver.url());
  expect(await attempted(2)).toMatchObject([{ outcome: 'retry', errorClass: 'connection' }, { outcome: 'delivered' }]);
});

test('an answer after the timeout: it comes to nobody, and the event is sent again under the same id', async () => {
  let answer = () => {};
  const isLate = new Promise<void>((resolve) => {
    answer = resolve;
  });
  receiver.respond({ after: isLate, status: 200 });
  const clock = clockWhere(15_000, () => receiver.waitFor(1));
  let isFirst = true;
  const onlyFirst: typeof clock = {
    now: clock.now,
    setTimeout(callback, ms) {
      const chosen = ms === 15_000 && !isFirst ? systemClock : clock;
      if (ms === 15_000) isFirst = false;
      return chosen.setTimeout(callback, ms);
    },
  };
  const { add, attempted } = scene({ sender: { clock: onlyFirst } });
  await add('a', receiver.url());
  const attempts = await attempted(2);
  answer();
  expect(attempts).toMatchObject([{ outcome: 'retry', errorClass: 'timeout' }, { outcome: 'delivered' }]);
  expect(receiver.requests.map(({ headers }) => headers['webhook-id'])).toEqual(['evt_a', 'evt_a']);
});

test('a connection that the receiver has closed meanwhile is no failed attempt', async () => {
  const { add, attempted } = scene({ concurrency: 1 });
  await add('a', receiver.url());
  await attempted(1);
  const { port } = receiver;
  await receiver.close();
  receiver = await startReceiver({ port });
  opened.push(() => receiver.close());
  await add('b', receiver.url());
  expect(await attempted(2)).toMatchObject([{ outcome: 'delivered' }, { outcome: 'delivered' }]);
});

test('connections are kept and used again', async () => {
  const { add, attempted } = scene({ concurrency: 1 });
  for (let i = 0; i < 20; i++) {
    await add(String(i), receiver.url());
    await attempted(i + 1);
  }
  expect(receiver.requests).toHaveLength(20);
  expect(receiver.connections).toBe(1);
});
