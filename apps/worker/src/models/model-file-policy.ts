import type { Config } from '@onqueue/shared';
import { z } from 'zod';

/** What a model file may be, and how much may come out of it. Each entry is a setting of the worker. */
export const modelFilePolicy = z.object({
  /** Of the artifact itself. */
  maxBytes: z.number().int().positive(),
  /** Of all data beside it, together. */
  maxExternalBytes: z.number().int().nonnegative(),
  maxNodes: z.number().int().positive(),
  /** Where operators may come from; functions that a model brings along are made of these too. */
  operatorDomains: z.array(z.string()),
  /** Whether files in the ORT format are taken, of which only the engine knows what is in them. */
  allowsOrtFormat: z.boolean(),
  /** In the answer to a row, and in those of a batch together. */
  maxOutputValues: z.number().int().positive(),
});
export type ModelFilePolicy = z.infer<typeof modelFilePolicy>;

/** As the settings have them by default. */
export const MODEL_FILE_POLICY: ModelFilePolicy = {
  maxBytes: 2 * 1024 ** 3,
  maxExternalBytes: 16 * 1024 ** 3,
  maxNodes: 100_000,
  operatorDomains: ['ai.onnx', 'ai.onnx.ml', 'com.microsoft', 'com.microsoft.nchwc'],
  allowsOrtFormat: true,
  maxOutputValues: 4_000_000,
};

/** As whoever runs the worker has set them. */
export function filePolicyOf(config: Config): ModelFilePolicy {
  return {
    maxBytes: config.modelMaxBytes,
    maxExternalBytes: config.modelMaxExternalBytes,
    maxNodes: config.modelMaxNodes,
    operatorDomains: config.modelOperatorDomains,
    allowsOrtFormat: config.modelOrtFormat,
    maxOutputValues: config.modelMaxOutputValues,
  };
}
