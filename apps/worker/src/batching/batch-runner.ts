import type { ExecutionProvider, RowResult } from '@onqueue/shared';

/** How long each phase of a batch took, milliseconds. */
export interface BatchTimings {
  preprocess_ms: number;
  inference_ms: number;
  postprocess_ms: number;
}

/** A batch's answer: one result a row, in the order of the rows. */
export interface BatchResult {
  results: readonly RowResult[];
  timings: BatchTimings;
  /** What computed it, where the runners of a version may differ in that. */
  runner?: { execution_provider: ExecutionProvider };
}

export interface BatchRunOptions {
  signal: AbortSignal;
  /** The deadline, where it is to be shorter than that of any batch. */
  timeoutMs?: number | undefined;
  /** Whether no other batch may be in the same runner meanwhile: it is suspected of what would hold that one up. */
  isAlone?: boolean;
  /** Called when its turn has come in a runner, which may be a while after the call. */
  onStart?: () => void;
}

/**
 * Where batches are computed; runner child processes are one implementation, another engine may be the next.
 * Rejects with a `RowFailure` when the batch as a whole has no answer, which says nothing yet about the row to blame:
 * `inference_failed` and `out_of_memory` (the engine refused the batch and lives), `runner_crashed` and `runner_timeout`
 * (the runner is gone), `model_unavailable` (no runner could be had), `canceled` (the signal aborted).
 */
export interface BatchRunner {
  run(rows: readonly unknown[], options: BatchRunOptions): Promise<BatchResult>;
  /**
   * Resolves when a runner still answers a golden row, which it did when it was loaded. Rejects with `model_unavailable`
   * when it does not, and the runner is replaced; or with `canceled`.
   */
  probe(options: { signal: AbortSignal }): Promise<void>;
}
