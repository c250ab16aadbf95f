import {
  type Clock,
  type ExecutionProvider,
  isRetryableCode,
  type RowErrorCode,
  RowFailure,
  type RowResult,
} from '@onqueue/shared';
import type { BatchRunner, BatchTimings } from './batch-runner.ts';
import { BatchSizeLimit } from './batch-size-limit.ts';

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
  /** When its rows were no longer waiting, on the clock's scale: its end, just now, less the time that it took. */
  startedAtMs: number;
  timings: BatchTimings;
  /** What computed it, where that is known. */
  executionProvider?: ExecutionProvider | undefined;
}

export interface RowIsolationOptions {
  runner: BatchRunner;
  clock: Clock;
  /** Batches are cut to so many rows from now on, for want of memory; undefined: they are not cut any more. */
  onSizeLimit?: (rows: number | undefined) => void;
}

export interface IsolationOptions {
  signal: AbortSignal;
  /** Whether the rows may be with no others in a runner: they are suspected of what would hold those up. */
  isAlone?: boolean;
  /** Called when a search begins, between whose runs other batches may have the runner. */
  giveWay?: () => void;
  /** Whether anybody still waits for the row with this number; it is asked again before a row is run once more. */
  isWanted?: (index: number) => boolean;
}

interface Item {
  row: unknown;
  isWanted: () => boolean;
}

/** `failure`: why the batch as a whole has no answer. */
type Tried = { outcomes: RowOutcome[]; failure: RowFailure | undefined };

/** No row is to blame, so there is none to look for. */
const BLAMELESS = new Set<RowErrorCode>(['model_unavailable', 'canceled']);

/**
 * Runs a batch so that a row never harms its neighbours, and no row answers for its model.
 *
 * 1. A batch without an answer is first followed by a golden row. If that has no answer either, the model or the machine
 *    is at fault: the batch fails as `model_unavailable`, and no row is blamed.
 * 2. Else, after a crash, the whole batch is tried once more, since most runners that die are killed from outside.
 * 3. Else it is halved until the guilty row stands alone: only a row that fails by itself has failed, and rows that only
 *    fail together are split. Of n rows, one guilty row costs at most 2 log2(n) + 2 runs more, k of them at most 2k (log2(n/k) + 2).
 *
 * While it searches, it gives way: healthy batches run between its own, and none waits behind one of them in a runner. Rows that nobody waits for any more are left out. Of rows that hang, only one that runs alone gets
 * the longest deadline; several get what is ample by the batches of late, since otherwise each step takes that long.
 *
 * A death counts when the row ran alone; its job is tried again then, and fails when that has happened as often as it has
 * attempts. Where both halves of a batch fit into memory and the whole did not, later batches are cut to that size.
 */
export class RowIsolation {
  readonly #runner: BatchRunner;
  readonly #clock: Clock;
  readonly #sizeLimit: BatchSizeLimit;
  /** The slowest batch of late, forgotten slowly. */
  #slowestMs: number | undefined;

  constructor({ runner, clock, onSizeLimit }: RowIsolationOptions) {
    this.#runner = runner;
    this.#clock = clock;
    this.#sizeLimit = new BatchSizeLimit(onSizeLimit && { onChange: onSizeLimit });
  }

  /** One outcome a row, in the order of the rows; never rejects for a fault of the rows or of the runner. */
  async run(
    rows: readonly unknown[],
    { signal, isAlone = false, giveWay = () => {}, isWanted = () => true }: IsolationOptions,
  ): Promise<RowOutcome[]> {
    const outcomes: RowOutcome[] = [];
    const items = rows.map((row, index) => ({ row, isWanted: () => isWanted(index) }));
    for (const part of this.#sizeLimit.parts(items)) {
      outcomes.push(...(await this.#run(part, { signal, isAlone, giveWay })));
    }
    return outcomes;
  }

  async #run(
    rows: readonly Item[],
    { signal, isAlone, giveWay }: { signal: AbortSignal; isAlone: boolean; giveWay: () => void },
  ): Promise<RowOutcome[]> {
    const startedAtMs = this.#clock.now();
    const { outcomes, failure } = await this.#try(rows, { signal, isAlone });
    if (!mayBlameRows(failure)) return outcomes;
    const faultOfModel = await this.#faultOfModel(signal);
    if (faultOfModel) return this.#fail(rows, faultOfModel, startedAtMs);
    if (rows.length === 1) return outcomes;
    giveWay();
    if (failure.code === 'runner_crashed') return (await this.#search(rows, signal)).outcomes;
    return this.#halve(rows, failure, signal);
  }

  /** `failure`: this batch had no answer, whatever became of its halves. */
  async #search(rows: readonly Item[], signal: AbortSignal, timeoutMs?: number): Promise<Tried> {
    // A row that hung the batch, and whose job has run out of time meanwhile, must not hang its neighbours once more.
    const wanted = rows.filter(({ isWanted }) => isWanted());
    if (wanted.length < rows.length) return this.#searchWanted(rows, new Set(wanted), signal, timeoutMs);
    const { outcomes, failure } = await this.#try(rows, {
      signal,
      isAlone: true,
      timeoutMs: rows.length > 1 ? timeoutMs : undefined,
    });
    if (!mayBlameRows(failure) || rows.length === 1) return { outcomes, failure };
    return { outcomes: await this.#halve(rows, failure, signal), failure };
  }

