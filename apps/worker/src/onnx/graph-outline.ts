import { z } from 'zod';
import type { OnnxModel } from './onnx-model.ts';

/** A tensor as a graph declares it; a size that may vary is null here, whatever its name. */
const outlinedValue = z.object({
  name: z.string(),
  type: z.string(),
  dtype: z.string(),
  /** null: not even the rank is known. */
  dims: z.array(z.number().int().nullable()).nullable(),
});

/** What a graph takes and gives. */
export const graphOutline = z.object({ inputs: z.array(outlinedValue), outputs: z.array(outlinedValue) });
export type OutlinedValue = z.infer<typeof outlinedValue>;
export type GraphOutline = z.infer<typeof graphOutline>;

/** Reads the outline of a file, wherever that is safe. */
export type GraphReader = (path: string) => Promise<GraphOutline>;

/** Without the inputs that have a default. */
export function outlineOf({ inputs, outputs, initializers }: OnnxModel): GraphOutline {
  const defaults = new Set(initializers);
  const outlined = (values: OnnxModel['inputs']) =>
    values.map(({ name, type, elemType, dims }) => ({
      name,
      type,
      dtype: elemType,
      dims: dims?.map((size) => (typeof size === 'number' ? size : null)) ?? null,
    }));
  return { inputs: outlined(inputs.filter(({ name }) => !defaults.has(name))), outputs: outlined(outputs) };
}
