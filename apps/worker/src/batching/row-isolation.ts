import { type Clock, ROW_ERRORS, type RowErrorCode, RowFailure, type RowResult } from '@onqueue/shared';
import type { BatchRunner, BatchTimings } from './batch-runner.ts';

/** How one row ended, and the batch that it ended in. */
export interface RowOutcome {
  result: RowResult;
  /** Whether another try of the same row may go better. */
  isRetryable: boolean;
  batch: RowBatch;
}

/** The batch in which a row ended; the rows of one share the object. */
export interface RowBatch {
  size: number;
  /** When the runner got it, on the clock's scale. */
  startedAtMs: number;
  timings: BatchTimings;
}

/** No row is to blame, so there is none to look for. */
const BLAMELESS = new Set<RowErrorCode>(['model_unavailable', 'canceled']);

/**
 * Runs a batch so that a row never harms its neighbours. A batch without an answer is halved until the guilty row stands
 * alone: only a row that fails by itself has failed. A crash is first tried again whole, since most runners that die are
 * killed from outside and no row is to blame. A death counts when the row ran alone; its job is tried again then, and fails
 * when that has happened as often as it has attempts.
 */
export class RowIsolation {
  readonly #runner: BatchRunner;
  readonly #clock: Clock;

  constructor({ runner, clock }: { runner: BatchRunner; clock: Clock }) {
    this.#runner = runner;
    this.#clock = clock;
  }

  /** One outcome a row, in the order of the rows; never rejects for a fault of the rows or of the runner. */
  async run(rows: readonly unknown[], signal: AbortSignal, isSecondCrash = false): Promise<RowOutcome[]> {
    const startedAtMs = this.#clock.now();
    try {
      const { results, timings } = await this.#runner.run(rows, { signal });
      if (results.length !== rows.length) {
        throw new Error(`The runner answered ${results.length} results for ${rows.length} rows. This is a bug.`);
      }
      const batch = { size: rows.length, startedAtMs, timings };
      return results.map((result) => ({ result, batch, isRetryable: isRetryable(result) }));
    } catch (error) {
      if (!(error instanceof RowFailure)) throw error;
      if (error.code === 'runner_crashed' && rows.length > 1 && !isSecondCrash) return this.run(rows, signal, true);
      if (BLAMELESS.has(error.code) || rows.length === 1) return this.#fail(rows, error, startedAtMs);
      const middle = rows.length >> 1;
      // One after the other: what is left of the batch holds one runner, as the batch did.
      const left = await this.run(rows.slice(0, middle), signal);
      return [...left, ...(await this.run(rows.slice(middle), signal))];
    }
  }

  #fail(rows: readonly unknown[], failure: RowFailure, startedAtMs: number): RowOutcome[] {
    const inferenceMs = this.#clock.now() - startedAtMs;
    const timings = { preprocess_ms: 0, inference_ms: inferenceMs, postprocess_ms: 0 };
    const batch = { size: rows.length, startedAtMs, timings };
    return rows.map(() => ({
      result: { status: 'failed', error: failure.toRowError() },
      batch,
      isRetryable: failure.isRetryable,
    }));
  }
}

function isRetryable(result: RowResult): boolean {
  return result.status === 'failed' && (ROW_ERRORS[result.error.code as RowErrorCode]?.retryable ?? false);
}
