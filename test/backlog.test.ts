import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { acceptedJob, endedJob, postJob, request } from './support/client.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';

const CAP = 10;

let platform: TestPlatform;
let models: Awaited<ReturnType<typeof writeTestModels>>;

beforeAll(async () => {
  models = await writeTestModels();
  platform = await startTestPlatform({
    modelsDir: models.dir,
    apis: 2,
    apiEnv: {
      ONQUEUE_BACKLOG_MAX_JOBS: String(CAP),
      ONQUEUE_BACKLOG_MAX_ROWS: '40',
      ONQUEUE_BACKLOG_MAX_BYTES: '5000',
    },
  });
});

afterAll(async () => {
  await platform?.stop();
  await models?.remove();
});

const row = { x0: 1, x1: 2, x2: 3 };

test('accepts for a known model while its worker is away, up to the cap, and answers 429 beyond it', async () => {
  await platform.workers[0]?.stop();
  const [first, second] = platform.apis.map((api) => api.baseUrl) as [string, string];

  // Concurrent posts to two APIs: the cap is counted where the jobs are, so not one more gets in.
  const answers = await Promise.all(
    Array.from({ length: 4 * CAP }, (_, n) => postJob(n % 2 ? first : second, { model: 'linear', input: row })),
  );
  const accepted = answers.filter(({ status }) => status === 202);
  const refused = answers.filter(({ status }) => status === 429);
  expect([accepted.length, refused.length]).toEqual([CAP, 3 * CAP]);
  for (const { headers, body } of refused) {
    expect(body).toMatchObject({ code: 'backlog_full', status: 429 });
    expect(Number(headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
  }

  // The cap of one model is not another's.
  const rows = await postJob(first, { model: 'lookup', inputs: Array(41).fill({ index: 1 }) });
  expect([rows.status, rows.body.detail]).toEqual([429, expect.stringContaining('rows')]);
  expect(await postJob(first, { model: 'lookup', inputs: Array(40).fill({ index: 1 }) })).toMatchObject({
    status: 202,
  });

  const metrics = await request<string>(`${first}/metrics`);
  expect(metrics.body).toMatch(new RegExp(`^onqueue_queue_depth_jobs\\{model="linear"\\} ${CAP}$`, 'm'));
  expect(metrics.body).toMatch(/^onqueue_queue_oldest_job_age_seconds\{model="linear",lane="interactive"\} (?!0$)/m);
  // What is ready is told, and that nobody is.
  expect(await request(`${first}/models/linear`)).toMatchObject({ body: { versions: [{ ready: false }] } });

  await platform.startWorker();
  for (const { body } of accepted) {
    expect(await endedJob(second, body.id)).toMatchObject({ status: 'succeeded', results: [{ output: { score: 6 } }] });
  }
  // Room again.
  await endedJob(first, await acceptedJob(first, { model: 'linear', input: row }));
});
