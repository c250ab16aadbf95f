import { expect, test } from '@jest/globals';
import { ManualClock } from '../../../../test/support/manual-clock.ts';
import { DynamicBatcher } from './dynamic-batcher.ts';
import { HaltSignal } from './halt-signal.ts';

/** Numbers of 0…1, the same ones for the same seed (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface Phase {
  rowsPerS: number;
  forMs: number;
}

/** Poisson arrivals on a runner of 5 ms a batch and 0.5 ms a row, more or less a fifth; the rows' times, by phase. */
async function simulate(
  targetMs: number,
  phases: readonly Phase[],
): Promise<{ latenciesMs: number[]; rowsPerBatch: number }[]> {
  const clock = new ManualClock();
  const random = seeded(7);
  let phase = { latenciesMs: [] as number[], batches: 0 };
  const batcher = new DynamicBatcher({
    policy: { max_batch_size: 256, target_p99_ms: targetMs },
    maxConcurrentBatches: 1,
    clock,
    run: async (rows) => {
      phase.batches += 1;
      const startedAtMs = clock.now();
      const inference_ms = (5 + 0.5 * rows.length) * (0.8 + 0.4 * random());
      await clock.after(inference_ms);
      const batch = { size: rows.length, startedAtMs, timings: { preprocess_ms: 0, inference_ms, postprocess_ms: 0 } };
      return rows.map(() => ({ result: { status: 'succeeded', output: {} }, isRetryable: false, batch }));
    },
  });
  const results = [];
  for (const { rowsPerS, forMs } of phases) {
    phase = { latenciesMs: [], batches: 0 };
    const { latenciesMs } = phase;
    for (const untilMs = clock.now() + forMs; clock.now() < untilMs; ) {
      const atMs = clock.now();
      void batcher
        .submit([0], { lane: 'interactive', halt: new HaltSignal(), isApart: false })
        .then(() => latenciesMs.push(clock.now() - atMs));
      await clock.advance((-Math.log(1 - random()) * 1000) / rowsPerS);
    }
    await clock.advance(2 * targetMs);
    results.push({ latenciesMs, rowsPerBatch: latenciesMs.length / phase.batches });
  }
  return results;
}

const p99 = (values: readonly number[]) => values.toSorted((a, b) => a - b)[Math.ceil(0.99 * values.length) - 1] ?? 0;

test.each([
  [60, 150],
  [120, 150],
  [60, 300],
])(
  'holds a p99 of %i ms within a quarter from %i rows/s to four times as many, and back',
  async (targetMs, rowsPerS) => {
    const phases = await simulate(targetMs, [
      { rowsPerS, forMs: 12_000 },
      { rowsPerS: 4 * rowsPerS, forMs: 6000 },
      { rowsPerS, forMs: 12_000 },
    ]);
    const ratios = phases.map(({ latenciesMs }) => p99(latenciesMs) / targetMs);
    for (const ratio of ratios) {
      expect(ratio).toBeGreaterThan(0.75);
      expect(ratio).toBeLessThan(1.25);
    }
    // What was left of the target went into batches.
    for (const { rowsPerBatch } of phases) expect(rowsPerBatch).toBeGreaterThan(targetMs / 20);
    expect(phases[1]?.rowsPerBatch).toBeGreaterThan(2 * (phases[0]?.rowsPerBatch ?? 0));
  },
);
