import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { generateWebhookSecret, parseWebhookSecret, systemClock } from '@onqueue/shared';
import { Webhook } from 'standardwebhooks';
import { type Receiver, startReceiver } from '../../../../test/support/receiver.ts';
import { createSsrfGuard } from './ssrf-guard.ts';
import { createWebhookSender, type WebhookSenderOptions } from './webhook-sender.ts';

const secretText = generateWebhookSecret();
const body = JSON.stringify({ type: 'job.succeeded', data: { id: 'job_1' } });
let receiver: Receiver;

beforeEach(async () => {
  receiver = await startReceiver();
});
afterEach(() => receiver.close());

function send(options: Partial<WebhookSenderOptions> = {}, url = receiver.url()) {
  const sender = createWebhookSender({
    secret: parseWebhookSecret(secretText),
    guard: createSsrfGuard({ allowCidrs: ['127.0.0.0/8'], allowHttp: true }),
    version: '1.2.3',
    ...options,
  });
  return sender.send({ eventId: 'evt_1', url, body });
}

/** Lets a timeout pass at once, as soon as `moment` has come. */
function clockThatJumpsAfter(moment: () => Promise<unknown>) {
  return {
    now: systemClock.now,
    setTimeout(callback: () => void) {
      let isCanceled = false;
      void moment().then(() => {
        if (!isCanceled) callback();
      });
      return {
        cancel() {
          isCanceled = true;
        },
      };
    },
  };
}

test('posts the body with the three headers, signed for any receiver of Standard Webhooks', async () => {
  expect(await send()).toEqual({ outcome: 'delivered', status: 200, latencyMs: expect.any(Number) });
  const [request] = await receiver.waitFor(1);
  expect(request).toMatchObject({
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json', 'user-agent': 'onqueue-webhooks/1.2.3', 'webhook-id': 'evt_1' },
  });
  expect(request?.headers['accept-encoding']).toBeUndefined();
  new Webhook(secretText).verify(request?.body ?? '', request?.headers as Record<string, string>);
});

test('each attempt has a timestamp and signature of its own, and the same id', async () => {
  let nowMs = 1_700_000_000_000;
  for (let i = 0; i < 2; i++) {
    await send({ wallClock: () => nowMs });
    nowMs += 5_000;
  }
  const headers = (await receiver.waitFor(2)).map((request) => request.headers);
  expect(headers.map((header) => header['webhook-id'])).toEqual(['evt_1', 'evt_1']);
  expect(headers.map((header) => header['webhook-timestamp'])).toEqual(['1700000000', '1700000005']);
  expect(headers[0]?.['webhook-signature']).not.toBe(headers[1]?.['webhook-signature']);
});

test.each([200, 201, 202, 204, 299])('%i is a success', async (status) => {
  receiver.respond({ status });
  expect(await send()).toMatchObject({ outcome: 'delivered', status });
});

test.each([400, 401, 404, 408, 409, 422, 429, 500, 502, 503, 504])('%i is tried again', async (status) => {
  receiver.respond({ status, body: 'no' });
  expect(await send()).toMatchObject({ outcome: 'retry', status, errorClass: 'status' });
});

test.each([301, 302, 303, 304, 307, 308])('%i is a failure and leads nowhere', async (status) => {
  receiver.respond({ status, headers: { location: receiver.url('/elsewhere') } });
  expect(await send()).toMatchObject({ outcome: 'retry', status, errorClass: 'redirect' });
  expect(receiver.requests.map((request) => request.path)).toEqual(['/hook']);
});

test('410 is final', async () => {
  receiver.respond({ status: 410 });
  expect(await send()).toMatchObject({ outcome: 'gone', status: 410 });
});

test.each([
  ['120', 120_000],
  ['0', 0],
  ['999999999', 86_400_000],
  ['Tue, 14 Nov 2023 22:13:50 GMT', 30_000],
  ['Tue, 14 Nov 2023 22:00:00 GMT', 0],
  ['Tue, 14 Nov 2033 22:00:00 GMT', 86_400_000],
])('Retry-After: %s asks for %i ms', async (value, retryAfterMs) => {
  receiver.respond({ status: 429, headers: { 'retry-after': value } });
  expect(await send({ wallClock: () => 1_700_000_000_000 })).toMatchObject({ outcome: 'retry', retryAfterMs });
});

