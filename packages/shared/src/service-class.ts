import { z } from 'zod';
import type { Lane } from './lane.ts';

/** How a job is to be served, in one word. What a job says itself (`lane`, `priority`) goes before what its class says. */
export const serviceClass = z.enum(['realtime', 'standard', 'batch']);
export type ServiceClass = z.infer<typeof serviceClass>;

export interface ServiceClassPolicy {
  lane: Lane;
  priority: number;
  /** Whether its rows wait for company (`max_queue_delay_ms` of the model), or have their batch started at once. */
  isUrgent: boolean;
}

export const SERVICE_CLASSES: Record<ServiceClass, ServiceClassPolicy> = {
  realtime: { lane: 'interactive', priority: 2, isUrgent: true },
  standard: { lane: 'interactive', priority: 0, isUrgent: false },
  batch: { lane: 'bulk', priority: 0, isUrgent: false },
};

/** What was agreed on when the job was accepted: later changes of the configuration do not change it. */
export const serviceLevel = z.object({
  class: serviceClass,
  /** Seconds from acceptance to the end that the class aims at. */
  slo_s: z.number(),
  /** By which whoever bills for rows multiplies their price. */
  price_factor: z.number(),
});
export type ServiceLevel = z.infer<typeof serviceLevel>;

/** A number for each class, as the configuration has them. */
export type PerServiceClass = Record<ServiceClass, number>;

/** What decides how the job is queued: its own words, else those of its class, else those of `standard`. */
export function serviceOf(job: {
  service_class?: ServiceClass | undefined;
  lane?: Lane | undefined;
  priority?: number | undefined;
}): { lane: Lane; priority: number } {
  const policy = SERVICE_CLASSES[job.service_class ?? 'standard'];
  return { lane: job.lane ?? policy.lane, priority: job.priority ?? policy.priority };
}
