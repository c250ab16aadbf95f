import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { freePort } from '@onqueue/launcher';
import { generateWebhookSecret } from '@onqueue/shared';
import { Webhook } from 'standardwebhooks';
import { onqueue, startOnqueue } from './support/cli.ts';
import { acceptedJob, request } from './support/client.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';
import { type ReceivedRequest, type Receiver, startReceiver } from './support/receiver.ts';
import { until } from './support/until.ts';

interface Line {
  object: 'listener' | 'delivery';
  endpoint_id: string;
  url: string;
  secret: string;
  event_id: string;
  type: string;
  verified: boolean;
  status: number;
  data: { id: string };
}

const linear = { model: 'linear', input: { x0: 1, x1: 2, x2: 3 } };

let platform: TestPlatform;
let models: Awaited<ReturnType<typeof writeTestModels>>;
let receiver: Receiver;
let listeners: Listening[] = [];

beforeAll(async () => {
  models = await writeTestModels();
  platform = await startTestPlatform({
    modelsDir: models.dir,
    env: { ONQUEUE_WEBHOOK_SCHEDULE_MS: '0,10,10', ONQUEUE_WEBHOOK_PAUSE_MS: '10' },
  });
});
afterAll(async () => {
  await platform?.stop();
  await models?.remove();
});
beforeEach(async () => {
  receiver = await startReceiver();
});
afterEach(async () => {
  for (const { stop } of listeners) await stop();
  listeners = [];
  await receiver.close();
});

interface Listening {
  child: ReturnType<typeof startOnqueue>['child'];
  ended: ReturnType<typeof startOnqueue>['ended'];
  /** The first `n` lines. */
  lines(n: number): Promise<string[]>;
  stop(): Promise<unknown>;
}

function startListening(args: readonly string[] = []): Listening {
  const env = { ONQUEUE_API_URL: platform.baseUrl };
  const { child, ended } = startOnqueue(['webhooks', 'listen', ...args], { env });
  let text = '';
  child.stdout.on('data', (chunk) => {
    text += String(chunk);
  });
  const listening: Listening = {
    child,
    ended,
    async lines(n) {
      await until(`${n} lines were printed`, () => text.split('\n').length > n || child.exitCode !== null);
      return text.split('\n').slice(0, n);
    },
    async stop() {
      child.kill('SIGINT');
      await ended.catch(() => undefined);
    },
  };
  listeners.push(listening);
  return listening;
}

const json = (lines: readonly string[]): Line[] => lines.map((line) => JSON.parse(line));
const endpoints = async () =>
  (await request<{ data: { id: string; events: string[] }[] }>(`${platform.baseUrl}/webhooks/endpoints`)).body.data;
const headersOf = ({ headers }: ReceivedRequest) => headers as Record<string, string>;

