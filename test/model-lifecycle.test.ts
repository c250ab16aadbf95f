import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { acceptedJob, endedJob, postJob, request, runJob } from './support/client.ts';
import { writeLinearModel } from './support/models/tiny-models.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';
import { runnerPidsOf } from './support/runner-pids.ts';
import { until } from './support/until.ts';

/** Versions that come and go while jobs are served. */

interface VersionView {
  version: string;
  state: string;
  reason: string | null;
  accepts_jobs: boolean;
  workers: Record<string, unknown>;
}

const input = { x0: 1, x1: 1, x2: 1 };
/** Two jobs each: a hundred a second. */
const LOAD_INTERVAL_MS = 20;
const SETTINGS = { ONQUEUE_MODELS_POLL_MS: '100', ONQUEUE_MODELS_SETTLE_MS: '1500' };

/** Written elsewhere and moved into place, as a careful deployment does. */
async function dropIn(modelsDir: string, options: { name: string; version: string; bias?: number }) {
  const aside = await mkdtemp(join(tmpdir(), 'onqueue-aside-'));
  const { folder, manifest } = await writeLinearModel({ dir: aside, ...options });
  await rename(folder, join(modelsDir, options.name, options.version));
  await rm(aside, { recursive: true });
  return manifest.artifact.sha256;
}

async function versionOf(baseUrl: string, name: string, version: string): Promise<VersionView | undefined> {
  const { status, body } = await request<VersionView & { code?: string }>(
    `${baseUrl}/models/${name}/versions/${version}`,
  );
  return status === 200 ? body : undefined;
}

function stateIs(baseUrl: string, name: string, version: string, state: string): Promise<VersionView> {
  return until(`${name}/${version} is ${state}`, async () => {
    const found = await versionOf(baseUrl, name, version);
    return found?.state === state && found;
  });
}

/** Posts at a steady pace, whether or not what was posted before has ended. */
function openLoop(post: () => Promise<string>): { stop(): Promise<string[]> } {
  const posted: Promise<string>[] = [];
  const timer = setInterval(() => posted.push(post(), post()), LOAD_INTERVAL_MS);
  return {
    stop() {
      clearInterval(timer);
      return Promise.all(posted);
    },
  };
}

