import { z } from 'zod';

/** What computes the operators of a graph, by the names of ONNX Runtime. */
export const executionProvider = z.enum(['cpu', 'cuda', 'webgpu', 'tensorrt', 'coreml', 'dml']);
export type ExecutionProvider = z.infer<typeof executionProvider>;

/**
 * In the order in which each operator is offered to them. What none of them takes is computed by the cpu, named or not: that
 * is how ONNX Runtime works, and no fallback.
 */
export const executionProviders = z
  .array(executionProvider)
  .min(1, `one or more of ${executionProvider.options.join(', ')}`)
  .refine((names) => new Set(names).size === names.length, 'each execution provider once');

/** What happens to a version whose execution providers cannot be used on a machine: it is refused, or served by the cpu. */
export const executionProviderFallback = z.enum(['none', 'cpu']);