  async #searchWanted(
    rows: readonly Item[],
    wanted: ReadonlySet<Item>,
    signal: AbortSignal,
    timeoutMs?: number,
  ): Promise<Tried> {
    const tried: Tried =
      wanted.size > 0 ? await this.#search([...wanted], signal, timeoutMs) : { outcomes: [], failure: undefined };
    const answers = tried.outcomes.values();
    const canceled = new RowFailure('canceled', 'The run of the job ended before the row did.');
    const outcomes = rows.flatMap((row) => {
      const answer = wanted.has(row) ? answers.next().value : undefined;
      return answer ? [answer] : this.#fail([row], canceled, this.#clock.now());
    });
    return { outcomes, failure: tried.failure };
  }

  /** One half after the other: what is left of the batch takes one runner at a time, as the batch did. */
  async #halve(rows: readonly Item[], failure: RowFailure, signal: AbortSignal): Promise<RowOutcome[]> {
    const middle = rows.length >> 1;
    const timeoutMs = () => (failure.code === 'runner_timeout' ? this.#ampleMs : undefined);
    const left = await this.#search(rows.slice(0, middle), signal, timeoutMs());
    const right = rows.slice(middle);
    // Rows that are too large only together are in order by halves; else, with the left half in order, it must be the
    // right one, which need not hang, or kill, once more to say so.
    const isTooLarge = failure.code === 'out_of_memory';
    if (!isTooLarge && !left.failure && right.length > 1) {
      return [...left.outcomes, ...(await this.#halve(right, failure, signal))];
    }
    const { outcomes, failure: rightFailure } = await this.#search(right, signal, timeoutMs());
    // Had a half failed as well, it may have been for one row that fits with no others: that is no limit for these.
    if (isTooLarge && !left.failure && !rightFailure) this.#sizeLimit.lower(right.length, rows.length);
    return [...left.outcomes, ...outcomes];
  }

  async #try(
    rows: readonly Item[],
    { signal, isAlone, timeoutMs }: { signal: AbortSignal; isAlone: boolean; timeoutMs?: number | undefined },
  ): Promise<Tried> {
    let startedAtMs = this.#clock.now();
    const onStart = () => {
      startedAtMs = this.#clock.now();
    };
    try {
      // Halves of a batch that nobody wants any more.
      if (signal.aborted) throw new RowFailure('canceled', 'The run of the job ended before its batch did.');
      const { results, timings, runner } = await this.#runner.run(
        rows.map(({ row }) => row),
        { signal, timeoutMs, isAlone, onStart },
      );
      if (results.length !== rows.length) {
        throw new Error(`The runner answered ${results.length} results for ${rows.length} rows. This is a bug.`);
      }
      this.#sizeLimit.fitted(rows.length);
      this.#learn(timings);
      const batch = {
        size: rows.length,
        startedAtMs: this.#beganAtMs(timings),
        timings,
        executionProvider: runner?.execution_provider,
      };
      const outcomes = results.map((result) => ({ result, batch, isRetryable: isRetryable(result) }));
      return { outcomes, failure: undefined };
    } catch (error) {
      if (!(error instanceof RowFailure)) throw error;
      return { outcomes: this.#fail(rows, error, startedAtMs), failure: error };
    }
  }

  /** With the way to the runner and back before it, so that the phases of a row leave no gap. */
  #beganAtMs({ preprocess_ms, inference_ms, postprocess_ms }: BatchTimings): number {
    return this.#clock.now() - (preprocess_ms + inference_ms + postprocess_ms);
  }

  async #faultOfModel(signal: AbortSignal): Promise<RowFailure | undefined> {
    try {
      await this.#runner.probe({ signal });
      return undefined;
    } catch (error) {
      if (error instanceof RowFailure) return error;
      throw error;
    }
  }

  /** Undefined, for the longest deadline there is, while nothing is known. */
  get #ampleMs(): number | undefined {
    return this.#slowestMs === undefined ? undefined : Math.max(AMPLE_MS, AMPLE_TIMES * this.#slowestMs);
  }

  #learn({ preprocess_ms, inference_ms, postprocess_ms }: BatchTimings): void {
    this.#slowestMs = Math.max(preprocess_ms + inference_ms + postprocess_ms, 0.99 * (this.#slowestMs ?? 0));
  }

  #fail(rows: readonly Item[], failure: RowFailure, startedAtMs: number): RowOutcome[] {
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

/** What several rows get, of which one may hang: as many times the slowest batch of late, and this at the least. */
const AMPLE_TIMES = 8;
const AMPLE_MS = 1000;

function mayBlameRows(failure: RowFailure | undefined): failure is RowFailure {
  return failure !== undefined && !BLAMELESS.has(failure.code);
}

function isRetryable(result: RowResult): boolean {
  return result.status === 'failed' && isRetryableCode(result.error.code);
}
