import { EventEmitter, once } from 'node:events';
import { stat } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { freePort, httpGet, newWebhookSecret, type Platform, start, startPlatform } from '@onqueue/launcher';
import { type FixtureService, writeFixtureService } from './support/fixture-service.ts';
import { startPrivateRedis, startTestPlatform } from './support/platform.ts';

let fixture: FixtureService;
const open: Platform[] = [];

beforeEach(async () => {
  fixture = await writeFixtureService();
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((platform) => platform.kill()));
  await fixture.remove();
});

async function platform(options: Parameters<typeof startTestPlatform>[0] = {}) {
  const started = await startTestPlatform({ entries: { api: fixture.entry, worker: fixture.entry }, ...options });
  open.push(started);
  return started;
}

const envOf = async ({ baseUrl }: { baseUrl: string }): Promise<Record<string, string>> =>
  JSON.parse((await httpGet(`${baseUrl}/env`)).body);

describe('a platform', () => {
  test('gives all of its processes the same Redis and the same webhook secret, and each a port of its own', async () => {
    const { apis, workers, redis, webhookSecret, baseUrl } = await platform({ apis: 2, workers: 2 });
    const envs = await Promise.all([...apis, ...workers].map(envOf));
    expect(new Set(envs.map((env) => env.REDIS_URL))).toEqual(new Set([redis.url]));
    expect(new Set(envs.map((env) => env.ONQUEUE_WEBHOOK_SECRET))).toEqual(new Set([webhookSecret]));
    expect(new Set([...apis, ...workers].map((service) => service.baseUrl)).size).toBe(4);
    expect(baseUrl).toBe(apis[0]?.baseUrl);
    expect(envs[3]?.ONQUEUE_MODELS_DIR).toMatch(/\/models$/);
  });

  test('keeps the settings of the shell out of tests, and takes those of the test', async () => {
    process.env.ONQUEUE_INSTANCES = '7';
    try {
      const { apis, workers } = await platform({
        env: { ONQUEUE_ATTEMPTS: '2' },
        workerEnv: { ONQUEUE_MODELS: 'fraud' },
      });
      const [api, worker] = await Promise.all([...apis, ...workers].map(envOf));
      expect(api).toMatchObject({ ONQUEUE_ATTEMPTS: '2', ONQUEUE_LOCK_DURATION_MS: '2000' });
      expect(worker).toMatchObject({ ONQUEUE_ATTEMPTS: '2', ONQUEUE_MODELS: 'fraud' });
      expect(worker).not.toHaveProperty('ONQUEUE_INSTANCES');
      expect(api).not.toHaveProperty('ONQUEUE_MODELS');
      expect(api).not.toHaveProperty('NODE_ENV');
    } finally {
      delete process.env.ONQUEUE_INSTANCES;
    }
  });

  test('starts without a worker, and takes more processes while it runs', async () => {
    const started = await platform({ workers: 0 });
    const worker = await started.startWorker({ ONQUEUE_MODELS: 'digits' });
    const api = await started.startApi();
    expect(started.workers).toEqual([worker]);
    expect(started.apis).toHaveLength(2);
    expect((await envOf(worker)).ONQUEUE_MODELS).toBe('digits');
    expect((await envOf(api)).REDIS_URL).toBe(started.redisUrl);
  });

  test('replaces an API that was killed, on the same port', async () => {
    const started = await platform({ workers: 0 });
    await started.apis[0]?.kill();
    const again = await started.startApi({ ONQUEUE_PORT: new URL(started.baseUrl).port });
    expect(again.baseUrl).toBe(started.baseUrl);
  });

  test('stops everything that it started', async () => {
    const started = await platform();
    await started.stop();
    expect([...started.apis, ...started.workers].every(({ hasExited }) => hasExited)).toBe(true);
    expect(await started.redis.exited).toEqual({ code: 0, signal: null });
  });

  test('stops the rest when one part does not start, and says which', async () => {
    await expect(platform({ workerEnv: { FIXTURE: 'dies' } })).rejects.toThrow('The worker ended before it was ready');
  });

  test('gives up a start when it is told to', async () => {
    const abort = new AbortController();
    const starting = platform({ env: { FIXTURE: 'never ready' }, signal: abort.signal });
    abort.abort();
    await expect(starting).rejects.toThrow(/aborted/);
  });

  test('uses a Redis that it is told to, and leaves it running', async () => {
    const redis = await startPrivateRedis();
    const started = await startPlatform({
      redis: { url: redis.url },
      inheritEnv: false,
      entries: { api: fixture.entry, worker: fixture.entry },
    });
    expect(started.redis).toBeUndefined();
    expect((await envOf(started)).REDIS_URL).toBe(redis.url);
    await started.stop();
    await redis.restart();
    await redis.stop();
  });
});

