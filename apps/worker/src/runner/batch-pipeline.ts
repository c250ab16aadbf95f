import { type Deadline, startDeadline } from './deadline.ts';
import { RunnerAbortedError, RunnerRecalledError, RunnerTimeoutError } from './runner-errors.ts';
import type { BatchResult, SupervisorMessage } from './runner-protocol.ts';

/** A batch in the hands of a runner. */
export type RunnerBatch = {
  /** Rejects as `Runner.run` says. */
  readonly answer: Promise<BatchResult>;
  /** Resolves when the runner has room for another one, which after a recall is later than the answer. */
  readonly over: Promise<void>;
  /** Takes it back if its turn has not come: `answer` rejects with a `RunnerRecalledError`. False: it is too late. */
  recall(): boolean;
};

export type RunnerBatchOptions = {
  /** From the beginning of its turn. */
  timeoutMs: number;
  signal?: AbortSignal | undefined;
  /** Its turn has come. Of a batch that is recalled it never has. */
  onStart?: (() => void) | undefined;
};

export type BatchPipelineOptions = {
  send: (message: SupervisorMessage) => void;
  /** Ends the process: a batch whose turn has come cannot be stopped in any other way. */
  kill: (cause: 'timeout' | 'aborted') => void;
};

type HeldBatch = {
  readonly id: number;
  readonly rows: number;
  readonly options: RunnerBatchOptions;
  /** The caller has been told; the runner may hold it longer. */
  isAnswered: boolean;
  hasStarted: boolean;
  deadline?: Deadline;
  stopListening?: () => void;
  resolve(result: BatchResult): void;
  reject(error: Error): void;
  leave(): void;
};

/**
 * The batches that one runner holds: it computes the first, and the others wait in its pipe, so that it goes from one to the
 * next without asking. The runner answers them in their order, and one at a time.
 *
 * waiting ── the batch before is answered ──> its turn (deadline, `onStart`) ── answer ──> over
 * waiting ── recall, abort ──> dropped: the caller is told at once, the runner skips it, or computes it for nobody ──> over
 * waiting ── the runner dies ──> recalled: it is not to blame, and may run elsewhere as if nothing had been
 */
export class BatchPipeline {
  readonly #options: BatchPipelineOptions;
  readonly #held: HeldBatch[] = [];
  #lastId = 0;
  #isDoomed = false;

  constructor(options: BatchPipelineOptions) {
    this.#options = options;
  }

  get isEmpty(): boolean {
    return this.#held.length === 0;
  }

  /** `rows`: undefined asks for the golden row. */
  push(rows: readonly unknown[] | undefined, options: RunnerBatchOptions): RunnerBatch {
    const id = ++this.#lastId;
    const { promise: answer, resolve, reject } = promiseOf<BatchResult>();
    const { promise: over, resolve: leave } = promiseOf<void>();
    const held: HeldBatch = {
      id,
      rows: rows?.length ?? 1,
      options,
      isAnswered: false,
      hasStarted: false,
      resolve,
      reject,
      leave,
    };
    if (this.#isDoomed) {
      reject(new RunnerRecalledError());
      leave();
      return { answer, over, recall: () => false };
    }
    this.#held.push(held);
    this.#abortWithSignal(held);
    this.#options.send(rows ? { type: 'run', id, rows: [...rows] } : { type: 'probe', id });
    this.#beginTurn();
    return { answer, over, recall: () => this.#takeBack(held, new RunnerRecalledError()) };
  }

  /** The runner answered. What it says of a batch that nobody waits for any more is of no interest. */
  answered(id: number, answer: BatchResult | Error | undefined): void {
    const [held] = this.#held;
    if (held?.id !== id) return;
    this.#held.shift();
    held.deadline?.cancel();
    if (answer instanceof Error || !answer) this.#settle(held, answer ?? new RunnerRecalledError());
    else if (answer.results.length === held.rows) this.#settle(held, answer);
    else {
      const message = `${answer.results.length} results came for ${held.rows} rows. This is a bug.`;
      this.#settle(held, new Error(message));
    }
    held.leave();
    this.#beginTurn();
  }

  /** The runner is about to die: what waits in its pipe is given back at once. */
  doom(): void {
    this.#isDoomed = true;
    for (const held of this.#held) if (!held.hasStarted) this.#settle(held, new RunnerRecalledError());
  }

  /** The runner is gone, and all that it said was heard. The batch whose turn it was fails with the error. */
  end(error: Error): void {
    this.doom();
    for (const held of this.#held.splice(0)) {
      held.deadline?.cancel();
      this.#settle(held, error);
      held.leave();
    }
  }

  #beginTurn(): void {
    const [held] = this.#held;
    if (!held || held.hasStarted || this.#isDoomed) return;
    held.hasStarted = true;
    const { timeoutMs, onStart } = held.options;
    held.deadline = startDeadline(timeoutMs, () => {
      this.#settle(held, new RunnerTimeoutError(timeoutMs));
      this.#options.kill('timeout');
    });
    if (!held.isAnswered) onStart?.();
  }

  #takeBack(held: HeldBatch, error: Error): boolean {
    if (held.hasStarted || held.isAnswered) return false;
    this.#settle(held, error);
    this.#options.send({ type: 'drop', id: held.id });
    return true;
  }

  #abortWithSignal(held: HeldBatch): void {
    const { signal } = held.options;
    if (!signal) return;
    const onAbort = () => {
      if (this.#takeBack(held, new RunnerAbortedError())) return;
      this.#settle(held, new RunnerAbortedError());
      this.#options.kill('aborted');
    };
    held.stopListening = () => signal.removeEventListener('abort', onAbort);
    signal.addEventListener('abort', onAbort, { once: true });
  }

  #settle(held: HeldBatch, answer: BatchResult | Error): void {
    if (held.isAnswered) return;
    held.isAnswered = true;
    held.stopListening?.();
    if (answer instanceof Error) held.reject(answer);
    else held.resolve(answer);
  }
}

function promiseOf<T>() {
  let resolve: (value: T) => void = () => undefined;
  let reject: (error: Error) => void = () => undefined;
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { promise, resolve, reject };
}
