/** Where signals come from: the process, or a test in its place. */
export interface SignalSource {
  once(signal: NodeJS.Signals, listener: () => void): unknown;
}

/** What a terminal, its closing, and a service manager send. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Ends commands that go on until somebody ends them, so that they can clean up. Signals are taken from the first `wait` on
 * and once each: they end every other command at once, and this one when they come a second time.
 */
export class Interruption {
  readonly #source: SignalSource;
  #interrupted: Promise<void> | undefined;
  #resolve = () => {};

  constructor(source: SignalSource) {
    this.#source = source;
  }

  /** Resolves when somebody wants the command to end. */
  wait(): Promise<void> {
    this.#interrupted ??= new Promise((resolve) => {
      this.#resolve = resolve;
      for (const signal of SIGNALS) this.#source.once(signal, resolve);
    });
    return this.#interrupted;
  }

  /** False when no command waits for it. */
  interrupt(): boolean {
    this.#resolve();
    return this.#interrupted !== undefined;
  }
}
