import { executionProviderFallback, executionProviders, type ModelManifest } from '@onqueue/shared';
import { z } from 'zod';

/** What is to compute the graph of a runner, and what if that cannot be had. */
export const executionPlan = z.object({
  providers: executionProviders,
  fallback: executionProviderFallback,
  deviceId: z.number().int().nonnegative().optional(),
});
export type ExecutionPlan = z.infer<typeof executionPlan>;

export const CPU_ALONE: ExecutionPlan = { providers: ['cpu'], fallback: 'none' };

/**
 * What a version is computed by. The manifest's list stands in place of the worker's, whole: who made a model knows what it was
 * tried on; and the overlap of two lists could be empty, or say what neither meant.
 */
export function executionPlanOf(manifest: ModelManifest, ofWorker: ExecutionPlan): ExecutionPlan {
  return { ...ofWorker, providers: manifest.execution_providers ?? ofWorker.providers };
}

/** The plan of one runner of a version: instances take the devices in turn. */
export function executionOf(
  instance: number,
  { execution, gpuDevices = [] }: { execution?: ExecutionPlan | undefined; gpuDevices?: readonly number[] | undefined },
): ExecutionPlan | undefined {
  const deviceId = gpuDevices[instance % gpuDevices.length];
  return execution && deviceId !== undefined ? { ...execution, deviceId } : execution;
}
