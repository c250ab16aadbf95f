import { z } from 'zod';

/** How a worker holds a version in memory; `serving` in a manifest. */
export const servingPolicy = z
  .strictObject({
    /** Loaded when a job comes for it, and unloaded, the least recently used first, when others need the memory. */
    on_demand: z.boolean().optional(),
    /** Runners of this version on a worker; ONQUEUE_INSTANCES where it is not given. */
    instances: z.number().int().min(1).max(64).optional(),
    /** How long what is accepted may be queued, about; ONQUEUE_MAX_QUEUE_WAIT_S where it is not given. */
    max_queue_wait_s: z.number().positive().max(604_800).optional(),
    /** Runners that stay when an `on_demand` version would be unloaded: the next job finds them warm. */
    min_instances: z.number().int().min(0).max(64).optional(),
  })
  .refine(
    ({ instances, min_instances: floor }) => instances === undefined || floor === undefined || floor <= instances,
    'min_instances is at most instances',
  )
  .refine(
    ({ on_demand: isOnDemand, min_instances: floor }) => isOnDemand === true || floor === undefined,
    'min_instances is for versions that are on_demand; the others are never unloaded for want of memory',
  );
export type ServingPolicy = z.infer<typeof servingPolicy>;
