import { writeFileSync } from 'node:fs';

/** Of 1000. A process without a score of its own has 0. */
const SCORE = 500;

/** Makes the kernel, when memory runs out, choose this process before those of the platform. Only Linux knows of it. */
export function offerToOutOfMemoryKiller(): void {
  try {
    writeFileSync('/proc/self/oom_score_adj', String(SCORE));
  } catch {
    // Not Linux, or a container that forbids it, or one whose score is higher already.
  }
}
