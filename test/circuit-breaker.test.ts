import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { acceptedJob, endedJob, postJob, request, runJob } from './support/client.ts';
import { breakArtifact } from './support/models/broken-artifact.ts';
import { writeTestModels } from './support/models/models-dir.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';
import { runnerPidsOf } from './support/runner-pids.ts';
import { until } from './support/until.ts';

let platform: TestPlatform;
let models: Awaited<ReturnType<typeof writeTestModels>>;
let baseUrl: string;

beforeAll(async () => {
  models = await writeTestModels();
  platform = await startTestPlatform({
    modelsDir: models.dir,
    workerEnv: {
      ONQUEUE_MODELS: 'linear,lookup,crash,slow',
      ONQUEUE_CIRCUIT_STRIKES: '3',
      ONQUEUE_CIRCUIT_OPEN_MS: '300',
      ONQUEUE_CIRCUIT_MAX_OPEN_MS: '600',
      ONQUEUE_BATCH_TIMEOUT_MS: '500',
    },
    // A failing job is to be seen failing at once.
    env: { ONQUEUE_ATTEMPTS: '1' },
  });
  ({ baseUrl } = platform);
});

afterAll(async () => {
  await platform?.stop();
  await models?.remove();
});

interface Version {
  ready: boolean;
  circuit: { state: string; open_workers: number };
}

const versionOf = async (model: string) =>
  (await request<{ versions: Version[] }>(`${baseUrl}/models/${model}`)).body.versions[0];
const untilCircuit = (model: string, state: string) =>
  until(`the circuit of ${model} is ${state}`, async () => (await versionOf(model))?.circuit.state === state);
const workerMetrics = async () => (await request<string>(`${platform.workers[0]?.baseUrl}/metrics`)).body;

const scored = (index: number) => ({ status: 'succeeded', results: [{ output: { score: index * 10 } }] });
const linear = { model: 'linear', input: { x0: 1, x1: 1, x2: 1 } };

test('a model that cannot be loaded any more is answered 503 until it is mended; others are served', async () => {
  expect(await runJob(baseUrl, { model: 'lookup', input: { index: 3 } })).toMatchObject(scored(3));
  const failed = await runJob(baseUrl, { model: 'lookup', input: { index: 99 } });
  expect(failed.status).toBe('failed');

  const broken = await breakArtifact(models.dir, 'lookup');
  for (const pid of runnerPidsOf(platform.workers[0]?.pid)) process.kill(pid, 'SIGKILL');
  await untilCircuit('lookup', 'open');
  expect(await versionOf('lookup')).toMatchObject({ ready: false, circuit: { open_workers: 1 } });

  const refusals = [
    await postJob(baseUrl, { model: 'lookup', input: { index: 3 } }),
    await request(`${baseUrl}/jobs/${failed.id}/retry`, { method: 'POST' }),
  ];
  for (const { status, headers, body } of refusals) {
    expect([status, body]).toMatchObject([503, { code: 'model_unavailable' }]);
    expect(headers.get('retry-after')).toBe('1');
  }
  // A row that is bad is told so, whatever the state of its model.
  expect((await postJob(baseUrl, { model: 'lookup', input: {} })).status).toBe(400);
  expect(await runJob(baseUrl, linear)).toMatchObject({ status: 'succeeded' });
  expect(await workerMetrics()).toMatch(/^onqueue_circuit_state\{model="lookup",version="1",state="open"\} 1$/m);

  await broken.mend();
  const id = await until('a job is accepted again', async () => {
    const { status, body } = await postJob(baseUrl, { model: 'lookup', input: { index: 4 } });
    return status === 202 && body.id;
  });
  expect(await endedJob(baseUrl, id)).toMatchObject(scored(4));
  for (const index of [5, 6]) {
    expect(await runJob(baseUrl, { model: 'lookup', input: { index } })).toMatchObject(scored(index));
  }
  await untilCircuit('lookup', 'closed');
  const metrics = await workerMetrics();
  expect(metrics).toMatch(
    /^onqueue_circuit_transitions_total\{model="lookup",version="1",to="open",cause="unavailable"\} [1-9]/m,
  );
  expect(metrics).toMatch(/^onqueue_circuit_transitions_total\{model="lookup",version="1",to="closed",cause=""\} 1$/m);
});

test('a model that hangs on every row is left alone after some of them, and works again when rows do', async () => {
  // The steps of no deadline.
  const hanging = { model: 'slow', inputs: Array(6).fill({ steps: 9_000_000_000_000 }), on_row_error: 'continue' };
  const id = await acceptedJob(baseUrl, hanging);
  await untilCircuit('slow', 'open');
  expect(await workerMetrics()).toMatch(
    /^onqueue_circuit_transitions_total\{model="slow",version="1",to="open",cause="hang"\} 1$/m,
  );
  expect(await runJob(baseUrl, linear)).toMatchObject({ status: 'succeeded' });

  expect((await request(`${baseUrl}/jobs/${id}/cancel`, { method: 'POST' })).status).toBe(200);
  const next = await until('a job is accepted again', async () => {
    const { status, body } = await postJob(baseUrl, { model: 'slow', input: { steps: 1 } });
    return status === 202 && body.id;
  });
  expect(await endedJob(baseUrl, next)).toMatchObject({ status: 'succeeded', results: [{ output: { score: 1 } }] });
});

// The deadly row is one of x86-64's; other processors have an answer to it.
const onX64 = process.arch === 'x64' ? test : test.skip;

onX64('a model that crashes on every row is left alone after some of them; what it was given waits', async () => {
  const deadly = { model: 'crash', input: { divisor: -1 } };
  const ids = await Promise.all(Array.from({ length: 5 }, () => acceptedJob(baseUrl, deadly)));
  await untilCircuit('crash', 'open');
  expect(await postJob(baseUrl, deadly)).toMatchObject({ status: 503, body: { code: 'model_unavailable' } });
  expect(await workerMetrics()).toMatch(
    /^onqueue_circuit_transitions_total\{model="crash",version="1",to="open",cause="crash"\} [1-9]/m,
  );
  // Those that were accepted are tried as the circuit lets them, and none is lost.
  for (const id of ids) {
    expect(await endedJob(baseUrl, id)).toMatchObject({ status: 'failed', error: { code: 'runner_crashed' } });
  }
});
