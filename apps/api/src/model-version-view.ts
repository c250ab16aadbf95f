import { type FleetModel, type FleetVersion, type FleetVersionState, farthest, versionState } from '@onqueue/shared';
import { isoTimeOrNull } from './iso-time.ts';

/** A version as clients see it: what all workers together say, and then each. */
export function toVersionView(model: string, version: FleetVersion, fleet: FleetModel, baseUrl = '') {
  const { descriptor, workers } = version;
  const { state, reason, sinceMs } = stateOf(version);
  const counts = versionState.options.map((of) => [of, workers.filter((worker) => worker.state === of).length]);
  return {
    object: 'model_version' as const,
    model,
    version: version.version,
    state,
    reason: reason ?? null,
    since: isoTimeOrNull(sinceMs),
    accepts_jobs: descriptor !== undefined,
    ready: workers.some((worker) => worker.state === 'ready'),
    wanted: (version.order ?? fleet.order)?.want ?? null,
    workers: {
      ...(Object.fromEntries(counts) as Record<(typeof workers)[number]['state'], number>),
      data: workers.map((worker) => ({
        worker: worker.worker,
        state: worker.state,
        reason: worker.reason ?? null,
        since: isoTimeOrNull(worker.sinceMs),
      })),
    },
    artifact_sha256: descriptor?.artifact_sha256 ?? null,
    urls: {
      self: `${baseUrl}/models/${model}/versions/${version.version}`,
      model: `${baseUrl}/models/${model}`,
    },
  };
}

export function toVersionList(model: string, fleet: FleetModel, baseUrl = '') {
  return {
    object: 'list' as const,
    model,
    wanted: fleet.order?.want ?? null,
    data: fleet.versions.map((version) => toVersionView(model, version, fleet, baseUrl)),
  };
}

function stateOf({ workers, retirement }: FleetVersion): {
  state: FleetVersionState;
  reason: string | undefined;
  sinceMs: number | undefined;
} {
  const first = farthest(workers);
  if (first) return first;
  if (!retirement) return { state: 'no_worker', reason: 'No worker that is up has it.', sinceMs: undefined };
  return { state: retirement.cause, reason: retirement.reason, sinceMs: retirement.at_ms };
}
