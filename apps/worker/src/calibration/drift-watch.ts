import type { Calibration, Clock } from '@onqueue/shared';
import { type MeasuredBatch, takenMs } from './measured-batch.ts';

/** Beyond this factor, up or down, batches are not what the curve says. */
const DRIFT_FACTOR = 2;
/** How long they have to be so: a machine that is busy for a moment has not changed. */
const SUSTAINED_MS = 60_000;
/** Between two measurements. */
const PAUSE_MS = 600_000;
/** Weight of the newest batch in the moving average. */
const NEWEST = 0.1;

/**
 * Compares the batches that are served with the curve: a machine that has become slower, or was busy when it was measured,
 * shows in the milliseconds a row of full batches. Only those inside the runner count, since the way there is as long as
 * the worker is busy.
 *
 * watching ── average off by more than 2x ──> drifting ── for a minute, and 10 minutes after the last measurement ──> due
 * drifting ── average back ──> watching; due ── measured() ──> watching. One that has no measurement is due from the start.
 */
export class DriftWatch {
  readonly #clock: Clock;
  #batchSize = 0;
  #expectedMs = 0;
  #averageMs: number | undefined;
  #driftsSinceMs: number | undefined;
  #lastMs = 0;
  #measuredAtMs = Number.NEGATIVE_INFINITY;

  constructor({ clock, calibration }: { clock: Clock; calibration: Calibration | undefined }) {
    this.#clock = clock;
    if (calibration) this.measured(calibration);
  }

  /**
   * There is a new measurement; none: it was tried, and is not tried again for a while. Where a new one does not explain
   * what is served, rows are unlike the golden ones, and measuring those again would never end: then the average
   * is what is expected from now on.
   */
  measured(calibration: Calibration | undefined): void {
    this.#measuredAtMs = this.#clock.now();
    this.#driftsSinceMs = undefined;
    if (!calibration) return;
    const { max_batch_size: batchSize, curve } = calibration;
    const msPerRow = (curve.find(({ batch_size }) => batch_size === batchSize)?.compute_ms ?? 0) / batchSize;
    const isExplained =
      batchSize !== this.#batchSize || this.#averageMs === undefined || !isOff(this.#averageMs, msPerRow);
    this.#expectedMs = isExplained ? msPerRow : (this.#averageMs ?? msPerRow);
    if (batchSize !== this.#batchSize) this.#averageMs = undefined;
    this.#batchSize = batchSize;
  }

  /** A batch of so many rows was served. */
  observe(rows: number, batch: MeasuredBatch): void {
    if (rows !== this.#batchSize) return;
    const msPerRow = (batch.computeMs - takenMs(batch)) / rows;
    this.#averageMs =
      this.#averageMs === undefined ? msPerRow : this.#averageMs + NEWEST * (msPerRow - this.#averageMs);
    this.#lastMs = this.#clock.now();
    if (isOff(this.#averageMs, this.#expectedMs)) this.#driftsSinceMs ??= this.#lastMs;
    else this.#driftsSinceMs = undefined;
  }

  get isDue(): boolean {
    const isUnmeasured = this.#batchSize === 0;
    const isSustained = this.#driftsSinceMs !== undefined && this.#lastMs - this.#driftsSinceMs >= SUSTAINED_MS;
    return (isUnmeasured || isSustained) && this.#clock.now() - this.#measuredAtMs >= PAUSE_MS;
  }
}

function isOff(ms: number, expectedMs: number): boolean {
  return ms > expectedMs * DRIFT_FACTOR || ms < expectedMs / DRIFT_FACTOR;
}
