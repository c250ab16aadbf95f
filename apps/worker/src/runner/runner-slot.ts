import type { ExecutionPlan } from './execution-plan.ts';
import { howItEnded, type RunnerExit, RunnerStartError } from './runner-errors.ts';
import type { Runner } from './runner-process.ts';
import type { BatchResult } from './runner-protocol.ts';

export type StartRunner = (options: { signal: AbortSignal; execution?: ExecutionPlan | undefined }) => Promise<Runner>;

/** Why a slot lost its runner, or did not get one. */
type RestartCause = 'crash' | 'timeout' | 'canceled' | 'unsound' | 'silent' | 'load_failed' | RecycleCause;

/** Why a slot changed its runner for a fresh one: it computed `maxBatches`, or grew beyond `maxMemoryBytes`. */
type RecycleCause = 'recycled' | 'memory';

export type Restart = {
  cause: RestartCause;
  /** How the runner ended, or why it did not become ready. */
  detail: string;
  /** Until the next attempt. */
  delayMs: number;
};

export type RecycleLimits = {
  /** Batches after which a runner is recycled; 0: none. */
  maxBatches?: number;
  /** Resident memory, after a batch, beyond which a runner is recycled; 0: none. */
  maxMemoryBytes?: number;
};

export type RunnerSlotOptions = RecycleLimits & {
  startRunner: StartRunner;
  /** Asked before another process is started beside the runner. */
  mayRecycle: () => boolean;
  onReady: (slot: RunnerSlot) => void;
  /** The next runner is ready while this one is there: `takeOver` when it holds no batch. */
  onSuccessor: (slot: RunnerSlot) => void;
  onRestart: (slot: RunnerSlot, restart: Restart) => void;
};

/**
 * A place for one runner, filled again whenever it is empty.
 *
 * - starting: a runner loads its model. → ready, or backing_off when it fails.
 * - ready: `runner` takes batches. → backing_off when it exits.
 * - backing_off: waits to start another: not at all after the first loss, then 100 ms, twice as long each time, at most
 *   10 s; one batch, or golden row, that succeeds and it begins anew. A model that cannot be loaded any more is thus tried for ever, but
 *   seldom. → starting.
 * - stopped: by `stop()`, from any state, for good.
 *
 * A ready runner that is worn is recycled: its successor is started beside it, takes over between two batches, and only
 * then the old one is stopped, so that the slot is never empty. If the old one dies first, the successor is what follows it.
 */
export class RunnerSlot {
  state: 'starting' | 'ready' | 'backing_off' | 'stopped' = 'starting';
  readonly #options: RunnerSlotOptions;
  readonly #abort = new AbortController();
  #runner: Runner | undefined;
  /** The next runner, ready, while the one before it ends its batch. */
  #successor: Runner | undefined;
  #recycling: Omit<Restart, 'delayMs'> | undefined;
  #recycleNotBeforeMs = 0;
  /** Runners that were taken over from, until they are gone. */
  readonly #retired = new Set<Promise<unknown>>();
  #batches = 0;
  #rssBytes: number | undefined;
  #lossesInARow = 0;
  #timer: NodeJS.Timeout | undefined;
  /** Settles, without an error, when no runner is being started any more. */
  #starting: Promise<void> = Promise.resolve();

  constructor(options: RunnerSlotOptions) {
    this.#options = options;
  }

  /** The first start; rejects, and leaves the slot empty, when it fails: nobody is served by a model that never ran. */
  async start(): Promise<void> {
    const started = this.#options.startRunner({ signal: this.#abort.signal }).then((runner) => this.#adopt(runner));
    this.#starting = started.catch(() => undefined);
    await started;
  }

  /** The runner, while it takes batches. */
  get runner(): Runner | undefined {
    return this.#runner?.isAlive ? this.#runner : undefined;
  }

  /** Whether a successor is being started, or waits to take over. */
  get isRecycling(): boolean {
    return this.#recycling !== undefined;
  }

  /** A golden row was answered: what killed runners before were rows, and how often they may is for the circuit to say. */
  proved(): void {
    this.#lossesInARow = 0;
  }

  /** Resident memory of the runner after its last batch; undefined before the first. */
  get rssBytes(): number | undefined {
    return this.runner && this.#rssBytes;
  }

  /** Whether the next runner waits for this one to hold no batch. */
  get hasSuccessor(): boolean {
    return this.#successor !== undefined;
  }

