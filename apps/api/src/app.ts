import {
  type BacklogLimits,
  type BlobRegister,
  type BlobStore,
  BlobSweeper,
  type CompletionListener,
  DeadlineSweeper,
  type DeliveryLog,
  type FileIndex,
  type JobReservations,
  type JobStore,
  type ModelRegistry,
  systemClock,
} from '@onqueue/shared';
import express, { type Express } from 'express';
import helmet from 'helmet';
import type { Logger } from 'pino';
import { BacklogMonitor } from './backlog-monitor.ts';
import { Files, type FilesOptions } from './files.ts';
import { eitherBody } from './http/either-body.ts';
import { jsonBody } from './http/json-body.ts';
import { multipartJob } from './http/multipart-job.ts';
import { notFound, problemHandler } from './http/problem-handler.ts';
import { protocolGuard } from './http/protocol-guard.ts';
import { requestContext } from './http/request-context.ts';
import { JobInputReader } from './job-inputs.ts';
import { JobWaiter } from './job-waiter.ts';
import type { MemoryGuard } from './memory-guard.ts';
import { ApiMetrics } from './metrics.ts';
import { ModelCatalog } from './model-catalog.ts';
import { openApiDocument } from './openapi/document.ts';
import type { RequestLimits } from './request-record.ts';
import { docsRoutes } from './routes/docs.ts';
import { fileRoutes } from './routes/files.ts';
import { jobRoutes } from './routes/jobs.ts';
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
  registry: ModelRegistry;
  listener: CompletionListener;
  health: StoreHealth;
  memory: MemoryGuard;
  logger: Logger;
  limits: {
    maxBodyBytes: number;
    maxJsonDepth: number;
    maxJsonNodes: number;
    maxRowsPerJob: number;
    maxWaitS: number;
    maxWaiters: number;
    backlog: BacklogLimits;
    request: RequestLimits;
    files: FilesOptions['limits'];
    maxMultipartParts: number;
  };
  partitions: number;
  blobs: BlobStore;
  register: BlobRegister;
  fileIndex: FileIndex;
  checkWebhook: WebhookPolicy;
  webhooks: Pick<WebhookEndpointRoutesOptions, 'endpoints' | 'signingSeeds' | 'maxEndpoints' | 'secretOverlapS'>;
  deliveries: DeliveryLog;
  publicUrl: string | undefined;
  /** Of the platform. */
  version: string;
}

export interface App {
  express: Express;
  /** Stops what runs beside requests, and lets go of everybody who waits; `/readyz` is red from here on. */
  drain(): void;
}

/** The API without its listener, so that tests and `main.ts` start the same thing. */
export function createApp(options: AppOptions): App {
  const { store, registry, listener, health, memory, logger, limits, deliveries, publicUrl } = options;
  const metrics = new ApiMetrics();
  const catalog = new ModelCatalog({ registry });
  const waiter = new JobWaiter({ store, listener, maxWaiters: limits.maxWaiters });
  const backlogMonitor = new BacklogMonitor({ store, catalog });
  const sweeper = new DeadlineSweeper({
    store,
    partitions: options.partitions,
    clock: systemClock,
    onError: () => {
      // Redis is away: requests say so; the next sweep comes anyway.
    },
  });
  const blobSweeper = new BlobSweeper({
    blobs: options.blobs,
    register: options.register,
    partitions: options.partitions,
    clock: systemClock,
    onError: (error) => logger.warn({ err: error }, 'blobs could not be deleted'),
  });
  const json = { maxBytes: limits.maxBodyBytes, maxDepth: limits.maxJsonDepth, maxNodes: limits.maxJsonNodes };
  const readBody = jsonBody(json);
  const files = new Files({
    index: options.fileIndex,
    blobs: options.blobs,
    register: options.register,
    limits: limits.files,
  });
  let isDraining = false;

  const app = express();
  app.disable('etag');
  app.set('query parser', 'simple');
  app.use(helmet());
  app.use(requestContext({ logger, metrics }));
  app.use(protocolGuard);
  app.use(operationRoutes({ health, memory, metrics, store, catalog, waiter, isDraining: () => isDraining }));
  app.use(
    fileRoutes({ files, memory, readBody, publicUrl }),
    jobRoutes({
      store,
      reservations: options.reservations,
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
    }),
    webhookEndpointRoutes({ ...options.webhooks, checkWebhook: options.checkWebhook, readBody, publicUrl }),
    webhookDeliveryRoutes({ deliveries, store, readBody, publicUrl }),
  );
  app.use(modelRoutes({ catalog, publicUrl }));
  app.use(modelVersionRoutes({ registry, readBody, publicUrl }));
  app.use(openApiRoutes(openApiDocument({ version: options.version, publicUrl })));
  app.use(docsRoutes({ publicUrl }));
  app.use(notFound);
  app.use(problemHandler(logger, metrics));

  backlogMonitor.start();
  sweeper.start();
  blobSweeper.start();
  memory.start();
  return {
    express: app,
    drain() {
      isDraining = true;
      backlogMonitor.stop();
      sweeper.stop();
      blobSweeper.stop();
      memory.stop();
      waiter.releaseAll();
    },
  };
}
