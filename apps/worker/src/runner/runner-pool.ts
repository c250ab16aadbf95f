import { RowFailure } from '@onqueue/shared';
import type { BatchRunOptions } from '../batching/batch-runner.ts';
import { RunnerAbortedError } from './runner-errors.ts';
import { type Runner, RunnerProcess, type RunnerProcessOptions } from './runner-process.ts';
import type { BatchResult, LoadedModel } from './runner-protocol.ts';
import { type RecycleLimits, type Restart, RunnerSlot, type StartRunner } from './runner-slot.ts';

export type RunnerPoolOptions = Omit<RunnerProcessOptions, 'signal'> &
  RecycleLimits & {
    /** How many runners; `instances * intraOpNumThreads` should not exceed the cores. */
    instances: number;
    /** The deadline of a batch, unless it names a shorter one; the runner is killed when it passes. */
    batchTimeoutMs: number;
    /** How long a batch waits while no runner is ready, before it fails with `model_unavailable`. */
    readyTimeoutMs: number;
    /** Batches that may wait for a runner; the next one fails with `model_unavailable` at once. */
    maxWaiting?: number;
    /** How long a runner that was asked to stop may take. */
    stopGraceMs?: number;
    /** A runner was lost or recycled, or could not be started again. */
    onRestart?: (restart: Restart) => void;
    /** How runners come to be; tests start others. */
    startRunner?: StartRunner;
  };

/** A batch together with what computed it. */
export type PoolBatch = BatchResult & {
  runner: { pid: number; runtime: LoadedModel['runtime']; execution_provider: string };
};

type Waiter = { grant: (slot: RunnerSlot, runner: Runner) => void; refuse: (error: Error) => void };

/**
 * The runners of one model version.
 *
 * - starting: `start()` waits for every runner to load; if one cannot, all are ended and `start()` rejects.
 * - ready: `run()` takes idle runners, or waits its turn. A runner that dies, or is worn, is replaced (see RunnerSlot),
 *   meanwhile the others go on.
 * - backing_off: not one runner is ready. Batches wait up to `readyTimeoutMs` for one.
 * - stopped: `stop()` refuses who waits, lets running batches end, then ends the runners.
 *
 * An idle runner is in `#idle` exactly when its slot has a live runner without a batch.
 */
export class RunnerPool {
  readonly #options: RunnerPoolOptions;
  readonly #slots: RunnerSlot[];
  /** Last in, first out: the runner that ran last has its model in the caches. */
  readonly #idle: RunnerSlot[] = [];
  readonly #waiting = new Set<Waiter>();
  readonly #running = new Set<Promise<unknown>>();
  #idleListeners: (() => void)[] = [];
  #started: Promise<void> | undefined;
  #isStopped = false;
  #loaded: LoadedModel | undefined;

  constructor(options: RunnerPoolOptions) {
    this.#options = options;
    const startRunner = options.startRunner ?? (({ signal }) => RunnerProcess.start({ ...options, signal }));
    this.#slots = Array.from(
      { length: options.instances },
      () =>
        new RunnerSlot({
          ...options,
          startRunner,
          // One after the other, since each needs the memory of two runners meanwhile.
          mayRecycle: () => !this.#slots.some(({ isRecycling }) => isRecycling),
          onReady: (slot) => this.#offer(slot),
          onSuccessor: (slot) => {
            if (this.#idle.includes(slot)) slot.takeOver();
          },
          onRestart: this.#onRestart,
        }),
    );
  }

