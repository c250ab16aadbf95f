import {
  type BatchingPolicy,
  type Calibration,
  type Clock,
  effectiveBatching,
  type Lane,
  RowFailure,
} from '@onqueue/shared';
import { type BatchableRow, BatchFormer, type FormedBatch } from './batch-former.ts';
import type { HaltSignal } from './halt-signal.ts';
import type { LengthBuckets } from './length-buckets.ts';
import type { IsolationOptions, RowBatch, RowOutcome } from './row-isolation.ts';

/** A row's outcome, and how long it waited for its batch to start. */
export interface BatchedRowOutcome extends RowOutcome {
  batchWaitMs: number;
}

export interface DynamicBatcherOptions {
  policy: Omit<BatchingPolicy, 'calibrate'>;
  /** How many batches may run at once: one per runner. */
  maxConcurrentBatches: number;
  /** How many may be formed ahead, to wait in a runner for the end of the batch before: only full ones are. */
  maxBatchesAhead?: number;
  /** For rows of varying length. */
  lengths?: LengthBuckets | undefined;
  /**
   * Computes a batch; see RowIsolation. The signal aborts it, at the price of its runner. `giveWay` says that it will take a
   * runner time and again, and that other batches may run between.
   */
  run: (rows: readonly unknown[], options: Required<IsolationOptions>) => Promise<RowOutcome[]>;
  clock: Clock;
  /** Called with the number of rows, and of their elements where they are padded, whenever a batch is formed. */
  onBatch?: (rows: number, elements: FormedBatch<unknown>['elements']) => void;
}

export interface SubmitOptions {
  lane: Lane;
  halt: HaltSignal;
  /** Whether its rows share a batch with no other job's: one that may be to blame for a death must not take others along. */
  isApart: boolean;
  /** Whether they do without the delay that batches gather company in. */
  isUrgent?: boolean;
  /** Told how many have ended, after each batch but the last. */
  onProgress?: ((rowsDone: number) => void) | undefined;
}

/** The rows of one call, until each has ended. */
interface Submission {
  halt: HaltSignal;
  outcomes: BatchedRowOutcome[];
  /** Rows that have not ended. */
  left: number;
  onProgress: SubmitOptions['onProgress'];
  resolve: (outcomes: BatchedRowOutcome[]) => void;
  reject: (error: unknown) => void;
}

interface PendingRow extends BatchableRow {
  row: unknown;
  submission: Submission;
  /** Its place in the submission. */
  index: number;
}

interface RunningBatch extends FormedBatch<PendingRow> {
  startedAtMs: number;
  abort: AbortController;
  hasGivenWay: boolean;
}

/** What it costs to kill a runner and have another one ready: a batch that ends sooner is let run. */
const RESPAWN_MS = 300;
/** For so long after an interactive row came, another one is expected, and a place is kept free for it. */
const INTERACTIVE_MS = 1000;

/**
 * Forms batches from the rows of many jobs: Triton's dynamic batcher.
 *
 * A row waits until a place for a batch is free and either a batch is full or the oldest row has waited `max_queue_delay_ms`. With a
 * delay of 0 a batch starts at once when a runner is idle, and grows by itself while all are busy. Interactive rows go
 * first; which rows a batch gets is {@link BatchFormer}'s to say. While interactive rows come, batches of bulk rows alone never take
 * the last place: with two or more, an interactive row finds one free or soon to be. Full batches are formed a little ahead, so that
 * runners need not wait for them. A job that is computed apart has batches of its own.
 *
 * A halted row that waits is dropped. One that runs keeps its place; only when nobody wants any row of a batch any more,
 * and its end seems farther off than a new runner, the batch is aborted.
 */
export class DynamicBatcher {
  readonly #options: DynamicBatcherOptions;
  readonly #former: BatchFormer<PendingRow>;
  readonly #running = new Set<RunningBatch>();
  readonly #maxBulkOnly: number;
  #interactiveUntilMs = Number.NEGATIVE_INFINITY;
  /** Moving average of how long batches run. */
  #usualRunMs: number | undefined;
  #wake: { atMs: number; timer: { cancel(): void } } | undefined;
  #isDispatchDue = false;

  constructor(options: DynamicBatcherOptions) {
    const { policy, maxConcurrentBatches, lengths } = options;
    this.#options = options;
    this.#former = new BatchFormer(effectiveBatching(policy), lengths);
    this.#maxBulkOnly = Math.max(1, maxConcurrentBatches - 1);
  }

