import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { closeRedis, connectRedis } from '@onqueue/shared/redis';
import { acceptedJob, endedJob, type JobBody, request } from './support/client.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';
import { type Receiver, startReceiver } from './support/receiver.ts';
import { until } from './support/until.ts';

/** Cancel, retry, delete and the commit of a worker, all at once, by two APIs and two workers. */

let platform: TestPlatform;
let models: Awaited<ReturnType<typeof writeTestModels>>;
let receiver: Receiver;

beforeAll(async () => {
  models = await writeTestModels();
  receiver = await startReceiver();
  platform = await startTestPlatform({ modelsDir: models.dir, apis: 2, workers: 2 });
});

afterAll(async () => {
  await platform?.stop();
  await receiver?.close();
  await models?.remove();
});

type Action = 'cancel' | 'retry' | 'delete';
interface Told {
  action: Action;
  status: number;
  body: JobBody;
}

const apiOf = (n: number) => platform.apis[n % 2]?.baseUrl ?? platform.baseUrl;

async function act(action: Action, id: string, api: number): Promise<Told> {
  const path = action === 'delete' ? '' : `/${action}`;
  const method = action === 'delete' ? 'DELETE' : 'POST';
  const { status, body } = await request<JobBody>(`${apiOf(api)}/jobs/${id}${path}`, { method });
  return { action, status, body };
}

const ALLOWED: Record<Action, number[]> = { cancel: [200, 409, 410], retry: [202, 409, 410], delete: [200, 409] };

/** Every order of two waves: the first meets the start and the commit, the second what the first has left. */
const WAVES: Action[][] = [
  ['cancel', 'retry', 'delete'],
  ['retry', 'cancel', 'cancel'],
  ['delete', 'cancel', 'retry'],
  ['cancel', 'delete', 'delete'],
  ['retry', 'retry', 'cancel'],
  ['cancel', 'cancel', 'retry', 'retry'],
  ['delete', 'retry', 'retry'],
  [],
];

test('each run ends in one state and is told once, and what is deleted stays away', async () => {
  const races = WAVES.flatMap((first) => WAVES.map((second) => ({ first, second })));
  const told = new Map<string, Told[]>();
  const race = async ({ first, second }: { first: Action[]; second: Action[] }, n: number) => {
    const body = { model: 'linear', input: { x0: n, x1: 0, x2: 0 }, webhook: receiver.url('/races') };
    const id = await acceptedJob(apiOf(n), body);
    const answers = await Promise.all(first.map((action, at) => act(action, id, n + at)));
    // The end wakes whoever waits for it: here come the actions that meet the commit of the next run.
    await request(`${apiOf(n + 1)}/jobs/${id}?wait=20`);
    answers.push(...(await Promise.all(second.map((action, at) => act(action, id, n + at + 1)))));
    told.set(id, answers);
  };
  await Promise.all(races.map(race));

  const deleted = new Set<string>();
  for (const [id, answers] of told) {
    for (const { action, status } of answers) expect(ALLOWED[action]).toContain(status);
    if (answers.some(({ action, status }) => action === 'delete' && status === 200)) {
      deleted.add(id);
      for (const api of [0, 1]) expect(await request(`${apiOf(api)}/jobs/${id}`)).toMatchObject({ status: 410 });
      continue;
    }
    await expectOneEndOfEachRun(id, answers);
  }
  // The races were some: both outcomes of each came about.
  expect(deleted.size).toBeGreaterThan(0);
  expect(told.size - deleted.size).toBeGreaterThan(0);

  await until('nothing is counted as waiting', async () => {
    const { body } = await request<string>(`${platform.baseUrl}/metrics`);
    return /^onqueue_queue_depth_jobs\{model="linear"\} 0$/m.test(body);
  });
  const redis = connectRedis(platform.redisUrl, { kind: 'worker' }, () => {});
  try {
    const keys = await redis.keys('*:job:*');
    expect(keys.filter((key) => deleted.has(key.split(':').at(-1) ?? ''))).toEqual([]);
  } finally {
    await closeRedis(redis);
  }
  for (const id of deleted) expect(await request(`${apiOf(0)}/jobs/${id}`)).toMatchObject({ status: 410 });
});

function eventsOf(id: string): { id: string; type: string; run: number }[] {
  return receiver.requests
    .map(({ headers, body }) => ({ id: String(headers['webhook-id']), ...JSON.parse(body) }))
    .filter(({ data }) => data.id === id)
    .map((event) => ({ id: event.id, type: event.type, run: event.data.run }));
}

async function expectOneEndOfEachRun(id: string, answers: readonly Told[]): Promise<void> {
  await endedJob(platform.baseUrl, id);
  const { body } = await request<{ data: JobBody[] }>(`${platform.baseUrl}/jobs/${id}/runs`);
  const runs = body.data.toReversed();
  const opened = answers.filter(({ action, status }) => action === 'retry' && status === 202).length;
  expect(runs.map(({ run }) => run)).toEqual(Array.from({ length: opened + 1 }, (_, at) => at + 1));
  // Whoever was told that a run is canceled has been told the truth; nobody else canceled one.
  const canceled = answers.filter(({ action, status }) => action === 'cancel' && status === 200);
  for (const { body: job } of canceled) {
    if (job.status === 'canceled') expect(runs[job.run - 1]).toMatchObject({ status: 'canceled' });
  }
  for (const { run, status } of runs) {
    expect(['succeeded', 'canceled']).toContain(status);
    if (status === 'canceled') expect(canceled.length).toBeGreaterThan(0);
    else expect(run).toBe(runs.length);
  }
  await until('every end was told', () => new Set(eventsOf(id).map(({ run }) => run)).size === runs.length);
  for (const { run, status } of runs) {
    const events = eventsOf(id).filter((event) => event.run === run);
    expect(new Set(events.map(({ type }) => type))).toEqual(new Set([`job.${status}`]));
    expect(new Set(events.map((event) => event.id)).size).toBe(1);
  }
}
