import { z } from 'zod';
import type { AuditActor } from './audit-line.ts';
import type { Lane } from './lane.ts';

/**
 * What an operator has a lane of a model do. `open`: it takes jobs, and workers take them up. `paused`: it takes jobs, within its
 * limits, and nobody takes them up; what workers hold goes on, and deadlines count. `draining`: it takes none, and runs empty.
 */
export const laneState = z.enum(['open', 'paused', 'draining']);
export type LaneState = z.infer<typeof laneState>;

export interface PurgeOutcome {
  /** Jobs that were canceled. */
  purged: number;
  hasMore: boolean;
}

/** What operators do to the queues of models. Each leaves a line in the audit log. */
export interface LaneControls {
  states(model: string): Promise<Record<Lane, LaneState>>;
  set(model: string, lane: Lane, state: LaneState, by: AuditActor): Promise<void>;
  /** Cancels up to `limit` jobs that no worker holds, whoever owns them. */
  purge(model: string, lane: Lane, limit: number, by: AuditActor): Promise<PurgeOutcome>;
}
