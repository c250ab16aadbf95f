import {
  type Clock,
  compareVersions,
  type JobStore,
  LANES,
  type ModelDescriptor,
  type ModelManifest,
  type ModelRegistry,
  partitionOf,
  type ResultCache,
} from '@onqueue/shared';
import type { RedisConnection, RedisKeys } from '@onqueue/shared/redis';
import type { Logger } from 'pino';
import type { Calibrator } from './calibration/calibrator.ts';
import { HeldJobs } from './held-jobs.ts';
import { logJobEnd } from './job-log.ts';
import { JobScorer } from './job-scorer.ts';
import type { WorkerMetrics } from './metrics.ts';
import type { ModelFilePolicy } from './models/model-file-policy.ts';
import { scanModelRepository } from './models/model-repository.ts';
import type { OutageLog } from './outage-log.ts';
import { openJobSources } from './queue/batch/open-job-sources.ts';
import type { ServedQueue } from './queue/batch/queue-slot.ts';
import type { JobSource } from './queue/job-source.ts';
import type { CircuitPolicy, CircuitTransition } from './resilience/circuit-breaker.ts';
import { RetryBudget } from './resilience/retry-budget.ts';
import { RunnerProcess } from './runner/runner-process.ts';
import { ServedModelVersion } from './served-model.ts';

export interface SupervisorOptions {
  worker: string;
  modelsDir: string;
  /** Empty: every model of the repository. */
  models: readonly string[];
  instances: number;
  intraOpNumThreads: number;
  batchTimeoutMs: number;
  runnerStartTimeoutMs: number;
  runnerDepth: number;
  runnerMaxBatches: number;
  runnerMaxMemoryBytes: number;
  runnerMemoryLimitBytes: number;
  /** What model files may be. */
  filePolicy: ModelFilePolicy;
  lockDurationMs: number;
  stalledIntervalMs: number;
  jobSource: 'batch' | 'stock';
  /** As the store has them. */
  retentionMs: number;
  maxPredictions: number;
  queueMetricsMinutes: number;
  /** How long a job may wait for a worker that has its version. */
  versionWaitMs: number;
  /** How many attempts of a model may be tried again. */
  retryBudget: { percent: number; floor: number };
  /** How long a job may wait for a version that fails. */
  unavailableWaitMs: number;
  circuit: CircuitPolicy;
  /** For models that fall back to what they answered before. */
  cache: ResultCache;
  partitions: number;
  /** Handed to runners, of which they pass on a few harmless variables. */
  env: Readonly<Record<string, string | undefined>>;
  redis: RedisConnection;
  keys: RedisKeys;
  store: JobStore;
  registry: ModelRegistry;
  /** Finds how large batches should be; undefined: as large as the manifests allow. */
  calibrator: Calibrator | undefined;
  clock: Clock;
  metrics: WorkerMetrics;
  logger: Logger;
  outages: OutageLog;
}

/** How often a worker says which versions it serves, and for how long it is believed. */
const BEAT_MS = 2000;
const BEAT_TTL_MS = 7000;
/** How long a worker that ends tries to say so. */
const SAY_GONE_MS = 1000;

/** There is nothing to serve; the message says what to mend. */
export class NothingToServeError extends Error {
  override readonly name = 'NothingToServeError';
}

