import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { Calibration } from '@onqueue/shared';
import { ManualClock } from '../../../test/support/manual-clock.ts';
import type { WrittenModel } from '../../../test/support/models/model-folder.ts';
import { writeLinearModel } from '../../../test/support/models/tiny-models.ts';
import { until } from '../../../test/support/until.ts';
import { HaltSignal } from './batching/halt-signal.ts';
import { WorkerMetrics } from './metrics.ts';
import { MODEL_FILE_POLICY } from './models/model-file-policy.ts';
import { ServedModelVersion, type ServedModelVersionOptions } from './served-model.ts';

let dir: string;
let version: ServedModelVersion | undefined;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'onqueue-served-'));
});
afterEach(async () => {
  await version?.stop();
  await rm(dir, { recursive: true, force: true });
});

const CIRCUIT = { strikes: 5, errorPercent: 50, minRows: 20, windowMs: 30_000, openMs: 5000, maxOpenMs: 30_000 };

async function start(model: WrittenModel, options: Partial<ServedModelVersionOptions>): Promise<ServedModelVersion> {
  version = await ServedModelVersion.start({
    ...model,
    instances: 1,
    intraOpNumThreads: 1,
    runnerDepth: 2,
    maxBatches: 0,
    maxMemoryBytes: 0,
    memoryLimitBytes: 0,
    filePolicy: MODEL_FILE_POLICY,
    batchTimeoutMs: 30_000,
    startTimeoutMs: 30_000,
    env: {},
    calibrator: undefined,
    circuit: CIRCUIT,
    clock: new ManualClock(),
    metrics: new WorkerMetrics(),
    cache: { read: async (_, keys) => keys.map(() => undefined), write: async () => {}, open: async () => {} },
    worker: 'w',
    standInOf: () => undefined,
    onCacheError: () => {},
    onCircuit: () => {},
    onRestart: () => {},
    onRecalibrated: () => {},
    ...options,
  });
  return version;
}

function calibrationOf(size: number, computeMs: number): Calibration {
  return {
    max_batch_size: size,
    curve: [{ batch_size: size, rows_per_s: 1, ms: computeMs, compute_ms: computeMs }],
    measured_at: '2026-11-24T14:00:00.000Z',
    machine: { cpu: 'EPYC', cores: 2, intra_op_threads: 1, runtime: 'onnxruntime-node 1.30.0' },
  };
}

/** Submits rows as one job; how many batches they became. */
async function batchesOf(served: ServedModelVersion, rows: number): Promise<number> {
  const input = { x0: 1, x1: 2, x2: 3 };
  const outcomes = await served.submit(
    Array.from({ length: rows }, () => input),
    { lane: 'interactive', halt: new HaltSignal(), isApart: false },
  );
  expect(outcomes.every(({ result }) => result.status === 'succeeded')).toBe(true);
  return new Set(outcomes.map(({ batch }) => batch)).size;
}

test('a version has the batches that it was calibrated to, and publishes why', async () => {
  const served = await start(await writeLinearModel({ dir, name: 'linear', version: '1' }), {
    calibrator: { calibrate: async () => calibrationOf(4, 1), measure: async () => undefined },
  });
  expect(served.maxBatchSize).toBe(4);
  expect(served.descriptor.calibration).toEqual(calibrationOf(4, 1));
  expect(served.descriptor.batching.batch_invariant).toBe(true);
  expect(await batchesOf(served, 16)).toBe(4);
});

test('a version that cannot be measured has those of its manifest', async () => {
  const served = await start(await writeLinearModel({ dir, name: 'linear', version: '1' }), {
    calibrator: { calibrate: async () => undefined, measure: async () => undefined },
  });
  expect(served.maxBatchSize).toBe(64);
  expect(served.descriptor.calibration).toBeUndefined();
  expect(await batchesOf(served, 128)).toBe(2);
});

test.each([
  ['turns it off', { calibrate: false }],
  ['has batches of one row', { max_batch_size: 1 }],
])('a version that %s is not measured', async (_, batching) => {
  const calibrate = () => Promise.reject(new Error('nobody asked for it'));
  const served = await start(await writeLinearModel({ dir, name: 'linear', version: '1', batching }), {
    calibrator: { calibrate, measure: calibrate },
  });
  expect(served.descriptor.calibration).toBeUndefined();
});

test('a version whose batches have drifted is measured again when idle, with the golden rows, and published anew', async () => {
  const clock = new ManualClock();
  const recalibrated: Calibration[] = [];
  let goldenRows: readonly unknown[] = [];
  const served = await start(await writeLinearModel({ dir, name: 'linear', version: '1' }), {
    clock,
    calibrator: {
      calibrate: async () => calibrationOf(4, 60_000),
      measure: async ({ readRows, run, isWanted }) => {
        goldenRows = await readRows();
        expect(isWanted?.()).toBe(false);
        const { computeMs } = await run(goldenRows);
        return calibrationOf(8, computeMs);
      },
    },
    onRecalibrated: (calibration) => recalibrated.push(calibration),
  });
  const before = served.descriptor;
  for (let minute = 0; minute < 10; minute++) {
    expect(await batchesOf(served, 8)).toBe(2);
    await clock.advance(60_000);
  }
  expect(served.descriptor).toBe(before);

  await batchesOf(served, 8);
  await clock.advance(1000);
  await until('it is measured again', () => recalibrated.length > 0);
  expect(goldenRows).toEqual([{ x0: 0, x1: 0, x2: 0 }]);
  expect(served.descriptor).not.toBe(before);
  expect(served.descriptor.calibration?.max_batch_size).toBe(8);
  expect(await batchesOf(served, 16)).toBe(2);
});
