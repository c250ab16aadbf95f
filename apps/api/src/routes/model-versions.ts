import {
  type FleetModel,
  type ModelRegistry,
  type ModelWant,
  modelVersion,
  Problem,
  unknownModel,
} from '@onqueue/shared';
import { type Request, type RequestHandler, type Response, Router } from 'express';
import { z } from 'zod';
import { actorOf } from '../auth/caller.ts';
import { otherMethods } from '../http/problem-handler.ts';
import { queryParameters } from '../http/query-parameters.ts';
import { validate } from '../http/validation.ts';
import { toVersionList, toVersionView } from '../model-version-view.ts';

export interface ModelVersionRoutesOptions {
  registry: Pick<ModelRegistry, 'versions' | 'order' | 'retire'>;
  readBody: readonly RequestHandler[];
  /** Makes the links absolute; without it they are paths. */
  publicUrl: string | undefined;
}

/** Which version is meant; none: the model as a whole. */
export const modelOrderRequest = z.strictObject({ version: modelVersion.optional() });

/** Names this process where workers name themselves: it takes no jobs, so it is in nobody's way. */
const NO_WORKER = '-';

/** What there is of a model, how far each version is, and the orders to load and unload them. */
export function modelVersionRoutes(options: ModelVersionRoutesOptions): Router {
  const { registry, readBody, publicUrl } = options;
  const router = Router();
  router
    .route('/models/:name/versions')
    .get(queryParameters(), async (request, response) => {
      const { name } = request.params;
      response.json(toVersionList(name, await knownModel(registry, name), publicUrl));
    })
    .all(otherMethods('GET'));
  router
    .route('/models/:name/versions/:version')
    .get(queryParameters(), async (request, response) => {
      const { name, version } = request.params;
      const fleet = await knownModel(registry, name);
      response.json(toVersionView(name, knownVersion(fleet, name, version), fleet, publicUrl));
    })
    .all(otherMethods('GET'));
  for (const want of ['load', 'unload'] as const) {
    router
      .route(`/models/:name/${want}`)
      .post(queryParameters(), whereThereIsOne(readBody), (request: Request, response: Response) =>
        order(options, want, request, response),
      )
      .all(otherMethods('POST'));
  }
  return router;
}

/** Written down, and done by the workers at their next beat; those that start later obey it too. */
async function order(
  { registry, publicUrl }: ModelVersionRoutesOptions,
  want: ModelWant,
  request: Request,
  response: Response,
): Promise<void> {
  const name = String(request.params.name);
  const { version } = validate(modelOrderRequest, request.body ?? {}, 'The order');
  const before = await knownModel(registry, name);
  if (version !== undefined) knownVersion(before, name, version);
  await registry.order({ name, version }, want, actorOf(response));
  if (want === 'unload') await retireAbandoned(registry, { name, version }, before);
  const fleet = await registry.versions(name);
  const base = `${publicUrl ?? ''}/models/${name}/versions`;
  response.status(202).location(version === undefined ? base : `${base}/${version}`);
  response.json(
    version === undefined
      ? toVersionList(name, fleet, publicUrl)
      : toVersionView(name, knownVersion(fleet, name, version), fleet, publicUrl),
  );
}

/** Versions that no worker has are nobody's to retire. */
async function retireAbandoned(
  registry: ModelVersionRoutesOptions['registry'],
  { name, version }: { name: string; version: string | undefined },
  fleet: FleetModel,
): Promise<void> {
  const retirement = { cause: 'unloaded', reason: 'It was unloaded by an operator.' } as const;
  for (const known of fleet.versions) {
    if (version !== undefined && known.version !== version) continue;
    if (known.descriptor) await registry.retire(NO_WORKER, { name, version: known.version }, retirement);
  }
}

/** @throws Problem model_not_found */
async function knownModel(registry: Pick<ModelRegistry, 'versions'>, name: string): Promise<FleetModel> {
  const fleet = await registry.versions(name);
  if (fleet.versions.length === 0) throw unknownModel(name);
  return fleet;
}

/** @throws Problem version_not_found */
function knownVersion(fleet: FleetModel, name: string, version: string) {
  const found = fleet.versions.find((known) => known.version === version);
  if (found) return found;
  const known = fleet.versions.map((other) => other.version).join(', ');
  throw new Problem('version_not_found', `Model "${name}" has no version "${version}"; it has ${known}.`);
}

function whereThereIsOne(readBody: readonly RequestHandler[]): RequestHandler[] {
  const hasBody = ({ headers }: Request) =>
    headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
  return readBody.map(
    (handler): RequestHandler =>
      (request, response, next) => {
        if (hasBody(request)) handler(request, response, next);
        else next();
      },
  );
}
