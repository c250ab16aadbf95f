import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { RedisQueuePlaces } from '@onqueue/shared/redis';
import { acceptedJob, endedJob, type JobBody, request } from './support/client.ts';
import { SourceBench } from './support/job-source-bench.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';
import { until } from './support/until.ts';

/** Who waits is told how many are ahead, and when its turn comes, as far as it is known. */

describe('a place', () => {
  let bench: SourceBench;
  let places: RedisQueuePlaces;

  beforeAll(async () => {
    bench = await SourceBench.start();
    places = new RedisQueuePlaces({ redis: bench.redis, keys: bench.keys });
  });
  afterEach(() => bench.reset());
  afterAll(() => bench?.close());

  const placeOf = async (id: string, tenant = 'default') => {
    const record = await bench.store.read(tenant, id);
    if (!record) throw new Error(`no record of ${id}`);
    return places.placeOf(record);
  };
  const inOrder = async (count: number, tenant = 'default') => {
    const ids: string[] = [];
    for (let n = 0; n < count; n++) ids.push(await bench.enqueue({ tenant }));
    return ids;
  };
  const feed = (limit: number) => bench.store.feed(0, [{ model: 'fraud', lane: 'interactive', limit }]);

  test('counts the wait list and the jobs of its tenant that are parked', async () => {
    await feed(10);
    const ids = await inOrder(30);
    for (const at of [0, 9, 10, 29]) {
      expect(await placeOf(ids[at] ?? '')).toEqual({ position: at, startsBefore: at, isPaused: false });
    }
  });

  test('of a tenant among others counts its own jobs alone, and expects the others in between', async () => {
    await feed(10);
    await inOrder(10);
    await inOrder(100, 'loud');
    await bench.store.setWeight('loud', 2);
    const ids = await inOrder(3, 'quiet');
    expect(await placeOf(ids[0] ?? '', 'quiet')).toMatchObject({ position: 10, startsBefore: 12 });
    expect(await placeOf(ids[2] ?? '', 'quiet')).toMatchObject({ position: 12, startsBefore: 18 });
  });

  test('moves up as jobs are taken or canceled', async () => {
    await feed(1);
    const [first = '', second = '', third = ''] = await inOrder(3);
    expect(await placeOf(third)).toMatchObject({ position: 2 });
    await bench.store.cancel('default', second);
    expect(await placeOf(third)).toMatchObject({ position: 1 });
    await bench.store.cancel('default', first);
    await feed(1);
    expect(await placeOf(third)).toMatchObject({ position: 0 });
  });

  test('is unknown where looking for it would cost too much, or there is none', async () => {
    await feed(1_000_000);
    const [first = ''] = await inOrder(1);
    await bench.enqueueMany(1500);
    const last = await bench.enqueue();
    expect(await placeOf(first)).toMatchObject({ position: 0 });
    expect(await placeOf(last)).toBeUndefined();
    const record = await bench.record(first);
    expect(await places.placeOf({ ...record, run: 2 })).toBeUndefined();
  });

  test('says that its queue is paused', async () => {
    const [id = ''] = await inOrder(1);
    await bench.queue().pause();
    expect(await placeOf(id)).toEqual({ position: 0, startsBefore: 0, isPaused: true });
  });
});

describe('GET /jobs/:id', () => {
  let platform: TestPlatform;
  let models: Awaited<ReturnType<typeof writeTestModels>>;
  let baseUrl: string;

  beforeAll(async () => {
    models = await writeTestModels();
    platform = await startTestPlatform({ modelsDir: models.dir });
    ({ baseUrl } = platform);
  });
  afterAll(async () => {
    await platform?.stop();
    await models?.remove();
  });

  const read = (id: string) => request<JobBody>(`${baseUrl}/jobs/${id}`);

  test('has a position while the job waits, and no estimate when nothing was measured', async () => {
    for (const worker of platform.workers) worker.pause();
    const input = { x0: 1, x1: 2, x2: 3 };
    const ids = [];
    for (let n = 0; n < 3; n++) ids.push(await acceptedJob(baseUrl, { model: 'linear', input }));
    const { body } = await read(ids[2] ?? '');
    for (const worker of platform.workers) worker.resume();
    // The worker may have one in hand that it took before it was held.
    expect(body).toMatchObject({ status: 'queued' });
    expect([1, 2]).toContain(body.position);
    expect(body).not.toHaveProperty('estimated_start_at');
    expect(await endedJob(baseUrl, ids[2] ?? '')).not.toHaveProperty('position');
  });

  test('estimates the start of a job from what the lane got done', async () => {
    const post = () => acceptedJob(baseUrl, { model: 'slow', input: { steps: 300 } });
    const ids = await Promise.all(Array.from({ length: 400 }, post));
    const body = await until('a start is estimated', async () => {
      const answers = await Promise.all(ids.slice(-5).map(read));
      return answers.find((answer) => answer.body.estimated_start_at !== undefined);
    });
    const inS = (Date.parse(String(body.body.estimated_start_at)) - Date.now()) / 1000;
    expect(inS).toBeGreaterThan(-1);
    expect(inS).toBeLessThan(600);
    expect(Number(body.headers.get('retry-after'))).toBeLessThanOrEqual(30);
    await Promise.all(ids.map((id) => request(`${baseUrl}/jobs/${id}/cancel`, { method: 'POST' })));
  });
});
