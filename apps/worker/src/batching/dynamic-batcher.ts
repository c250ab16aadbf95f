import { type BatchingPolicy, type Clock, type Lane, RowFailure } from '@onqueue/shared';
import type { HaltSignal } from './halt-signal.ts';
import type { IsolationOptions, RowOutcome } from './row-isolation.ts';

/** A row's outcome, and how long it waited for its batch to start. */
export interface BatchedRowOutcome extends RowOutcome {
  batchWaitMs: number;
}

export interface DynamicBatcherOptions {
  policy: Pick<BatchingPolicy, 'max_batch_size' | 'max_queue_delay_ms'>;
  /** How many batches may run at once: one per runner. */
  maxConcurrentBatches: number;
  /** How many may be formed ahead, to wait in a runner for the end of the batch before: only full ones are. */
  maxBatchesAhead?: number;
  /**
   * Computes a batch; see RowIsolation. The signal aborts it, at the price of its runner. `giveWay` says that it will take a
   * runner time and again, and that other batches may run between.
   */
  run: (rows: readonly unknown[], options: Required<IsolationOptions>) => Promise<RowOutcome[]>;
  clock: Clock;
  /** Called with the number of rows whenever a batch is formed. */
  onBatch?: (rows: number) => void;
}

export interface SubmitOptions {
  lane: Lane;
  halt: HaltSignal;
  /** Whether its rows share a batch with no other job's: one that may be to blame for a death must not take others along. */
  isApart: boolean;
}

interface PendingRow {
  row: unknown;
  /** The same for the rows of a job that is computed apart. */
  apart: object | undefined;
  halt: HaltSignal;
  submittedAtMs: number;
  resolve: (outcome: BatchedRowOutcome) => void;
  reject: (error: unknown) => void;
}

interface RunningBatch {
  rows: readonly PendingRow[];
  startedAtMs: number;
  abort: AbortController;
  hasGivenWay: boolean;
}

/** What it costs to kill a runner and have another one ready: a batch that ends sooner is let run. */
const RESPAWN_MS = 300;

/**
 * Forms batches from the rows of many jobs: Triton's dynamic batcher.
 *
 * A row waits in the list of its lane until a runner is free and either the batch is full or the oldest row has waited
 * `max_queue_delay_ms`. With a delay of 0 a batch starts at once when a runner is idle, and grows by itself while all
 * are busy. Full batches are formed a little ahead, so that runners need not wait for them. Interactive rows go first; bulk rows fill what is left of the batch. A job that is computed apart has batches of
 * its own.
 *
 * A halted row that waits is dropped. One that runs keeps its place; only when nobody wants any row of a batch any more,
 * and its end seems farther off than a new runner, the batch is aborted.
 */
export class DynamicBatcher {
  /** Rows in a batch at most; the policy's limit until something smaller is found to be better. */
  maxBatchSize: number;
  readonly #options: DynamicBatcherOptions;
  readonly #lanes: Record<Lane, PendingRow[]> = { interactive: [], bulk: [] };
  readonly #running = new Set<RunningBatch>();
  /** Moving average of how long batches run. */
  #usualRunMs: number | undefined;
  #delay: { cancel(): void } | undefined;
  #isDispatchDue = false;

  constructor(options: DynamicBatcherOptions) {
    this.#options = options;
    this.maxBatchSize = options.policy.max_batch_size;
  }

  /** Rows that wait for a batch. */
  get pendingRows(): number {
    return this.#lanes.interactive.length + this.#lanes.bulk.length;
  }

  /** Whether it has no row at all. */
  get isIdle(): boolean {
    return this.pendingRows === 0 && this.#running.size === 0;
  }

