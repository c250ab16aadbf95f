import { expect, test } from '@jest/globals';
import type { ModelManifest } from '@onqueue/shared';
import { type ExecutionPlan, executionOf, executionPlanOf } from './execution-plan.ts';

const OF_WORKER: ExecutionPlan = { providers: ['cuda'], fallback: 'cpu' };

test("a manifest's providers stand in place of the worker's, and what is to happen without them does not", () => {
  const manifest = { execution_providers: ['webgpu', 'cpu'] } as Partial<ModelManifest> as ModelManifest;
  expect(executionPlanOf(manifest, OF_WORKER)).toEqual({ providers: ['webgpu', 'cpu'], fallback: 'cpu' });
  expect(executionPlanOf({} as ModelManifest, OF_WORKER)).toEqual(OF_WORKER);
});

test('instances take the devices in turn', () => {
  const deviceOf = (instance: number, gpuDevices: number[]) =>
    executionOf(instance, { execution: OF_WORKER, gpuDevices })?.deviceId;
  expect([0, 1, 2, 3].map((instance) => deviceOf(instance, [4, 7]))).toEqual([4, 7, 4, 7]);
  expect(deviceOf(3, [])).toBeUndefined();
});
