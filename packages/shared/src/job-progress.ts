import { z } from 'zod';

/** How far a run has come. Of all rows of the job: those of a run of the unfinished ones alone begin with what the others have. */
export const jobProgress = z.object({ rows: z.object({ done: z.number().int(), total: z.number().int() }) });
export type JobProgress = z.infer<typeof jobProgress>;

/** What a record keeps of it: the latest. */
export const toldProgress = jobProgress.extend({
  run: z.number().int(),
  /** Counts those of the run that were told. */
  sequence: z.number().int().positive(),
  at_ms: z.number(),
});
export type ToldProgress = z.infer<typeof toldProgress>;

/** An attempt that tells how far it has come. */
export interface ProgressOf {
  id: string;
  tenant: string;
  partition: number;
  run: number;
  attempt: number;
}

/** Keeps and tells how far runs are. */
export interface JobProgressLog {
  /**
   * Record and events together. False when nothing was written: this attempt does not hold the run any more, or the last time
   * is less than `everyMs` ago, whoever told it.
   */
  note(attempt: ProgressOf, progress: JobProgress, everyMs: number): Promise<boolean>;
}
