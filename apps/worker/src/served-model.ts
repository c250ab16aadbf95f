import {
  artifactSha256,
  type Calibration,
  type Clock,
  decisionPolicySha256,
  describeModel,
  type ExecutionProvider,
  type ModelDescriptor,
  type ModelManifest,
  preprocessSha256,
  type ResultCache,
  RowFailure,
  rowSchema,
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
import { readTrialRows } from './models/golden-rows.ts';
import type { ModelFilePolicy } from './models/model-file-policy.ts';
import { CircuitBreaker, type CircuitPolicy, type CircuitTransition } from './resilience/circuit-breaker.ts';
import { FallbackChain, type FallbackChainOptions, type StandIn } from './resilience/fallback-chain.ts';
import { ResultMemory } from './resilience/result-memory.ts';
import { CPU_ALONE, type ExecutionPlan, executionPlanOf } from './runner/execution-plan.ts';
import { type PoolBatch, RunnerPool } from './runner/runner-pool.ts';
import type { LoadedModel } from './runner/runner-protocol.ts';

export interface ServedModelVersionOptions {
  folder: string;
  manifest: ModelManifest;
  instances: number;
  intraOpNumThreads: number;
  /** What the worker has its models computed by; the cpu unless given. The manifest goes before it. */
  execution?: ExecutionPlan | undefined;
  gpuDevices?: readonly number[] | undefined;
  /** Batches that a runner holds at most, with the one that it computes. */
  runnerDepth: number;
  batchTimeoutMs: number;
  startTimeoutMs: number;
  maxBatches: number;
  maxMemoryBytes: number;
  memoryLimitBytes: number;
  filePolicy: ModelFilePolicy;
  env: Readonly<Record<string, string | undefined>>;
  /** Finds how large batches should be; without it they grow to the manifest's limit. */
  calibrator: Pick<Calibrator, 'calibrate' | 'measure'> | undefined;
  circuit: CircuitPolicy;
  cache: ResultCache;
  standInOf: FallbackChainOptions['standInOf'];
  /** Names it where it keeps an answer. */
  worker: string;
  /** Answers cannot be kept or found. */
  onCacheError: (error: Error) => void;
  clock: Clock;
  metrics: WorkerMetrics;
  onCircuit: (transition: CircuitTransition) => void;
  onRestart: (restart: { cause: string; detail?: string }) => void;
  /** It was measured while serving: not yet at its start, or what it serves had drifted from the curve. */
  onRecalibrated: (calibration: Calibration) => void;
}

/** One version of a model on this worker: its runners, the batcher before them, and the circuit between. */
export class ServedModelVersion implements ServedVersion, StandIn {
  readonly #options: ServedModelVersionOptions;
  readonly #manifest: ModelManifest;
  readonly #pool: RunnerPool;
  readonly #batcher: DynamicBatcher;
  readonly circuit: CircuitBreaker;
  readonly fallbacks: FallbackChain;
  readonly memory: ResultMemory;
  #rowSchema: ReturnType<typeof rowSchema> | undefined;
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
      execution: executionPlanOf(manifest, options.execution ?? CPU_ALONE),
      gpuDevices: options.gpuDevices,
      depth: options.runnerDepth,
      startTimeoutMs: options.startTimeoutMs,
      batchTimeoutMs: options.batchTimeoutMs,
      maxBatches: options.maxBatches,
      maxMemoryBytes: options.maxMemoryBytes,
      memoryLimitBytes: options.memoryLimitBytes,
      filePolicy: options.filePolicy,
      // A runner that was killed is back long before this; one that cannot start must not hold jobs for ever.
      readyTimeoutMs: options.startTimeoutMs,
      env: options.env,
      onRestart: (restart) => {
        metrics.runnerRestarts.inc({ ...labels, cause: restart.cause });
        options.onRestart(restart);
        // Nothing is gained by waiting for the batch that finds it out.
        if (restart.cause === 'load_failed' && this.#pool.readyCount === 0) this.circuit.condemn(restart.detail);
      },
    });
    this.circuit = new CircuitBreaker({
      policy: options.circuit,
      clock,
      probe: () => this.#probe(),
      onTransition: (transition) => {
        metrics.circuitTransitions.inc({ ...labels, to: transition.to, cause: transition.cause ?? '' });
        options.onCircuit(transition);
      },
    });
    this.memory = new ResultMemory({
      manifest,
      origin: () => this.origin,
      cache: options.cache,
      worker: options.worker,
      onError: options.onCacheError,
    });
    this.fallbacks = new FallbackChain({
      manifest,
      memory: this.memory,
      cache: options.cache,
      standInOf: options.standInOf,
      onAnswered: (type, rows) => metrics.fallbackRows.inc({ ...labels, type }, rows),
      onError: options.onCacheError,
    });
    const isolation = new RowIsolation({
      runner: {
        run: (rows, batch) => this.#serve(rows, batch),
        probe: (probe) => this.#probeAfterFailure(probe),
      },
      clock,
      onSizeLimit: (rows) => metrics.batchMemoryLimit.set(labels, rows ?? 0),
    });
    this.#batcher = new DynamicBatcher({
      policy: manifest.batching,
      maxConcurrentBatches: options.instances,
      maxBatchesAhead: options.instances * (options.runnerDepth - 1),
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
    await version.memory.open();
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

  /** How many of the ready runners compute on which execution provider, and what was asked for. */
  get execution(): { requested: string; runnersOn: ReadonlyMap<ExecutionProvider, number> } {
    const { manifest, execution = CPU_ALONE } = this.#options;
    const runnersOn = new Map<ExecutionProvider, number>();
    for (const { execution_provider: name } of this.#pool.loadedRunners) {
      runnersOn.set(name, (runnersOn.get(name) ?? 0) + 1);
    }
    return { requested: executionPlanOf(manifest, execution).providers.join(','), runnersOn };
  }

  /** Of the newest runner. */
  get startTimes(): Pick<LoadedModel, 'load_ms' | 'warmup_ms'> | undefined {
    return this.#pool.loaded;
  }

  /** Why runners compute on the cpu in place of what was asked for, if one does. */
  get fallbackReason(): string | undefined {
    return this.#pool.loadedRunners.find((runner) => runner.fallback_reason)?.fallback_reason;
  }

  get memoryHeadroomBytes(): number | undefined {
    return this.#pool.memoryHeadroomBytes;
  }

  /** Of its runners, together. */
  get residentBytes(): number {
    return this.#pool.residentBytes;
  }

  get instances(): number {
    return this.#options.instances;
  }

  /** Whether no row waits and no batch is computed. */
  get isIdle(): boolean {
    return this.#batcher.isIdle;
  }

  get pendingRows(): number {
    return this.#batcher.pendingRows;
  }

  get maxBatchSize(): number {
    return this.#batcher.maxBatchSize;
  }

  submit: ServedVersion['submit'] = (rows, options) => this.#batcher.submit(rows, options);

  adapt: StandIn['adapt'] = (row) => {
    this.#rowSchema ??= rowSchema(this.#manifest);
    const { kind } = this.#manifest;
    const names = kind === 'tabular' ? this.#manifest.row.fields.map(({ name }) => name) : Object.keys(row);
    const parsed = this.#rowSchema.safeParse(Object.fromEntries(names.map((name) => [name, row[name]])));
    return parsed.success ? parsed.data : undefined;
  };

  stop(): Promise<void> {
    this.circuit.stop();
    this.#recalibration?.stop();
    return this.#pool.stop();
  }

  async #serve(rows: readonly unknown[], options: BatchRunOptions): Promise<PoolBatch> {
    const ticket = this.circuit.enter();
    // Also in the middle of a search for a guilty row, which would go on to kill or hang runners for as long as it takes.
    if (ticket === undefined) throw new RowFailure('model_unavailable', 'The model has failed too often of late.');
    const batch = await this.#pool.run(rows, options).catch((error: unknown) => {
      const { code, message } = error instanceof RowFailure ? error : { code: 'canceled' as const, message: '' };
      this.circuit.failed(ticket, { code, rows: rows.length, detail: message });
      throw error;
    });
    this.circuit.answered(ticket, batch.results);
    this.#recalibration?.observe(rows.length, measured(batch));
    return batch;
  }

  async #probeAfterFailure(options: { signal: AbortSignal }): Promise<void> {
    await this.#pool.probe(options).catch((error: unknown) => {
      if (error instanceof RowFailure && error.code === 'model_unavailable') this.circuit.condemn(error.message);
      throw error;
    });
  }

  /** For a circuit that is open: a runner that is not back yet is not waited for. */
  async #probe(): Promise<void> {
    if (this.#pool.readyCount === 0) throw new RowFailure('model_unavailable', 'No runner is ready.');
    await this.#pool.probe();
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
      executionProvider: loaded.execution_provider,
      readRows: () => readTrialRows(folder, manifest),
      run: async (rows) => measured(await this.#pool.run(rows, { isAlone: true })),
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
      const rows = await readTrialRows(folder, manifest);
      const batchSize = this.#calibration?.max_batch_size ?? Math.min(8, this.maxBatchSize);
      this.#isBatchInvariant = await isBatchInvariant({ rows, batchSize, run: (some) => this.#pool.run(some), clock });
      this.#describe();
    } catch {
      // Nothing depends on it.
    }
  }

  #readOrigin(): ServedVersion['origin'] {
    const { name, version } = this.#manifest;
    const { loaded } = this.#pool;
    if (!loaded) throw new Error('A version serves before it is loaded. This is a bug.');
    return {
      model: name,
      version,
      artifact_sha256: artifactSha256(this.#manifest),
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
