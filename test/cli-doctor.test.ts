import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { freePort, type RedisServerOptions, repoRoot } from '@onqueue/launcher';
import { onqueue } from './support/cli.ts';
import { breakArtifact } from './support/models/broken-artifact.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { startPrivateRedis, startTestPlatform, type TestPlatform } from './support/platform.ts';
import { type Receiver, startReceiver } from './support/receiver.ts';

interface Finding {
  check: string;
  status: 'ok' | 'info' | 'warning' | 'error';
  message: string;
  remedy?: string;
}

let models: Awaited<ReturnType<typeof writeTestModels>>;
let ports: Record<string, string>;

beforeAll(async () => {
  models = await writeTestModels();
  ports = { ONQUEUE_PORT: String(await freePort()), ONQUEUE_WORKER_PORT: String(await freePort()) };
});
afterAll(() => models?.remove());

/** What it finds in this environment; models are only read unless it is told otherwise. */
async function doctor(env: Record<string, string>, args: readonly string[] = ['--no-load']) {
  const { code, stdout, stderr } = await onqueue(['doctor', '--json', ...args], {
    env: { ...ports, ONQUEUE_MODELS_DIR: models.dir, ...env },
  });
  const { ok, findings } = JSON.parse(stdout) as { ok: boolean; findings: Finding[] };
  expect([stderr, code]).toEqual(['', ok ? 0 : 1]);
  for (const { status, remedy } of findings)
    if (status === 'error' || status === 'warning') expect(remedy).toBeDefined();
  return { code, findings, of: (check: string) => findings.find((finding) => finding.check === check) };
}

async function withRedis<T>(options: RedisServerOptions, look: (url: string) => Promise<T>): Promise<T> {
  const redis = await startPrivateRedis(options);
  try {
    return await look(redis.url);
  } finally {
    await redis.stop();
  }
}

describe('of a platform that runs', () => {
  let platform: TestPlatform;
  let env: Record<string, string>;

  beforeAll(async () => {
    const [apiPort, workerPort] = [await freePort(), await freePort()];
    platform = await startTestPlatform({
      modelsDir: models.dir,
      apiPort,
      workerPort,
      redisOptions: { appendfsync: 'always', maxmemory: '256mb' },
    });
    env = {
      REDIS_URL: platform.redisUrl,
      ONQUEUE_PORT: String(apiPort),
      ONQUEUE_WORKER_PORT: String(workerPort),
    };
  });
  afterAll(() => platform?.stop());

  test('all is well, models are loaded, and the exit code is 0', async () => {
    const { code, findings } = await doctor(env, []);
    expect(findings.filter(({ status }) => status !== 'ok')).toEqual([]);
    expect(code).toBe(0);
    expect(findings.map(({ check }) => check)).toEqual([
      ...['node', 'settings', 'redis', 'redis version', 'redis eviction', 'redis durability', 'redis writes'],
      ...['redis memory', 'clocks', 'api', 'api redis', 'api port', 'worker port'],
      ...['model crash/1', 'model linear/1', 'model lookup/1', 'model slow/1'],
    ]);
    expect(findings.find(({ check }) => check === 'model linear/1')?.message).toContain('loads');
  });

  test('people get lines, and what to do below them', async () => {
    const { code, stdout } = await onqueue(['doctor', '--no-load'], {
      env: { ...env, ONQUEUE_MODELS_DIR: models.dir, ONQUEUE_PROT: '1' },
    });
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^warning +settings +ONQUEUE_PROT is no setting; nothing reads it\n +→ Look for the right name/m,
    );
    expect(stdout).toMatch(/^ok +redis +redis at 127\.0\.0\.1:\d+ answers$/m);
    expect(stdout).toMatch(/\n\n0 errors, 1 warnings\.\n$/);
  });

  test('an API that has lost its Redis is an error', async () => {
    platform.redis.pause();
    try {
      const { of } = await doctor(env);
      expect(of('redis')).toMatchObject({ status: 'error', remedy: expect.stringContaining('REDIS_URL') });
      expect(of('api')).toMatchObject({ status: 'error', message: expect.stringContaining('unready') });
    } finally {
      platform.redis.resume();
    }
  });

  test('a clock that is minutes off is an error', async () => {
    const shifted = (ms: number) =>
      doctor({
        ...env,
        NODE_OPTIONS: `--require=${join(repoRoot, 'test/support/shifted-clock.cjs')}`,
        SHIFTED_CLOCK_MS: String(ms),
      });
    expect((await shifted(400_000)).of('clocks')).toMatchObject({
      status: 'error',
      message: expect.stringMatching(/is (399|400)\.\d s ahead of Redis/),
      remedy: expect.stringContaining('NTP'),
    });
    expect((await shifted(-20_000)).of('clocks')).toMatchObject({
      status: 'warning',
      message: expect.stringMatching(/is (19|20)\.\d s behind Redis/),
    });
  });
});

