import { randomBytes } from 'node:crypto';
import { availableParallelism, homedir, hostname, tmpdir } from 'node:os';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  armFaultPoints,
  BlobSweeper,
  type Config,
  ConfigError,
  circuitState,
  createSecretSeal,
  DeadlineSweeper,
  deriveSigningKey,
  endAtUncaughtErrors,
  JobPayloads,
  loadConfig,
  logError,
  PLATFORM_VERSION,
  parseWebhookSecret,
  partitionOf,
  systemClock,
  type Tracer,
  tenantReceiver,
  toJobView,
  traceContextOf,
  unknownSettings,
} from '@onqueue/shared';
import { openBlobStore } from '@onqueue/shared/blobs';
import {
  checkAtEveryConnect,
  closeRedis,
  connectRedis,
  listenForHalts,
  RedisBlobRegister,
  type RedisConnection,
  RedisJobProgress,
  RedisJobStore,
  RedisKeys,
  RedisModelRegistry,
  RedisResultCache,
  type RedisTarget,
  RedisWebhookDeliveries,
  RedisWebhookEndpoints,
  whenReady,
} from '@onqueue/shared/redis';
import { openTracer } from '@onqueue/shared/tracing';
import { type Logger, pino } from 'pino';
import { ByteRoom } from './byte-room.ts';
import { CalibrationCache, defaultCacheDir } from './calibration/calibration-cache.ts';
import { Calibrator } from './calibration/calibrator.ts';
import { coreBudgetWarning } from './core-budget.ts';
import { defaultMemoryLimitBytes } from './memory-limit.ts';
import { WorkerMetrics } from './metrics.ts';
import { filePolicyOf } from './models/model-file-policy.ts';
import { openModelSource } from './models/open-model-source.ts';
import type { GraphReader } from './onnx/graph-outline.ts';
import { createOperationsServer } from './operations-server.ts';
import { OutageLog } from './outage-log.ts';
import { keepRedisVigil } from './redis-vigil.ts';
import { RunnerProcess } from './runner/runner-process.ts';
import { NothingToServeError, Supervisor } from './supervisor.ts';
import { DeliveryLedger } from './webhooks/delivery-ledger.ts';
import { startWebhooks, type Webhooks } from './webhooks/index.ts';

/** How long handing jobs back may take: a few round trips to Redis, and the runners' end. */
const HAND_BACK_MS = 4000;

