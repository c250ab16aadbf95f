import type { Calibration, Clock } from '@onqueue/shared';
import { DriftWatch } from './drift-watch.ts';
import type { MeasuredBatch } from './measured-batch.ts';

export interface RecalibrationOptions {
  /** None: the version could not be measured at its start. */
  calibration: Calibration | undefined;
  /** Measures again; undefined when that came to nothing. */
  measure: () => Promise<Calibration | undefined>;
  /** Whether no row waits and no batch runs. */
  isIdle: () => boolean;
  onMeasured: (calibration: Calibration) => void;
  clock: Clock;
}

/** How often a version that is to be measured is asked whether it is idle. */
const LOOK_MS = 500;

/**
 * Measures a version again when what it serves has drifted from its curve, and it has nothing to do; one that is not measured
 * yet as soon as it has nothing to do.
 *
 * watching ── drift ──> waiting ── idle ──> measuring ──> watching. stop(), from any state, for good.
 */
export class Recalibration {
  readonly #options: RecalibrationOptions;
  readonly #watch: DriftWatch;
  #isMeasuring = false;
  #isStopped = false;
  #look: { cancel(): void } | undefined;

  constructor(options: RecalibrationOptions) {
    this.#options = options;
    this.#watch = new DriftWatch(options);
    if (this.#watch.isDue) this.#lookSoon();
  }

  /** A batch of so many rows was served. */
  observe(rows: number, batch: MeasuredBatch): void {
    this.#watch.observe(rows, batch);
    if (this.#watch.isDue) this.#lookSoon();
  }

  stop(): void {
    this.#isStopped = true;
    this.#look?.cancel();
  }

  #lookSoon(): void {
    if (this.#isStopped || this.#isMeasuring) return;
    this.#look ??= this.#options.clock.setTimeout(() => {
      this.#look = undefined;
      if (!this.#watch.isDue) return;
      if (this.#options.isIdle()) void this.#measure();
      else this.#lookSoon();
    }, LOOK_MS);
  }

  async #measure(): Promise<void> {
    this.#isMeasuring = true;
    const calibration = await this.#options.measure();
    this.#isMeasuring = false;
    if (this.#isStopped) return;
    this.#watch.measured(calibration);
    if (calibration) this.#options.onMeasured(calibration);
  }
}
