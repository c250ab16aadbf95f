import {
  type ApiKeys,
  type AuditLog,
  type BacklogLimits,
  type BlobRegister,
  type BlobStore,
  BlobSweeper,
  type CompletionListener,
  DeadlineSweeper,
  type DeliveryLog,
  type FileIndex,
  type JobIndex,
  type JobRemovals,
  type JobReservations,
  type JobStore,
  type LaneControls,
  type ModelRegistry,
  type QueuePlaces,
  type RateLimits,
  systemClock,
  type Tenants,
  type Tracer,
} from '@onqueue/shared';
import express, { type Express } from 'express';
import helmet from 'helmet';
import type { Logger } from 'pino';
import { authentication } from './auth/authentication.ts';
import { Authenticator } from './auth/authenticator.ts';
import { TenantDirectory } from './auth/tenant-directory.ts';
import { BacklogMonitor } from './backlog-monitor.ts';
import { EventReaders } from './events/event-readers.ts';
import { Files, type FilesOptions } from './files.ts';
import { eitherBody } from './http/either-body.ts';
import { jsonBody } from './http/json-body.ts';
import { multipartJob } from './http/multipart-job.ts';
import { notFound, problemHandler } from './http/problem-handler.ts';
import { protocolGuard } from './http/protocol-guard.ts';
import { requestContext } from './http/request-context.ts';
import { JobInputReader } from './job-inputs.ts';
import { JobWaiter } from './job-waiter.ts';
import { ListPruner } from './list-pruner.ts';
import type { MemoryGuard } from './memory-guard.ts';
import { ApiMetrics } from './metrics.ts';
import { ModelCatalog } from './model-catalog.ts';
import { openApiDocument } from './openapi/document.ts';
import type { RequestLimits } from './request-record.ts';
import { auditRoutes } from './routes/admin-audit.ts';
import { keyRoutes } from './routes/admin-keys.ts';
import { tenantRoutes } from './routes/admin-tenants.ts';
import { docsRoutes } from './routes/docs.ts';
import { fileRoutes } from './routes/files.ts';
import { jobRoutes } from './routes/jobs.ts';
import { laneRoutes } from './routes/lanes.ts';
import { modelVersionRoutes } from './routes/model-versions.ts';
import { modelRoutes } from './routes/models.ts';
import { openApiRoutes } from './routes/openapi.ts';
import { operationRoutes } from './routes/operations.ts';
import { webhookDeliveryRoutes } from './routes/webhook-deliveries.ts';
import { type WebhookEndpointRoutesOptions, webhookEndpointRoutes } from './routes/webhook-endpoints.ts';
import type { StoreHealth } from './store-health.ts';
import type { WebhookPolicy } from './webhook-policy.ts';

export interface AppOptions {
  store: JobStore;
  reservations: JobReservations;
  index: JobIndex;
  removals: JobRemovals;
  places: QueuePlaces;
  lanes: LaneControls;
  registry: ModelRegistry;
  listener: CompletionListener;
  health: StoreHealth;
  memory: MemoryGuard;
  logger: Logger;
  /** Undefined: no spans are recorded. */
  tracer?: Tracer | undefined;
  limits: {
    maxBodyBytes: number;
    maxJsonDepth: number;
    maxJsonNodes: number;
    maxJsonKeys: number;
    maxRowsPerJob: number;
    maxWaitS: number;
    maxWaiters: number;
    listMaxLooks: number;
    maxJobsPerCall: number;
    maxEventReaders: number;
    eventsHeartbeatMs: number;
    eventsMaxBufferBytes: number;
    backlog: BacklogLimits;
    maxQueueWaitS: number;
    request: RequestLimits;
    files: FilesOptions['limits'];
    maxMultipartParts: number;
  };
  partitions: number;
  eventsPollMs: number;
  retentionMs: number;
  indexedMetadata: readonly string[];
  blobs: BlobStore;
  register: BlobRegister;
  fileIndex: FileIndex;
  checkWebhook: WebhookPolicy;
  webhooks: Pick<WebhookEndpointRoutesOptions, 'endpoints' | 'signingSeeds' | 'maxEndpoints' | 'secretOverlapS'>;
  deliveries: DeliveryLog;
  access: AccessOptions;
  publicUrl: string | undefined;
  flightLeaseMs: number;
  rateLimits: RateLimits;
  /** Of the platform. */
  version: string;
}

/** Who may ask, and who they are. */
export interface AccessOptions {
  /** Whether requests need a key. */
  isOn: boolean;
  keys: ApiKeys;
  tenants: Tenants;
  audit: AuditLog;
  cacheMs: number;
  keyOverlapS: number;
}

export interface App {
  express: Express;
  /** `/readyz` is red from here on; all else goes on. */
  turnAway(): void;
  /** Stops what runs beside requests, and lets go of everybody who waits. */
  release(): void;
}

