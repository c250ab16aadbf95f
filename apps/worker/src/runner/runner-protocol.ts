import { executionProvider, modelManifest, rowResult } from '@onqueue/shared';
import { z } from 'zod';
import { modelFilePolicy } from '../models/model-file-policy.ts';
import { graphOutline } from '../onnx/graph-outline.ts';
import { executionPlan } from './execution-plan.ts';

/**
 * What a supervisor and its runner say to each other over IPC (`serialization: 'advanced'`). `load` comes first and
 * once, or `inspect` or `outline` alone; `run` and `probe` after that, which are computed in their order, one at a time, and answered by one `result`,
 * `batch_failed` or `dropped` each; and `ping` between them.
 */
export const supervisorMessage = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('load'),
    /** Absolute path of the version's folder. */
    folder: z.string(),
    manifest: modelManifest,
    intraOpNumThreads: z.number().int().positive(),
    execution: executionPlan,
    /** `not_compared`: nothing is replayed, for whoever compares the rows itself, or has none yet. */
    golden: z.enum(['must_match', 'not_compared']).default('must_match'),
    /** What the artifact is held against before the engine opens it. */
    filePolicy: modelFilePolicy,
  }),
  /** In place of `load`: what the graph of a file takes and gives, which needs no manifest. Answered by `inspected`. */
  z.object({
    type: z.literal('inspect'),
    path: z.string(),
    intraOpNumThreads: z.number().int().positive(),
    filePolicy: modelFilePolicy,
  }),
  /** In place of `load`: what a file says that its graph takes and gives, without the engine. Answered by `outlined`. */
  z.object({ type: z.literal('outline'), path: z.string(), filePolicy: modelFilePolicy }),
  z.object({ type: z.literal('run'), id: z.number().int(), rows: z.array(z.unknown()) }),
  /** Runs a golden row, and is answered as a batch of one. */
  z.object({ type: z.literal('probe'), id: z.number().int() }),
  /** Nobody wants the answer to this `run` any more. It may come too late. */
  z.object({ type: z.literal('drop'), id: z.number().int() }),
  z.object({ type: z.literal('ping') }),
  z.object({ type: z.literal('stop') }),
]);
/** As it is sent: what has a default may be left out. */
export type SupervisorMessage = z.input<typeof supervisorMessage>;
export type ReceivedMessage = z.output<typeof supervisorMessage>;

const milliseconds = z.number().nonnegative();

/** What a runner became when it loaded its model. */
export const loadedModel = z.object({
  runtime: z.object({ name: z.string(), version: z.string() }),
  /** Of those that were asked for the first that computed anything, else `cpu`. */
  execution_provider: executionProvider,
  /** How many operators of the warm-up each provider computed, where there was more than the cpu. */
  placement: z.partialRecord(executionProvider, z.number().int()).optional(),
  /** Why it is the cpu in place of what was asked for. */
  fallback_reason: z.string().optional(),
  /** Checksum, session and the checks of the manifest. */
  load_ms: milliseconds,
  /** The golden rows. */
  warmup_ms: milliseconds,
  /** Resident memory after that. */
  rss_bytes: z.number().int().nonnegative(),
});
export type LoadedModel = z.infer<typeof loadedModel>;

const graphTensor = z.object({
  name: z.string(),
  dtype: z.string(),
  shape: z.array(z.union([z.number(), z.string()])),
});

/** What the engine says of a graph; a string in a shape is a dimension that may vary, perhaps without a name. */
export const inspectedGraph = z.object({
  runtime: z.object({ name: z.string(), version: z.string() }),
  inputs: z.array(graphTensor),
  outputs: z.array(graphTensor),
});
export type InspectedGraph = z.infer<typeof inspectedGraph>;

/** A batch that came back; `results` in the order of its rows. */
const batchResult = z.object({
  results: z.array(rowResult),
  timings: z.object({ preprocess_ms: milliseconds, inference_ms: milliseconds, postprocess_ms: milliseconds }),
  /** Processor time of all threads of the runner, meanwhile. Less than the timings: others had the cores. */
  cpu_ms: milliseconds,
  /** Resident memory of the runner after the batch. */
  rss_bytes: z.number().int().nonnegative(),
});
export type BatchResult = z.infer<typeof batchResult>;

export const runnerMessage = z.discriminatedUnion('type', [
  z.object({ type: z.literal('loaded'), ...loadedModel.shape }),
  z.object({ type: z.literal('inspected'), ...inspectedGraph.shape }),
  z.object({ type: z.literal('outlined'), outline: graphOutline }),
  z.object({ type: z.literal('load_failed'), detail: z.string() }),
  z.object({ type: z.literal('result'), id: z.number().int(), ...batchResult.shape }),
  /** The batch was not computed, since it was dropped before its turn. */
  z.object({ type: z.literal('dropped'), id: z.number().int() }),
  z.object({ type: z.literal('pong') }),
  /** The batch failed as a whole, the runner lives. */
  z.object({
    type: z.literal('batch_failed'),
    id: z.number().int(),
    code: z.enum(['inference_failed', 'out_of_memory']),
    detail: z.string(),
  }),
]);
export type RunnerMessage = z.infer<typeof runnerMessage>;
