import {
  type Clock,
  compareVersions,
  type FleetNews,
  type JobPayloads,
  type JobProgressLog,
  type JobStore,
  LANES,
  type ModelDescriptor,
  type ModelManifest,
  type ModelRegistry,
  partitionOf,
  type ResultCache,
  type Tracer,
  type VersionBeat,
  type VersionPolicy,
} from '@onqueue/shared';
import type { RedisConnection, RedisKeys } from '@onqueue/shared/redis';
import type { Logger } from 'pino';
import type { ByteRoom } from './byte-room.ts';
import type { Calibrator } from './calibration/calibrator.ts';
import { FleetReporter } from './fleet-reporter.ts';
import { HeldJobs } from './held-jobs.ts';
import { logJobEnd } from './job-log.ts';
import { JobScorer } from './job-scorer.ts';
import { traceRun } from './job-trace.ts';
import { type KnownFolder, withoutMachinePaths } from './machine-paths.ts';
import type { WorkerMetrics } from './metrics.ts';
import type { ManagedVersion, WholeVersion } from './models/managed-version.ts';
import { estimatedRunnerBytes } from './models/memory-estimate.ts';
import type { ModelFilePolicy } from './models/model-file-policy.ts';
import { ModelManager } from './models/model-manager.ts';
import type { ModelSource } from './models/model-source.ts';
import { PublishedModels } from './models/published-models.ts';
import { type RepositorySnapshot, RepositoryWatcher } from './models/repository-watcher.ts';
import { versionEvents } from './models/version-events.ts';
import type { GraphReader } from './onnx/graph-outline.ts';
import type { OutageLog } from './outage-log.ts';
import { withPayloads } from './payload-handler.ts';
import { ProgressReporter } from './progress-reporter.ts';
import { openPartitionSource } from './queue/batch/open-partition-source.ts';
import { claimAhead } from './queue/claim-ahead.ts';
import type { PartitionSource, ServedQueue } from './queue/job-source.ts';
import { ModelQueues } from './queue/model-queues.ts';
import type { CircuitPolicy, CircuitTransition } from './resilience/circuit-breaker.ts';
import { RetryBudget } from './resilience/retry-budget.ts';
import type { ExecutionPlan } from './runner/execution-plan.ts';
import { ServedModelVersion } from './served-model.ts';

export interface SupervisorOptions {
  worker: string;
  /** The model repository. */
  source: ModelSource;
  readGraph: GraphReader;
  /** Folders of this machine that messages may name, and what clients read in their place. */
  knownFolders: readonly KnownFolder[];
  /** How often it is looked at; 0: once. */
  modelsPollMs: number;
  modelsSettleMs: number;
  versionPolicy: VersionPolicy;
  versionDrainMs: number;
  modelMemoryBudgetBytes: number;
  coldStartTimeoutMs: number;
  /** Empty: every model of the repository. */
  models: readonly string[];
  instances: number;
  intraOpNumThreads: number;
  execution: ExecutionPlan;
  gpuDevices: readonly number[];
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
  /** Between two times that the progress of a job is told. */
  progressIntervalMs: number;
  /** How long a job may wait for a worker that has its version. */
  versionWaitMs: number;
  /** How many attempts of a model may be tried again. */
  retryBudget: { percent: number; floor: number };
  /** How long a job may wait for a version that fails. */
  unavailableWaitMs: number;
  circuit: CircuitPolicy;
  /** For models whose answers are given again, or that fall back to them. */
  cache: ResultCache;
  /** A job of such a model has ended: others may wait for its answers. */
  onReusable: (partition: number) => void;
  partitions: number;
  /** Handed to runners, of which they pass on a few harmless variables. */
  env: Readonly<Record<string, string | undefined>>;
  redis: RedisConnection;
  keys: RedisKeys;
  store: JobStore;
  progress: JobProgressLog;
  payloads: JobPayloads;
  /** For rows out of the blob store. */
  payloadRoom: ByteRoom;
  registry: ModelRegistry;
  /** Finds how large batches should be; undefined: as large as the manifests allow. */
  calibrator: Calibrator | undefined;
  clock: Clock;
  metrics: WorkerMetrics;
  logger: Logger;
  /** Undefined: no spans are recorded. */
  tracer: Tracer | undefined;
  outages: OutageLog;
}

