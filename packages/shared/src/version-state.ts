import { z } from 'zod';

/**
 * Where a version is in its life on one worker.
 *
 * `incomplete`: its folder is not whole, and has not changed for a while. `loading`: runners start and are proved on golden rows.
 * `ready`: it serves. `failed`: it could not be loaded. `draining`: it takes no new jobs and serves those that were accepted.
 * `unloaded`: it is in the repository and not in memory.
 */
export const versionState = z.enum(['incomplete', 'loading', 'ready', 'failed', 'draining', 'unloaded']);
export type VersionState = z.infer<typeof versionState>;

/**
 * The same for all workers together: the state of the one that is farthest. `removed`: it was taken from the repository;
 * `no_worker`: it was published, and no worker that is up has it.
 */
export const fleetVersionState = z.enum([...versionState.options, 'removed', 'no_worker']);
export type FleetVersionState = z.infer<typeof fleetVersionState>;

/** What operators can ask of a model or of one of its versions. */
export const modelWant = z.enum(['load', 'unload']);
export type ModelWant = z.infer<typeof modelWant>;

/** Why a version takes no jobs any more: its files are gone, or it is not to be served. */
export const retirement = z.object({
  cause: z.enum(['removed', 'unloaded', 'failed']),
  reason: z.string(),
  at_ms: z.number(),
});
export type Retirement = z.infer<typeof retirement>;

const FARTHEST_FIRST = ['ready', 'loading', 'draining', 'failed', 'incomplete', 'unloaded'] as const;

/** The report that speaks for all: of the farthest state, the one that is newest. */
export function farthest<Report extends { state: VersionState; sinceMs: number }>(
  reports: readonly Report[],
): Report | undefined {
  const rank = ({ state }: Report) => FARTHEST_FIRST.indexOf(state);
  return reports.toSorted((a, b) => rank(a) - rank(b) || b.sinceMs - a.sinceMs)[0];
}
