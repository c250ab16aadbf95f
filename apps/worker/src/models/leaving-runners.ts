import type { Clock } from '@onqueue/shared';
import type { LoadedVersion } from './managed-version.ts';

/** Runners that were replaced stay for jobs that had been given to them and not started. */
const LINGER_MS = 3000;
const LINGER_LOOK_MS = 100;

export interface LeavingRunnersOptions {
  clock: Clock;
  /** How long those that are not idle may stay. */
  drainMs: number;
  /** None of them stays any longer. */
  signal: AbortSignal;
}

/** Loaded versions that nobody is given any more, until their runners have ended and their memory is free. */
export class LeavingRunners<Served extends LoadedVersion> {
  readonly #options: LeavingRunnersOptions;
  readonly #leaving = new Map<Served, Promise<void>>();

  constructor(options: LeavingRunnersOptions) {
    this.#options = options;
  }

  get bytes(): number {
    return [...this.#leaving.keys()].reduce((sum, { residentBytes }) => sum + residentBytes, 0);
  }

  /** Resolves when they are gone. */
  end(served: Served): Promise<void> {
    return this.#add(served, served.stop());
  }

  /** The same for those that another has taken the place of. */
  endWhenIdle(served: Served): void {
    void this.#add(served, this.#linger(served));
  }

  async gone(): Promise<void> {
    await Promise.all(this.#leaving.values());
  }

  /** At once. */
  async stop(): Promise<void> {
    await Promise.all([...this.#leaving].map(([served, left]) => Promise.all([served.stop(), left])));
  }

  #add(served: Served, ending: Promise<unknown>): Promise<void> {
    const left = ending.then(() => undefined).finally(() => this.#leaving.delete(served));
    this.#leaving.set(served, left);
    return left;
  }

  async #linger(served: Served): Promise<void> {
    const { clock, drainMs, signal } = this.#options;
    const startedAtMs = clock.now();
    const isOver = () => {
      const sinceMs = clock.now() - startedAtMs;
      return signal.aborted || (sinceMs >= LINGER_MS && (served.isIdle || sinceMs >= drainMs));
    };
    while (!isOver()) await new Promise<void>((resolve) => clock.setTimeout(resolve, LINGER_LOOK_MS));
    await served.stop();
  }
}