/** There is nothing to serve; the message says what to mend. */
export class NothingToServeError extends Error {
  override readonly name = 'NothingToServeError';
}

/**
 * Owns everything between the queue and the runners: takes jobs of the models that its ModelManager has, has them scored and committed,
 * and tells the fleet of both.
 *
 * starting ── start() ──> serving ── drain() ──> drained. A drain may come at any time: what was being started then is
 * stopped with the rest. A supervisor that dies on the way loses nothing: its locks run out, and other workers take up
 * what it held.
 */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #manager: ModelManager<ServedModelVersion>;
  readonly #watcher: RepositoryWatcher;
  readonly #reporter: FleetReporter;
  readonly #queues: ModelQueues;
  readonly #held: HeldJobs;
  readonly #published: PublishedModels;
  #started: Promise<void> | undefined;
  #isServing = false;
  readonly #stopping = new AbortController();

  constructor(options: SupervisorOptions) {
    this.#options = options;
    const { clock, logger, metrics, outages } = options;
    this.#held = new HeldJobs({ clock });
    this.#published = new PublishedModels(options);
    this.#manager = new ModelManager({
      load: (version, { instances }) => this.#load(version, instances),
      instances: options.instances,
      policy: options.versionPolicy,
      budgetBytes: options.modelMemoryBudgetBytes,
      estimateBytes: estimatedRunnerBytes,
      coldStartTimeoutMs: options.coldStartTimeoutMs,
      drainMs: options.versionDrainMs,
      isPublished: (manifest) => this.#published.has(manifest),
      isBusy: (version) => this.#held.holds(version),
      hasOlder: (model, ageMs) => this.#hasOlder(model, ageMs),
      clock,
      events: versionEvents({
        logger,
        metrics,
        onChange: () => this.#changed(),
        onRetired: (version, { cause, reason }) =>
          this.#reporter.retire(version, { cause, reason: this.#toClients(reason) }),
      }),
    });
    this.#watcher = new RepositoryWatcher({
      source: options.source,
      readGraph: options.readGraph,
      models: options.models,
      pollMs: options.modelsPollMs,
      settleMs: options.modelsSettleMs,
      clock,
      onSnapshot: (snapshot) => this.#manager.apply(snapshot),
      onError: (error) => outages.warn(error, 'model repository'),
    });
    this.#reporter = new FleetReporter({
      ...options,
      versions: () => this.#beats(),
      reports: () =>
        this.#manager
          .reports()
          .map((report) => ({ ...report, reason: report.reason && this.#toClients(report.reason) })),
      descriptors: () => this.#descriptors(),
      onNews: (news) => this.#hear(news),
    });
    this.#queues = new ModelQueues({
      partitionOf: (model) => partitionOf(model, options.partitions),
      openPartition: (partition) => this.#openPartition(partition),
      queuesOf: (model) => this.#queuesOf(model),
      hasJobs: async (model) => (await options.store.backlog(model)).jobs > 0,
    });
  }

  /** @throws NothingToServeError when not one version could be loaded. */
  start(): Promise<void> {
    this.#started ??= this.#start();
    return this.#started;
  }

  async #start(): Promise<void> {
    if (this.#stopping.signal.aborted) return;
    await this.#published.read().catch((error: Error) => this.#options.outages.warn(error, 'published models'));
    const snapshot = await this.#firstLook();
    if (this.#stopping.signal.aborted) return;
    // Orders are heard before anything is loaded: what was unloaded stays so.
    await this.#reporter.start();
    this.#manager.apply(snapshot);
    await this.#manager.settled();
    if (this.#stopping.signal.aborted) return;
    this.#assertServing();
    this.#warnOfMissingStandIns();
    this.#isServing = true;
    await this.#reporter.tell();
    await this.#queues.serve(this.#manager.models);
  }

  /** Those that are in memory. */
  get versions(): readonly ServedModelVersion[] {
    return this.#manager.served;
  }

  get managed(): readonly ManagedVersion[] {
    return this.#manager.versions;
  }

  get residentBytes(): number {
    return this.#manager.residentBytes;
  }

  /** Whether it can take jobs of a version, or was told to take none. */
  get hasWork(): boolean {
    const isTaking = this.versions.some(({ readyRunners }) => readyRunners > 0);
    return isTaking || this.managed.every(({ state }) => state === 'unloaded');
  }

  /** Whether Redis has lately heard which versions it serves. */
  get isTold(): boolean {
    return this.#reporter.isTold;
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
    this.#watcher.stop();
    const gone = this.#reporter.end();
    // Jobs that are held for a circuit go back at once.
    for (const { circuit } of this.versions) circuit.stop();
    await this.#queues.drain();
    // Why it could not start is told by whoever started it.
    const started = this.#started?.catch(() => undefined);
    await Promise.all([this.#manager.stop(), started]);
    await gone;
  }

  /** For a drain that takes too long: what is held goes back to the queue, to be taken up by others at once. */
  handBack(): void {
    this.#held.handBackAll();
  }

  async #firstLook(): Promise<RepositorySnapshot> {
    const { source } = this.#options;
    try {
      return await this.#watcher.start();
    } catch (error) {
      throw new NothingToServeError(
        `The model repository ${source.location} cannot be read (ONQUEUE_MODELS_DIR): ${(error as Error).message}`,
      );
    }
  }

  /** One that was told to serve nothing waits for better orders. */
  #assertServing(): void {
    const { source, models } = this.#options;
    if (this.#manager.models.length > 0 || this.managed.some(({ state }) => state === 'unloaded')) return;
    const named = models.length > 0 ? ` (ONQUEUE_MODELS=${models.join(',')})` : '';
    throw new NothingToServeError(`No model in ${source.location} can be served${named}; the lines above say why.`);
  }

  #load({ folder, manifest }: WholeVersion, instances: number): Promise<ServedModelVersion> {
    const { logger, outages } = this.#options;
    const { name: model, version } = manifest;
    return ServedModelVersion.start({
      ...this.#options,
      folder,
      manifest,
      instances,
      startTimeoutMs: this.#options.runnerStartTimeoutMs,
      maxBatches: this.#options.runnerMaxBatches,
      maxMemoryBytes: this.#options.runnerMaxMemoryBytes,
      memoryLimitBytes: this.#options.runnerMemoryLimitBytes,
      standInOf: (name, of) => this.#standInOf(name, of),
      onCacheError: (error) => outages.warn(error, 'kept results', { model, version }),
      onCircuit: (transition) => this.#onCircuit(manifest, transition),
      onRestart: (restart) => logger.warn({ model, version, ...restart }, 'runner restarted'),
      onRecalibrated: ({ max_batch_size: batch_size_limit }) =>
        logger.info({ model, version, batch_size_limit }, 'batch sizes measured while serving'),
    });
  }

  /** A version came, went, or is another than before. */
  #changed(): void {
    this.#reporter.changed();
    this.#serveQueues();
  }

  #serveQueues(): void {
    if (!this.#isServing || this.#stopping.signal.aborted) return;
    this.#queues.serve(this.#manager.models).catch((error: Error) => this.#options.outages.warn(error, 'queues'));
  }

  #hear({ orders }: FleetNews): void {
    if (this.#stopping.signal.aborted) return;
    this.#manager.obey(orders);
    // Queues that were to be closed when they are empty may be so now.
    this.#serveQueues();
  }

  async #openPartition(partition: number): Promise<PartitionSource | undefined> {
    const { metrics, logger, outages, tracer } = this.#options;
    return openPartitionSource({
      ...this.#options,
      kind: this.#options.jobSource,
      partition,
      onFenced: (job) => {
        this.#held.release(job);
        metrics.commitsFenced.inc({ model: job.model });
        logger.warn(
          { job_id: job.id, attempt: job.attempt },
          'result discarded: another attempt holds the job or it has ended',
        );
      },
      onCommitted: (job, outcome) => {
        const storeMs = this.#held.release(job);
        logJobEnd({ logger, metrics }, job, outcome, storeMs);
        if (tracer) traceRun(tracer, job, outcome, storeMs);
        if (this.#manager.get(job.model, job.version)?.memory.isReusing) this.#options.onReusable(job.partition);
      },
      onError: (error) => outages.warn(error, 'queue', { partition }),
      onUnproven: (reason) =>
        logger.warn({ partition, reason }, 'batch source does not work here; using the stock one'),
      signal: this.#stopping.signal,
    });
  }

  #queuesOf(model: string): ServedQueue[] {
    const { worker, logger, metrics, clock, retryBudget, outages } = this.#options;
    const payloads = {
      payloads: this.#options.payloads,
      room: this.#options.payloadRoom,
      onError: (error: Error) => outages.warn(error, 'blob store', { model }),
    };
    const progress = new ProgressReporter({
      log: this.#options.progress,
      clock,
      everyMs: this.#options.progressIntervalMs,
      onError: (error) => outages.warn(error, 'progress could not be told', { model }),
    });
    const scorer = new JobScorer({
      versions: { get: (version) => this.#manager.get(model, version) },
      summon: (version, halt) => this.#manager.summon(model, version, halt),
      isGone: (version) => this.#isGone(model, version),
      toClients: (text) => this.#toClients(text),
      worker,
      versionWaitMs: this.#options.versionWaitMs,
      unavailableWaitMs: this.#options.unavailableWaitMs,
      retries: new RetryBudget({ ...retryBudget, clock }),
      onRetryRefused: () => metrics.retriesRefused.inc({ model }),
      onBug: (error, job) => logger.error({ err: error, job_id: job.id, request_id: job.request.request_id }, 'bug'),
    });
    const versions = this.managed.filter(({ name, manifest }) => name === model && manifest);
    const { concurrency, bulkRows } = claimAhead(versions, this.#options);
    return LANES.map((lane) => ({
      model,
      lane,
      concurrency,
      ...(lane === 'bulk' ? { rows: bulkRows } : {}),
      handler: (job, attempt) =>
        this.#held.hold(job, (halt) =>
          progress.follow(job, (report) =>
            withPayloads(payloads, (loaded, tried) => scorer.score(loaded, tried, halt, report))(job, attempt),
          ),
        ),
    }));
  }

  /** What is told beyond this machine names files as the repository does. */
  #toClients(text: string): string {
    const { source, knownFolders } = this.#options;
    const ofVersions = this.managed.flatMap(({ name, version, watched, current }) =>
      [watched, current].flatMap((found) =>
        found?.status === 'whole' ? { folder: found.folder, name: `${name}/${version}` } : [],
      ),
    );
    return withoutMachinePaths(text, [...ofVersions, { folder: source.location, name: '' }, ...knownFolders]);
  }

  async #isGone(name: string, version: string): Promise<boolean> {
    return !this.#manager.isAwaited({ name, version }) && (await this.#reporter.isGone({ name, version }));
  }

  /** Not being able to tell is no reason to let a version go. */
  async #hasOlder(model: string, ageMs: number): Promise<boolean> {
    try {
      const { jobs, oldestUnclaimed } = await this.#options.store.backlog(model);
      return jobs > 0 && oldestUnclaimed.some(({ ageS }) => ageS * 1000 > ageMs);
    } catch {
      return true;
    }
  }

  #standInOf(name: string, version?: string): ServedModelVersion | undefined {
    return this.versions
      .filter(({ descriptor }) => descriptor.name === name && (version ?? descriptor.version) === descriptor.version)
      .toSorted((a, b) => compareVersions(b.descriptor.version, a.descriptor.version))[0];
  }

  /** A stand-in that is not there is found missing when it is needed, which is too late. */
  #warnOfMissingStandIns(): void {
    for (const { descriptor, fallbacks } of this.versions) {
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
    this.#reporter.changed();
  }

  #beats(): VersionBeat[] {
    return this.versions.map(({ descriptor: { name, version }, readyRunners, circuit }) => ({
      name,
      version,
      isReady: readyRunners > 0 && circuit.state !== 'open',
      circuit: circuit.state,
      retryAfterMs: circuit.retryAfterMs,
    }));
  }

  #descriptors(): ModelDescriptor[] {
    return this.#manager.versions.flatMap((version) => {
      if (!this.#manager.isOffered(version)) return [];
      if (version.served) return version.served.descriptor;
      return version.manifest ? this.#published.describe(version.manifest) : [];
    });
  }
}
