import { describe, expect, test } from '@jest/globals';
import type { Calibration } from '@onqueue/shared';
import { ManualClock, settle } from '../../../../test/support/manual-clock.ts';
import { Recalibration } from './recalibration.ts';

const MINUTE = 60_000;

/** Eight rows are a full batch, which computes for `computeMs`. */
function calibrationOf(computeMs: number, size = 8): Calibration {
  return {
    max_batch_size: size,
    curve: [
      { batch_size: size, rows_per_s: (size / computeMs) * 1000, ms: computeMs + 0.2, compute_ms: computeMs },
      { batch_size: size * 2, rows_per_s: 1, ms: 9999, compute_ms: 9999 },
    ],
    measured_at: '2026-11-24T14:00:00.000Z',
    machine: { cpu: 'EPYC', cores: 2, intra_op_threads: 1, runtime: 'onnxruntime-node 1.30.0' },
  };
}

/** A version whose curve says 16 ms, and whose next measurement says `next`. */
function setUp(next: Calibration | 'nothing' = calibrationOf(48), { isMeasured = true } = {}) {
  const clock = new ManualClock();
  const measuredAtMs: number[] = [];
  const adopted: Calibration[] = [];
  const state = { isIdle: true };
  const recalibration = new Recalibration({
    calibration: isMeasured ? calibrationOf(16) : undefined,
    measure: async () => {
      measuredAtMs.push(clock.now());
      return next === 'nothing' ? undefined : next;
    },
    isIdle: () => state.isIdle,
    onMeasured: (calibration) => adopted.push(calibration),
    clock,
  });
  /** Serves a batch a second. */
  const serve = async (computeMs: number, forMs: number, { rows = 8, cpuMs = computeMs } = {}) => {
    for (const end = clock.now() + forMs; clock.now() < end; ) {
      recalibration.observe(rows, { computeMs, cpuMs });
      await clock.advance(1000);
    }
    await settle();
  };
  return { clock, state, recalibration, measuredAtMs, adopted, serve };
}

describe('a version is measured again', () => {
  test('when its full batches take more than twice the time of the curve, and not before it was quiet for 10 minutes', async () => {
    const { measuredAtMs, adopted, serve } = setUp();
    await serve(48, 9 * MINUTE);
    expect(measuredAtMs).toEqual([]);
    await serve(48, 2 * MINUTE);
    expect(measuredAtMs).toEqual([expect.closeTo(10 * MINUTE, -4)]);
    expect(adopted).toEqual([calibrationOf(48)]);
    // What was expected is what is served now.
    await serve(48, 60 * MINUTE);
    expect(measuredAtMs).toHaveLength(1);
  });

  test('when they take less than half of it', async () => {
    const { measuredAtMs, serve } = setUp(calibrationOf(6));
    await serve(16, 20 * MINUTE);
    expect(measuredAtMs).toHaveLength(0);
    await serve(6, 3 * MINUTE);
    expect(measuredAtMs).toHaveLength(1);
  });

  test('soon, when it could not be measured at its start', async () => {
    const { clock, state, measuredAtMs, adopted, serve } = setUp(calibrationOf(16), { isMeasured: false });
    state.isIdle = false;
    await clock.advance(5000);
    expect(measuredAtMs).toEqual([]);
    state.isIdle = true;
    await clock.advance(1000);
    expect(adopted).toEqual([calibrationOf(16)]);
    await serve(16, 60 * MINUTE);
    expect(measuredAtMs).toHaveLength(1);
  });

  test('every 10 minutes at most, when it cannot be measured at all', async () => {
    const { measuredAtMs, serve } = setUp('nothing', { isMeasured: false });
    await serve(16, 35 * MINUTE);
    expect(measuredAtMs).toHaveLength(4);
  });

  test('once it is idle', async () => {
    const { clock, state, measuredAtMs, serve } = setUp();
    state.isIdle = false;
    await serve(48, 30 * MINUTE);
    expect(measuredAtMs).toEqual([]);
    state.isIdle = true;
    await clock.advance(1000);
    expect(measuredAtMs).toHaveLength(1);
  });

  test('no more once it is stopped', async () => {
    const { clock, state, recalibration, measuredAtMs, serve } = setUp();
    state.isIdle = false;
    await serve(48, 20 * MINUTE);
    recalibration.stop();
    state.isIdle = true;
    await clock.advance(MINUTE);
    await serve(48, 20 * MINUTE);
    expect(measuredAtMs).toEqual([]);
  });

  test('after 10 more minutes when it came to nothing', async () => {
    const { measuredAtMs, adopted, serve } = setUp('nothing');
    await serve(48, 25 * MINUTE);
    expect(measuredAtMs).toHaveLength(2);
    expect(adopted).toEqual([]);
  });

  test('once only, when rows that are dearer than the golden ones are the reason', async () => {
    const { measuredAtMs, serve } = setUp(calibrationOf(16));
    await serve(64, 120 * MINUTE);
    expect(measuredAtMs).toHaveLength(1);
  });
});

describe('a version is not measured again', () => {
  test('for what stays within a factor of two', async () => {
    const { measuredAtMs, serve } = setUp();
    await serve(30, 60 * MINUTE);
    await serve(9, 60 * MINUTE);
    expect(measuredAtMs).toEqual([]);
  });

  test('for a spell of half a minute', async () => {
    const { measuredAtMs, serve } = setUp();
    for (let spell = 0; spell < 10; spell++) {
      await serve(16, 5 * MINUTE);
      await serve(48, MINUTE / 2);
    }
    expect(measuredAtMs).toEqual([]);
  });

  test('for one slow batch, however long ago', async () => {
    const { clock, measuredAtMs, serve } = setUp();
    await serve(48, 1);
    await clock.advance(60 * MINUTE);
    expect(measuredAtMs).toEqual([]);
  });

  test('for batches that are not full', async () => {
    const { measuredAtMs, serve } = setUp();
    await serve(48, 60 * MINUTE, { rows: 7 });
    expect(measuredAtMs).toEqual([]);
  });

  test('because others have the cores', async () => {
    const { measuredAtMs, serve } = setUp();
    await serve(64, 60 * MINUTE, { cpuMs: 17 });
    expect(measuredAtMs).toEqual([]);
  });
});
