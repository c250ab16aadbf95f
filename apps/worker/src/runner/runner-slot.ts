import { howItEnded, type RunnerExit, RunnerStartError } from './runner-errors.ts';
import type { Runner } from './runner-process.ts';

export type StartRunner = (options: { signal: AbortSignal }) => Promise<Runner>;

/** Why a slot lost its runner, or did not get one. */
type RestartCause = 'crash' | 'timeout' | 'canceled' | 'unsound' | 'load_failed';

export type Restart = {
  cause: RestartCause;
  /** How the runner ended, or why it did not become ready. */
  detail: string;
  /** Until the next attempt. */
  delayMs: number;
};

export type RunnerSlotOptions = {
  startRunner: StartRunner;
  onReady: (slot: RunnerSlot) => void;
  onRestart: (slot: RunnerSlot, restart: Restart) => void;
};

/**
 * A place for one runner, filled again whenever it is empty.
 *
 * - starting: a runner loads its model. → ready, or backing_off when it fails.
 * - ready: `runner` takes batches. → backing_off when it exits.
 * - backing_off: waits to start another: not at all after the first loss, then 100 ms, twice as long each time, at most
 *   10 s; one batch that succeeds and it begins anew. A model that cannot be loaded any more is thus tried for ever, but
 *   seldom. → starting.
 * - stopped: by `stop()`, from any state, for good.
 */
export class RunnerSlot {
  state: 'starting' | 'ready' | 'backing_off' | 'stopped' = 'starting';
  readonly #options: RunnerSlotOptions;
  readonly #abort = new AbortController();
  #runner: Runner | undefined;
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

  /** A batch succeeded: whatever killed runners before is over. */
  succeeded(): void {
    this.#lossesInARow = 0;
  }

  async stop(graceMs: number): Promise<void> {
    this.state = 'stopped';
    clearTimeout(this.#timer);
    this.#abort.abort();
    await this.#starting;
    await this.#runner?.stop(graceMs);
  }

  #adopt(runner: Runner): void {
    this.#runner = runner;
    if (this.state === 'stopped') return;
    this.state = 'ready';
    void runner.exited.then((exit) => {
      const output = exit.output && ` Its last output: ${exit.output}`;
      this.#lost({ cause: CAUSE_OF_EXIT[exit.cause], detail: `${howItEnded(exit)}${output}` });
    });
    this.#options.onReady(this);
  }

  #lost(loss: Omit<Restart, 'delayMs'>): void {
    if (this.state === 'stopped') return;
    this.#runner = undefined;
    this.state = 'backing_off';
    // One that we killed for a canceled job says nothing about the next.
    const delayMs = loss.cause === 'canceled' ? 0 : respawnDelayMs(this.#lossesInARow++);
    this.#options.onRestart(this, { ...loss, delayMs });
    if (delayMs === 0) this.#respawn();
    else this.#timer = setTimeout(() => this.#respawn(), delayMs);
  }

  #respawn(): void {
    this.state = 'starting';
    this.#starting = this.#options.startRunner({ signal: this.#abort.signal }).then(
      (runner) => this.#adopt(runner),
      (error: Error) => {
        this.#lost({ cause: error instanceof RunnerStartError ? error.reason : 'crash', detail: error.message });
      },
    );
  }
}

const CAUSE_OF_EXIT = {
  stopped: 'crash',
  crash: 'crash',
  timeout: 'timeout',
  aborted: 'canceled',
  unsound: 'unsound',
} as const satisfies Record<RunnerExit['cause'], RestartCause>;

function respawnDelayMs(lossesBefore: number): number {
  return lossesBefore === 0 ? 0 : Math.min(100 * 2 ** (lossesBefore - 1), 10_000);
}
