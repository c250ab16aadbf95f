import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { ModelManifest } from '@onqueue/shared';
import { ManualClock, settle } from '../../../../test/support/manual-clock.ts';
import { writeLinearModel } from '../../../../test/support/models/tiny-models.ts';
import { CalibrationCache } from './calibration-cache.ts';
import { type CalibrationSubject, Calibrator, type CalibratorOptions } from './calibrator.ts';

const TODAY = new Date('2026-11-24T14:00:00.000Z');
const runtime = { name: 'onnxruntime-node', version: '1.30.0' };

let cacheDir: string;
let manifest: ModelManifest;

beforeEach(async () => {
  cacheDir = await mkdtemp(join(tmpdir(), 'onqueue-calibrator-'));
  ({ manifest } = await writeLinearModel({ dir: cacheDir, name: 'linear', version: '1' }));
});
afterEach(() => rm(cacheDir, { recursive: true, force: true }));

/** Rows get dear beyond 8. */
const usualMs = (rows: number) => 1 + 0.1 * rows + 2 * Math.max(0, rows - 8);

function setUp(options: Partial<CalibratorOptions> = {}) {
  const clock = new ManualClock();
  const errors: string[] = [];
  const batches: number[] = [];
  const calibrator = new Calibrator({
    cache: new CalibrationCache({ cacheDir }),
    budgetMs: 2000,
    host: { cpu: 'EPYC', cores: 2 },
    clock,
    today: () => TODAY,
    onError: ({ message }) => errors.push(message),
    ...options,
  });
  const subject: CalibrationSubject = {
    manifest,
    intraOpNumThreads: 1,
    runtime,
    readRows: async () => ['a', 'b'],
    run: async ({ length }) => {
      batches.push(length);
      await clock.after(usualMs(length));
      return { computeMs: usualMs(length), cpuMs: usualMs(length) };
    },
  };
  /** Turns the clock until `work` is done; files are read and written meanwhile, which takes real time. */
  const finish = async <T>(work: Promise<T>): Promise<T> => {
    let isDone = false;
    const ending = work.finally(() => {
      isDone = true;
    });
    while (!isDone) await clock.advance(1);
    return ending;
  };
  return { clock, calibrator, subject, batches, errors, finish };
}

describe('the calibrator', () => {
  test('measures a version, and says on which machine', async () => {
    const { calibrator, subject, finish } = setUp();
    expect(await finish(calibrator.calibrate(subject))).toEqual({
      max_batch_size: 8,
      curve: [1, 2, 4, 8, 16, 32, 64].map((batch_size) => expect.objectContaining({ batch_size })),
      measured_at: TODAY.toISOString(),
      machine: { cpu: 'EPYC', cores: 2, intra_op_threads: 1, runtime: 'onnxruntime-node 1.30.0' },
    });
  });

  test('does not measure again after a restart, nor read the rows', async () => {
    const before = setUp();
    const measured = await before.finish(before.calibrator.calibrate(before.subject));
    const { calibrator, subject, batches } = setUp();
    const readRows = () => Promise.reject(new Error('nobody needs them'));
    expect(await calibrator.calibrate({ ...subject, readRows })).toEqual(measured);
    expect(batches).toEqual([]);
  });

  test('keeps nothing of a measurement that was given up or cut by a failure', async () => {
    const wanted = setUp();
    const isWanted = () => wanted.batches.length > 20;
    expect(await wanted.finish(wanted.calibrator.calibrate({ ...wanted.subject, isWanted }))).toBeUndefined();

    const failing = setUp();
    const run: CalibrationSubject['run'] = (rows) =>
      rows.length > 4 ? Promise.reject(new Error('Failed to allocate memory')) : failing.subject.run(rows);
    const cut = await failing.finish(failing.calibrator.calibrate({ ...failing.subject, run }));
    expect(cut?.max_batch_size).toBe(4);

    const { calibrator, subject, finish } = setUp();
    expect(await finish(calibrator.calibrate(subject))).toMatchObject({ max_batch_size: 8 });
  });

  test('serves a result that could not be kept', async () => {
    const { calibrator, subject, errors, finish } = setUp({
      cache: new CalibrationCache({ cacheDir: join(cacheDir, 'linear', '1', 'model.json') }),
    });
    expect(await finish(calibrator.calibrate(subject))).toMatchObject({ max_batch_size: 8 });
    expect(errors).toHaveLength(1);
  });

  test('leaves a version whose rows cannot be read unmeasured, and goes on with the next', async () => {
    const { calibrator, subject, errors, finish } = setUp();
    const readRows = () => Promise.reject(new Error('no such file'));
    expect(await calibrator.measure({ ...subject, readRows })).toBeUndefined();
    expect(errors).toEqual(['no such file']);
    expect(await finish(calibrator.measure(subject))).toMatchObject({ max_batch_size: 8 });
  });

  test('measures one version at a time, and puts off none by more than the budget', async () => {
    const cache = { read: async () => undefined, write: async () => {} };
    const { clock, calibrator, subject } = setUp({ cache });
    let running = 0;
    const run: CalibrationSubject['run'] = async ({ length }) => {
      expect(++running).toBe(1);
      await clock.after(100 * length);
      running -= 1;
      return { computeMs: 100 * length, cpuMs: 100 * length };
    };
    const ends: [number, number, number | undefined][] = [];
    const work = [1, 2, 3].map(async (id) => {
      const measured = await calibrator.measure({ ...subject, run });
      ends.push([id, clock.now(), measured?.curve.length]);
    });
    while (ends.length < 3) {
      await clock.advance(50);
      await settle();
    }
    await Promise.all(work);
    expect(ends.every(([, atMs]) => atMs <= 2000)).toBe(true);
    // The first takes nearly all of its budget; the others have lost patience by then and serve unmeasured.
    expect(ends.toSorted().map(([id, , sizes]) => [id, sizes])).toEqual([
      [1, 3],
      [2, undefined],
      [3, undefined],
    ]);
  });
});
