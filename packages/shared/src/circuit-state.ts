import { z } from 'zod';

/**
 * Of a circuit breaker. `closed`: the model is asked. `open`: it failed too often and is left alone. `half_open`: a golden
 * row was answered again, and a few batches are let through to see.
 */
export const circuitState = z.enum(['closed', 'half_open', 'open']);
export type CircuitState = z.infer<typeof circuitState>;

/** What the workers that serve a version say of it together. */
export interface FleetCircuit {
  /** The most hopeful of their states; closed when no worker says anything. */
  state: CircuitState;
  /** Workers whose circuit is open. */
  openWorkers: number;
  /** Until the first of them tries the model again; 0 unless the state is open. */
  retryAfterMs: number;
}

export function fleetCircuit(workers: readonly { state: CircuitState; retryAfterMs: number }[]): FleetCircuit {
  const open = workers.filter(({ state }) => state === 'open');
  const state = circuitState.options.find((option) => workers.some((worker) => worker.state === option)) ?? 'closed';
  const retryAfterMs = state === 'open' ? Math.min(...open.map((worker) => worker.retryAfterMs)) : 0;
  return { state, openWorkers: open.length, retryAfterMs };
}
