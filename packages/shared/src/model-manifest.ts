import { z } from 'zod';
import { batching } from './batching-policy.ts';
import { canonicalSha256 } from './canonical-json.ts';
import { customRow, modulePreprocess } from './custom-row.ts';
import { declaredFile, relativeFile } from './declared-file.ts';
import { embedPostprocess } from './embed-postprocess.ts';
import { executionProviders } from './execution-provider.ts';
import { fallbacks } from './fallback.ts';
import { imageRow, imageRowPreprocess } from './image-row.ts';
import { modelName, modelVersion } from './model-name.ts';
import {
  argmaxPostprocess,
  classifyPostprocess,
  detectPostprocess,
  modulePostprocess,
  multilabelPostprocess,
  scorePostprocess,
} from './postprocess-manifest.ts';
import { resultCachePolicy } from './result-reuse.ts';
import { servingPolicy } from './serving-policy.ts';
import { tabularPreprocess, tabularRow } from './tabular-row.ts';
import { tensorRow } from './tensor-row.ts';
import { tensorSpec } from './tensor-spec.ts';
import { textPreprocess, textRow } from './text-row.ts';

/** `models/<name>/<version>/model.json`: all that is needed to serve a model, beside the artifact itself. */

/** Each tensor of a row goes to the input of its name, filled up to the longest row that it is run with. */
const padPreprocess = z.strictObject({ type: z.literal('pad') });

export const postprocess = z.discriminatedUnion('type', [
  scorePostprocess,
  classifyPostprocess,
  argmaxPostprocess,
  multilabelPostprocess,
  detectPostprocess,
  modulePostprocess,
  /**
   * `{<field>: nested arrays}` per row, of one or more outputs. With `length_of`, the dimensions of an output that may vary are
   * cut to those of that tensor of the row, so that nothing computed from padding is left.
   */
  z.strictObject({
    type: z.literal('raw'),
    outputs: z
      .array(z.strictObject({ output: z.string(), field: z.string().optional(), length_of: z.string().optional() }))
      .min(1),
    allow_non_finite: z.boolean().optional(),
  }),
  embedPostprocess,
]);
export type Postprocess = z.infer<typeof postprocess>;

/**
 * The decision policy: thresholds over a score, versioned apart from the weights. Bands are tried in order; `above` is
 * exclusive, `from` inclusive, and the last band has neither: it is what remains.
 */
export const decisionPolicy = z
  .strictObject({
    score: z.string(),
    bands: z
      .array(z.strictObject({ decision: z.string().min(1), above: z.number().optional(), from: z.number().optional() }))
      .min(2),
  })
  .refine(
    ({ bands }) =>
      bands.every((band, index) => {
        const bounds = Number(band.above !== undefined) + Number(band.from !== undefined);
        return index === bands.length - 1 ? bounds === 0 : bounds === 1;
      }),
    'every band has one of above and from, the last one neither',
  );
export type DecisionPolicy = z.infer<typeof decisionPolicy>;

/** The graph, and where its weights lie in files of their own (ONNX external data) those too. */
const modelArtifact = declaredFile.extend({ data: z.array(declaredFile).min(1).optional() });

const common = {
  schema_version: z.literal(1),
  name: modelName,
  version: modelVersion,
  description: z.string(),
  artifact: modelArtifact,
  inputs: z.array(tensorSpec).min(1),
  outputs: z.array(tensorSpec).min(1),
  example: z.record(z.string(), z.unknown()),
  postprocess,
  decision: decisionPolicy.optional(),
  batching,
  /** Before those of the worker: which ones the model was tried on is known to who made it. */
  execution_providers: executionProviders.optional(),
  fallbacks: fallbacks.optional(),
  cache: resultCachePolicy.optional(),
  serving: servingPolicy.optional(),
  /** Every `model.json` has it; only a manifest that was derived from an export has none. */
  golden: z.strictObject({ file: relativeFile, tolerance: z.number().positive() }).optional(),
  baseline: relativeFile.optional(),
  card: relativeFile.optional(),
  training: z.looseObject({ script: z.string().optional() }).optional(),
};

export const modelManifest = z.discriminatedUnion('kind', [
  z.strictObject({ ...common, kind: z.literal('tabular'), row: tabularRow, preprocess: tabularPreprocess }),
  z.strictObject({ ...common, kind: z.literal('image'), row: imageRow, preprocess: imageRowPreprocess }),
  z.strictObject({ ...common, kind: z.literal('tensor'), row: tensorRow, preprocess: padPreprocess }),
  z.strictObject({ ...common, kind: z.literal('text'), row: textRow, preprocess: textPreprocess }),
  z.strictObject({ ...common, kind: z.literal('custom'), row: customRow, preprocess: modulePreprocess }),
]);
export type ModelManifest = z.infer<typeof modelManifest>;

/**
 * Changes whenever the code that turns rows into tensors changes its output; part of the preprocessing hash, since a
 * manifest alone does not say which code read it.
 */
const PREPROCESS_CODE = 1;

/** What identifies the way from a row to tensors: SHA-256, hex. */
export function preprocessSha256(manifest: ModelManifest): string {
  const { kind, row, preprocess, inputs } = manifest;
  return canonicalSha256({ code: PREPROCESS_CODE, kind, row, preprocess, inputs });
}

/** What identifies the weights: the SHA-256 of the graph's file, or of that and all its data files. Hex. */
export function artifactSha256({ artifact: { sha256, data } }: Pick<ModelManifest, 'artifact'>): string {
  return data ? canonicalSha256({ sha256, data }) : sha256;
}

/** What identifies the way from outputs to an answer: labels, thresholds, bands. SHA-256, hex. */
export function decisionPolicySha256(manifest: ModelManifest): string {
  return canonicalSha256({ postprocess: manifest.postprocess, decision: manifest.decision ?? null });
}