/** The worker process: supervisor, webhook dispatcher and the listener for probes. Waits for Redis for as long as it takes. */
async function main(): Promise<void> {
  const config = loadConfig(process.env);
  armFaultPoints(process.env);
  const worker = `${hostname()}-${process.pid}-${randomBytes(3).toString('hex')}`;
  const logger = pino({
    level: config.logLevel,
    base: { service: 'worker', worker, pid: process.pid },
    serializers: { err: logError },
  });
  endAtUncaughtErrors({ process, logger });
  for (const name of unknownSettings(process.env)) logger.warn({ name }, 'unknown setting; see docs/configuration.md');

  const tracer = await openTracer({
    endpoint: config.otlpEndpoint,
    service: 'onqueue-worker',
    version: PLATFORM_VERSION,
    instance: worker,
    onTrouble: (reason) => logger.warn({ reason }, 'tracing'),
  });
  const outages = new OutageLog({ logger, clock: systemClock });
  const redis = connectWorkerRedis(config, logger, outages);
  const keys = new RedisKeys(config.keyPrefix);
  const blobs = await openBlobStore(config, { redis, keys });
  const register = new RedisBlobRegister({ redis, keys });
  const payloads = new JobPayloads({
    blobs,
    register,
    inlineInputBytes: config.inlineInputBytes,
    inlineResultBytes: config.inlineResultBytes,
    timeoutMs: config.blobTimeoutMs,
  });
  const store = new RedisJobStore({
    redis,
    keys,
    partitions: config.partitions,
    retentionMs: config.retentionS * 1000,
    attempts: config.attempts,
    retryDelayMs: config.retryDelayMs,
    maxPredictions: config.maxPredictions,
    payloads,
  });
  const metrics = new WorkerMetrics();
  const cacheDir = config.cacheDir ?? defaultCacheDir(process.env);
  const memoryLimitBytes = config.runnerMemoryLimitBytes ?? defaultMemoryLimitBytes();
  // Not here: what a stranger's file makes of its reader is no matter of the process that holds the locks.
  const readGraph: GraphReader = (path) =>
    RunnerProcess.outline({
      path,
      intraOpNumThreads: 1,
      startTimeoutMs: config.runnerStartTimeoutMs,
      filePolicy: filePolicyOf(config),
      memoryLimitBytes,
      env: process.env,
    });
  const source = await openModelSource(config, { cacheDir, clock: systemClock, readGraph });
  const supervisor = new Supervisor({
    worker,
    source,
    readGraph,
    knownFolders: [
      { folder: cacheDir, name: 'cache' },
      { folder: fileURLToPath(new URL('../../..', import.meta.url)), name: '' },
      { folder: dirname(process.execPath), name: '' },
      { folder: tmpdir(), name: 'tmp' },
      { folder: homedir(), name: '~' },
    ],
    modelsPollMs: config.modelsPollMs,
    modelsSettleMs: config.modelsSettleMs,
    versionPolicy: config.versionPolicy,
    versionDrainMs: config.versionDrainS * 1000,
    modelMemoryBudgetBytes: config.modelMemoryBudgetBytes,
    coldStartTimeoutMs: config.coldStartTimeoutMs,
    models: config.models,
    instances: config.instances,
    intraOpNumThreads: config.intraOpThreads,
    execution: { providers: config.executionProviders, fallback: config.executionProviderFallback },
    gpuDevices: config.gpuDevices,
    batchTimeoutMs: config.batchTimeoutMs,
    runnerStartTimeoutMs: config.runnerStartTimeoutMs,
    runnerDepth: config.runnerDepth,
    runnerMaxBatches: config.runnerMaxBatches,
    runnerMaxMemoryBytes: config.runnerMaxMemoryBytes,
    runnerMemoryLimitBytes: memoryLimitBytes,
    filePolicy: filePolicyOf(config),
    lockDurationMs: config.lockDurationMs,
    stalledIntervalMs: config.stalledIntervalMs,
    jobSource: config.jobSource,
    retentionMs: config.retentionS * 1000,
    maxPredictions: config.maxPredictions,
    queueMetricsMinutes: config.queueMetricsMinutes,
    progressIntervalMs: config.progressIntervalMs,
    versionWaitMs: config.versionWaitS * 1000,
    unavailableWaitMs: config.unavailableWaitS * 1000,
    circuit: {
      strikes: config.circuitStrikes,
      errorPercent: config.circuitErrorPercent,
      minRows: config.circuitMinRows,
      windowMs: config.circuitWindowMs,
      openMs: config.circuitOpenMs,
      maxOpenMs: config.circuitMaxOpenMs,
    },
    retryBudget: { percent: config.retryBudgetPercent, floor: config.retryBudgetFloor },
    partitions: config.partitions,
    env: process.env,
    redis,
    keys,
    store,
    progress: new RedisJobProgress({ redis, keys }),
    payloads,
    payloadRoom: new ByteRoom(config.maxLoadedInputBytes),
    registry: new RedisModelRegistry({ redis, keys }),
    cache: new RedisResultCache({ redis, keys, partitionOf: (model) => partitionOf(model, config.partitions) }),
    onReusable: (partition) => sweeper.soon(partition),
    calibrator: calibratorOf(config, logger),
    clock: systemClock,
    metrics,
    logger,
    tracer,
    outages,
  });

  const subscriber = connectRedis(redisTarget(config), { kind: 'subscriber' }, (error) =>
    outages.warn(error, 'redis subscriber'),
  );
  const sweeper = new DeadlineSweeper({
    store,
    partitions: config.partitions,
    clock: systemClock,
    onError: (error) => outages.warn(error, 'deadlines could not be looked at'),
  });
  const blobSweeper = new BlobSweeper({
    blobs,
    register,
    partitions: config.partitions,
    clock: systemClock,
    onError: (error) => outages.warn(error, 'blobs could not be deleted'),
  });

  let phase: 'starting' | 'serving' | 'draining' = 'starting';
  const operations = createOperationsServer({
    registry: metrics.registry,
    onScrape: () => observeVersions(supervisor, metrics),
    readiness: async () => {
      const models = supervisor.versions.map(({ descriptor, readyRunners }) => ({
        model: descriptor.name,
        version: descriptor.version,
        ready_runners: readyRunners,
      }));
      const isServing = phase === 'serving' && supervisor.isTold && supervisor.hasWork;
      return { isReady: isServing, detail: { status: isServing ? 'ready' : phase, redis: redis.status, models } };
    },
  });
  operations.on('error', (error: NodeJS.ErrnoException) => {
    const remedy =
      error.code === 'EADDRINUSE' ? ` Port ${config.workerPort} is in use: set ONQUEUE_WORKER_PORT to a free one.` : '';
    logger.fatal(`Cannot listen on ${config.workerHost}:${config.workerPort}: ${error.message}.${remedy}`);
    process.exit(1);
  });
  operations.listen(config.workerPort, config.workerHost);

  let webhooks: Webhooks | undefined;
  const stop = async (signal: NodeJS.Signals) => {
    if (phase === 'draining') return;
    phase = 'draining';
    logger.info({ signal }, 'draining');
    const handBack = setTimeout(() => {
      logger.warn('the drain takes too long: handing the rest back to the queue');
      supervisor.handBack();
    }, config.workerDrainTimeoutMs);
    // Whatever hangs then, the process ends; what it held is taken up by another worker when its locks run out.
    const deadline = setTimeout(() => process.exit(0), config.workerDrainTimeoutMs + HAND_BACK_MS);
    const vigil = keepRedisVigil({
      ping: () => redis.ping(),
      isIdle: () => supervisor.isIdle && (webhooks?.isIdle ?? true),
      clock: systemClock,
    });
    void vigil.isPointless.then(() => {
      logger.warn('nothing is in hand and Redis does not answer: stopping without it');
      process.exit(0);
    });
    sweeper.stop();
    blobSweeper.stop();
    await Promise.all([supervisor.drain(), webhooks?.close()]);
    vigil.end();
    clearTimeout(handBack);
    clearTimeout(deadline);
    operations.close();
    operations.closeAllConnections();
    await Promise.all([closeRedis(redis), closeRedis(subscriber), blobs.close(), tracer?.close()]);
    logger.info('stopped');
    // Nothing is left to be done; timers that still run must not keep the process alive.
    process.exit(0);
  };
  process.on('SIGTERM', (signal) => void stop(signal));
  process.on('SIGINT', (signal) => void stop(signal));

  const begin = async () => {
    await whenReady(redis);
    if (phase !== 'starting') return;
    await listenForHalts({
      redis: subscriber,
      keys,
      partitions: config.partitions,
      onHalt: (ended) => supervisor.halt(ended),
    });
    await supervisor.start();
  };
  // Told to stop meanwhile, it closes what a start still uses; that is no failure to start.
  await begin().catch((error: unknown) => {
    if (phase === 'starting') throw error;
  });
  if (phase !== 'starting') return;
  sweeper.start();
  blobSweeper.start();
  if (config.webhookSecret === undefined) {
    logger.warn('no ONQUEUE_WEBHOOK_SECRET: this worker delivers no webhooks');
  } else {
    webhooks = startConfiguredWebhooks({
      config,
      redis,
      keys,
      store,
      metrics,
      logger,
      tracer,
      outages,
      secret: config.webhookSecret,
    });
  }
  phase = 'serving';
  const overCores = coreBudgetWarning({
    ...config,
    versions: supervisor.versions.length,
    cores: availableParallelism(),
  });
  if (overCores) logger.warn(overCores);
  logger.info({ models: supervisor.versions.length }, 'serving');
}