describe('of Redis', () => {
  test('one that is not there, with its address and without its password', async () => {
    const port = await freePort();
    const { code, of } = await doctor({ REDIS_URL: `redis://user:hunter2@127.0.0.1:${port}` });
    expect(code).toBe(1);
    const finding = of('redis');
    expect(finding).toMatchObject({ status: 'error', message: expect.stringContaining(`127.0.0.1:${port}`) });
    expect(finding?.message).toMatch(/ECONNREFUSED/);
    expect(JSON.stringify(finding)).not.toContain('hunter2');
  });

  test('one that evicts', async () => {
    const { code, of } = await withRedis({ maxmemoryPolicy: 'allkeys-lru' }, (url) => doctor({ REDIS_URL: url }));
    expect(code).toBe(1);
    expect(of('redis eviction')).toMatchObject({
      status: 'error',
      message: expect.stringContaining('allkeys-lru'),
      remedy: expect.stringContaining('CONFIG SET maxmemory-policy noeviction'),
    });
  });

  test.each([
    ['off', 'warning', 'appendonly yes'],
    ['everysec', 'info', 'appendfsync always'],
    ['always', 'ok', undefined],
  ] as const)('with the append-only file %s', async (appendfsync, status, remedy) => {
    const { code, of } = await withRedis({ appendfsync }, (url) => doctor({ REDIS_URL: url }));
    expect(code).toBe(0);
    expect(of('redis durability')?.status).toBe(status);
    if (remedy) expect(of('redis durability')?.remedy).toContain(remedy);
  });

  test('without a limit of memory, with room, and with none', async () => {
    const memory = (options: RedisServerOptions, percent: string) =>
      withRedis(options, (url) => doctor({ REDIS_URL: url, ONQUEUE_MEMORY_LIMIT_PERCENT: percent }));
    expect((await memory({}, '80')).of('redis memory')).toMatchObject({
      status: 'warning',
      remedy: expect.stringContaining('maxmemory'),
    });
    expect((await memory({ maxmemory: '64mb' }, '80')).of('redis memory')).toMatchObject({ status: 'ok' });
    const full = await memory({ maxmemory: '64mb' }, '1');
    expect([full.code, full.of('redis memory')]).toMatchObject([
      1,
      { status: 'error', message: expect.stringContaining('which is now'), remedy: expect.any(String) },
    ]);
  });

  test('where none is named: whether there is a server to run', async () => {
    const { code, of } = await doctor({});
    expect([code, of('redis')]).toMatchObject([
      0,
      { status: 'info', message: expect.stringContaining('npm start runs') },
    ]);
    const missing = await doctor({ ONQUEUE_REDIS_SERVER: '/nowhere/redis-server' });
    expect([missing.code, missing.of('redis')]).toMatchObject([
      1,
      { status: 'error', remedy: expect.stringContaining('ONQUEUE_REDIS_SERVER') },
    ]);
  });
});

describe('of the rest', () => {
  let other: Receiver;
  beforeAll(async () => {
    other = await startReceiver();
  });
  afterAll(() => other?.close());

  test('a port that something else has', async () => {
    const { code, of } = await doctor({ ONQUEUE_PORT: String(other.port), ONQUEUE_WORKER_PORT: String(other.port) });
    expect(code).toBe(1);
    expect(of('api port')).toMatchObject({ status: 'error', remedy: expect.stringContaining('ONQUEUE_PORT') });
    expect(of('worker port')).toMatchObject({
      status: 'error',
      remedy: expect.stringContaining('ONQUEUE_WORKER_PORT'),
    });
    expect(of('api')).toMatchObject({ status: 'error', message: expect.stringContaining('not as the API of onqueue') });
  });

  test('an API that is not there matters only where somebody has named it', async () => {
    const { code, of } = await doctor({});
    expect([code, of('api'), of('api port')]).toMatchObject([0, { status: 'info' }, { status: 'ok' }]);
    const url = `http://127.0.0.1:${ports.ONQUEUE_PORT}`;
    const named = [await doctor({ ONQUEUE_API_URL: url }), await doctor({}, ['--no-load', '--api-url', url])];
    for (const finding of named) expect([finding.code, finding.of('api')]).toMatchObject([1, { status: 'error' }]);
  });

  test('settings that are wrong, all of them, while the rest is looked at by the defaults', async () => {
    const { code, of } = await doctor({ ONQUEUE_ATTEMPTS: 'many', ONQUEUE_LOG_LEVEL: 'loud' });
    expect(code).toBe(1);
    expect(of('settings')?.message).toMatch(/ONQUEUE_LOG_LEVEL: .+\n.*ONQUEUE_ATTEMPTS: /s);
    expect(of('model linear/1')).toMatchObject({ status: 'ok' });
  });

  test('a model that cannot be loaded, where loading is asked for', async () => {
    const broken = await breakArtifact(models.dir, 'lookup');
    try {
      expect((await doctor({})).of('model lookup/1')?.status).toBe('ok');
      const { code, of } = await doctor({}, []);
      expect(code).toBe(1);
      expect(of('model lookup/1')).toMatchObject({
        status: 'error',
        remedy: expect.stringContaining('onqueue models check lookup/1'),
      });
      expect(of('model linear/1')?.status).toBe('ok');
    } finally {
      await broken.mend();
    }
  });

  test('a repository that is empty, or not there', async () => {
    const empty = await mkdtemp(join(tmpdir(), 'onqueue-doctor-'));
    try {
      for (const dir of [empty, join(empty, 'nowhere')]) {
        const { code, of } = await doctor({ ONQUEUE_MODELS_DIR: dir });
        expect([code, of('models')]).toMatchObject([
          1,
          { status: 'error', remedy: expect.stringContaining('models add') },
        ]);
      }
    } finally {
      await rm(empty, { recursive: true });
    }
  });
});
