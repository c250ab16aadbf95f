import { z } from 'zod';

/** What a measurement holds for: another processor, or another engine, has another curve. */
export const calibrationMachine = z.object({
  cpu: z.string(),
  cores: z.number().int().positive(),
  intra_op_threads: z.number().int().positive(),
  runtime: z.string(),
  /** Missing for the cpu. */
  execution_provider: z.string().optional(),
});
export type CalibrationMachine = z.infer<typeof calibrationMachine>;

/** `ms`: a batch from the worker's side, `compute_ms` of them inside the runner. */
export const batchCurvePoint = z.object({
  batch_size: z.number().int().positive(),
  rows_per_s: z.number().positive(),
  ms: z.number().positive(),
  compute_ms: z.number().nonnegative(),
});
export type BatchCurvePoint = z.infer<typeof batchCurvePoint>;

/** How large the batches of a model version are on a machine, and the curve that says so, by rising batch size. */
export const calibration = z.object({
  max_batch_size: z.number().int().positive(),
  curve: z.array(batchCurvePoint).min(1).max(64),
  measured_at: z.iso.datetime(),
  machine: calibrationMachine,
});
export type Calibration = z.infer<typeof calibration>;