function redisTarget({ redisUrl, redisCluster }: Config): RedisTarget {
  return { url: redisUrl, isCluster: redisCluster };
}

function calibratorOf({ calibrationBudgetMs, cacheDir }: Config, logger: Logger): Calibrator | undefined {
  if (calibrationBudgetMs === 0) return undefined;
  return new Calibrator({
    cache: new CalibrationCache({ cacheDir: cacheDir ?? defaultCacheDir(process.env) }),
    budgetMs: calibrationBudgetMs,
    clock: systemClock,
    onError: ({ message }) => logger.warn(`batch sizes are measured anew at the next start: ${message}`),
  });
}

function connectWorkerRedis(config: Config, logger: Logger, outages: OutageLog): RedisConnection {
  const redis = connectRedis(redisTarget(config), { kind: 'worker' }, (error) =>
    outages.warn(error, 'redis connection'),
  );
  checkAtEveryConnect(redis, {
    onSuitable: (report) => {
      outages.over();
      logger.info(report, 'redis is ready');
    },
    onUnsuitable: (error) => {
      logger.fatal(error.message);
      process.exit(1);
    },
  });
  return redis;
}

interface WebhookParts {
  config: Config;
  redis: RedisConnection;
  keys: RedisKeys;
  store: RedisJobStore;
  metrics: WorkerMetrics;
  logger: Logger;
  tracer: Tracer | undefined;
  outages: OutageLog;
  secret: string;
}