describe('webhooks listen', () => {
  test('shows what comes, hands it on as it came, and answers what the receiver answers', async () => {
    const secret = generateWebhookSecret();
    receiver.respond({ status: 500, body: 'broken' }, { status: 503, headers: { 'retry-after': '0' } });
    const args = ['--json', '--forward-to', receiver.url('/mine?x=1'), '--secret', secret, '--events', 'job.succeeded'];
    const listening = startListening(args);
    const [listener] = json(await listening.lines(1)) as [Line];
    expect(listener).toMatchObject({ object: 'listener', forward_to: receiver.url('/mine?x=1') });
    expect(await endpoints()).toMatchObject([{ id: listener.endpoint_id, events: ['job.succeeded'] }]);

    const id = await acceptedJob(platform.baseUrl, linear);
    const deliveries = json(await listening.lines(4)).slice(1);
    expect(deliveries).toMatchObject(
      [500, 503, 200].map((status) => ({ type: 'job.succeeded', verified: true, reason: null, status, data: { id } })),
    );
    const requests = await receiver.waitFor(3);
    for (const one of requests) {
      expect([one.method, one.path]).toEqual(['POST', '/mine?x=1']);
      expect(headersOf(one)).toMatchObject({
        'content-type': 'application/json',
        'user-agent': expect.stringMatching(/^onqueue-webhooks\//),
        'webhook-id': deliveries[0]?.event_id,
      });
      // The endpoint's own secret has signed it, and the one that the receiver knows beside it.
      for (const known of [listener.secret, secret]) new Webhook(known).verify(one.body, headersOf(one));
      expect(() => new Webhook(generateWebhookSecret()).verify(one.body, headersOf(one))).toThrow();
    }
    // The platform has seen the answers of the receiver, not some of ours.
    const path = `/jobs/${id}/deliveries`;
    await until('it is delivered', async () => {
      const { body } = await request<{ data: { status: string; latest_attempts: object[] }[] }>(
        `${platform.baseUrl}${path}`,
      );
      if (body.data[0]?.status !== 'delivered') return false;
      expect(body.data[0].latest_attempts).toMatchObject([
        { status: 500, answer: 'broken' },
        { status: 503 },
        { status: 200 },
      ]);
      return true;
    });
  });

  test('without a receiver it shows a line a delivery, and answers 204', async () => {
    const listening = startListening();
    const [ready] = await listening.lines(1);
    expect(ready).toMatch(/^Events are shown here until Ctrl-C\. .* ep_\w+ and are signed with whsec_/);
    const [endpoint] = await endpoints();
    expect(endpoint?.events).toEqual(expect.arrayContaining(['job.queued', 'job.expired', 'model.failed']));
    const id = await acceptedJob(platform.baseUrl, linear);
    const lines = (await listening.lines(4)).slice(1);
    expect(lines.map((line) => line.replace(/^[\d:.]{12} {2}(\S+) {2}evt_\w+ {2}/, '$1 ')).sort()).toEqual(
      ['queued', 'started', 'succeeded'].map((state) => `job.${state} ${id}  -> 204`),
    );
  });

  test('what nobody has signed is shown as that, and goes nowhere', async () => {
    const listening = startListening(['--json', '--forward-to', receiver.url()]);
    const [{ url }] = json(await listening.lines(1)) as [Line];
    const forged = await fetch(url, {
      method: 'POST',
      headers: {
        'webhook-id': 'evt_forged',
        'webhook-timestamp': String(Math.floor(Date.now() / 1000)),
        'webhook-signature': 'v1,AAAA',
      },
      body: '{"type":"job.succeeded","data":{"id":"job_forged"}}',
    });
    expect(forged.status).toBe(401);
    expect((await fetch(url)).status).toBe(405);
    const [, shown] = json(await listening.lines(2));
    expect(shown).toMatchObject({ verified: false, reason: 'no_matching_signature', status: 401, forward_ms: null });
    await acceptedJob(platform.baseUrl, linear);
    await receiver.waitFor(3);
    expect(receiver.requests.map(({ headers }) => headers['webhook-id'])).not.toContain('evt_forged');
  });

  test('a receiver that is not there is told, and the delivery is tried again', async () => {
    const port = await freePort();
    const url = `http://127.0.0.1:${port}/`;
    const listening = startListening(['--json', '--forward-to', url, '--events', 'job.succeeded']);
    await listening.lines(1);
    await acceptedJob(platform.baseUrl, linear);
    const [, first] = json(await listening.lines(2)) as [Line, Line];
    expect(first).toMatchObject({ status: 502, forward_error: expect.stringContaining('ECONNREFUSED') });
    const [, , second] = json(await listening.lines(3)) as [Line, Line, Line];
    expect(second.event_id).toBe(first.event_id);
  });

  test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('after %s its endpoint is gone', async (signal) => {
    const listening = startListening();
    await listening.lines(1);
    expect(await endpoints()).toHaveLength(1);
    listening.child.kill(signal);
    expect(await listening.ended).toMatchObject({ code: 0, stderr: '' });
    expect(await endpoints()).toEqual([]);
  });

  test('nor is it left behind when nobody reads any more', async () => {
    const listening = startListening();
    await listening.lines(1);
    const exited = once(listening.child, 'exit');
    listening.ended.catch(() => {});
    listening.child.stdout.destroy();
    await acceptedJob(platform.baseUrl, linear);
    expect(await exited).toEqual([0, null]);
    expect(await endpoints()).toEqual([]);
  });

  test('where deliveries may not come to this machine, it says what to set', async () => {
    const strict = await platform.startApi({ ONQUEUE_WEBHOOK_ALLOW_HTTP: 'false' });
    const { code, stdout, stderr } = await onqueue(['webhooks', 'listen', '--api-url', strict.baseUrl]);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toContain('ONQUEUE_WEBHOOK_ALLOW_HTTP=true and ONQUEUE_WEBHOOK_ALLOW_CIDRS=127.0.0.0/8');
    expect(await endpoints()).toEqual([]);
    await strict.stop();
  });

  test.each([
    ['an event that there is not', ['--events', 'job.lost'], 'There are job.queued'],
    ['the event of a test', ['--events', 'endpoint.test'], 'There are job.queued'],
    ['a receiver that is no URL', ['--forward-to', 'localhost:3000'], 'It is a URL such as'],
    ['a secret that is none', ['--secret', 'whsec_c2hvcnQ='], 'a webhook secret holds 24-64 bytes'],
  ])('refuses %s', async (_, args, message) => {
    const env = { ONQUEUE_API_URL: platform.baseUrl };
    const { code, stderr } = await onqueue(['webhooks', 'listen', ...args], { env });
    expect([code, stderr]).toEqual([2, expect.stringContaining(message)]);
    expect(stderr).not.toContain('c2hvcnQ');
    expect(await endpoints()).toEqual([]);
  });
});
