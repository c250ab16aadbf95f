import { readdir, readlink } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type ChildService, freePort, type RedisServer, startPlatform } from '@onqueue/launcher';
import { loadConfig } from '@onqueue/shared';
import { acceptedJob, endedJob, postJob, request, runJob } from './support/client.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { startPrivateRedis, startTestPlatform, type TestPlatform } from './support/platform.ts';
import { startApi, startWorker } from './support/processes.ts';
import { RawClient } from './support/raw-request.ts';
import { until } from './support/until.ts';

let models: Awaited<ReturnType<typeof writeTestModels>>;
const row = { x0: 1, x1: 2, x2: 3 };

beforeAll(async () => {
  models = await writeTestModels();
});

afterAll(() => models?.remove());

/** Within a second, as a 503 that says when to come back. */
async function expectUnavailable(baseUrl: string): Promise<void> {
  const post = await postJob(baseUrl, { model: 'linear', input: row });
  expect(post).toMatchObject({ status: 503, body: { code: 'storage_unavailable' } });
  expect(Number(post.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
  const get = await request(`${baseUrl}/jobs/job_${'0'.repeat(29)}`);
  expect(get).toMatchObject({ status: 503, body: { code: 'storage_unavailable' } });
  for (const { durationMs } of [post, get]) expect(durationMs).toBeLessThan(2000);
  expect(await request(`${baseUrl}/readyz`)).toMatchObject({ status: 503, body: { redis: { status: 'unavailable' } } });
  expect(await request(`${baseUrl}/livez`)).toMatchObject({ status: 200 });
}

describe('while a platform runs', () => {
  let platform: TestPlatform;

  beforeAll(async () => {
    platform = await startTestPlatform({ modelsDir: models.dir });
  });

  afterAll(() => platform?.stop());

  /** A Redis that has just come back may be slow to answer, and is answered 503 for then: a client posts again. */
  async function expectRecovery(): Promise<void> {
    await until('the API is ready again', async () => (await request(`${platform.baseUrl}/readyz`)).status === 200);
    const id = await until('a job is accepted', async () => {
      const { status, body } = await postJob(platform.baseUrl, { model: 'linear', input: row });
      return status === 202 && body.id;
    });
    expect(await endedJob(platform.baseUrl, id)).toMatchObject({ status: 'succeeded' });
  }

  test('a worker tells an outage in a few lines, as a warning, and then that Redis is ready', async () => {
    const [worker] = platform.workers;
    const before = worker?.logs().length;
    const lines = () => (worker?.logs().slice(before) ?? []).map((line) => JSON.parse(line));
    const warnings = () => lines().filter(({ level }) => level > 30);
    await platform.redis.kill('SIGKILL');
    await until('the worker says it', async () => warnings().length > 0);
    await expectUnavailable(platform.baseUrl);
    await platform.redis.restart();
    await expectRecovery();
    await until('the worker says that Redis is ready', async () => lines().some(({ msg }) => msg === 'redis is ready'));
    // Each kind of connection has its own words for it, and says them once.
    expect(warnings().length).toBeLessThan(6);
    for (const { level, err } of warnings()) {
      expect(level).toBe(40);
      expect(err).toEqual({ type: expect.any(String), message: expect.any(String), stack: expect.any(String) });
    }
  });

  test('a Redis that hangs is answered 503 until it goes on, without a restart', async () => {
    platform.redis.pause();
    try {
      await expectUnavailable(platform.baseUrl);
    } finally {
      platform.redis.resume();
    }
    await expectRecovery();
  });

  test('a Redis that is killed and comes back loses nothing that was accepted', async () => {
    platform.workers[0]?.pause();
    const accepted = await Promise.all(
      Array.from({ length: 20 }, () => acceptedJob(platform.baseUrl, { model: 'linear', input: row })),
    );
    await platform.redis.kill('SIGKILL');
    platform.workers[0]?.resume();
    await expectUnavailable(platform.baseUrl);
    await platform.redis.restart();
    await expectRecovery();
    for (const id of accepted) expect(await endedJob(platform.baseUrl, id)).toMatchObject({ status: 'succeeded' });
  });

  test.each(['is killed', 'hangs'])(
    'a crowd that posts while Redis %s holds no more sockets than it has',
    async (what) => {
      const { redis, baseUrl } = platform;
      const api = platform.apis[0] as ChildService;
      const crowd = new RawClient(baseUrl);
      const post = async () => {
        const body = Buffer.from(JSON.stringify({ model: 'linear', input: row }));
        const startedAt = performance.now();
        const answer = await crowd.send({
          method: 'POST',
          path: '/jobs',
          headers: { 'content-type': 'application/json' },
          body,
        });
        return { ...answer, tookMs: performance.now() - startedAt };
      };
      const wave = () => Promise.all(Array.from({ length: RawClient.MAX_SOCKETS }, post));
      // The connections are open, those to Redis too.
      await wave();
      const before = await socketsOf(api);
      const tookMs: number[] = [];
      const held: number[] = [];
      if (what === 'hangs') redis.pause();
      else await redis.kill('SIGKILL');
      try {
        for (let n = 0; n < 8; n++) {
          for (const answer of await wave()) {
            expect(answer).toMatchObject({ status: 503, body: { code: 'storage_unavailable' } });
            expect(Number(answer.headers['retry-after'])).toBeGreaterThanOrEqual(1);
            tookMs.push(answer.tookMs);
          }
          held.push(await socketsOf(api));
          expect(await request(`${baseUrl}/livez`)).toMatchObject({ status: 200 });
          expect(await request(`${baseUrl}/readyz`)).toMatchObject({ status: 503 });
        }
      } finally {
        if (what === 'hangs') redis.resume();
        else await redis.restart();
      }
      // Two connections of its own to Redis may be on their way out while others are made, and we ask for the probes.
      expect(Math.max(...held)).toBeLessThanOrEqual(before + 6);
      const backAt = performance.now();
      await expectRecovery();
      const recoveredMs = performance.now() - backAt;
      expect(api.hasExited).toBe(false);
      crowd.close();
      const sorted = tookMs.toSorted((one, other) => one - other);
      const p99 = sorted[Math.floor(sorted.length * 0.99)] ?? 0;
      console.info(
        `Redis ${what}: ${tookMs.length} posts, 503 within ${p99.toFixed(0)} ms (p99), a job done ${recoveredMs.toFixed(0)} ms after its return`,
      );
    },
  );

  test('a full Redis is answered 503 and drains', async () => {
    platform.workers[0]?.pause();
    const id = await acceptedJob(platform.baseUrl, { model: 'linear', input: row });
    await redisCli(platform.redis, 'CONFIG SET maxmemory 1');
    expect(await postJob(platform.baseUrl, { model: 'linear', input: row })).toMatchObject({
      status: 503,
      body: { code: 'storage_full' },
    });
    platform.workers[0]?.resume();
    const source = process.env.ONQUEUE_JOB_SOURCE;
    // BullMQ's own Worker begins its scripts with writes that a full Redis refuses.
    if (source === 'stock') await redisCli(platform.redis, 'CONFIG SET maxmemory 0');
    expect(await endedJob(platform.baseUrl, id)).toMatchObject({ status: 'succeeded' });
    await redisCli(platform.redis, 'CONFIG SET maxmemory 0');
    await expectRecovery();
  });

  test('a Redis that begins to evict gets no new jobs until it stops, and those it has go on', async () => {
    const { baseUrl } = platform;
    const post = () => postJob(baseUrl, { model: 'linear', input: row });
    const id = await acceptedJob(baseUrl, { model: 'linear', input: row });
    await redisCli(platform.redis, 'CONFIG SET maxmemory-policy allkeys-lru');
    try {
      const refused = await until('jobs are refused', async () => {
        const answer = await post();
        return answer.status !== 202 && answer;
      });
      expect(refused).toMatchObject({ status: 503, body: { code: 'storage_unsuitable' } });
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
      expect(await request(`${baseUrl}/readyz`)).toMatchObject({
        status: 503,
        body: { redis: { status: 'unsuitable' } },
      });
      expect(await endedJob(baseUrl, id)).toMatchObject({ status: 'succeeded' });
    } finally {
      await redisCli(platform.redis, 'CONFIG SET maxmemory-policy noeviction');
    }
    await until('jobs are taken again', async () => (await post()).status === 202);
  });

  test('a Redis that takes no writes makes the API unready, and says why', async () => {
    const { redis, baseUrl } = platform;
    const ready = () => request<{ redis: { status: string; detail: string } }>(`${baseUrl}/readyz`);
    platform.workers[0]?.pause();
    try {
      await redisCli(redis, `REPLICAOF 127.0.0.1 ${await freePort()}`);
      const replica = await ready();
      expect(replica).toMatchObject({ status: 503, body: { status: 'unready', redis: { status: 'unavailable' } } });
      expect(replica.body.redis.detail).toMatch(/replica/);
      await redisCli(redis, 'REPLICAOF NO ONE');
      await redisCli(redis, 'ACL SETUSER default -del');
      const forbidden = await ready();
      expect(forbidden).toMatchObject({ status: 503, body: { status: 'unready', redis: { status: 'unavailable' } } });
      expect(forbidden.body.redis.detail).toMatch(/can't run this command|permission/);
      expect(forbidden.headers.get('retry-after')).toBe('1');
    } finally {
      await redisCli(redis, 'REPLICAOF NO ONE');
      await redisCli(redis, 'ACL SETUSER default +@all');
      platform.workers[0]?.resume();
    }
    await expectRecovery();
  });
});

test('unless it is set otherwise, the API waits less than a second for Redis', () => {
  expect(loadConfig({}).redisTimeoutMs).toBeLessThan(1000);
});

describe('at the end', () => {
  test.each(['is killed', 'hangs', 'never came'])('SIGTERM ends an idle worker soon though Redis %s', async (what) => {
    const redis = what === 'never came' ? undefined : await startPrivateRedis();
    const redisUrl = redis?.url ?? `redis://127.0.0.1:${await freePort()}`;
    const worker = await startWorker({ redisUrl, modelsDir: models.dir });
    try {
      if (redis) await worker.ready;
      else await until('the worker listens', async () => worker.logs().some((line) => line.includes('redis is away')));
      if (what === 'is killed') await redis?.kill();
      if (what === 'hangs') redis?.pause();
      const askedAt = performance.now();
      expect(await worker.stop()).toEqual({ code: 0, signal: null });
      expect(performance.now() - askedAt).toBeLessThan(10_000);
    } finally {
      redis?.resume();
      await redis?.stop();
      await worker.kill();
    }
  });
});

describe('a Redis that refuses what the API needs', () => {
  let platform: TestPlatform;
  let id: string;

  beforeAll(async () => {
    platform = await startTestPlatform({ modelsDir: models.dir });
    id = (await runJob(platform.baseUrl, { model: 'linear', input: row })).id;
    // What a worker does without its permissions is for its own tests.
    await platform.workers[0]?.stop();
  });

  afterAll(() => platform?.stop());

  /** Every request about a job, each with its answer. */
  async function answers() {
    const of = (path: string, method = 'GET') => request(`${platform.baseUrl}/jobs/${id}${path}`, { method });
    return {
      post: await postJob(platform.baseUrl, { model: 'linear', input: { ...row, x0: 987_654_321 } }),
      get: await of(''),
      wait: await of('?wait=1'),
      cancel: await of('/cancel', 'POST'),
      retry: await of('/retry', 'POST'),
      runs: await of('/runs'),
    };
  }

  test.each([
    ['a permission that is missing', 'NOPERM', ['ACL SETUSER default -evalsha -eval -hmget']],
    [
      'keys that hold something else',
      'WRONGTYPE',
      ['DEL oq:{0}:job:default:ID oq:{0}:backlog:linear', 'MSET oq:{0}:job:default:ID x oq:{0}:backlog:linear x'],
    ],
  ])('is answered 503 for %s, which the log tells as an error, without inputs', async (_, reply, commands) => {
    for (const command of commands) await redisCli(platform.redis, command.replace('ID', id));
    try {
      for (const [name, { status, headers, body }] of Object.entries(await answers())) {
        expect({ name, status, code: body.code }).toEqual({ name, status: 503, code: 'storage_unavailable' });
        expect(headers.get('retry-after')).toBe('5');
      }
    } finally {
      await redisCli(platform.redis, 'ACL SETUSER default +@all');
    }
    const logs = () => platform.apis[0]?.logs() ?? [];
    const isLoud = (line: string) => line.includes('"level":50') && line.includes(reply);
    await until('the refusals are logged', () => logs().filter(isLoud).length >= 6);
    expect(logs().join('\n')).not.toContain('987654321');
  });
});

describe('at start', () => {
  test('an API and a worker without Redis wait for it, and go on when it comes', async () => {
    const port = await freePort();
    const redisUrl = `redis://127.0.0.1:${port}`;
    const api = await startApi({ redisUrl });
    const worker = await startWorker({ redisUrl, modelsDir: models.dir });
    let redis: RedisServer | undefined;
    try {
      await until('the API listens', () =>
        request(`${api.baseUrl}/livez`).then(
          ({ status }) => status === 200,
          () => false,
        ),
      );
      await expectUnavailable(api.baseUrl);
      redis = await startPrivateRedis({ port });
      await Promise.all([api.ready, worker.ready]);
      const id = await acceptedJob(api.baseUrl, { model: 'linear', input: row });
      expect(await endedJob(api.baseUrl, id)).toMatchObject({ status: 'succeeded' });
    } finally {
      await Promise.all([api.stop(), worker.stop()]);
      await redis?.stop();
    }
  });

  test('a Redis that may evict jobs is refused, and the reason is told', async () => {
    const redis = await startPrivateRedis({ maxmemoryPolicy: 'allkeys-lru' });
    const api = await startApi({ redisUrl: redis.url });
    const worker = await startWorker({ redisUrl: redis.url, modelsDir: models.dir });
    try {
      for (const service of [api, worker]) {
        expect(await service.exited).toMatchObject({ code: 1 });
        expect(String(service.logs())).toMatch(/maxmemory-policy allkeys-lru.*needs noeviction.*CONFIG SET/);
      }
    } finally {
      await redis.stop();
    }
  });

  test('a platform with a wrong setting does not start and says which', async () => {
    const starting = startPlatform({
      inheritEnv: false,
      modelsDir: models.dir,
      apiEnv: { ONQUEUE_MAX_ROWS_PER_JOB: 'many' },
    });
    await expect(starting).rejects.toThrow(/^[^\n]*ONQUEUE_MAX_ROWS_PER_JOB: a whole number$/);
  });
});

/** Of the process, as the kernel has them. */
async function socketsOf({ pid }: ChildService): Promise<number> {
  const fds = await readdir(`/proc/${pid}/fd`);
  const targets = await Promise.all(fds.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')));
  return targets.filter((target) => target.startsWith('socket:')).length;
}

/** One command over a raw connection. */
async function redisCli(redis: RedisServer, command: string): Promise<void> {
  const { connectRedis, closeRedis } = await import('@onqueue/shared/redis');
  const connection = connectRedis(redis.url, { kind: 'worker' }, () => {});
  const [name = '', ...args] = command.split(' ');
  await connection.call(name, ...args);
  await closeRedis(connection);
}