// `ONQUEUE_JOB_SOURCE=stock npm test` runs it on the other one.
describe.each([process.env.ONQUEUE_JOB_SOURCE || 'batch'])('with the %s source', (source) => {
  let modelsDir: string;
  let platform: TestPlatform;
  let baseUrl: string;

  beforeAll(async () => {
    modelsDir = await mkdtemp(join(tmpdir(), 'onqueue-life-'));
    await writeLinearModel({ dir: modelsDir, name: 'linear', version: '1' });
    platform = await startTestPlatform({
      modelsDir,
      workers: 2,
      workerEnv: { ...SETTINGS, ONQUEUE_JOB_SOURCE: source },
    });
    ({ baseUrl } = platform);
  });

  afterAll(async () => {
    await platform?.stop();
    await rm(modelsDir, { recursive: true, force: true });
  });

  test('a swap under load loses and fails nothing, and every result is of the version that it names', async () => {
    const digests = new Map<string, string>();
    const origin = await runJob(baseUrl, { model: 'linear', input });
    digests.set('1', String(origin.provenance?.artifact_sha256));
    const load = openLoop(() => acceptedJob(baseUrl, { model: 'linear', inputs: [input, input] }));
    digests.set('2', await dropIn(modelsDir, { name: 'linear', version: '2', bias: 1000 }));
    await stateIs(baseUrl, 'linear', '2', 'ready');
    await until('both versions have been used', async () => {
      const { body } = await request(`${baseUrl}/models/linear`);
      return body.version === '2';
    });
    await rm(join(modelsDir, 'linear', '1'), { recursive: true });
    await stateIs(baseUrl, 'linear', '1', 'removed');
    const ids = await load.stop();
    const jobs = [];
    // Not all at once: what the API is asked for here is no part of the load.
    for (const id of ids) jobs.push(await endedJob(baseUrl, id));
    expect(jobs.filter(({ status }) => status !== 'succeeded')).toEqual([]);
    const seen = new Set<string>();
    for (const { version, results, provenance } of jobs) {
      seen.add(String(version));
      const score = version === '2' ? 1003 : 3;
      expect(results?.map(({ output }) => output?.score)).toEqual([score, score]);
      expect(provenance).toMatchObject({ version, artifact_sha256: digests.get(String(version)) });
    }
    expect([...seen].sort()).toEqual(['1', '2']);
    expect(digests.get('1')).not.toBe(digests.get('2'));
  });

  test('what was removed is gone: its runners have exited, and nobody may ask for it', async () => {
    await until('the runners have exited', () => platform.workers.every(({ pid }) => runnerPidsOf(pid).length === 1));
    const { status, body } = await postJob(baseUrl, { model: 'linear', version: '1', input });
    expect([status, body.code]).toEqual([410, 'version_gone']);
    expect(body.detail).toContain('removed from the model repository');
    expect(await runJob(baseUrl, { model: 'linear', input })).toMatchObject({ status: 'succeeded', version: '2' });
  });

  test('a model that was not there is served, and taken away again', async () => {
    await writeLinearModel({ dir: modelsDir, name: 'late', version: '1', bias: 5 });
    await stateIs(baseUrl, 'late', '1', 'ready');
    expect(await runJob(baseUrl, { model: 'late', input })).toMatchObject({ status: 'succeeded', version: '1' });
    expect(await runJob(baseUrl, { model: 'late', lane: 'bulk', input })).toMatchObject({ status: 'succeeded' });
    await rm(join(modelsDir, 'late'), { recursive: true });
    await stateIs(baseUrl, 'late', '1', 'removed');
    await until('an API refuses its jobs', async () => {
      return (await postJob(baseUrl, { model: 'late', input })).status === 410;
    });
    // It may come back.
    await writeLinearModel({ dir: modelsDir, name: 'late', version: '1', bias: 6 });
    await stateIs(baseUrl, 'late', '1', 'ready');
    const job = await until('an API accepts its jobs', async () => {
      const { status, body } = await postJob(baseUrl, { model: 'late', input });
      return status === 202 && body;
    });
    expect((await endedJob(baseUrl, job.id)).results?.[0]?.output).toEqual({ score: 9 });
  });
});

