import { expect, test } from '@jest/globals';
import { type RowErrorCode, RowFailure } from '@onqueue/shared';
import { ManualClock } from '../../../../test/support/manual-clock.ts';
import type { BatchRunner } from './batch-runner.ts';
import { DynamicBatcher } from './dynamic-batcher.ts';
import { HaltSignal } from './halt-signal.ts';
import { RowIsolation } from './row-isolation.ts';

const RUN_MS = 50;
const DEADLINE_MS = 30_000;

/** A batcher with isolation over one runner, which takes who waits in turn; rows called after a fault have it. */
function setUp() {
  const clock = new ManualClock();
  const runs: { rows: unknown[]; endedAtMs: number }[] = [];
  let turn = Promise.resolve();
  const inTurn = (ms: number) => {
    turn = turn.then(() => clock.after(ms));
    return turn;
  };
  const runner: BatchRunner = {
    run: async (rows, { timeoutMs = DEADLINE_MS }) => {
      const code = rows.find((row) => row === 'runner_timeout' || row === 'runner_crashed') as RowErrorCode | undefined;
      await inTurn(code === 'runner_timeout' ? timeoutMs : RUN_MS);
      runs.push({ rows: [...rows], endedAtMs: clock.now() });
      if (code) throw new RowFailure(code, 'as it is called');
      const timings = { preprocess_ms: 0, inference_ms: RUN_MS, postprocess_ms: 0 };
      return { results: rows.map((row) => ({ status: 'succeeded', output: { row } })), timings };
    },
    probe: () => inTurn(RUN_MS),
  };
  const isolation = new RowIsolation({ runner, clock });
  const batcher = new DynamicBatcher({
    policy: { max_batch_size: 8, max_queue_delay_ms: 0 },
    maxConcurrentBatches: 1,
    run: (rows, options) => isolation.run(rows, options),
    clock,
  });
  const submit = (rows: readonly unknown[]) =>
    batcher.submit(rows, { lane: 'interactive', halt: new HaltSignal(), isApart: false });
  return { clock, runs, submit };
}

test.each(['runner_crashed', 'runner_timeout'])(
  'while a row of %s is searched for, healthy batches run between',
  async (fault) => {
    const { clock, runs, submit } = setUp();
    const before = submit(['before']);
    await clock.advance(RUN_MS);
    await before;
    const poisoned = submit(['a', 'b', 'c', 'd', 'e', fault, 'g', 'h']);
    await clock.advance(RUN_MS);
    const latenciesMs: number[] = [];
    // A client that asks again as soon as it has been answered.
    let isSearching = true;
    const client = (async () => {
      await submit(['healthy']);
      while (isSearching) {
        const atMs = clock.now();
        await submit(['healthy']);
        latenciesMs.push(clock.now() - atMs);
      }
    })();
    const outcomes = poisoned.finally(() => (isSearching = false));
    await clock.advance(4 * DEADLINE_MS);
    expect((await outcomes).flatMap(({ result }) => (result.status === 'failed' ? result.error.code : []))).toEqual([
      fault,
    ]);
    await client;

    const ofSearch = runs.filter(({ rows }) => rows.length > 1 || rows.includes(fault)).length;
    expect(latenciesMs.length).toBeGreaterThanOrEqual(ofSearch - 2);
    // Several rows that hang have an ample deadline; only the guilty one, alone, has the whole.
    const hangs = latenciesMs.filter((ms) => ms > 1000 + 2 * RUN_MS).length;
    expect(hangs).toBe(fault === 'runner_timeout' ? 1 : 0);
  },
);
