import { type JobStore, LANES, type LaneControls, laneState } from '@onqueue/shared';
import { Router } from 'express';
import type { EventReaders } from '../events/event-readers.ts';
import { otherMethods } from '../http/problem-handler.ts';
import type { JobWaiter } from '../job-waiter.ts';
import type { MemoryGuard } from '../memory-guard.ts';
import type { ApiMetrics } from '../metrics.ts';
import type { ModelCatalog } from '../model-catalog.ts';
import type { StoreHealth } from '../store-health.ts';

export interface OperationRoutesOptions {
  health: StoreHealth;
  memory: MemoryGuard;
  metrics: ApiMetrics;
  store: Pick<JobStore, 'backlog'>;
  lanes: Pick<LaneControls, 'states'>;
  catalog: ModelCatalog;
  waiter: JobWaiter;
  readers: EventReaders;
  isDraining: () => boolean;
}

/** How soon `/readyz` is worth asking again. */
const ASK_AGAIN_S = 1;

/** `/livez`, `/readyz` and `/metrics`. */
export function operationRoutes(options: OperationRoutesOptions): Router {
  const { health, metrics, isDraining } = options;
  const router = Router();
  // Alive means that the event loop turns: a Redis that is away is no reason to be restarted.
  router
    .route('/livez')
    .get((_request, response) => {
      response.json({ status: 'ok' });
    })
    .all(otherMethods('GET'));
  router
    .route('/readyz')
    .get(async (_request, response) => {
      const redis = await health.check();
      const status = isDraining() ? 'draining' : redis.status === 'ok' ? 'ready' : 'unready';
      if (status !== 'ready') response.status(503).set('Retry-After', String(ASK_AGAIN_S));
      response.json({ status, redis });
    })
    .all(otherMethods('GET'));
  router
    .route('/metrics')
    .get(async (_request, response) => {
      await refreshQueueGauges(options).catch(() => {
        // Redis is away: the process's own metrics are worth having all the more.
      });
      response.type(metrics.registry.contentType).send(await metrics.registry.metrics());
    })
    .all(otherMethods('GET'));
  return router;
}

async function refreshQueueGauges({
  metrics,
  memory,
  store,
  lanes,
  catalog,
  waiter,
  readers,
}: OperationRoutesOptions): Promise<void> {
  metrics.waiters.set(waiter.count);
  metrics.eventReaders.set(readers.count);
  metrics.storeUsed.set(memory.memory.usedBytes);
  metrics.storeMax.set(memory.memory.maxBytes);
  const models = new Set((await catalog.list()).map(({ descriptor }) => descriptor.name));
  await Promise.all(
    [...models].map(async (model) => {
      const backlog = await store.backlog(model);
      const states = await lanes.states(model);
      for (const lane of LANES) metrics.laneState.set({ model, lane }, laneState.options.indexOf(states[lane]));
      metrics.queueDepthJobs.set({ model }, backlog.jobs);
      metrics.queueDepthRows.set({ model }, backlog.rows);
      metrics.queueDepthBytes.set({ model }, backlog.bytes);
      for (const { lane, ageS } of backlog.oldestUnclaimed) metrics.oldestJobAge.set({ model, lane }, ageS);
    }),
  );
}