  /** Queues the rows of a job; they may end in different batches. Resolves in the order of the rows. */
  async submit(rows: readonly unknown[], { lane, halt, isApart }: SubmitOptions): Promise<BatchedRowOutcome[]> {
    const submittedAtMs = this.#options.clock.now();
    const apart = isApart ? {} : undefined;
    const outcomes = rows.map(
      (row) =>
        new Promise<BatchedRowOutcome>((resolve, reject) => {
          this.#lanes[lane].push({ row, apart, halt, submittedAtMs, resolve, reject });
        }),
    );
    halt.onHalt(() => this.#dropHalted());
    if (halt.isHalted) this.#dropHalted();
    this.#dispatchSoon();
    try {
      return await Promise.all(outcomes);
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
    while (this.pendingRows > 0 && (this.#isRunnerFree || this.#mayFormAhead)) {
      const waitMs = this.#remainingDelayMs();
      if (waitMs > 0) {
        this.#delay ??= this.#options.clock.setTimeout(() => {
          this.#delay = undefined;
          this.#dispatch();
        }, waitMs);
        return;
      }
      this.#delay?.cancel();
      this.#delay = undefined;
      void this.#runBatch(this.#takeBatch());
    }
  }

  /** Batches that give way do not count, up to one a runner: of more, runners would have no other work. */
  get #isRunnerFree(): boolean {
    const { maxConcurrentBatches } = this.#options;
    const givenWay = [...this.#running].filter(({ hasGivenWay }) => hasGivenWay).length;
    return this.#running.size - Math.min(givenWay, maxConcurrentBatches) < maxConcurrentBatches;
  }

  /**
   * A batch that waits in a runner cannot grow any more, so it must be as large as it gets; and it is before whatever comes
   * later, so it must not be of bulk rows alone. None waits behind a batch that is to be alone.
   */
  get #mayFormAhead(): boolean {
    const { maxConcurrentBatches, maxBatchesAhead = 0 } = this.#options;
    if (this.#running.size >= maxConcurrentBatches + maxBatchesAhead || this.pendingRows < this.maxBatchSize)
      return false;
    if (this.#lanes.interactive.length === 0 || this.#first?.apart) return false;
    return [...this.#running].every(({ rows, hasGivenWay }) => !hasGivenWay && !rows[0]?.apart);
  }

  /** How much longer the next batch may wait for company. */
  #remainingDelayMs(): number {
    const { max_queue_delay_ms: maxDelayMs } = this.#options.policy;
    if (maxDelayMs === 0 || this.pendingRows >= this.maxBatchSize || this.#first?.apart) return 0;
    const heads = [this.#lanes.interactive[0], this.#lanes.bulk[0]].flatMap((head) => head?.submittedAtMs ?? []);
    return Math.min(...heads) + maxDelayMs - this.#options.clock.now();
  }

  #takeBatch(): PendingRow[] {
    const { interactive, bulk } = this.#lanes;
    const { maxBatchSize } = this;
    if (this.#first?.apart) return takeAlike(interactive.length > 0 ? interactive : bulk, maxBatchSize);
    const batch = takeAlike(interactive, maxBatchSize);
    return bulk[0]?.apart ? batch : batch.concat(takeAlike(bulk, maxBatchSize - batch.length));
  }

  get #first(): PendingRow | undefined {
    return this.#lanes.interactive[0] ?? this.#lanes.bulk[0];
  }

  async #runBatch(rows: readonly PendingRow[]): Promise<void> {
    const startedAtMs = this.#options.clock.now();
    const batch: RunningBatch = { rows, startedAtMs, abort: new AbortController(), hasGivenWay: false };
    this.#running.add(batch);
    this.#options.onBatch?.(rows.length);
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
          isWanted: (index) => !rows[index]?.halt.isHalted,
        },
      );
      for (const [index, { submittedAtMs, resolve, reject }] of rows.entries()) {
        const outcome = outcomes[index];
        if (outcome) resolve({ ...outcome, batchWaitMs: Math.max(0, outcome.batch.startedAtMs - submittedAtMs) });
        else reject(new Error('A batch ended without an outcome for each row. This is a bug.'));
      }
      if (!batch.abort.signal.aborted && !batch.hasGivenWay) {
        this.#learn(this.#options.clock.now() - (outcomes[0]?.batch.startedAtMs ?? batch.startedAtMs));
      }
    } catch (error) {
      for (const { reject } of rows) reject(error);
    } finally {
      this.#running.delete(batch);
      this.#dispatch();
    }
  }

  #learn(runMs: number): void {
    this.#usualRunMs = this.#usualRunMs === undefined ? runMs : this.#usualRunMs * 0.8 + runMs * 0.2;
  }

  #dropHalted(): void {
    for (const lane of Object.values(this.#lanes)) {
      const halted = lane.filter(({ halt }) => halt.isHalted);
      if (halted.length === 0) continue;
      lane.splice(0, lane.length, ...lane.filter(({ halt }) => !halt.isHalted));
      for (const row of halted) row.resolve(this.#canceled(row));
    }
    for (const batch of this.#running) this.#abortIfUnwanted(batch);
  }

  #abortIfUnwanted(batch: RunningBatch): void {
    if (!this.#running.has(batch) || !batch.rows.every(({ halt }) => halt.isHalted)) return;
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

/** Takes rows from the front of a lane: those of one job that is apart, or of any jobs that are not. */
function takeAlike(lane: PendingRow[], count: number): PendingRow[] {
  const apart = lane[0]?.apart;
  const other = lane.findIndex((row, index) => row.apart !== apart || index === count);
  return lane.splice(0, other < 0 ? count : other);
}
