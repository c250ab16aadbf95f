import { batchAxisOf, type ModelManifest, type TensorSpec, tensorDtype } from '@onqueue/shared';
import type { EngineSession, GraphTensor } from './inference-engine.ts';
import { ModelLoadError } from './model-load-error.ts';

/**
 * Refuses a manifest that describes another graph than the one that was loaded: names and dtypes must be the same on
 * both sides, ranks too where the graph declares one, and a dimension that both fix must be fixed alike.
 */
export function assertGraphMatches(manifest: ModelManifest, session: Pick<EngineSession, 'inputs' | 'outputs'>): void {
  const problems = [
    ...differences('input', manifest.inputs, session.inputs),
    ...differences('output', manifest.outputs, session.outputs),
  ];
  if (problems.length === 0) return;
  throw new ModelLoadError(
    `The manifest does not match the graph of ${manifest.artifact.file}: ${problems.join('; ')}.`,
  );
}

function differences(side: string, declared: readonly TensorSpec[], actual: readonly GraphTensor[]): string[] {
  const problems: string[] = [];
  for (const tensor of actual) {
    // What is no tensor (a sequence, a map) a manifest has no words for; it may be left unread.
    if (side === 'output' && !tensorDtype.safeParse(tensor.dtype).success) continue;
    if (!declared.some(({ name }) => name === tensor.name)) {
      problems.push(`${side} "${tensor.name}" of the graph is not in the manifest`);
    }
  }
  for (const spec of declared) {
    const tensor = actual.find(({ name }) => name === spec.name);
    if (!tensor) problems.push(`${side} "${spec.name}" is not in the graph, which has ${listed(actual)}`);
    else if (tensor.dtype !== spec.dtype) {
      problems.push(`${side} "${spec.name}" is ${spec.dtype} in the manifest and ${tensor.dtype} in the graph`);
    } else if (!shapesAgree(spec, tensor.shape)) {
      problems.push(
        `${side} "${spec.name}" is [${spec.shape.join(', ')}] in the manifest and [${shapeText(tensor)}] in the graph`,
      );
    }
  }
  return problems;
}

/** A graph may leave the shape of an output open, which the engine reports as a rank of 0. */
function shapesAgree(spec: TensorSpec, actual: GraphTensor['shape']): boolean {
  if (actual.length === 0) return true;
  if (actual.length !== spec.shape.length) return false;
  const batchAxis = batchAxisOf(spec);
  return spec.shape.every((size, axis) => {
    const graphSize = actual[axis];
    if (typeof graphSize !== 'number') return true;
    // A manifest that lets the batch vary while the graph fixes it would fail at the first batch of another size.
    return size === graphSize || (size === -1 && axis !== batchAxis);
  });
}

function shapeText({ shape }: GraphTensor): string {
  return shape.map((size) => (typeof size === 'string' ? size || '?' : size)).join(', ');
}

function listed(tensors: readonly GraphTensor[]): string {
  return tensors.map(({ name }) => `"${name}"`).join(', ');
}
