import { z } from 'zod';

/** The states of a run. A job shows the state of its latest run. */
export const jobState = z.enum(['queued', 'running', 'succeeded', 'failed', 'canceled', 'expired']);
export type JobState = z.infer<typeof jobState>;

/** Every run ends in exactly one of these. */
export const terminalState = z.enum(['succeeded', 'failed', 'canceled', 'expired']);
export type TerminalState = z.infer<typeof terminalState>;

/**
 * queued ── claim ──> running ── commit ──> succeeded | failed
 *   ^                    │
 *   └── attempt failed ──┘ (retryable, attempts left)
 *
 * A run whose rows all have their answers already goes the whole way in one script, and nobody sees it running.
 *
 * The scripts that change a record check the same table: what is not listed here is refused and counted.
 */
const TRANSITIONS: Record<JobState, readonly JobState[]> = {
  queued: ['running', 'canceled', 'expired'],
  // A claim of a running job is a new attempt: the worker of the previous one is gone or too late.
  running: ['running', 'queued', 'succeeded', 'failed', 'canceled', 'expired'],
  succeeded: [],
  failed: [],
  canceled: [],
  expired: [],
};

export function canMove(from: JobState, to: JobState): boolean {
  return TRANSITIONS[from].includes(to);
}

export function isTerminal(state: JobState): state is TerminalState {
  return TRANSITIONS[state].length === 0;
}