describe('a version', () => {
  let modelsDir: string;
  let platform: TestPlatform;
  let baseUrl: string;

  beforeAll(async () => {
    modelsDir = await mkdtemp(join(tmpdir(), 'onqueue-life-'));
    await writeLinearModel({ dir: modelsDir, name: 'linear', version: '1' });
    platform = await startTestPlatform({ modelsDir, workerEnv: SETTINGS });
    ({ baseUrl } = platform);
  });

  afterAll(async () => {
    await platform?.stop();
    await rm(modelsDir, { recursive: true, force: true });
  });

  test('that fails its golden rows says which, while the one before serves on; mended, it serves', async () => {
    const { folder } = await writeLinearModel({ dir: modelsDir, name: 'linear', version: '2', bias: 1 });
    const golden = join(folder, 'golden.jsonl');
    const right = await readFile(golden, 'utf8');
    await writeFile(golden, right.replace('"score":1', '"score":7'));
    const failed = await stateIs(baseUrl, 'linear', '2', 'failed');
    expect(failed.reason).toContain('golden');
    expect(failed.accepts_jobs).toBe(false);
    expect(await runJob(baseUrl, { model: 'linear', input })).toMatchObject({ status: 'succeeded', version: '1' });
    await writeFile(golden, right);
    await stateIs(baseUrl, 'linear', '2', 'ready');
  });

  test('that is half copied waits, is reported when nothing comes any more, and serves when it is whole', async () => {
    const aside = await mkdtemp(join(tmpdir(), 'onqueue-aside-'));
    const { folder } = await writeLinearModel({ dir: aside, name: 'linear', version: '3', bias: 2 });
    const artifact = await readFile(join(folder, 'model.onnx'));
    await writeFile(join(folder, 'model.onnx'), artifact.subarray(0, artifact.length / 2));
    await rename(folder, join(modelsDir, 'linear', '3'));
    const incomplete = await stateIs(baseUrl, 'linear', '3', 'incomplete');
    expect(incomplete.reason).toContain('SHA-256');
    await writeFile(join(modelsDir, 'linear', '3', 'model.onnx'), artifact);
    await stateIs(baseUrl, 'linear', '3', 'ready');
    await rm(aside, { recursive: true });
  });

  test('that is not among the latest is unloaded, and loaded again when an operator asks for it by name', async () => {
    await writeFile(join(modelsDir, 'linear', 'policy.json'), JSON.stringify({ versions: 'latest' }));
    const unloaded = await stateIs(baseUrl, 'linear', '1', 'unloaded');
    expect(unloaded).toMatchObject({ accepts_jobs: false, reason: 'The version policy of the model is: latest.' });
    await stateIs(baseUrl, 'linear', '2', 'unloaded');
    expect((await postJob(baseUrl, { model: 'linear', version: '1', input })).status).toBe(410);
    const order = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"version":"1"}' };
    const ordered = await request(`${baseUrl}/models/linear/load`, order);
    expect(ordered).toMatchObject({ status: 202, body: { version: '1', wanted: 'load' } });
    await stateIs(baseUrl, 'linear', '1', 'ready');
    await until('an API accepts its jobs', async () => {
      return (await postJob(baseUrl, { model: 'linear', version: '1', input })).status === 202;
    });
  });

  test('that an operator unloaded stays so over a restart, until it is loaded again', async () => {
    expect((await request(`${baseUrl}/models/linear/unload`, { method: 'POST' })).status).toBe(202);
    for (const version of ['1', '3']) await stateIs(baseUrl, 'linear', version, 'unloaded');
    const [worker] = platform.workers;
    await until('its runners have ended', async () => runnerPidsOf(worker?.pid).length === 0);
    await worker?.stop();
    const next = await platform.startWorker();
    const state = await stateIs(baseUrl, 'linear', '3', 'unloaded');
    expect(state.reason).toBe('It was unloaded by an operator.');
    expect(runnerPidsOf(next.pid)).toEqual([]);
    expect((await postJob(baseUrl, { model: 'linear', input })).status).toBe(410);
    expect((await request(`${baseUrl}/models/linear/load`, { method: 'POST' })).status).toBe(202);
    await stateIs(baseUrl, 'linear', '3', 'ready');
    await stateIs(baseUrl, 'linear', '1', 'unloaded');
  });

  test('and a model that nobody knows cannot be ordered', async () => {
    const unknown = await request(`${baseUrl}/models/nothing/load`, { method: 'POST' });
    expect([unknown.status, unknown.body.code]).toEqual([404, 'model_not_found']);
    const order = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"version":"99"}' };
    const version = await request(`${baseUrl}/models/linear/unload`, order);
    expect([version.status, version.body.code]).toEqual([404, 'version_not_found']);
    const wrong = await request(`${baseUrl}/models/linear/unload`, { ...order, body: '{"versions":"1"}' });
    expect(wrong.status).toBe(400);
    expect((await request(`${baseUrl}/models/nothing/versions`)).status).toBe(404);
    expect((await request(`${baseUrl}/models/linear/versions/99`)).status).toBe(404);
  });
});

