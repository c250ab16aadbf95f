import { availableParallelism, cpus } from 'node:os';
import {
  artifactSha256,
  type Calibration,
  type CalibrationMachine,
  type Clock,
  type ExecutionProvider,
  type ModelManifest,
  preprocessSha256,
} from '@onqueue/shared';
import { measureBatchCurve } from './batch-curve.ts';
import type { CalibrationCache, CalibrationKey } from './calibration-cache.ts';
import { findKnee } from './knee.ts';
import type { MeasuredBatch } from './measured-batch.ts';

/** A loaded model version that a {@link Calibrator} can measure. */
export interface CalibrationSubject {
  manifest: ModelManifest;
  intraOpNumThreads: number;
  runtime: { name: string; version: string };
  executionProvider?: ExecutionProvider | undefined;
  /** Rows that the version is known to answer; read only when something is to be measured. */
  readRows: () => Promise<readonly unknown[]>;
  run: (rows: readonly unknown[]) => Promise<MeasuredBatch>;
  /** Whether the runner is needed for something else; a measurement is given up then. */
  isWanted?: () => boolean;
}

export interface CalibratorOptions {
  cache: Pick<CalibrationCache, 'read' | 'write'>;
  /** How much later a version may serve for being measured. */
  budgetMs: number;
  host?: { cpu: string; cores: number };
  clock: Clock;
  /** The time of day, for people. */
  today?: () => Date;
  /** A version could not be measured, or the result not be kept; nothing depends on either. */
  onError: (error: Error) => void;
}

/**
 * Finds how large the batches of a version should be: from the cache, or by measuring. Versions are measured one at a time,
 * since two that share the cores would measure each other.
 */
export class Calibrator {
  readonly #options: CalibratorOptions;
  readonly #host: { cpu: string; cores: number };
  #turns: Promise<unknown> = Promise.resolve();

  constructor(options: CalibratorOptions) {
    this.#options = options;
    this.#host = options.host ?? thisHost();
  }

  /**
   * Undefined when there is no measurement: no batch came back, the runner was needed, or too many versions were before
   * this one. Resolves within the budget.
   */
  async calibrate(subject: CalibrationSubject): Promise<Calibration | undefined> {
    return (await this.#options.cache.read(this.#keyOf(subject))) ?? (await this.measure(subject));
  }

  /** The same without a look into the cache, which gets the result. */
  async measure(subject: CalibrationSubject): Promise<Calibration | undefined> {
    const { clock, cache, budgetMs, today = () => new Date(), onError } = this.#options;
    const askedAtMs = clock.now();
    const measurement = await this.#inTurn(budgetMs / 2, async () => {
      const rows = await subject.readRows();
      return measureBatchCurve({
        rows,
        maxBatchSize: subject.manifest.batching.max_batch_size,
        budgetMs: budgetMs - (clock.now() - askedAtMs),
        run: subject.run,
        ...(subject.isWanted ? { isWanted: subject.isWanted } : {}),
        clock,
      });
    }).catch((error: Error) => {
      onError(error);
      return undefined;
    });
    if (!measurement || measurement.end === 'wanted' || measurement.curve.length === 0) return undefined;
    const key = this.#keyOf(subject);
    const measured: Calibration = {
      max_batch_size: findKnee(measurement.curve).batch_size,
      curve: measurement.curve,
      measured_at: today().toISOString(),
      machine: key.machine,
    };
    // What made a batch fail may be gone next time.
    if (measurement.end !== 'failed') await cache.write(key, measured).catch(onError);
    return measured;
  }

  /** Undefined when the turn has not come after `patienceMs`. */
  #inTurn<T>(patienceMs: number, work: () => Promise<T>): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      let isGivenUp = false;
      const patience = this.#options.clock.setTimeout(() => {
        isGivenUp = true;
        resolve(undefined);
      }, patienceMs);
      const turn = this.#turns.then(() => {
        patience.cancel();
        return isGivenUp ? undefined : work();
      });
      turn.then(resolve, reject);
      this.#turns = turn.catch(() => undefined);
    });
  }

  #keyOf({ manifest, intraOpNumThreads, runtime, executionProvider = 'cpu' }: CalibrationSubject): CalibrationKey {
    const machine: CalibrationMachine = {
      ...this.#host,
      intra_op_threads: intraOpNumThreads,
      runtime: `${runtime.name} ${runtime.version}`,
      // What was measured before there were others keeps its key.
      ...(executionProvider === 'cpu' ? {} : { execution_provider: executionProvider }),
    };
    return {
      artifact_sha256: artifactSha256(manifest),
      preprocess_sha256: preprocessSha256(manifest),
      machine,
      max_batch_size: manifest.batching.max_batch_size,
      budget_ms: this.#options.budgetMs,
    };
  }
}

function thisHost(): { cpu: string; cores: number } {
  return { cpu: cpus()[0]?.model.trim() || 'unknown', cores: availableParallelism() };
}
