import {
  type Clock,
  decisionPolicySha256,
  describeModel,
  type ModelDescriptor,
  type ModelManifest,
  preprocessSha256,
} from '@onqueue/shared';
import { DynamicBatcher } from './batching/dynamic-batcher.ts';
import { RowIsolation } from './batching/row-isolation.ts';
import type { ServedVersion } from './job-scorer.ts';
import type { WorkerMetrics } from './metrics.ts';
import { RunnerPool } from './runner/runner-pool.ts';

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
  clock: Clock;
  metrics: WorkerMetrics;
  onRestart: (restart: { cause: string; detail?: string }) => void;
}

/** One version of a model on this worker: its runners, and the batcher before them. */
export class ServedModelVersion implements ServedVersion {
  readonly descriptor: ModelDescriptor;
  readonly #manifest: ModelManifest;
  readonly #pool: RunnerPool;
  readonly #batcher: DynamicBatcher;
  #origin: ServedVersion['origin'] | undefined;

  private constructor({ manifest, ...options }: ServedModelVersionOptions) {
    this.#manifest = manifest;
    this.descriptor = describeModel(manifest);
    const { metrics, clock } = options;
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
      runner: this.#pool,
      clock,
      onSizeLimit: (rows) => metrics.batchRowsLimit.set(labels, rows ?? 0),
    });
    this.#batcher = new DynamicBatcher({
      policy: manifest.batching,
      maxConcurrentBatches: options.instances,
      run: (rows, signal, giveWay) => isolation.run(rows, signal, giveWay),
      clock,
      onBatch: (rows) => metrics.batchRows.observe(labels, rows),
    });
  }

  /** Loads the model and proves it on its golden rows. @throws RunnerStartError saying why it cannot be served. */
  static async start(options: ServedModelVersionOptions): Promise<ServedModelVersion> {
    const version = new ServedModelVersion(options);
    await version.#pool.start();
    return version;
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
    return this.#manifest.batching.max_batch_size;
  }

  submit: ServedVersion['submit'] = (rows, options) => this.#batcher.submit(rows, options);

  stop(): Promise<void> {
    return this.#pool.stop();
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
