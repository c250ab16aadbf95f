import { join } from 'node:path';
import {
  type Calibration,
  type Clock,
  decisionPolicySha256,
  describeModel,
  type ModelDescriptor,
  type ModelManifest,
  preprocessSha256,
} from '@onqueue/shared';
import type { BatchRunOptions } from './batching/batch-runner.ts';
import { DynamicBatcher } from './batching/dynamic-batcher.ts';
import { lengthBucketsOf } from './batching/length-buckets.ts';
import { RowIsolation } from './batching/row-isolation.ts';
import { isBatchInvariant } from './calibration/batch-invariance.ts';
import type { CalibrationSubject, Calibrator } from './calibration/calibrator.ts';
import type { MeasuredBatch } from './calibration/measured-batch.ts';
import { Recalibration } from './calibration/recalibration.ts';
import type { ServedVersion } from './job-scorer.ts';
import type { WorkerMetrics } from './metrics.ts';
import { readGoldenRows } from './models/golden-rows.ts';
import { type PoolBatch, RunnerPool } from './runner/runner-pool.ts';

export interface ServedModelVersionOptions {
  folder: string;
  manifest: ModelManifest;
  instances: number;
  intraOpNumThreads: number;
  batchTimeoutMs: number;
  startTimeoutMs: number;
  maxBatches: number;
  maxMemoryBytes: number;
  env: Readonly<Record<string, string | undefined>>;
  /** Finds how large batches should be; without it they grow to the manifest's limit. */
  calibrator: Pick<Calibrator, 'calibrate' | 'measure'> | undefined;
  clock: Clock;
  metrics: WorkerMetrics;
  onRestart: (restart: { cause: string; detail?: string }) => void;
  /** It was measured while serving: not yet at its start, or what it serves had drifted from the curve. */
  onRecalibrated: (calibration: Calibration) => void;
}

/** One version of a model on this worker: its runners, and the batcher before them. */
export class ServedModelVersion implements ServedVersion {
  readonly #options: ServedModelVersionOptions;
  readonly #manifest: ModelManifest;
  readonly #pool: RunnerPool;
  readonly #batcher: DynamicBatcher;
  #descriptor: ModelDescriptor;
  #calibration: Calibration | undefined;
  #isBatchInvariant: boolean | undefined;
  #recalibration: Recalibration | undefined;
  #origin: ServedVersion['origin'] | undefined;

