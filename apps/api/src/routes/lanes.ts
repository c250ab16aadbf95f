import {
  type JobStore,
  type Lane,
  type LaneControls,
  type LaneState,
  lane,
  Problem,
  unknownModel,
} from '@onqueue/shared';
import { type Request, Router } from 'express';
import { actorOf } from '../auth/caller.ts';
import { otherMethods } from '../http/problem-handler.ts';
import { queryParameters } from '../http/query-parameters.ts';
import type { ModelCatalog } from '../model-catalog.ts';

export interface LaneRoutesOptions {
  store: Pick<JobStore, 'backlog'>;
  lanes: LaneControls;
  catalog: ModelCatalog;
  maxJobsPerCall: number;
}

const STATES = { pause: 'paused', resume: 'open', drain: 'draining' } as const satisfies Record<string, LaneState>;

/**
 * What operators see of the queues, `GET /admin/queues`, and do to a lane of a model: `POST
 * /admin/models/:name/lanes/:lane/pause`, `resume`, `drain` and `purge`.
 */
export function laneRoutes({ store, lanes, catalog, maxJobsPerCall }: LaneRoutesOptions): Router {
  const router = Router();
  router
    .route('/admin/queues')
    .get(queryParameters(), async (_request, response) => {
      const models = new Set((await catalog.list()).map(({ descriptor }) => descriptor.name));
      const data = await Promise.all([...models].sort().map((model) => queueOf(model, { store, lanes })));
      response.set('Cache-Control', 'no-store').json({ object: 'list', data });
    })
    .all(otherMethods('GET'));
  for (const [action, state] of Object.entries(STATES)) {
    router
      .route(`/admin/models/:name/lanes/:lane/${action}`)
      .post(queryParameters(), async (request: Request<Params>, response) => {
        const { model, name } = await laneOf(catalog, request);
        await lanes.set(model, name, state, actorOf(response));
        response.json({ object: 'lane', model, lane: name, state });
      })
      .all(otherMethods('POST'));
  }
  router
    .route('/admin/models/:name/lanes/:lane/purge')
    .post(queryParameters(), async (request: Request<Params>, response) => {
      const { model, name } = await laneOf(catalog, request);
      const { purged, hasMore } = await lanes.purge(model, name, maxJobsPerCall, actorOf(response));
      response.json({ object: 'purge', model, lane: name, purged, has_more: hasMore });
    })
    .all(otherMethods('POST'));
  return router;
}

async function queueOf(model: string, { store, lanes }: Pick<LaneRoutesOptions, 'store' | 'lanes'>) {
  const [{ jobs, rows, bytes, oldestUnclaimed }, states] = await Promise.all([
    store.backlog(model),
    lanes.states(model),
  ]);
  return {
    object: 'queue',
    model,
    backlog: { jobs, rows, bytes },
    lanes: oldestUnclaimed.map((unclaimed) => ({
      lane: unclaimed.lane,
      state: states[unclaimed.lane],
      waiting_jobs: unclaimed.jobs,
      oldest_age_s: unclaimed.ageS,
    })),
  };
}

type Params = { name: string; lane: string };

/** @throws Problem model_not_found, not_found */
async function laneOf(catalog: ModelCatalog, { params }: Request<Params>): Promise<{ model: string; name: Lane }> {
  const parsed = lane.safeParse(params.lane);
  if (!parsed.success)
    throw new Problem('not_found', `There is no lane "${params.lane}"; lanes are ${lane.options.join(' and ')}.`);
  if ((await catalog.versionsOf(params.name)).length === 0) throw unknownModel(params.name);
  return { model: params.name, name: parsed.data };
}
