import { tensorDtype } from '@onqueue/shared';
import type { InspectedGraph } from '@onqueue/worker/model-tools';

/** A tensor as the engine tells it: a string in `shape` is a dimension that may vary, perhaps without a name. */
export type GraphTensor = InspectedGraph['inputs'][number];

/** Whether a manifest has a word for it. */
export function isServable({ dtype }: GraphTensor): boolean {
  return tensorDtype.safeParse(dtype).success;
}

export function tensorText({ name, dtype, shape }: GraphTensor): string {
  return `${name}: ${dtype} [${shape.map((size) => (size === '' ? '?' : size)).join(', ')}]`;
}
