import {
  assignVersion,
  compareVersions,
  type LaneControls,
  type PublishedModel,
  rowJsonSchema,
  unknownModel,
} from '@onqueue/shared';
import { Router } from 'express';
import { otherMethods } from '../http/problem-handler.ts';
import { queryParameters } from '../http/query-parameters.ts';
import type { ModelCatalog } from '../model-catalog.ts';

export interface ModelRoutesOptions {
  catalog: ModelCatalog;
  lanes: Pick<LaneControls, 'states'>;
  /** Makes the links absolute; without it they are paths. */
  publicUrl: string | undefined;
}

/** `GET /models` and `GET /models/:name`: what can be scored, and what a row must look like. */
export function modelRoutes({ catalog, lanes, publicUrl = '' }: ModelRoutesOptions): Router {
  const router = Router();
  router
    .route('/models')
    .get(queryParameters(), async (_request, response) => {
      const published = await catalog.list();
      const names = [...new Set(published.map(({ descriptor }) => descriptor.name))].sort();
      const data = names.map((name) =>
        modelSummary(
          name,
          published.filter(({ descriptor }) => descriptor.name === name),
          publicUrl,
        ),
      );
      response.json({ object: 'list', data });
    })
    .all(otherMethods('GET'));
  router
    .route('/models/:name')
    .get(queryParameters(), async (request, response) => {
      const { name } = request.params;
      const versions = await catalog.versionsOf(name);
      if (versions.length === 0) {
        await catalog.assertNotGone(name);
        throw unknownModel(name);
      }
      const descriptor = assignVersion(
        name,
        versions.map((published) => published.descriptor),
      );
      const { kind, ...rest } = descriptor;
      response.json({
        ...modelSummary(name, versions, publicUrl),
        versions: newestFirst(versions).map((published) => ({
          ...versionSummary(published),
          calibration: published.descriptor.calibration ?? null,
        })),
        lanes: await lanes.states(name),
        kind,
        description: descriptor.description,
        signature: { inputs: rest.inputs, outputs: rest.outputs },
        row_schema: rowJsonSchema(descriptor),
        example: rest.example,
        batching: rest.batching,
        fallbacks: rest.fallbacks ?? [],
        postprocess: rest.postprocess,
        decision: rest.decision ?? null,
        metrics: rest.metrics ?? null,
        artifact_sha256: rest.artifact_sha256,
        preprocess_sha256: rest.preprocess_sha256,
        decision_policy_sha256: rest.decision_policy_sha256,
      });
    })
    .all(otherMethods('GET'));
  return router;
}

function modelSummary(name: string, versions: readonly PublishedModel[], baseUrl: string) {
  const summaries = newestFirst(versions).map(versionSummary);
  return {
    name,
    object: 'model',
    version: summaries[0]?.version,
    versions: summaries,
    ready: summaries[0]?.ready ?? false,
    urls: { self: `${baseUrl}/models/${name}` },
  };
}

function newestFirst(versions: readonly PublishedModel[]): PublishedModel[] {
  return versions.toSorted((a, b) => compareVersions(b.descriptor.version, a.descriptor.version));
}

function versionSummary({ descriptor, readyWorkers, circuit }: PublishedModel) {
  return {
    version: descriptor.version,
    ready: readyWorkers > 0,
    ready_workers: readyWorkers,
    circuit: { state: circuit.state, open_workers: circuit.openWorkers },
    artifact_sha256: descriptor.artifact_sha256,
    golden: descriptor.golden ?? 'replayed',
  };
}