describe('models that are on_demand, in a budget for two of them', () => {
  let modelsDir: string;
  let platform: TestPlatform;
  let baseUrl: string;
  const names = ['first', 'second', 'third'];

  beforeAll(async () => {
    modelsDir = await mkdtemp(join(tmpdir(), 'onqueue-life-'));
    for (const [bias, name] of names.entries()) {
      const { folder, manifest } = await writeLinearModel({ dir: modelsDir, name, version: '1', bias });
      await writeFile(join(folder, 'model.json'), JSON.stringify({ ...manifest, serving: { on_demand: true } }));
    }
    // A runner of a tiny model has some 100 MB: the guess before a load is a little more than that.
    platform = await startTestPlatform({
      modelsDir,
      workerEnv: { ...SETTINGS, ONQUEUE_MODEL_MEMORY_BUDGET_BYTES: String(260 * 1024 * 1024) },
    });
    ({ baseUrl } = platform);
  });

  afterAll(async () => {
    await platform?.stop();
    await rm(modelsDir, { recursive: true, force: true });
  });

  test('all take jobs, each is loaded when one comes, and never are more in memory than fit', async () => {
    const [worker] = platform.workers;
    const score = async (name: string) => (await runJob(baseUrl, { model: name, input })).results?.[0]?.output?.score;
    for (const round of [1, 2]) {
      for (const [bias, name] of names.entries()) {
        expect([round, await score(name)]).toEqual([round, 3 + bias]);
        expect([1, 2]).toContain(runnerPidsOf(worker?.pid).length);
      }
    }
    const metrics = String((await request(`${worker?.baseUrl}/metrics`)).body);
    const coldStarts = [...metrics.matchAll(/onqueue_model_cold_start_seconds_count\{.*\} (\d+)/g)];
    expect(coldStarts.reduce((sum, [, count]) => sum + Number(count), 0)).toBeGreaterThanOrEqual(3);
    expect(metrics).toMatch(/onqueue_model_unloads_total\{.*cause="memory".*\} [1-9]/);
    const views = await Promise.all(names.map((name) => versionOf(baseUrl, name, '1')));
    expect(views.map((view) => view?.accepts_jobs)).toEqual([true, true, true]);
    expect(views.filter((view) => view?.state === 'unloaded').length).toBeGreaterThanOrEqual(1);
  });

  test('after a restart they are loaded by the first job', async () => {
    await platform.workers[0]?.stop();
    const next = await platform.startWorker();
    expect(runnerPidsOf(next.pid)).toEqual([]);
    expect(await runJob(baseUrl, { model: 'second', input })).toMatchObject({ status: 'succeeded' });
    expect(runnerPidsOf(next.pid)).toHaveLength(1);
  });
});

describe('a model that is on_demand with min_instances, in a budget for one other', () => {
  let modelsDir: string;
  let platform: TestPlatform;
  const names = ['warm', 'first', 'second'];
  const run = async (model: string) => (await runJob(platform.baseUrl, { model, input })).status;
  const runners = () => runnerPidsOf(platform.workers[0]?.pid);

  beforeAll(async () => {
    modelsDir = await mkdtemp(join(tmpdir(), 'onqueue-life-'));
    for (const name of names) {
      const { folder, manifest } = await writeLinearModel({ dir: modelsDir, name, version: '1' });
      const serving = { on_demand: true, ...(name === 'warm' ? { min_instances: 1 } : {}) };
      await writeFile(join(folder, 'model.json'), JSON.stringify({ ...manifest, serving }));
    }
    // For two of the three, which are all tried at the start.
    platform = await startTestPlatform({
      modelsDir,
      workerEnv: { ...SETTINGS, ONQUEUE_MODEL_MEMORY_BUDGET_BYTES: String(260 * 1024 * 1024) },
    });
  });

  afterAll(async () => {
    await platform?.stop();
    await rm(modelsDir, { recursive: true, force: true });
  });

  test('stays in the same process while the others make room for each other, though it was used longest ago', async () => {
    expect(await run('first')).toBe('succeeded');
    expect(await run('warm')).toBe('succeeded');
    const before = runners();
    expect(before).toHaveLength(2);
    expect(await run('second')).toBe('succeeded');
    await stateIs(platform.baseUrl, 'first', '1', 'unloaded');
    const [warm, ...more] = await until('one of the runners has made room', async () => {
      const stayed = runners().filter((pid) => before.includes(pid));
      return stayed.length < 2 && stayed;
    });
    expect([typeof warm, more]).toEqual(['number', []]);
    // From here on the warm one is the least recently used, and would be the next to go.
    for (const name of ['first', 'second', 'first']) {
      expect(await run(name)).toBe('succeeded');
      const other = name === 'first' ? 'second' : 'first';
      await stateIs(platform.baseUrl, other, '1', 'unloaded');
      expect(await versionOf(platform.baseUrl, 'warm', '1')).toMatchObject({ state: 'ready' });
      expect(runners()).toContain(warm);
    }
    expect(await run('warm')).toBe('succeeded');
    expect(runners()).toContain(warm);
    const metrics = String((await request(`${platform.workers[0]?.baseUrl}/metrics`)).body);
    expect(metrics).not.toMatch(/onqueue_model_unloads_total\{.*model="warm"/);
    expect(metrics).toMatch(/onqueue_model_unloads_total\{.*model="first".*cause="memory".*\} [1-9]/);
  });
});
