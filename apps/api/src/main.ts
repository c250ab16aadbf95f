import { hostname } from 'node:os';
import {
  armFaultPoints,
  ConfigError,
  createSecretSeal,
  endAtUncaughtErrors,
  JobPayloads,
  loadConfig,
  logError,
  PLATFORM_VERSION,
  systemClock,
  unknownSettings,
} from '@onqueue/shared';
import { openBlobStore } from '@onqueue/shared/blobs';
import {
  checkAtEveryConnect,
  checkRedisServer,
  checkRedisWrites,
  closeRedis,
  connectRedis,
  RedisApiKeys,
  RedisAuditLog,
  RedisBlobRegister,
  RedisCompletionListener,
  RedisFileIndex,
  RedisJobIndex,
  RedisJobRemovals,
  RedisJobReservations,
  RedisJobStore,
  RedisKeys,
  RedisLaneControls,
  RedisModelRegistry,
  RedisQueuePlaces,
  RedisRateLimits,
  RedisTenants,
  RedisWebhookDeliveries,
  RedisWebhookEndpoints,
  readServerMemory,
} from '@onqueue/shared/redis';
import { openTracer } from '@onqueue/shared/tracing';
import { createApiLogger } from './api-logger.ts';
import { createApp } from './app.ts';
import { isAuthOn } from './auth/auth-mode.ts';
import { createFirstKey } from './auth/first-key.ts';
import { createHttpServer } from './http/http-server.ts';
import { ServerDrain } from './http/server-drain.ts';
import { MemoryGuard } from './memory-guard.ts';
import { StoreHealth } from './store-health.ts';
import { createWebhookPolicy } from './webhook-policy.ts';