/**
 * Owns everything between the queue and the runners: loads the models, publishes them, takes their jobs, has them
 * scored and committed.
 *
 * starting ── start() ──> serving ── drain() ──> drained. A drain may come at any time: what was being started then is
 * stopped with the rest. A supervisor that dies on the way loses nothing: its locks run out, and other workers take up
 * what it held.
 */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #versions: ServedModelVersion[] = [];
  readonly #sources: JobSource[] = [];
  readonly #held: HeldJobs;
  readonly #published = new Set<ModelDescriptor>();
  #beat: NodeJS.Timeout | undefined;
  #started: Promise<void> | undefined;
  readonly #stopping = new AbortController();
  #toldAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#held = new HeldJobs({ clock: options.clock });
  }

  /** @throws NothingToServeError when not one version could be loaded. */
  start(): Promise<void> {
    this.#started ??= this.#start();
    return this.#started;
  }

  async #start(): Promise<void> {
    if (this.#stopping.signal.aborted) return;
    await this.#loadModels();
    this.#warnOfMissingStandIns();
    if (this.#stopping.signal.aborted) return;
    this.#beat = setInterval(() => void this.#sayReady(), BEAT_MS);
    await this.#sayReady();
    const names = [...new Set(this.#versions.map(({ descriptor }) => descriptor.name))];
    const partitionOfModel = (model: string) => partitionOf(model, this.#options.partitions);
    for (const partition of new Set(names.map(partitionOfModel))) {
      const models = names.filter((model) => partitionOfModel(model) === partition);
      await this.#startSources(partition, models);
    }
  }

  get versions(): readonly ServedModelVersion[] {
    return this.#versions;
  }

  /** Whether Redis has lately heard which versions it serves. */
  get isTold(): boolean {
    return this.#options.clock.now() - this.#toldAtMs < BEAT_TTL_MS;
  }

  /** Whether it holds no job: none is being computed, and none waits for its commit. */
  get isIdle(): boolean {
    return this.#held.isEmpty;
  }

  /** Drops a run that ended elsewhere, if this worker holds it. */
  halt(ended: { id: string; run: number }): void {
    this.#held.halt(ended);
  }

  /** Stops claiming, lets what was claimed end and be committed, then ends the runners. With Redis away it waits for it. */
  async drain(): Promise<void> {
    this.#stopping.abort();
    clearInterval(this.#beat);
    const gone = this.#sayGone();
    // Jobs that are held for a circuit go back at once.
    for (const { circuit } of this.#versions) circuit.stop();
    await Promise.all(this.#sources.map((source) => source.drain()));
    // Why it could not start is told by whoever started it.
    await this.#started?.catch(() => undefined);
    await Promise.all(this.#versions.map((version) => version.stop()));
    await gone;
  }

  /** For a drain that takes too long: what is held goes back to the queue, to be taken up by others at once. */
  handBack(): void {
    this.#held.handBackAll();
  }

  async #loadModels(): Promise<void> {
    const { modelsDir, models, logger, clock, metrics, env } = this.#options;
    const inspect = (path: string) =>
      RunnerProcess.inspect({
        path,
        intraOpNumThreads: this.#options.intraOpNumThreads,
        startTimeoutMs: this.#options.runnerStartTimeoutMs,
        memoryLimitBytes: this.#options.runnerMemoryLimitBytes,
        filePolicy: this.#options.filePolicy,
        env,
      });
    const entries = await scanModelRepository({ modelsDir, inspect }).catch((error: Error) => {
      throw new NothingToServeError(
        `The model repository ${modelsDir} cannot be read (ONQUEUE_MODELS_DIR): ${error.message}`,
      );
    });
    const wanted = entries.filter(({ manifest }) => !manifest || models.length === 0 || models.includes(manifest.name));
    await Promise.all(
      wanted.map(async ({ folder, manifest, error }) => {
        if (!manifest) {
          logger.error({ folder }, error.message);
          return;
        }
        const { name: model, version } = manifest;
        try {
          const served = await ServedModelVersion.start({
            folder,
            manifest,
            instances: this.#options.instances,
            intraOpNumThreads: this.#options.intraOpNumThreads,
            runnerDepth: this.#options.runnerDepth,
            batchTimeoutMs: this.#options.batchTimeoutMs,
            startTimeoutMs: this.#options.runnerStartTimeoutMs,
            maxBatches: this.#options.runnerMaxBatches,
            maxMemoryBytes: this.#options.runnerMaxMemoryBytes,
            memoryLimitBytes: this.#options.runnerMemoryLimitBytes,
            filePolicy: this.#options.filePolicy,
            env,
            calibrator: this.#options.calibrator,
            circuit: this.#options.circuit,
            cache: this.#options.cache,
            standInOf: (name, version) => this.#standInOf(name, version),
            onFallbackError: (error) => this.#options.outages.warn(error, 'results for fallbacks', { model, version }),
            clock,
            metrics,
            onCircuit: (transition) => this.#onCircuit(manifest, transition),
            onRestart: (restart) => logger.warn({ model, version, ...restart }, 'runner restarted'),
            onRecalibrated: ({ max_batch_size: batch_size_limit }) =>
              logger.info({ model, version, batch_size_limit }, 'batch sizes measured while serving'),
          });
          this.#versions.push(served);
          const { max_batch_size: limit } = manifest.batching;
          logger.info({ model, version, batch_size_limit: served.maxBatchSize, of: limit }, 'model is ready');
          if (!manifest.golden) {
            logger.warn(
              { model, version, folder },
              'no golden rows: nothing proves that rows are read as training did',
            );
          }
        } catch (cause) {
          logger.error({ model, version, folder }, `model cannot be served: ${(cause as Error).message}`);
        }
      }),
    );
    if (this.#versions.length === 0) {
      throw new NothingToServeError(
        `No model in ${modelsDir} can be served${models.length > 0 ? ` (ONQUEUE_MODELS=${models.join(',')})` : ''}; the lines above say why.`,
      );
    }
  }

  async #startSources(partition: number, models: readonly string[]): Promise<void> {
    const { metrics, logger, outages } = this.#options;
    const sources = await openJobSources({
      ...this.#options,
      kind: this.#options.jobSource,
      partition,
      queues: models.flatMap((model) => this.#queuesOf(model)),
      onFenced: (job) => {
        this.#held.release(job);
        metrics.commitsFenced.inc({ model: job.model });
        logger.warn(
          { job_id: job.id, attempt: job.attempt },
          'result discarded: another attempt holds the job or it has ended',
        );
      },
      onCommitted: (job, outcome) => logJobEnd({ logger, metrics }, job, outcome, this.#held.release(job)),
      onError: (error) => outages.warn(error, 'queue', { partition }),
      onUnproven: (reason) =>
        logger.warn({ partition, reason }, 'batch source does not work here; using the stock one'),
      signal: this.#stopping.signal,
    });
    if (this.#stopping.signal.aborted) {
      await Promise.all(sources.map((source) => source.drain()));
      return;
    }
    for (const source of sources) source.start();
    this.#sources.push(...sources);
  }

  #queuesOf(model: string): ServedQueue[] {
    const { worker, logger, metrics, clock, retryBudget } = this.#options;
    const versions = this.#versions.filter(({ descriptor }) => descriptor.name === model);
    const scorer = new JobScorer({
      versions: new Map(versions.map((version) => [version.descriptor.version, version])),
      worker,
      versionWaitMs: this.#options.versionWaitMs,
      unavailableWaitMs: this.#options.unavailableWaitMs,
      retries: new RetryBudget({ ...retryBudget, clock }),
      onRetryRefused: () => metrics.retriesRefused.inc({ model }),
      onBug: (error, job) => logger.error({ err: error, job_id: job.id, request_id: job.request.request_id }, 'bug'),
    });
    const maxBatchSize = Math.max(...versions.map((version) => version.maxBatchSize));
    return LANES.map((lane) => ({
      model,
      lane,
      concurrency: concurrencyFor(maxBatchSize, this.#options),
      ...(lane === 'bulk' ? { rows: bulkRowsFor(maxBatchSize, this.#options.instances) } : {}),
      handler: (job, attempt) => this.#held.hold(job, (halt) => scorer.score(job, attempt, halt)),
    }));
  }

  #standInOf(name: string, version?: string): ServedModelVersion | undefined {
    return this.#versions
      .filter(({ descriptor }) => descriptor.name === name && (version ?? descriptor.version) === descriptor.version)
      .toSorted((a, b) => compareVersions(b.descriptor.version, a.descriptor.version))[0];
  }

  /** A stand-in that is not there is found missing when it is needed, which is too late. */
  #warnOfMissingStandIns(): void {
    for (const { descriptor, fallbacks } of this.#versions) {
      for (const { name, version } of fallbacks.standIns) {
        if (this.#standInOf(name, version)) continue;
        const { name: model, version: of } = descriptor;
        this.#options.logger.warn(
          { model, version: of, fallback: { name, version } },
          'fallback is not served by this worker',
        );
      }
    }
  }

  /** Told at once: until the API knows, it accepts jobs that can only wait, or refuses those that could be computed. */
  #onCircuit({ name: model, version }: ModelManifest, { to, cause, detail }: CircuitTransition): void {
    const { logger } = this.#options;
    if (to === 'open')
      logger.error({ model, version, cause, detail }, 'circuit open: the model is left alone for a while');
    else
      logger.warn({ model, version }, to === 'closed' ? 'circuit closed: the model works again' : 'circuit half open');
    // Not while it starts, or ends.
    if (this.#beat && !this.#stopping.signal.aborted) void this.#sayReady();
  }

  /** Publishes what is not published yet and renews the lease; what a full Redis refuses is tried again at the next beat. */
  async #sayReady(): Promise<void> {
    const { registry, worker, outages } = this.#options;
    const states = this.#versions.map(({ descriptor: { name, version }, readyRunners, circuit }) => ({
      name,
      version,
      isReady: readyRunners > 0 && circuit.state !== 'open',
      circuit: circuit.state,
      retryAfterMs: circuit.retryAfterMs,
    }));
    try {
      await registry.beat(worker, states, BEAT_TTL_MS);
      this.#toldAtMs = this.#options.clock.now();
      for (const { descriptor } of this.#versions) {
        if (this.#published.has(descriptor)) continue;
        await registry.publish(descriptor);
        this.#published.add(descriptor);
      }
    } catch (error) {
      outages.warn(error as Error, 'readiness could not be told');
    }
  }

  /** A courtesy: what is not said is believed for some seconds more. */
  async #sayGone(): Promise<void> {
    const { registry, worker, clock, outages } = this.#options;
    const said = registry.beat(worker, [], BEAT_TTL_MS).catch((error: Error) => outages.warn(error, 'readiness'));
    const isEnough = new Promise<void>((resolve) => clock.setTimeout(resolve, SAY_GONE_MS));
    await Promise.race([said, isEnough]);
  }
}

/** All that a runner holds and one batch more, so that the next one is there when one ends; BullMQ's Worker gains nothing above 256. */
function concurrencyFor(maxBatchSize: number, options: { instances: number; runnerDepth: number }): number {
  return Math.min(256, Math.max(16, (options.runnerDepth + 1) * maxBatchSize * options.instances));
}

/** Bulk is claimed ahead by two batches a runner; of jobs that are larger than a batch two, so that one is there when one ends. */
function bulkRowsFor(maxBatchSize: number, instances: number): { max: number; minJobs: number } {
  return { max: Math.max(16, 2 * maxBatchSize * instances), minJobs: 2 * instances };
}
