import { z } from 'zod';

/** What a model file may be. Each entry is a setting of the worker. */
export const modelFilePolicy = z.object({
  /** Of the artifact itself. */
  maxBytes: z.number().int().positive(),
  /** Of all data beside it, together. */
  maxExternalBytes: z.number().int().nonnegative(),
  maxNodes: z.number().int().positive(),
  /** Where operators may come from; functions that a model brings along are made of these too. */
  operatorDomains: z.array(z.string()),
});
export type ModelFilePolicy = z.infer<typeof modelFilePolicy>;

/** As the settings have them by default. */
export const MODEL_FILE_POLICY: ModelFilePolicy = {
  maxBytes: 2 * 1024 ** 3,
  maxExternalBytes: 16 * 1024 ** 3,
  maxNodes: 100_000,
  operatorDomains: ['ai.onnx', 'ai.onnx.ml', 'com.microsoft', 'com.microsoft.nchwc'],
};
