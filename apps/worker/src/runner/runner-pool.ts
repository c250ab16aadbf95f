import { RowFailure } from '@onqueue/shared';
import type { BatchRunOptions } from '../batching/batch-runner.ts';
import type { RunnerBatch } from './batch-pipeline.ts';
import { executionOf } from './execution-plan.ts';
import { RunnerAbortedError, RunnerBatchError, RunnerRecalledError } from './runner-errors.ts';
import { type Runner, RunnerProcess, type RunnerProcessOptions } from './runner-process.ts';
import type { BatchResult, LoadedModel } from './runner-protocol.ts';
import { type RecycleLimits, type Restart, RunnerSlot, type StartRunner } from './runner-slot.ts';

export type RunnerPoolOptions = Omit<RunnerProcessOptions, 'signal'> &
  RecycleLimits & {
    /** Devices that the runners are spread over, in turn; none: the provider chooses. */
    gpuDevices?: readonly number[] | undefined;
    /** How many runners; `instances * intraOpNumThreads` should not exceed the cores. */
    instances: number;
    /** Batches that a runner holds at most: one that it computes, and those that wait in its pipe. */
    depth?: number;
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
  runner: { pid: number } & Pick<LoadedModel, 'runtime' | 'execution_provider'>;
};

type Waiter = {
  isAlone: boolean;
  /** The only slot that will do, as long as its runner lives. */
  slot: RunnerSlot | undefined;
  grant: (place: Place) => void;
  refuse: (error: Error) => void;
};

/** A runner, and room in it that is reserved for a batch. */
type Place = { slot: RunnerSlot; runner: Runner };

/** What a runner holds, from the reservation of its place on. */
type Load = { held: number; isAlone: boolean; turnAtMs: number; batches: Set<RunnerBatch> };

/**
 * The runners of one model version.
 *
 * - starting: `start()` waits for every runner to load; if one cannot, all are ended and `start()` rejects.
 * - ready: `run()` takes idle runners, or waits its turn. A runner that dies, or is worn, is replaced (see RunnerSlot),
 *   meanwhile the others go on.
 * - backing_off: not one runner is ready. Batches wait up to `readyTimeoutMs` for one.
 * - stopped: `stop()` refuses who waits, lets running batches end, then ends the runners.
 *
 * An idle runner is in `#idle` exactly when its slot has a live runner without a batch. When none is idle, a batch joins one
 * that computes another, up to `depth`, and is computed right after that; unless one of the two is to be alone. Should
 * that runner die first, or another become idle, the batch is taken back and runs elsewhere, as if nothing had been.
 */
export class RunnerPool {
  readonly #options: RunnerPoolOptions;
  readonly #slots: RunnerSlot[];
  /** Last in, first out: the runner that ran last has its model in the caches. */
  readonly #idle: RunnerSlot[] = [];
  /** First come, first served: who is to be alone would else never find an empty runner. */
  #waiting: Waiter[] = [];
  readonly #loads = new WeakMap<Runner, Load>();
  /** Where a batch was refused last. */
  #refusedBy: RunnerSlot | undefined;
  readonly #running = new Set<Promise<unknown>>();
  #idleListeners: (() => void)[] = [];
  #started: Promise<void> | undefined;
  #isStopped = false;
  #loaded: LoadedModel | undefined;