/** The API without its listener, so that tests and `main.ts` start the same thing. */
export function createApp(options: AppOptions): App {
  const { store, registry, listener, health, memory, logger, limits, deliveries, publicUrl } = options;
  const metrics = new ApiMetrics();
  const catalog = new ModelCatalog({ registry });
  const waiter = new JobWaiter({ store, listener, maxWaiters: limits.maxWaiters });
  const readers = new EventReaders({ max: limits.maxEventReaders });
  const backlogMonitor = new BacklogMonitor({ store, catalog });
  const sweeper = new DeadlineSweeper({
    store,
    partitions: options.partitions,
    clock: systemClock,
    onError: () => {
      // Redis is away: requests say so; the next sweep comes anyway.
    },
  });
  const pruner = new ListPruner({ index: options.index, partitions: options.partitions, clock: systemClock });
  const blobSweeper = new BlobSweeper({
    blobs: options.blobs,
    register: options.register,
    partitions: options.partitions,
    clock: systemClock,
    onError: (error) => logger.warn({ err: error }, 'blobs could not be deleted'),
  });
  const json = {
    maxBytes: limits.maxBodyBytes,
    maxDepth: limits.maxJsonDepth,
    maxNodes: limits.maxJsonNodes,
    maxKeys: limits.maxJsonKeys,
  };
  const readBody = jsonBody(json);
  const { access } = options;
  const recent = { ttlMs: access.cacheMs, clock: systemClock };
  const directory = new TenantDirectory({ tenants: access.tenants, ...recent });
  const authenticator = access.isOn ? new Authenticator({ keys: access.keys, ...recent }) : undefined;
  const files = new Files({
    index: options.fileIndex,
    blobs: options.blobs,
    register: options.register,
    limits: limits.files,
    storageOf: async (tenant) => (await directory.read(tenant)).storage,
  });
  let isDraining = false;

  const app = express();
  app.disable('etag');
  app.set('query parser', 'simple');
  app.use(helmet());
  app.use(requestContext({ logger, metrics, tracer: options.tracer }));
  app.use(protocolGuard);
  if (authenticator) app.use(authentication(authenticator));
  app.use(
    operationRoutes({
      health,
      memory,
      metrics,
      store,
      lanes: options.lanes,
      catalog,
      waiter,
      readers,
      isDraining: () => isDraining,
    }),
  );
  app.use(
    fileRoutes({ files, memory, readBody, publicUrl }),
    jobRoutes({
      store,
      reservations: options.reservations,
      tenants: directory,
      index: options.index,
      removals: options.removals,
      places: options.places,
      retentionMs: options.retentionMs,
      indexedMetadata: options.indexedMetadata,
      listMaxLooks: limits.listMaxLooks,
      maxJobsPerCall: limits.maxJobsPerCall,
      listener,
      readers,
      pollMs: options.eventsPollMs,
      heartbeatMs: limits.eventsHeartbeatMs,
      maxBufferBytes: limits.eventsMaxBufferBytes,
      catalog,
      waiter,
      backlogMonitor,
      memory,
      metrics,
      readBody: [eitherBody(multipartJob({ ...json, maxParts: limits.maxMultipartParts }), readBody)],
      partitions: options.partitions,
      backlogLimits: limits.backlog,
      inputs: new JobInputReader({ files, limits: { ...json, maxRowsPerJob: limits.maxRowsPerJob } }),
      maxWaitS: limits.maxWaitS,
      requestLimits: limits.request,
      checkWebhook: options.checkWebhook,
      deliveries,
      publicUrl,
      flightLeaseMs: options.flightLeaseMs,
      maxQueueWaitS: limits.maxQueueWaitS,
      rateLimits: options.rateLimits,
    }),
    webhookEndpointRoutes({ ...options.webhooks, checkWebhook: options.checkWebhook, readBody, publicUrl }),
    webhookDeliveryRoutes({ deliveries, store, readBody, publicUrl }),
  );
  app.use(modelRoutes({ catalog, lanes: options.lanes, publicUrl }));
  app.use(laneRoutes({ store, lanes: options.lanes, catalog, maxJobsPerCall: limits.maxJobsPerCall }));
  app.use(modelVersionRoutes({ registry, readBody, publicUrl }));
  app.use(
    tenantRoutes({ tenants: access.tenants, directory, readBody, publicUrl }),
    keyRoutes({ keys: access.keys, authenticator, overlapS: access.keyOverlapS, readBody, publicUrl }),
    auditRoutes({ audit: access.audit }),
  );
  app.use(openApiRoutes(openApiDocument({ version: options.version, publicUrl })));
  app.use(docsRoutes({ publicUrl }));
  app.use(notFound);
  app.use(problemHandler(logger, metrics));

  backlogMonitor.start();
  sweeper.start();
  blobSweeper.start();
  memory.start();
  pruner.start();
  return {
    express: app,
    turnAway() {
      isDraining = true;
    },
    release() {
      backlogMonitor.stop();
      sweeper.stop();
      blobSweeper.stop();
      memory.stop();
      pruner.stop();
      waiter.releaseAll();
      readers.releaseAll();
    },
  };
}
