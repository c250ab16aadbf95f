import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { closeRedis, connectRedis, type RedisConnection, RedisKeys } from '@onqueue/shared/redis';
import { acceptedJob, endedJob, type JobBody, postJob, request, runJob } from './support/client.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';
import { until } from './support/until.ts';

/** Operators hold a lane, let it run empty and clear it, whatever source its workers take jobs from. */

let models: Awaited<ReturnType<typeof writeTestModels>>;

beforeAll(async () => {
  models = await writeTestModels();
});
afterAll(() => models?.remove());

describe.each(['batch', 'stock'])('with the %s source', (source) => {
  let platform: TestPlatform;
  let baseUrl: string;
  let redis: RedisConnection;

  beforeAll(async () => {
    platform = await startTestPlatform({
      modelsDir: models.dir,
      env: { ONQUEUE_JOB_SOURCE: source },
      apiEnv: { ONQUEUE_MAX_JOBS_PER_CALL: '50', ONQUEUE_BACKLOG_MAX_JOBS: '150' },
    });
    ({ baseUrl } = platform);
    redis = connectRedis(platform.redisUrl, { kind: 'worker' }, () => {});
  });
  afterAll(async () => {
    if (redis) await closeRedis(redis);
    await platform?.stop();
  });

  const act = (action: string, model = 'linear', lane = 'interactive') =>
    request(`${baseUrl}/admin/models/${model}/lanes/${lane}/${action}`, { method: 'POST' });
  const read = async (id: string) => (await request<JobBody>(`${baseUrl}/jobs/${id}`)).body;
  const input = { x0: 1, x1: 2, x2: 3 };
  const post = (changes: object = {}) => acceptedJob(baseUrl, { model: 'linear', input, ...changes });
  const metrics = async () => (await request<string>(`${baseUrl}/metrics`)).body;

  test('a paused lane takes jobs and starts none, the others go on, and resumed it works them off', async () => {
    expect(await act('pause')).toMatchObject({
      status: 200,
      body: { object: 'lane', model: 'linear', lane: 'interactive', state: 'paused' },
    });
    // More than the wait list holds, so that some are parked.
    const ids = await Promise.all(Array.from({ length: 100 }, () => post()));
    expect(await runJob(baseUrl, { model: 'linear', input, lane: 'bulk' })).toMatchObject({ status: 'succeeded' });
    expect(await runJob(baseUrl, { model: 'lookup', input: { index: 1 } })).toMatchObject({ status: 'succeeded' });
    expect(new Set((await Promise.all(ids.map(read))).map(({ status }) => status))).toEqual(new Set(['queued']));
    expect((await request(`${baseUrl}/models/linear`)).body.lanes).toEqual({ interactive: 'paused', bulk: 'open' });
    expect(await metrics()).toMatch(/^onqueue_lane_state\{model="linear",lane="interactive"\} 1$/m);
    const { body: queues } = await request(`${baseUrl}/admin/queues`);
    expect((queues.data as { model: string }[]).find(({ model }) => model === 'linear')).toEqual({
      object: 'queue',
      model: 'linear',
      backlog: { jobs: 100, rows: 100, bytes: expect.any(Number) },
      lanes: [
        { lane: 'interactive', state: 'paused', waiting_jobs: 100, oldest_age_s: expect.any(Number) },
        { lane: 'bulk', state: 'open', waiting_jobs: 0, oldest_age_s: 0 },
      ],
    });
    await act('resume');
    const ended = await Promise.all(ids.map((id) => endedJob(baseUrl, id)));
    expect(new Set(ended.map(({ status, attempt }) => `${status} ${attempt}`))).toEqual(new Set(['succeeded 1']));
    expect((await request(`${baseUrl}/models/linear`)).body.lanes).toEqual({ interactive: 'open', bulk: 'open' });
  });

  test('while it is paused its limits hold, and deadlines count', async () => {
    await act('pause');
    const expiring = await post({ expires_in: 0.3 });
    expect(await endedJob(baseUrl, expiring)).toMatchObject({ status: 'expired', attempt: 0 });
    const answers = await Promise.all(Array.from({ length: 160 }, () => postJob(baseUrl, { model: 'linear', input })));
    const count = (status: number) => answers.filter((answer) => answer.status === status).length;
    expect([count(202), count(429)]).toEqual([150, 10]);
    let purged = 0;
    for (;;) {
      const { body } = await act('purge');
      purged += Number(body.purged);
      expect(body.purged).toBeLessThanOrEqual(50);
      if (!body.has_more) break;
    }
    expect(purged).toBe(150);
    const last = answers.find(({ status }) => status === 202)?.body.id ?? '';
    expect(await read(last)).toMatchObject({ status: 'canceled', error: { code: 'canceled' } });
    await act('resume');
    expect(await runJob(baseUrl, { model: 'linear', input })).toMatchObject({ status: 'succeeded' });
  });

  test('a draining lane takes nothing new, and ends what it has', async () => {
    const ids = await Promise.all(Array.from({ length: 20 }, () => post()));
    const failed = await runJob(baseUrl, { model: 'lookup', input: { index: 99 } });
    await act('drain');
    await act('drain', 'lookup');
    const refused = await postJob(baseUrl, { model: 'linear', input });
    expect(refused).toMatchObject({ status: 503, body: { code: 'lane_draining' } });
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect((await postJob(baseUrl, { model: 'linear', input, lane: 'bulk' })).status).toBe(202);
    expect(await request(`${baseUrl}/jobs/${failed.id}/retry`, { method: 'POST' })).toMatchObject({ status: 503 });
    for (const id of ids) expect(await endedJob(baseUrl, id)).toMatchObject({ status: 'succeeded' });
    expect((await request(`${baseUrl}/models/linear`)).body.lanes).toEqual({ interactive: 'draining', bulk: 'open' });
    await act('resume');
    await act('resume', 'lookup');
    expect(await runJob(baseUrl, { model: 'linear', input })).toMatchObject({ status: 'succeeded' });
  });

  test('a purge leaves alone what a worker holds', async () => {
    const held = await acceptedJob(baseUrl, { model: 'slow', input: { steps: 60_000_000 } });
    await until('the job runs', async () => (await read(held)).status === 'running');
    await act('purge', 'slow');
    expect(await read(held)).toMatchObject({ status: 'running' });
    await request(`${baseUrl}/jobs/${held}/cancel`, { method: 'POST' });
  });

  test('what was done stands in the audit log', async () => {
    await request(`${baseUrl}/admin/models/linear/lanes/bulk/pause`, {
      method: 'POST',
      headers: { 'x-request-id': 'op-1' },
    });
    await act('resume', 'linear', 'bulk');
    await act('purge', 'linear', 'bulk');
    const lines = await redis.xrevrange(new RedisKeys('oq').audit(0), '+', '-', 'COUNT', 3);
    const entries = lines.map(([, fields]) => JSON.parse(String(fields[1])));
    expect(entries.map(({ action }) => action)).toEqual(['lane.purged', 'lane.open', 'lane.paused']);
    expect(entries[2]).toMatchObject({ model: 'linear', lane: 'bulk', request_id: 'op-1' });
  });

  test('is for lanes of models that there are', async () => {
    expect(await act('pause', 'nowhere')).toMatchObject({ status: 404, body: { code: 'model_not_found' } });
    expect(await act('pause', 'linear', 'slow')).toMatchObject({ status: 404, body: { code: 'not_found' } });
    expect(await act('stop')).toMatchObject({ status: 404 });
    expect(await request(`${baseUrl}/admin/models/linear/lanes/bulk/pause`)).toMatchObject({ status: 405 });
  });
});