/** The API process. Starts without Redis (requests are answered 503) and goes on by itself when it comes. */
async function main(): Promise<void> {
  const config = loadConfig(process.env);
  const isOn = isAuthOn(config);
  armFaultPoints(process.env);
  const logger = createApiLogger(config.logLevel);
  endAtUncaughtErrors({ process, logger });
  for (const name of unknownSettings(process.env)) logger.warn({ name }, 'unknown setting; see docs/configuration.md');

  const tracer = await openTracer({
    endpoint: config.otlpEndpoint,
    service: 'onqueue-api',
    version: PLATFORM_VERSION,
    instance: `${hostname()}-${process.pid}`,
    onTrouble: (reason) => logger.warn({ reason }, 'tracing'),
  });

  const onRedisError = (error: Error) => logger.warn({ err: error }, 'redis connection');
  const target = { url: config.redisUrl, isCluster: config.redisCluster };
  const redis = connectRedis(target, { kind: 'producer', timeoutMs: config.redisTimeoutMs }, onRedisError);
  const subscriber = connectRedis(target, { kind: 'subscriber' }, onRedisError);
  const keys = new RedisKeys(config.keyPrefix);
  const retentionMs = config.retentionS * 1000;
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
    retentionMs,
    attempts: config.attempts,
    retryDelayMs: config.retryDelayMs,
    maxPredictions: config.maxPredictions,
    indexedMetadata: config.indexedMetadata,
    payloads,
  });
  const { partitions, maxAuditLines, maxApiKeys: maxKeys, maxTenants } = config;
  const apiKeys = new RedisApiKeys({ redis, keys, maxKeys, maxAuditLines });
  const tenants = new RedisTenants({ redis, keys, partitions, maxTenants, maxAuditLines });
  checkAtEveryConnect(redis, {
    onSuitable: (report) => {
      logger.info(report, 'redis is ready');
      const print = (text: string) => process.stderr.write(`${text}\n`);
      const prepared = [tenants.reconcile(), isOn ? createFirstKey({ keys: apiKeys, print }) : undefined];
      // The next connect tries it again.
      Promise.all(prepared).catch((error: unknown) => logger.warn({ err: error }, 'keys and tenants'));
    },
    onUnsuitable: (error) => {
      logger.fatal(error.message);
      process.exit(1);
    },
  });

  const app = createApp({
    store,
    reservations: new RedisJobReservations({
      redis,
      keys,
      ttlMs: Math.min(config.idempotencyTtlS, config.retentionS) * 1000,
    }),
    index: new RedisJobIndex({ redis, keys, partitions: config.partitions, retentionMs }),
    removals: new RedisJobRemovals({ redis, keys, retentionMs, maxAuditLines: config.maxAuditLines }),
    places: new RedisQueuePlaces({ redis, keys }),
    lanes: new RedisLaneControls({
      redis,
      keys,
      partitions: config.partitions,
      retentionMs,
      maxAuditLines: config.maxAuditLines,
    }),
    registry: new RedisModelRegistry({
      redis,
      keys,
      maxAuditLines,
      onUnreadable: (text) =>
        logger.debug({ descriptor: text.slice(0, 200) }, 'descriptor of a newer version left out'),
    }),
    listener: new RedisCompletionListener({ redis: subscriber, keys }),
    memory: new MemoryGuard({
      read: () => readServerMemory(redis),
      limitPercent: config.memoryLimitPercent,
      clock: systemClock,
    }),
    health: new StoreHealth({
      check: async () => {
        const report = await checkRedisServer(redis);
        await checkRedisWrites(redis, keys.scratch(0));
        return report;
      },
    }),
    logger,
    tracer,
    limits: {
      maxBodyBytes: config.maxBodyBytes,
      maxJsonDepth: config.maxJsonDepth,
      maxJsonNodes: config.maxJsonNodes,
      maxJsonKeys: config.maxJsonKeys,
      maxRowsPerJob: config.maxRowsPerJob,
      maxWaitS: config.maxWaitS,
      maxWaiters: config.maxWaiters,
      listMaxLooks: config.listMaxLooks,
      maxJobsPerCall: config.maxJobsPerCall,
      maxEventReaders: config.maxEventReaders,
      eventsHeartbeatMs: config.eventsHeartbeatS * 1000,
      eventsMaxBufferBytes: config.eventsMaxBufferBytes,
      backlog: { maxJobs: config.backlogMaxJobs, maxRows: config.backlogMaxRows, maxBytes: config.backlogMaxBytes },
      maxQueueWaitS: config.maxQueueWaitS,
      request: config,
      files: config,
      maxMultipartParts: config.maxMultipartParts,
    },
    partitions: config.partitions,
    eventsPollMs: config.eventsPollMs,
    retentionMs,
    indexedMetadata: config.indexedMetadata,
    blobs,
    register,
    fileIndex: new RedisFileIndex({ redis, keys }),
    checkWebhook: createWebhookPolicy({
      isConfigured: config.webhookSecret !== undefined,
      allowHttp: config.webhookAllowHttp,
      allowCidrs: config.webhookAllowCidrs,
    }),
    webhooks: {
      endpoints: new RedisWebhookEndpoints({
        redis,
        keys,
        partitions: config.partitions,
        seal: createSecretSeal(config.webhookMasterKeys),
        signingSeeds: config.webhookSigningKeys,
        maxAuditLines,
      }),
      signingSeeds: config.webhookSigningKeys,
      maxEndpoints: config.webhookMaxEndpoints,
      secretOverlapS: config.webhookSecretOverlapS,
    },
    deliveries: new RedisWebhookDeliveries({
      redis,
      keys,
      retentionMs: config.webhookRetentionS * 1000,
      maxDeliveries: config.webhookMaxDeliveries,
    }),
    access: {
      isOn,
      keys: apiKeys,
      tenants,
      audit: new RedisAuditLog({ redis, keys, partitions }),
      cacheMs: config.keyCacheMs,
      keyOverlapS: config.keyOverlapS,
    },
    publicUrl: config.publicUrl,
    flightLeaseMs: config.flightLeaseS * 1000,
    rateLimits: new RedisRateLimits({ redis, keys }),
    version: PLATFORM_VERSION,
  });

  const server = createHttpServer(app.express, logger);
  const drain = new ServerDrain({
    server,
    delayMs: config.apiDrainDelayMs,
    timeoutMs: config.apiDrainTimeoutMs,
    onClosing: () => app.release(),
  });
  server.on('error', (error: NodeJS.ErrnoException) => {
    const remedy = error.code === 'EADDRINUSE' ? ` Port ${config.port} is in use: set ONQUEUE_PORT to a free one.` : '';
    logger.fatal(`Cannot listen on ${config.host}:${config.port}: ${error.message}.${remedy}`);
    process.exit(1);
  });
  server.listen(config.port, config.host, () => logger.info({ address: server.address() }, 'listening'));

  let isStopping = false;
  const stop = (signal: NodeJS.Signals) => {
    if (isStopping) return;
    isStopping = true;
    logger.info({ signal }, 'draining');
    app.turnAway();
    void drain
      .begin()
      .then(() => Promise.all([closeRedis(redis), closeRedis(subscriber), blobs.close(), tracer?.close()]))
      .then(() => logger.info('stopped'));
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
}

main().catch((error: unknown) => {
  console.error(error instanceof ConfigError ? error.message : logError(error));
  process.exit(1);
});