  constructor(options: RunnerPoolOptions) {
    this.#options = options;
    const startRunner = options.startRunner ?? ((start) => RunnerProcess.start({ ...options, ...start }));
    this.#slots = Array.from(
      { length: options.instances },
      (_, instance) =>
        new RunnerSlot({
          ...options,
          // The same for all that follow one another in a slot: a device keeps its runner.
          startRunner: ({ signal }) => startRunner({ signal, execution: executionOf(instance, options) }),
          // One after the other, since each needs the memory of two runners meanwhile.
          mayRecycle: () => !this.#slots.some(({ isRecycling }) => isRecycling),
          onReady: (slot) => this.#fill(slot),
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

  /** What the ready runners became when they loaded. */
  get loadedRunners(): LoadedModel[] {
    return this.#slots.flatMap(({ runner }) => (runner ? [runner.loaded] : []));
  }

  /** Process ids of the ready runners, for whoever watches their memory. */
  get pids(): number[] {
    return this.#slots.flatMap(({ runner }) => (runner ? [runner.pid] : []));
  }

  /** How much the largest runner may still grow until it is recycled; undefined without a cap, or before the first batch. */
  get memoryHeadroomBytes(): number | undefined {
    const { maxMemoryBytes = 0 } = this.#options;
    const largest = Math.max(...this.#slots.map(({ rssBytes = 0 }) => rssBytes));
    return maxMemoryBytes === 0 || largest === 0 ? undefined : maxMemoryBytes - largest;
  }

  /** Resident memory of the ready runners, as each said last. */
  get residentBytes(): number {
    const sizes = this.#slots.map(({ runner, rssBytes }) => (runner ? (rssBytes ?? runner.loaded.rss_bytes) : 0));
    return sizes.reduce((sum, bytes) => sum + bytes, 0);
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
    { timeoutMs = Number.POSITIVE_INFINITY, signal, onStart, isAlone = false }: Partial<BatchRunOptions> = {},
  ): Promise<PoolBatch> {
    const options = { timeoutMs: Math.min(timeoutMs, this.#options.batchTimeoutMs), signal };
    for (let isRecalled = false; ; isRecalled = true) {
      const place = await this.#acquire({ isAlone, isRecalled });
      const { slot, runner } = place;
      if (signal?.aborted) {
        this.#leave(place);
        throw new RunnerAbortedError();
      }
      const load = this.#loadOf(runner);
      const batch = runner.run(rows, {
        ...options,
        onStart: () => {
          load.turnAtMs = performance.now();
          onStart?.();
        },
      });
      load.batches.add(batch);
      void batch.over.then(() => {
        load.batches.delete(batch);
        this.#leave(place);
      });
      try {
        const result = await this.#track(batch.answer);
        slot.succeeded(runner, result);
        const { runtime, execution_provider } = runner.loaded;
        return { ...result, runner: { pid: runner.pid, runtime, execution_provider } };
      } catch (error) {
        if (error instanceof RunnerBatchError) this.#refusedBy = slot;
        if (!(error instanceof RunnerRecalledError)) throw error;
      }
    }
  }

  /**
   * Whether the model still computes a row that it computed when it was loaded; asks the runner that a batch failed on
   * last, unless that is gone, when it holds no batch. One that does not answer is killed and replaced, and
   * this rejects with `model_unavailable`. What it answers is not compared: a row alone may differ from the same row in a
   * batch, as it was at load.
   */
  async probe({ signal }: { signal?: AbortSignal } = {}): Promise<void> {
    const place = await this.#acquire({ isAlone: true, slot: this.#refusedBy });
    const { runner, slot } = place;
    const { batchTimeoutMs } = this.#options;
    const timeoutMs = Math.min(batchTimeoutMs, Math.max(PROBE_TIMEOUT_MS, 8 * runner.loaded.warmup_ms));
    const probe = runner.probe(timeoutMs, signal).catch((error: RowFailure) => {
      if (error instanceof RunnerAbortedError) throw error;
      runner.kill('unsound');
      throw unavailable(`The model fails on a golden row as well: ${error.message}`, error);
    });
    try {
      await this.#track(probe);
      slot.proved();
    } finally {
      this.#leave(place);
    }
  }

  /** Lets running batches end, each by its deadline, and ends every process. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const waiter of this.#waiting) waiter.refuse(unavailable('The runners of the model are being stopped.'));
    this.#tellIdleListeners();
    await Promise.allSettled(this.#running);
    await Promise.all(this.#slots.map((slot) => slot.stop(this.#options.stopGraceMs ?? 2000)));
  }

  /** So that a stop waits for it. */
  async #track<T>(work: Promise<T>): Promise<T> {
    this.#running.add(work);
    try {
      return await work;
    } finally {
      this.#running.delete(work);
    }
  }

  #loadOf(runner: Runner): Load {
    const known = this.#loads.get(runner);
    if (known) return known;
    const load: Load = { held: 0, isAlone: false, turnAtMs: 0, batches: new Set() };
    this.#loads.set(runner, load);
    return load;
  }

  async #acquire({
    isAlone,
    isRecalled = false,
    slot,
  }: {
    isAlone: boolean;
    isRecalled?: boolean;
    slot?: RunnerSlot | undefined;
  }): Promise<Place> {
    if (this.#isStopped) throw unavailable('The runners of the model are stopped.');
    const only = slot?.runner ? slot : undefined;
    const place = only ? this.#placeIn(only, isAlone) : (this.#takeIdle() ?? this.#join(isAlone));
    if (place) return this.#reserve(place, isAlone);
    const { maxWaiting = 64 } = this.#options;
    if (this.#waiting.length >= maxWaiting && !isRecalled) {
      throw unavailable(`${maxWaiting} batches wait for a runner already.`);
    }
    return this.#wait({ isAlone, slot: only }, isRecalled);
  }

  #reserve(place: Place, isAlone: boolean): Place {
    const load = this.#loadOf(place.runner);
    if (load.held === 0) load.turnAtMs = performance.now();
    load.held++;
    load.isAlone = isAlone;
    this.#withdraw(place.slot);
    return place;
  }

  #takeIdle(): Place | undefined {
    for (let slot = this.#idle.pop(); slot; slot = this.#idle.pop()) {
      const { runner } = slot;
      // One that died a moment ago is offered again when it is replaced.
      if (runner) return { slot, runner };
    }
    return undefined;
  }

  /** Room behind a batch that is being computed: the one that has been for longest ends first, most of the time. */
  #join(isAlone: boolean): Place | undefined {
    if (isAlone || this.#waiting.length > 0) return undefined;
    let earliest: Place | undefined;
    for (const slot of this.#slots) {
      const place = this.#placeIn(slot, isAlone);
      if (!place) continue;
      const turnAtMs = this.#loadOf(place.runner).turnAtMs;
      if (!earliest || turnAtMs < this.#loadOf(earliest.runner).turnAtMs) earliest = place;
    }
    return earliest;
  }

  #placeIn(slot: RunnerSlot, isAlone: boolean): Place | undefined {
    const { runner } = slot;
    if (!runner) return undefined;
    const load = this.#loadOf(runner);
    if (load.held === 0) return { slot, runner };
    // One that is to be recycled would never come to hold nothing.
    const isFull = load.held >= (this.#options.depth ?? 1) || slot.hasSuccessor;
    return isAlone || load.isAlone || isFull ? undefined : { slot, runner };
  }

  #wait(waiting: Pick<Waiter, 'isAlone' | 'slot'>, isFirst: boolean): Promise<Place> {
    const { readyTimeoutMs } = this.#options;
    let waiter: Waiter | undefined;
    let timer: NodeJS.Timeout | undefined;
    const turn = new Promise<Place>((resolve, reject) => {
      waiter = { ...waiting, grant: resolve, refuse: reject };
      if (isFirst) this.#waiting.unshift(waiter);
      else this.#waiting.push(waiter);
      // While a runner is ready, only batches with deadlines of their own are before this one: that wait ends by itself.
      timer = setInterval(() => {
        if (this.readyCount === 0) reject(unavailable(`No runner became ready within ${readyTimeoutMs} ms.`));
      }, readyTimeoutMs);
    });
    return turn.finally(() => {
      clearInterval(timer);
      this.#waiting = this.#waiting.filter((other) => other !== waiter);
    });
  }

  /** A batch is over, or came to nothing. */
  #leave({ slot, runner }: Place): void {
    const load = this.#loadOf(runner);
    load.held--;
    // Of one that died, or was taken over from, the next is offered when it is ready.
    if (load.held === 0 && slot.runner === runner) slot.takeOver();
    if (slot.runner === runner) this.#fill(slot);
  }

