import type { Clock } from '@onqueue/shared';

export interface VersionDrainOptions {
  clock: Clock;
  /** However much there still is: then the version is let go. */
  maxMs: number;
  /** Whether jobs of the version are in hand. */
  isBusy: () => boolean;
  /** Whether a job of the model waits that came more than `ageMs` ago. */
  hasOlder: (ageMs: number) => Promise<boolean>;
  /** It is wanted again, or the worker ends. */
  signal: AbortSignal;
}

const LOOK_MS = 200;
/** Until every API has seen that the version is retired; what it accepted before may come until then. */
const LAST_ACCEPTED_MS = 2000;
/** A job that another worker handed on, or that waits for its next attempt, stands in no list for a moment. */
const QUIET_MS = 2000;

/**
 * Resolves when no job is left that was accepted for a version before it was retired, as far as can be told: the queue is its model's,
 * so it is over when the model's oldest waiting job came after that, and none of the version has been in hand for a while. Or
 * when it has taken `maxMs`.
 */
export async function versionIsDrained({ clock, maxMs, ...options }: VersionDrainOptions): Promise<void> {
  const startedAtMs = clock.now();
  let quietSinceMs: number | undefined;
  while (!options.signal.aborted) {
    const sinceMs = clock.now() - startedAtMs;
    if (sinceMs >= maxMs) return;
    const isQuiet =
      sinceMs >= LAST_ACCEPTED_MS && !options.isBusy() && !(await options.hasOlder(sinceMs - LAST_ACCEPTED_MS));
    if (!isQuiet) quietSinceMs = undefined;
    else quietSinceMs ??= clock.now();
    if (quietSinceMs !== undefined && clock.now() - quietSinceMs >= QUIET_MS) return;
    await new Promise<void>((resolve) => clock.setTimeout(resolve, LOOK_MS));
  }
}