test('a Retry-After that cannot be read counts as not said', async () => {
  receiver.respond({ status: 503, headers: { 'retry-after': 'later' } });
  expect(await send()).not.toHaveProperty('retryAfterMs');
});

test('an endless answer is cut at the cap and counts as delivered', async () => {
  receiver.respond({ endless: true });
  expect(await send({ maxResponseBytes: 100_000 })).toMatchObject({ outcome: 'delivered', status: 200 });
  await receiver.waitForClosed(1);
  expect(receiver.endlessBytes).toBeLessThan(50_000_000);
});

test('an error with an endless or hanging body is judged by its status, without reading it', async () => {
  receiver.respond({ endless: true, status: 500 }, { hang: 'body', status: 410 });
  expect(await send()).toMatchObject({ outcome: 'retry', status: 500 });
  expect(await send()).toMatchObject({ outcome: 'gone', status: 410 });
  await receiver.waitForClosed(2);
});

test.each(['headers', 'body'] as const)('a receiver that hangs in its %s is cut off at the timeout', async (hang) => {
  receiver.respond({ hang });
  const clock = clockThatJumpsAfter(() => receiver.waitFor(1));
  expect(await send({ clock })).toMatchObject({ outcome: 'retry', errorClass: 'timeout' });
  await receiver.waitForClosed(1);
});

test('a lookup that hangs is cut off at the timeout', async () => {
  const { promise: isLookingUp, resolve: lookUp } = newPromise();
  const guard = createSsrfGuard({
    allowCidrs: [],
    allowHttp: true,
    lookup: () => {
      lookUp();
      return new Promise(() => {});
    },
  });
  const clock = clockThatJumpsAfter(() => isLookingUp);
  expect(await send({ guard, clock }, 'https://slow.test/')).toMatchObject({ outcome: 'retry', errorClass: 'timeout' });
});

test('the timer does not outlive the attempt', async () => {
  let isCanceled = false;
  const cancel = () => {
    isCanceled = true;
  };
  const clock = { now: systemClock.now, setTimeout: () => ({ cancel }) };
  await send({ clock });
  expect(isCanceled).toBe(true);
});

test('a connection that is cut or refused is tried again', async () => {
  receiver.respond({ cut: true });
  expect(await send()).toMatchObject({ outcome: 'retry', errorClass: 'connection' });
  const gone = await startReceiver();
  await gone.close();
  expect(await send({}, gone.url())).toMatchObject({ outcome: 'retry', errorClass: 'connection' });
});

test('a receiver that speaks no TLS is tried again', async () => {
  const url = receiver.url().replace('http:', 'https:');
  expect(await send({}, url)).toMatchObject({ outcome: 'retry', errorClass: 'tls_protocol' });
});

test('a name that does not resolve is tried again', async () => {
  const lookup = async () => {
    throw Object.assign(new Error('getaddrinfo ENOTFOUND nowhere.test'), { code: 'ENOTFOUND' });
  };
  const guard = createSsrfGuard({ allowCidrs: [], allowHttp: false, lookup });
  expect(await send({ guard }, 'https://nowhere.test/')).toMatchObject({ outcome: 'retry', errorClass: 'dns' });
});

test('a target that the guard refuses is final and gets no connection', async () => {
  const guard = createSsrfGuard({ allowCidrs: [], allowHttp: true });
  expect(await send({ guard })).toMatchObject({ outcome: 'refused', errorClass: 'refused_address' });
  expect(await send({ guard }, 'ftp://127.0.0.1/')).toMatchObject({ outcome: 'refused', errorClass: 'refused_url' });
  const strict = createSsrfGuard({ allowCidrs: ['127.0.0.0/8'], allowHttp: false });
  expect(await send({ guard: strict })).toMatchObject({ outcome: 'refused', errorClass: 'refused_url' });
  expect(receiver.connections).toBe(0);
});

function newPromise() {
  let resolve = () => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