  /** Rows in a batch at most. */
  get maxBatchSize(): number {
    return this.#former.maxBatchSize;
  }

  /** There is a new measurement of how large batches should be, and of how long they take. */
  adopt(calibration: Pick<Calibration, 'max_batch_size' | 'curve'>): void {
    this.#former.adopt(calibration);
  }

  /** Rows that wait for a batch. */
  get pendingRows(): number {
    return this.#former.length;
  }

  /** Whether it has no row at all. */
  get isIdle(): boolean {
    return this.pendingRows === 0 && this.#running.size === 0;
  }

  /** Queues the rows of a job; they may end in different batches. Resolves in the order of the rows. */
  async submit(
    rows: readonly unknown[],
    { lane, halt, isApart, isUrgent, onProgress }: SubmitOptions,
  ): Promise<BatchedRowOutcome[]> {
    const submittedAtMs = this.#options.clock.now();
    if (lane === 'interactive') this.#interactiveUntilMs = submittedAtMs + INTERACTIVE_MS;
    const apart = isApart ? {} : undefined;
    const outcomes = new Promise<BatchedRowOutcome[]>((resolve, reject) => {
      const submission = { halt, outcomes: new Array(rows.length), left: rows.length, onProgress, resolve, reject };
      for (const [index, row] of rows.entries()) {
        const lengths = this.#options.lengths?.lengthsOf(row);
        this.#former.push({ row, lane, apart, lengths, submittedAtMs, isUrgent, submission, index });
      }
      if (rows.length === 0) resolve([]);
    });
    halt.onHalt(this.#dropHalted);
    if (halt.isHalted) this.#dropHalted();
    this.#dispatchSoon();
    try {
      return await outcomes;
    } finally {
      halt.onHalt(undefined);
    }
  }

  /** After the current turn of the loop, so that jobs which were claimed together are batched together. */
  #dispatchSoon(): void {
    if (this.#isDispatchDue) return;
    this.#isDispatchDue = true;
    setImmediate(() => {
      this.#isDispatchDue = false;
      this.#dispatch();
    });
  }

  #dispatch(): void {
    while (this.pendingRows > 0) {
      const isAhead = !this.#isPlaceFree;
      if (isAhead && !this.#mayFormAhead) break;
      const mayBeBulkOnly = !isAhead && this.#mayBeBulkOnly;
      const next = this.#former.next(this.#options.clock.now(), { mayBeBulkOnly, isAhead });
      if (typeof next === 'number') {
        this.#wakeAt(next);
        return;
      }
      void this.#runBatch(next);
    }
    this.#wakeAt(Number.POSITIVE_INFINITY);
  }

  #wakeAt(atMs: number): void {
    if (this.#wake?.atMs === atMs) return;
    this.#wake?.timer.cancel();
    this.#wake = undefined;
    if (atMs === Number.POSITIVE_INFINITY) return;
    const timer = this.#options.clock.setTimeout(() => {
      this.#wake = undefined;
      this.#dispatch();
    }, atMs - this.#options.clock.now());
    this.#wake = { atMs, timer };
  }

  /** Batches that give way do not count, up to one a place: of more, runners would have no other work. */
  get #isPlaceFree(): boolean {
    const { maxConcurrentBatches } = this.#options;
    let givenWay = 0;
    for (const { hasGivenWay } of this.#running) if (hasGivenWay) givenWay += 1;
    return this.#running.size - Math.min(givenWay, maxConcurrentBatches) < maxConcurrentBatches;
  }