describe('npm start', () => {
  /** Runs it in the test's folder; `printed` resolves with the text that follows. */
  function run(env: Record<string, string> = {}, args: string[] = []) {
    const signals = new EventEmitter();
    const output = new EventEmitter();
    const errors: string[] = [];
    const clock = { now: 0 };
    const exitCode = start({
      args,
      env,
      rootDir: fixture.folder,
      signals,
      now: () => clock.now,
      print: (text) => output.emit('text', text),
      printError: (text) => errors.push(text),
      entries: { api: fixture.entry, worker: fixture.entry },
      log: 'quiet',
    });
    const printed = async () => String((await once(output, 'text'))[0]);
    return { signals, clock, errors, exitCode, printed };
  }

  test('says where everything is, drains on a signal and ends with 0', async () => {
    const port = await freePort();
    const { signals, exitCode, printed, errors } = run({ ONQUEUE_PORT: String(port) });
    const greeting = await printed();
    expect(greeting).toContain(`http://127.0.0.1:${port}`);
    expect(greeting).toContain('.onqueue/redis-data, appendfsync everysec');
    expect(greeting).toContain('.onqueue/webhook-secret');
    expect(greeting).toContain(`curl -s http://127.0.0.1:${port}/models`);
    expect(greeting).toContain('Ctrl-C drains and stops.');
    expect((await stat(join(fixture.folder, '.onqueue', 'webhook-secret'))).mode & 0o777).toBe(0o600);
    signals.emit('SIGINT');
    signals.emit('SIGINT');
    expect(await exitCode).toBe(0);
    expect(errors).toEqual([]);
    expect(signals.eventNames()).toEqual([]);
  });

  test('keeps the secret to itself when the environment brings one', async () => {
    const { signals, exitCode, printed } = run({
      ONQUEUE_PORT: String(await freePort()),
      ONQUEUE_WEBHOOK_SECRET: newWebhookSecret(),
    });
    const greeting = await printed();
    expect(greeting).toContain('from ONQUEUE_WEBHOOK_SECRET');
    expect(greeting).not.toContain('whsec_');
    signals.emit('SIGTERM');
    expect(await exitCode).toBe(0);
  });

  test('says in one line that its port is in use', async () => {
    const other = createServer().listen(await freePort(), '127.0.0.1');
    await once(other, 'listening');
    const address = other.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    const { exitCode, errors } = run({ ONQUEUE_PORT: String(port) });
    expect(await exitCode).toBe(1);
    expect(errors).toEqual([expect.stringMatching(new RegExp(`^Port ${port} is in use\\. Set ONQUEUE_PORT[^\\n]*$`))]);
    other.close();
    await once(other, 'close');
  });

  test('proposes for the worker a port that the API does not get', async () => {
    const other = createServer().listen(await freePort(), '127.0.0.1');
    await once(other, 'listening');
    const taken = (other.address() as AddressInfo).port;
    const { exitCode, errors } = run({ ONQUEUE_PORT: String(taken + 1), ONQUEUE_WORKER_PORT: String(taken) });
    expect(await exitCode).toBe(1);
    expect(errors).toEqual([expect.stringMatching(/such as ONQUEUE_WORKER_PORT=\d+\.$/)]);
    expect(errors[0]).not.toContain(String(taken + 1));
    other.close();
    await once(other, 'close');
  });

  test('tells a wrong setting in one line, before it looks at anything else', async () => {
    const first = run({ ONQUEUE_PORT: String(await freePort()) });
    await first.printed();
    const second = run({ ONQUEUE_PORT: 'abc', ONQUEUE_ATTEMPTS: 'many' });
    expect(await second.exitCode).toBe(1);
    expect(second.errors).toEqual([
      expect.stringMatching(/^[^\n]*not valid[^\n]* ONQUEUE_PORT: a whole number; ONQUEUE_ATTEMPTS: a whole number$/),
    ]);
    first.signals.emit('SIGTERM');
    expect(await first.exitCode).toBe(0);
  });

  test('waits for the Redis of REDIS_URL for as long as it takes, and says so', async () => {
    const [port, workerPort] = [await freePort(), await freePort()];
    const { signals, exitCode, printed, errors } = run({
      ONQUEUE_PORT: String(port),
      ONQUEUE_WORKER_PORT: String(workerPort),
      REDIS_URL: 'redis://user:S3CR3T@redis.test:7000,redis://redis.test:7001',
      ONQUEUE_REDIS_CLUSTER: 'true',
      FIXTURE: 'waits',
    });
    const told = await printed();
    expect(told).toMatch(/^Waiting for Redis at redis:\/\/redis\.test:7000,redis:\/\/redis\.test:7001 \(REDIS_URL\)/);
    const greeting = printed();
    for (const each of [port, workerPort]) await httpGet(`http://127.0.0.1:${each}/come`);
    expect(await greeting).toContain('onqueue is up.');
    signals.emit('SIGTERM');
    expect(await exitCode).toBe(0);
    expect(errors).toEqual([]);
  });

  test('says in one line that another one runs on its data', async () => {
    const first = run({ ONQUEUE_PORT: String(await freePort()) });
    await first.printed();
    const second = run({ ONQUEUE_PORT: String(await freePort()) });
    expect(await second.exitCode).toBe(1);
    expect(second.errors).toEqual([expect.stringMatching(/^[^\n]*redis-data is in use by process \d+[^\n]*$/)]);
    first.signals.emit('SIGTERM');
    expect(await first.exitCode).toBe(0);
  });

  test('stops everything with 1 when a process ends by itself, and shows what that said last', async () => {
    const port = await freePort();
    const { exitCode, errors, printed } = run({ ONQUEUE_PORT: String(port) });
    await printed();
    await httpGet(`http://127.0.0.1:${port}/die`).catch(() => undefined);
    expect(await exitCode).toBe(1);
    expect(errors).toEqual([
      'The api ended unexpectedly (exit code 7). Stopping everything. Its last lines:\n  listening',
    ]);
  });

  test('a second Ctrl-C ends at once what does not drain', async () => {
    const env = { ONQUEUE_PORT: String(await freePort()), FIXTURE: 'deaf' };
    const { signals, clock, exitCode, printed } = run(env);
    await printed();
    signals.emit('SIGINT');
    clock.now = 5000;
    signals.emit('SIGINT');
    expect(await exitCode).toBe(130);
  });

  test('a signal during the start gives it up', async () => {
    const { signals, exitCode, errors } = run({ ONQUEUE_PORT: String(await freePort()), FIXTURE: 'never ready' });
    signals.emit('SIGINT');
    expect(await exitCode).toBe(0);
    expect(errors).toEqual([]);
  });

  test('explains itself, and refuses an argument that it does not know', async () => {
    const help = run({}, ['--help']);
    expect(await help.exitCode).toBe(0);
    const wrong = run({}, ['--wokers', '2']);
    expect(await wrong.exitCode).toBe(1);
    expect(wrong.errors).toEqual([expect.stringContaining("Unknown option '--wokers'")]);
  });
});