  /** Resolves when every runner is ready; rejects with the reason, a `RunnerStartError`, when one cannot load. */
  start(): Promise<void> {
    this.#started ??= Promise.all(this.#slots.map((slot) => slot.start())).then(
      () => undefined,
      async (error) => {
        await this.stop();
        throw error;
      },
    );
    return this.#started;
  }

  get state(): 'starting' | 'ready' | 'backing_off' | 'stopped' {
    if (this.#isStopped) return 'stopped';
    if (this.readyCount > 0) return 'ready';
    return this.#loaded ? 'backing_off' : 'starting';
  }

  /** Runners that take batches, with or without one at the moment. */
  get readyCount(): number {
    return this.#slots.filter(({ runner }) => runner).length;
  }

  get idleCount(): number {
    return this.#idle.filter(({ runner }) => runner).length;
  }

  /** What a runner became when it loaded; undefined before the first is ready. */
  get loaded(): LoadedModel | undefined {
    return this.#loaded;
  }

  /** Process ids of the ready runners, for whoever watches their memory. */
  get pids(): number[] {
    return this.#slots.flatMap(({ runner }) => (runner ? [runner.pid] : []));
  }

  /** Resolves as soon as a runner is idle, so that a batch given now starts now; at once when the pool is stopped. */
  async whenIdle(): Promise<void> {
    while (this.idleCount === 0 && !this.#isStopped) {
      await new Promise<void>((resolve) => this.#idleListeners.push(resolve));
    }
  }

  /**
   * Computes a batch on the next free runner. Rejects with a `RowFailure` that holds for the whole batch:
   * `RunnerBatchError` (`inference_failed`, `out_of_memory`), `RunnerTimeoutError`, `RunnerAbortedError`, `RunnerCrashedError`, or
   * `model_unavailable`.
   */
  async run(
    rows: readonly unknown[],
    { timeoutMs = Number.POSITIVE_INFINITY, signal, onStart }: Partial<BatchRunOptions> = {},
  ): Promise<PoolBatch> {
    const { slot, runner } = await this.#acquire();
    onStart?.();
    const result = await this.#occupy(
      slot,
      runner,
      runner.run(rows, Math.min(timeoutMs, this.#options.batchTimeoutMs), signal),
    );
    slot.succeeded(result);
    const { runtime, execution_provider } = runner.loaded;
    return { ...result, runner: { pid: runner.pid, runtime, execution_provider } };
  }

  /**
   * Whether the model still computes a row that it computed when it was loaded; asks the runner that was free last, which is
   * the one that a batch failed on a moment ago, unless that is gone. One that does not answer is killed and replaced, and
   * this rejects with `model_unavailable`. What it answers is not compared: a row alone may differ from the same row in a
   * batch, as it was at load.
   */
  async probe({ signal }: { signal?: AbortSignal } = {}): Promise<void> {
    const { slot, runner } = await this.#acquire();
    const { batchTimeoutMs } = this.#options;
    const timeoutMs = Math.min(batchTimeoutMs, Math.max(PROBE_TIMEOUT_MS, 8 * runner.loaded.warmup_ms));
    const probe = runner.probe(timeoutMs, signal).catch((error: RowFailure) => {
      if (error instanceof RunnerAbortedError) throw error;
      runner.kill('unsound');
      throw unavailable(`The model fails on a golden row as well: ${error.message}`, error);
    });
    await this.#occupy(slot, runner, probe);
    slot.proved();
  }

  /** Lets running batches end, each by its deadline, and ends every process. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const waiter of this.#waiting) waiter.refuse(unavailable('The runners of the model are being stopped.'));
    this.#tellIdleListeners();
    await Promise.allSettled(this.#running);
    await Promise.all(this.#slots.map((slot) => slot.stop(this.#options.stopGraceMs ?? 2000)));
  }

  async #occupy<T>(slot: RunnerSlot, runner: Runner, work: Promise<T>): Promise<T> {
    this.#running.add(work);
    try {
      return await work;
    } finally {
      this.#running.delete(work);
      // Of one that died, or was taken over from, the next is offered when it is ready.
      if (slot.runner === runner) slot.takeOver();
      if (slot.runner === runner) this.#offer(slot);
    }
  }

  async #acquire(): Promise<{ slot: RunnerSlot; runner: Runner }> {
    if (this.#isStopped) throw unavailable('The runners of the model are stopped.');
    const idle = this.#takeIdle();
    if (idle) return idle;
    const { maxWaiting = 64 } = this.#options;
    if (this.#waiting.size >= maxWaiting) throw unavailable(`${maxWaiting} batches wait for a runner already.`);
    return this.#wait();
  }

  #takeIdle(): { slot: RunnerSlot; runner: Runner } | undefined {
    for (let slot = this.#idle.pop(); slot; slot = this.#idle.pop()) {
      const { runner } = slot;
      // One that died a moment ago is offered again when it is replaced.
      if (runner) return { slot, runner };
    }
    return undefined;
  }

  #wait(): Promise<{ slot: RunnerSlot; runner: Runner }> {
    const { readyTimeoutMs } = this.#options;
    let waiter: Waiter | undefined;
    let timer: NodeJS.Timeout | undefined;
    const turn = new Promise<{ slot: RunnerSlot; runner: Runner }>((resolve, reject) => {
      waiter = { grant: (slot, runner) => resolve({ slot, runner }), refuse: reject };
      this.#waiting.add(waiter);
      // While a runner is ready, only batches with deadlines of their own are before this one: that wait ends by itself.
      timer = setInterval(() => {
        if (this.readyCount === 0) reject(unavailable(`No runner became ready within ${readyTimeoutMs} ms.`));
      }, readyTimeoutMs);
    });
    return turn.finally(() => {
      clearInterval(timer);
      if (waiter) this.#waiting.delete(waiter);
    });
  }

  /** Gives a runner without a batch to whoever waits longest. */
  #offer(slot: RunnerSlot): void {
    const { runner } = slot;
    if (!runner) return;
    // It is there already when another runner takes over from one that was idle.
    this.#withdraw(slot);
    this.#loaded = runner.loaded;
    const [waiter] = this.#waiting;
    if (waiter) {
      this.#waiting.delete(waiter);
      waiter.grant(slot, runner);
    } else {
      this.#idle.push(slot);
      this.#tellIdleListeners();
    }
  }

  #tellIdleListeners(): void {
    const listeners = this.#idleListeners;
    this.#idleListeners = [];
    for (const listener of listeners) listener();
  }

  readonly #onRestart = (slot: RunnerSlot, restart: Restart): void => {
    if (!slot.runner) this.#withdraw(slot);
    this.#options.onRestart?.(restart);
  };

  #withdraw(slot: RunnerSlot): void {
    const index = this.#idle.indexOf(slot);
    if (index >= 0) this.#idle.splice(index, 1);
  }
}

/** At the least, for a golden row; more where warming up took long. */
const PROBE_TIMEOUT_MS = 5000;

function unavailable(detail: string, cause?: Error): RowFailure {
  return new RowFailure('model_unavailable', detail, { cause });
}