  get #mayBeBulkOnly(): boolean {
    if (this.#options.clock.now() >= this.#interactiveUntilMs) return true;
    let bulkOnly = 0;
    for (const { isBulkOnly, hasGivenWay } of this.#running) if (isBulkOnly && !hasGivenWay) bulkOnly += 1;
    return bulkOnly < this.#maxBulkOnly;
  }

  /** None waits behind a batch that is to be alone, or that takes a runner time and again. */
  get #mayFormAhead(): boolean {
    const { maxConcurrentBatches, maxBatchesAhead = 0 } = this.#options;
    if (this.#running.size >= maxConcurrentBatches + maxBatchesAhead) return false;
    for (const { rows, hasGivenWay } of this.#running) if (hasGivenWay || rows[0]?.apart) return false;
    return true;
  }

  async #runBatch(formed: FormedBatch<PendingRow>): Promise<void> {
    const { rows } = formed;
    const startedAtMs = this.#options.clock.now();
    const batch: RunningBatch = { ...formed, startedAtMs, abort: new AbortController(), hasGivenWay: false };
    this.#running.add(batch);
    this.#options.onBatch?.(rows.length, formed.elements);
    try {
      const outcomes = await this.#options.run(
        rows.map(({ row }) => row),
        {
          signal: batch.abort.signal,
          isAlone: rows[0]?.apart !== undefined,
          giveWay: () => {
            batch.hasGivenWay = true;
            this.#dispatchSoon();
          },
          isWanted: (index) => !rows[index]?.submission.halt.isHalted,
        },
      );
      const nowMs = this.#options.clock.now();
      for (const [index, row] of rows.entries()) {
        const outcome = outcomes[index];
        this.#former.observe(row, nowMs - row.submittedAtMs);
        if (outcome) end(row, { ...outcome, batchWaitMs: Math.max(0, outcome.batch.startedAtMs - row.submittedAtMs) });
        else row.submission.reject(new Error('A batch ended without an outcome for each row. This is a bug.'));
      }
      tellProgress(rows);
      if (!batch.abort.signal.aborted && !batch.hasGivenWay) this.#learn(batch, outcomes);
    } catch (error) {
      for (const { submission } of rows) submission.reject(error);
    } finally {
      this.#running.delete(batch);
      this.#dispatch();
    }
  }

  #learn({ startedAtMs, time }: RunningBatch, outcomes: readonly RowOutcome[]): void {
    const runMs = this.#options.clock.now() - (outcomes[0]?.batch.startedAtMs ?? startedAtMs);
    this.#usualRunMs = this.#usualRunMs === undefined ? runMs : this.#usualRunMs * 0.8 + runMs * 0.2;
    let last: RowBatch | undefined;
    for (const { batch, isRetryable } of outcomes) {
      if (batch !== last && !isRetryable) time.learn(batch.size, computeMs(batch));
      last = batch;
    }
  }

  readonly #dropHalted = (): void => {
    for (const row of this.#former.drop(({ submission }) => submission.halt.isHalted)) end(row, this.#canceled(row));
    for (const batch of this.#running) this.#abortIfUnwanted(batch);
  };

  #abortIfUnwanted(batch: RunningBatch): void {
    if (!this.#running.has(batch) || !batch.rows.every(({ submission }) => submission.halt.isHalted)) return;
    const elapsedMs = this.#options.clock.now() - batch.startedAtMs;
    const usualRestMs = (this.#usualRunMs ?? 0) - elapsedMs;
    // One that is past its usual time will likely take as long again as it has taken.
    const restMs = usualRestMs > 0 ? usualRestMs : elapsedMs;
    if (restMs > RESPAWN_MS) batch.abort.abort();
    else this.#options.clock.setTimeout(() => this.#abortIfUnwanted(batch), RESPAWN_MS);
  }

  #canceled({ submittedAtMs }: PendingRow): BatchedRowOutcome {
    const now = this.#options.clock.now();
    const timings = { preprocess_ms: 0, inference_ms: 0, postprocess_ms: 0 };
    const error = new RowFailure('canceled', 'The run of the job ended before the row did.');
    return {
      result: { status: 'failed', error: error.toRowError() },
      isRetryable: false,
      batchWaitMs: now - submittedAtMs,
      batch: { size: 0, startedAtMs: now, timings },
    };
  }
}

function end({ submission, index }: PendingRow, outcome: BatchedRowOutcome): void {
  submission.outcomes[index] = outcome;
  submission.left -= 1;
  if (submission.left === 0) submission.resolve(submission.outcomes);
}

/** Of the submissions that a batch had rows of, those that have others left. */
function tellProgress(rows: readonly PendingRow[]): void {
  let last: Submission | undefined;
  for (const { submission } of rows) {
    // Rows of one stand together.
    if (submission === last) continue;
    last = submission;
    if (submission.left > 0) submission.onProgress?.(submission.outcomes.length - submission.left);
  }
}

function computeMs({ timings: { preprocess_ms, inference_ms, postprocess_ms } }: RowBatch): number {
  return preprocess_ms + inference_ms + postprocess_ms;
}