  private constructor(options: ServedModelVersionOptions) {
    this.#options = options;
    const { manifest, metrics, clock } = options;
    this.#manifest = manifest;
    this.#descriptor = describeModel(manifest);
    const labels = { model: manifest.name, version: manifest.version };
    this.#pool = new RunnerPool({
      folder: options.folder,
      manifest,
      instances: options.instances,
      intraOpNumThreads: options.intraOpNumThreads,
      startTimeoutMs: options.startTimeoutMs,
      batchTimeoutMs: options.batchTimeoutMs,
      maxBatches: options.maxBatches,
      maxMemoryBytes: options.maxMemoryBytes,
      // A runner that was killed is back long before this; one that cannot start must not hold jobs for ever.
      readyTimeoutMs: options.startTimeoutMs,
      env: options.env,
      onRestart: (restart) => {
        metrics.runnerRestarts.inc({ ...labels, cause: restart.cause });
        options.onRestart(restart);
      },
    });
    const isolation = new RowIsolation({
      runner: {
        run: (rows, batch) => this.#serve(rows, batch),
        probe: (probe) => this.#pool.probe(probe),
      },
      clock,
      onSizeLimit: (rows) => metrics.batchMemoryLimit.set(labels, rows ?? 0),
    });
    this.#batcher = new DynamicBatcher({
      policy: manifest.batching,
      maxConcurrentBatches: options.instances,
      run: (rows, options) => isolation.run(rows, options),
      clock,
      lengths: lengthBucketsOf(manifest),
      onBatch: (rows, elements) => {
        metrics.batchRows.observe(labels, rows);
        if (!elements) return;
        metrics.batchElements.inc({ ...labels, kind: 'row' }, elements.own);
        metrics.batchElements.inc({ ...labels, kind: 'padding' }, elements.padding);
      },
    });
  }

  /** Loads the model and proves it on its golden rows. @throws RunnerStartError saying why it cannot be served. */
  static async start(options: ServedModelVersionOptions): Promise<ServedModelVersion> {
    const version = new ServedModelVersion(options);
    await version.#pool.start();
    await version.#calibrate();
    await version.#measureInvariance();
    return version;
  }

  /** Another object when it says something new. */
  get descriptor(): ModelDescriptor {
    return this.#descriptor;
  }

  /** The same object for every result: the hashes in it are worth computing once. */
  get origin(): ServedVersion['origin'] {
    this.#origin ??= this.#readOrigin();
    return this.#origin;
  }

  get readyRunners(): number {
    return this.#pool.readyCount;
  }

  get pendingRows(): number {
    return this.#batcher.pendingRows;
  }

  get maxBatchSize(): number {
    return this.#batcher.maxBatchSize;
  }

  submit: ServedVersion['submit'] = (rows, options) => this.#batcher.submit(rows, options);

  stop(): Promise<void> {
    this.#recalibration?.stop();
    return this.#pool.stop();
  }

  async #serve(rows: readonly unknown[], options: BatchRunOptions): Promise<PoolBatch> {
    const batch = await this.#pool.run(rows, options);
    this.#recalibration?.observe(rows.length, measured(batch));
    return batch;
  }

  /** A version that cannot be measured serves all the same, with the limit of its manifest. */
  async #calibrate(): Promise<void> {
    const { calibrator, manifest, clock } = this.#options;
    const { calibrate, max_batch_size: limit } = manifest.batching;
    if (!calibrator || !calibrate || limit === 1) return;
    const calibration = await calibrator.calibrate(this.#calibrationSubject());
    if (calibration) this.#adopt(calibration);
    this.#recalibration = new Recalibration({
      calibration,
      measure: () => calibrator.measure({ ...this.#calibrationSubject(), isWanted: () => !this.#batcher.isIdle }),
      isIdle: () => this.#batcher.isIdle,
      onMeasured: (again) => {
        this.#adopt(again);
        this.#options.onRecalibrated(again);
      },
      clock,
    });
  }

  #calibrationSubject(): CalibrationSubject {
    const { manifest, folder, intraOpNumThreads } = this.#options;
    const { loaded } = this.#pool;
    if (!loaded) throw new Error('A version is measured before it is loaded. This is a bug.');
    return {
      manifest,
      intraOpNumThreads,
      runtime: loaded.runtime,
      readRows: async () => (await readGoldenRows(join(folder, manifest.golden.file))).map(({ input }) => input),
      run: async (rows) => measured(await this.#pool.run(rows)),
    };
  }

  #adopt(calibration: Calibration): void {
    this.#batcher.adopt(calibration);
    this.#calibration = calibration;
    this.#describe();
  }

  #describe(): void {
    const [calibration, isBatchInvariant] = [this.#calibration, this.#isBatchInvariant];
    this.#descriptor = describeModel(this.#manifest, { calibration, isBatchInvariant });
  }

  /** In batches as they come, where their size is known; one that cannot be measured serves all the same. */
  async #measureInvariance(): Promise<void> {
    const { manifest, folder, clock } = this.#options;
    if (manifest.batching.batch_invariant !== undefined) return;
    try {
      const rows = (await readGoldenRows(join(folder, manifest.golden.file))).map(({ input }) => input);
      const batchSize = this.#calibration?.max_batch_size ?? Math.min(8, this.maxBatchSize);
      this.#isBatchInvariant = await isBatchInvariant({ rows, batchSize, run: (some) => this.#pool.run(some), clock });
      this.#describe();
    } catch {
      // Nothing depends on it.
    }
  }

  #readOrigin(): ServedVersion['origin'] {
    const { name, version, artifact } = this.#manifest;
    const { loaded } = this.#pool;
    if (!loaded) throw new Error('A version serves before it is loaded. This is a bug.');
    return {
      model: name,
      version,
      artifact_sha256: artifact.sha256,
      preprocess_sha256: preprocessSha256(this.#manifest),
      decision_policy_sha256: decisionPolicySha256(this.#manifest),
      runtime: loaded.runtime,
      execution_provider: loaded.execution_provider,
    };
  }
}

function measured({ timings, cpu_ms }: PoolBatch): MeasuredBatch {
  return { computeMs: timings.preprocess_ms + timings.inference_ms + timings.postprocess_ms, cpuMs: cpu_ms };
}