  /** Gives what room there is to those who wait longest. */
  #fill(slot: RunnerSlot): void {
    const { runner } = slot;
    if (!runner) return;
    this.#loaded = runner.loaded;
    // It is there already when another runner takes over from one that was idle.
    this.#withdraw(slot);
    for (;;) {
      const waiter = this.#waiting.find((other) => other.slot === undefined || other.slot === slot);
      if (!waiter) break;
      const place = this.#placeIn(slot, waiter.isAlone);
      if (!place) return;
      this.#waiting = this.#waiting.filter((other) => other !== waiter);
      waiter.grant(this.#reserve(place, waiter.isAlone));
    }
    if (this.#loadOf(runner).held > 0) return;
    this.#idle.push(slot);
    this.#tellIdleListeners();
    this.#recallOne();
  }

  /** A runner has nothing to do: a batch that waits behind another one need not. */
  #recallOne(): void {
    for (const { runner } of this.#slots) {
      if (!runner) continue;
      for (const batch of this.#loadOf(runner).batches) if (batch.recall()) return;
    }
  }

  #tellIdleListeners(): void {
    const listeners = this.#idleListeners;
    this.#idleListeners = [];
    for (const listener of listeners) listener();
  }

  readonly #onRestart = (slot: RunnerSlot, restart: Restart): void => {
    if (!slot.runner) this.#withdraw(slot);
    if (this.#refusedBy === slot) this.#refusedBy = undefined;
    this.#options.onRestart?.(restart);
    // Who waited for the runner that is gone takes any.
    for (const waiter of this.#waiting) if (waiter.slot === slot) waiter.slot = undefined;
    for (const idle of [...this.#idle]) this.#fill(idle);
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