function startConfiguredWebhooks({ config, redis, keys, store, metrics, ...parts }: WebhookParts): Webhooks {
  const partitions = Array.from({ length: config.partitions }, (_, partition) => partition);
  const onError = (error: Error) => parts.outages.warn(error, 'webhooks');
  const secret = parseWebhookSecret(parts.secret);
  const endpoints = new RedisWebhookEndpoints({
    redis,
    keys,
    partitions: config.partitions,
    seal: createSecretSeal(config.webhookMasterKeys),
    signingSeeds: config.webhookSigningKeys,
    maxAuditLines: config.maxAuditLines,
  });
  const deliveries = new RedisWebhookDeliveries({
    redis,
    keys,
    retentionMs: config.webhookRetentionS * 1000,
    maxDeliveries: config.webhookMaxDeliveries,
  });
  const ledger = new DeliveryLedger({
    keysOf: (tenant) => ({
      secrets: [secret],
      privateKeys: config.webhookSigningKeys.map((seed) => deriveSigningKey(seed, tenantReceiver(tenant))),
    }),
    endpoints,
    deliveries,
    disableAfterMs: config.webhookDisableAfterS * 1000,
    onDisabled: (endpoint) => parts.logger.warn(endpoint, 'webhook endpoint disabled'),
  });
  return startWebhooks({
    endpoints,
    deliveries,
    ledger,
    reconcile: () => endpoints.reconcile(),
    connection: redis,
    outboxKeys: [...partitions.map((partition) => keys.outbox(partition)), keys.fleetOutbox],
    queuePrefix: keys.bullPrefix(0),
    secret,
    version: PLATFORM_VERSION,
    guard: { allowCidrs: config.webhookAllowCidrs, allowHttp: config.webhookAllowHttp },
    schedule: { delaysMs: config.webhookScheduleMs },
    timeoutMs: config.webhookTimeoutMs,
    maxResponseBytes: config.webhookMaxResponseBytes,
    concurrency: config.webhookConcurrency,
    endpointLimits: {
      concurrency: config.webhookEndpointConcurrency,
      ratePerS: config.webhookEndpointRatePerS,
      circuitFailures: config.webhookCircuitFailures,
      circuitOpenMs: config.webhookCircuitOpenMs,
      pauseMs: config.webhookPauseMs,
    },
    isOrdered: config.webhookOrder === 'job',
    lockDurationMs: config.lockDurationMs,
    stalledIntervalMs: config.stalledIntervalMs,
    readJob: async (tenant, id) => {
      const job = await store.read(tenant, id);
      return job && { view: toJobView(job, config.publicUrl), trace: traceContextOf(job.request) };
    },
    log: parts.logger,
    tracer: parts.tracer,
    onError,
    onAttempt: ({ outcome, durationS, model, sinceEventS }) => {
      metrics.webhookDeliveries.inc({ outcome });
      metrics.webhookDuration.observe(durationS);
      if (outcome !== 'delivered' || model === undefined || sinceEventS === undefined) return;
      metrics.phaseDuration.observe({ model, phase: 'deliver' }, sinceEventS);
    },
  });
}

function observeVersions({ versions, residentBytes }: Supervisor, metrics: WorkerMetrics): void {
  const { runnersReady, pendingRows: rows, batchSizeLimit, circuitState: circuits, runnerMemoryHeadroom } = metrics;
  const { executionProviderRunners } = metrics;
  // Of versions that are gone nothing is said.
  for (const gauge of [runnersReady, rows, batchSizeLimit, circuits, runnerMemoryHeadroom, executionProviderRunners])
    gauge.reset();
  metrics.modelMemory.set(residentBytes);
  for (const version of versions) {
    const { descriptor, readyRunners, pendingRows, maxBatchSize, circuit, memoryHeadroomBytes } = version;
    const labels = { model: descriptor.name, version: descriptor.version };
    metrics.runnersReady.set(labels, readyRunners);
    if (version.startTimes) {
      metrics.runnerStart.set({ ...labels, phase: 'load' }, version.startTimes.load_ms / 1000);
      metrics.runnerStart.set({ ...labels, phase: 'warmup' }, version.startTimes.warmup_ms / 1000);
    }
    const { requested, runnersOn } = version.execution;
    for (const [used, runners] of runnersOn) {
      metrics.executionProviderRunners.set({ ...labels, requested, used }, runners);
    }
    metrics.pendingRows.set(labels, pendingRows);
    metrics.batchSizeLimit.set(labels, maxBatchSize);
    for (const state of circuitState.options)
      metrics.circuitState.set({ ...labels, state }, Number(circuit.state === state));
    if (memoryHeadroomBytes === undefined) metrics.runnerMemoryHeadroom.remove(labels);
    else metrics.runnerMemoryHeadroom.set(labels, memoryHeadroomBytes);
  }
}

main().catch((error: unknown) => {
  const isExpected = error instanceof ConfigError || error instanceof NothingToServeError;
  const { message, stack = message } = logError(error);
  console.error(isExpected ? message : stack);
  process.exit(1);
});
