import { totalmem } from 'node:os';
import { constrainedMemory } from 'node:process';

/** What a runner may take where nobody has said: the rest is for the supervisor and whatever else lives there. */
export function defaultMemoryLimitBytes(): number {
  // Without a limit it is 0, or larger than any machine.
  const ofContainer = constrainedMemory() || Number.POSITIVE_INFINITY;
  return Math.floor(0.8 * Math.min(totalmem(), ofContainer));
}