  /** A batch succeeded: whatever killed runners before is over. */
  succeeded(runner: Runner, { rss_bytes: rssBytes }: Pick<BatchResult, 'rss_bytes'>): void {
    this.#lossesInARow = 0;
    // The last batch of one that was taken over from meanwhile.
    if (runner !== this.#runner) return;
    this.#batches++;
    this.#rssBytes = rssBytes;
    const { maxBatches = 0, maxMemoryBytes = 0, mayRecycle } = this.#options;
    const isWornOut = maxBatches > 0 && this.#batches >= maxBatches;
    const isTooLarge = maxMemoryBytes > 0 && rssBytes > maxMemoryBytes;
    if (!(isWornOut || isTooLarge) || this.state !== 'ready' || !mayRecycle()) return;
    if (performance.now() < this.#recycleNotBeforeMs) return;
    this.#recycle(
      isTooLarge
        ? { cause: 'memory', detail: `The runner had grown to ${rssBytes} bytes.` }
        : { cause: 'recycled', detail: `The runner had computed ${this.#batches} batches.` },
    );
  }

  /** For a runner that holds no batch: the successor, if there is one, takes its place. */
  takeOver(): void {
    const [old, successor, recycling] = [this.#runner, this.#successor, this.#recycling];
    if (!old || !successor?.isAlive || !recycling || this.state === 'stopped') return;
    this.#options.onRestart(this, { ...recycling, delayMs: 0 });
    if (recycling.cause === 'memory') this.#pauseRecycling();
    this.#adopt(successor);
    const retired = old.stop().finally(() => this.#retired.delete(retired));
    this.#retired.add(retired);
  }

  async stop(graceMs: number): Promise<void> {
    this.state = 'stopped';
    clearTimeout(this.#timer);
    this.#abort.abort();
    await this.#starting;
    await Promise.all([this.#runner?.stop(graceMs), this.#successor?.stop(graceMs), ...this.#retired]);
  }

  #adopt(runner: Runner): void {
    this.#runner = runner;
    if (this.state === 'stopped') return;
    this.state = 'ready';
    this.#batches = 0;
    this.#rssBytes = undefined;
    this.#successor = this.#recycling = undefined;
    void runner.exited.then((exit) => {
      if (this.#runner !== runner) return;
      const output = exit.output && ` Its last output: ${exit.output}`;
      this.#lost({ cause: CAUSE_OF_EXIT[exit.cause], detail: `${howItEnded(exit)}${output}` });
    });
    this.#options.onReady(this);
  }

  #lost(loss: Omit<Restart, 'delayMs'>): void {
    if (this.state === 'stopped') return;
    this.#runner = undefined;
    if (this.isRecycling) {
      this.#lossesInARow++;
      this.state = 'starting';
      this.#options.onRestart(this, { ...loss, delayMs: 0 });
      if (this.#successor) this.#adopt(this.#successor);
      return;
    }
    this.state = 'backing_off';
    // One that we killed for a canceled job says nothing about the next.
    const delayMs = loss.cause === 'canceled' ? 0 : respawnDelayMs(this.#lossesInARow++);
    this.#options.onRestart(this, { ...loss, delayMs });
    if (delayMs === 0) this.#respawn();
    else this.#timer = setTimeout(() => this.#respawn(), delayMs);
  }

  #recycle(recycling: Omit<Restart, 'delayMs'>): void {
    this.#recycling = recycling;
    this.#starting = this.#options.startRunner({ signal: this.#abort.signal }).then(
      (runner) => this.#succeed(runner),
      (error: Error) => {
        this.#recycling = undefined;
        if (this.#runner) {
          this.#pauseRecycling();
          this.#options.onRestart(this, { ...startFailure(error), delayMs: RECYCLE_PAUSE_MS });
        } else this.#lost(startFailure(error));
      },
    );
  }

  #succeed(successor: Runner): void {
    if (!this.#runner) {
      this.#adopt(successor);
      return;
    }
    this.#successor = successor;
    if (this.state === 'stopped') return;
    void successor.exited.then(() => {
      if (this.#successor === successor) this.#successor = this.#recycling = undefined;
    });
    this.#options.onSuccessor(this);
  }

  #pauseRecycling(): void {
    this.#recycleNotBeforeMs = performance.now() + RECYCLE_PAUSE_MS;
  }

  #respawn(): void {
    this.state = 'starting';
    this.#starting = this.#options.startRunner({ signal: this.#abort.signal }).then(
      (runner) => this.#adopt(runner),
      (error: Error) => this.#lost(startFailure(error)),
    );
  }
}

/** A runner that is too large when it is fresh, or that cannot be replaced, is not tried to be replaced all the time. */
const RECYCLE_PAUSE_MS = 10_000;

function startFailure(error: Error): Omit<Restart, 'delayMs'> {
  return { cause: error instanceof RunnerStartError ? error.reason : 'crash', detail: error.message };
}

const CAUSE_OF_EXIT = {
  stopped: 'crash',
  crash: 'crash',
  timeout: 'timeout',
  aborted: 'canceled',
  unsound: 'unsound',
  silent: 'silent',
  memory: 'crash',
} as const satisfies Record<RunnerExit['cause'], RestartCause>;

function respawnDelayMs(lossesBefore: number): number {
  return lossesBefore === 0 ? 0 : Math.min(100 * 2 ** (lossesBefore - 1), 10_000);
}
