import type { AuditActor } from './audit-line.ts';
import type { JobState } from './job-state.ts';

export type RemovalOutcome =
  | { status: 'removed'; removedAtMs: number }
  | { status: 'missing' }
  /** A run that has not ended is canceled first. */
  | { status: 'active'; state: JobState };

/** Removes jobs before their retention is over, and remembers that for a while. */
export interface JobRemovals {
  /** Record, results and runs at once; leaves a line in the audit log. A repeat is told when it happened. */
  remove(tenant: string, id: string, by: AuditActor): Promise<RemovalOutcome>;
  /** When the job was removed, Unix ms; undefined: it never was, or longer ago than that is remembered. */
  removedAtMs(tenant: string, id: string): Promise<number | undefined>;
}
