import { z } from 'zod';
import { batching, effectiveBatching } from './batching-policy.ts';
import { type Calibration, calibration } from './calibration.ts';
import { customRow } from './custom-row.ts';
import { publishedFallbacks } from './fallback.ts';
import { imageRow, imageRowPreprocess } from './image-row.ts';
import {
  artifactSha256,
  decisionPolicy,
  decisionPolicySha256,
  type ModelManifest,
  postprocess,
  preprocessSha256,
} from './model-manifest.ts';
import { modelName, modelVersion } from './model-name.ts';
import { publishedCache } from './result-reuse.ts';
import { tabularRow } from './tabular-row.ts';
import { tensorRow } from './tensor-row.ts';
import { tensorSpec } from './tensor-spec.ts';
import { textPreprocess, textRow } from './text-row.ts';

/**
 * What a worker publishes about a version that it can serve. The API validates rows against it and never opens a
 * model; it stays when the last worker goes, so that jobs for a known model are accepted while workers are away.
 */
const common = {
  schema_version: z.literal(1),
  name: modelName,
  version: modelVersion,
  description: z.string(),
  artifact_sha256: z.string(),
  preprocess_sha256: z.string(),
  decision_policy_sha256: z.string(),
  inputs: z.array(tensorSpec),
  outputs: z.array(tensorSpec),
  example: z.record(z.string(), z.unknown()),
  postprocess,
  decision: decisionPolicy.optional(),
  // Not strict, and without what only workers need: an API of an earlier version has to read it, and knows no default.
  batching: z.object({ ...batching.omit({ calibrate: true }).shape, max_queue_delay_ms: z.number() }),
  /** As measured by the worker that published last; none where nothing was measured. */
  calibration: calibration.optional(),
  /** Whether golden rows were replayed when it was loaded; without it: by a worker of an earlier version, so they were. */
  golden: z.enum(['replayed', 'none']).optional(),
  /** What may answer while the version cannot. */
  fallbacks: publishedFallbacks.optional(),
  /** How long its jobs may be queued, where it says so. */
  max_queue_wait_s: z.number().optional(),
  /** Only of a version whose answers are given again. */
  cache: publishedCache.optional(),
  metrics: z.record(z.string(), z.unknown()).optional(),
};

export const modelDescriptor = z.discriminatedUnion('kind', [
  z.object({ ...common, kind: z.literal('tabular'), row: tabularRow }),
  z.object({ ...common, kind: z.literal('image'), row: imageRow, preprocess: imageRowPreprocess }),
  z.object({ ...common, kind: z.literal('tensor'), row: tensorRow }),
  z.object({ ...common, kind: z.literal('text'), row: textRow, preprocess: textPreprocess }),
  z.object({ ...common, kind: z.literal('custom'), row: customRow }),
]);
export type ModelDescriptor = z.infer<typeof modelDescriptor>;

/** What is known of a version beyond its manifest. */
export interface MeasuredModel {
  calibration?: Calibration | undefined;
  isBatchInvariant?: boolean | undefined;
}

export function describeModel(manifest: ModelManifest, measured: MeasuredModel = {}): ModelDescriptor {
  const { maxQueueDelayMs, bulkSliceMs, bulkMinShare } = effectiveBatching(manifest.batching);
  return modelDescriptor.parse({
    ...manifest,
    batching: {
      ...manifest.batching,
      optimize: manifest.batching.optimize ?? 'latency',
      max_queue_delay_ms: maxQueueDelayMs,
      bulk_slice_ms: bulkSliceMs,
      bulk_min_share: bulkMinShare,
      batch_invariant: manifest.batching.batch_invariant ?? measured.isBatchInvariant,
    },
    artifact_sha256: artifactSha256(manifest),
    preprocess_sha256: preprocessSha256(manifest),
    decision_policy_sha256: decisionPolicySha256(manifest),
    max_queue_wait_s: manifest.serving?.max_queue_wait_s,
    metrics: manifest.training?.metrics,
    calibration: measured.calibration,
    golden: manifest.golden ? 'replayed' : 'none',
  });
}
