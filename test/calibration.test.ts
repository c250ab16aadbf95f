import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { request, runJob } from './support/client.ts';
import { writeKneeModel, writeLinearModel } from './support/models/tiny-models.ts';
import { startTestPlatform, type TestPlatform } from './support/platform.ts';
import { until } from './support/until.ts';

interface ModelBody {
  batching: Record<string, unknown>;
  versions: { version: string; calibration: CalibrationBody | null }[];
}

interface CalibrationBody {
  max_batch_size: number;
  curve: { batch_size: number; rows_per_s: number; ms: number }[];
  measured_at: string;
  machine: Record<string, unknown>;
}

const KNEE = 8;
const LIMIT = 32;

let root: string;
let platform: TestPlatform;
let workerEnv: Record<string, string>;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'onqueue-calibration-'));
  const dir = join(root, 'models');
  const batching = { max_batch_size: LIMIT };
  await writeKneeModel({ dir, name: 'knee', version: '1', knee: KNEE, batching });
  await writeKneeModel({ dir, name: 'knee', version: '2', knee: KNEE, batching: { ...batching, calibrate: false } });
  await writeLinearModel({ dir, name: 'linear', version: '1' });
  workerEnv = { ONQUEUE_CACHE_DIR: join(root, 'cache'), ONQUEUE_CALIBRATION_BUDGET_MS: '3000' };
  platform = await startTestPlatform({ modelsDir: dir, workerEnv });
});

afterAll(async () => {
  await platform?.stop();
  await rm(root, { recursive: true, force: true });
});

async function calibrationOf(model: string, version = '1'): Promise<CalibrationBody | null | undefined> {
  const { body } = await request<ModelBody>(`${platform.baseUrl}/models/${model}`);
  return body.versions.find((candidate) => candidate.version === version)?.calibration;
}

/** One whose turn came too late serves unmeasured at first. */
function measuredCalibrationOf(model: string): Promise<CalibrationBody> {
  return until(`${model} is measured`, async () => (await calibrationOf(model)) ?? undefined);
}

async function batchSizeLimit(model: string, version = '1'): Promise<number> {
  const metrics = await (await fetch(`${platform.workers.at(-1)?.baseUrl}/metrics`)).text();
  const name = `onqueue_batch_size_limit{model="${model}",version="${version}"} `;
  return Number(
    metrics
      .split('\n')
      .find((line) => line.startsWith(name))
      ?.slice(name.length),
  );
}

test('GET /models/:name shows the curve and the knee of a version, a step up or down', async () => {
  const calibration = await measuredCalibrationOf('knee');
  expect([KNEE / 2, KNEE, KNEE * 2]).toContain(calibration.max_batch_size);
  expect(calibration).toEqual({
    max_batch_size: expect.any(Number),
    curve: [1, 2, 4, 8, 16, 32].map((batch_size) => ({
      batch_size,
      rows_per_s: expect.any(Number),
      ms: expect.any(Number),
      compute_ms: expect.any(Number),
    })),
    measured_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
    machine: {
      cpu: expect.any(String),
      cores: expect.any(Number),
      intra_op_threads: 1,
      runtime: 'onnxruntime-node 1.30.0',
    },
  });
});

test('a model that gains from large batches gets them', async () => {
  expect((await measuredCalibrationOf('linear')).max_batch_size).toBeGreaterThanOrEqual(16);
});

test('a version that turns it off has the batches of its manifest', async () => {
  const { body } = await request<ModelBody>(`${platform.baseUrl}/models/knee`);
  expect(body.batching).toEqual({
    max_batch_size: LIMIT,
    optimize: 'latency',
    max_queue_delay_ms: 0,
    bulk_slice_ms: 25,
    bulk_min_share: 0.1,
    batch_invariant: true,
  });
  expect(await calibrationOf('knee', '2')).toBeNull();
  expect(await batchSizeLimit('knee', '2')).toBe(LIMIT);
});

test('batches are as large as calibrated, and so say the metrics', async () => {
  const size = (await calibrationOf('knee'))?.max_batch_size ?? 0;
  expect(await batchSizeLimit('knee')).toBe(size);
  const inputs = Array.from({ length: 64 }, (_, value) => ({ value }));
  const job = await runJob(platform.baseUrl, { model: 'knee', version: '1', inputs });
  expect(job).toMatchObject({ status: 'succeeded', provenance: { batch_size: size, batches: 64 / size } });
  expect(job.results?.map(({ output }) => output?.score)).toEqual(inputs.map(({ value }) => value));
});

test('a worker that starts again has the measurement of before', async () => {
  const before = await calibrationOf('knee');
  await platform.workers.at(-1)?.stop();
  await platform.startWorker();
  expect(await batchSizeLimit('knee')).toBe(before?.max_batch_size);
  expect(await calibrationOf('knee')).toEqual(before);
});

test('a worker whose cache is spoiled measures anew', async () => {
  const before = await calibrationOf('knee');
  await platform.workers.at(-1)?.stop();
  const cache = join(root, 'cache', 'calibration');
  for (const file of await readdir(cache)) await writeFile(join(cache, file), '{"schema_version": 1, "key"');
  await platform.startWorker();
  const after = await until('the new measurement is shown', async () => {
    const calibration = await calibrationOf('knee');
    return calibration && calibration.measured_at !== before?.measured_at ? calibration : undefined;
  });
  expect(await batchSizeLimit('knee')).toBe(after.max_batch_size);
});

test('with a budget of 0 nothing is measured', async () => {
  await platform.startWorker({ ONQUEUE_CALIBRATION_BUDGET_MS: '0' });
  expect(await batchSizeLimit('knee')).toBe(LIMIT);
});
