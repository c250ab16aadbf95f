import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { repoRoot } from '@onqueue/launcher';
import { type ModelManifest, modelManifest } from '@onqueue/shared';
import { z } from 'zod';

/** The model that every bench scores: gradient-boosted trees over 14 columns, small enough that the queue is what counts. */
export const MODEL = 'fraud';
export const VERSION = '1';
export const MODEL_FOLDER = join(repoRoot, 'models', MODEL, VERSION);

/** A row, and the score that the model's author got for it. */
export interface WorkloadRow {
  input: Record<string, unknown>;
  probability: number;
}

const goldenLine = z.object({
  input: z.record(z.string(), z.unknown()),
  output: z.object({ probability: z.number() }),
});

/** The golden rows of the model; benches take them in turn. */
export async function readWorkload(): Promise<readonly WorkloadRow[]> {
  const text = await readFile(join(MODEL_FOLDER, 'golden.jsonl'), 'utf8');
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const { input, output } = goldenLine.parse(JSON.parse(line));
      return { input, probability: output.probability };
    });
}

/** The row of the n-th job. */
export function rowOf(rows: readonly WorkloadRow[], index: number): WorkloadRow {
  const row = rows[index % rows.length];
  if (row === undefined) throw new Error('A workload without rows. This is a bug.');
  return row;
}

export async function readManifest(): Promise<ModelManifest> {
  return modelManifest.parse(JSON.parse(await readFile(join(MODEL_FOLDER, 'model.json'), 'utf8')));
}

/** Whether a result is the author's, within the model's own tolerance; what computes something else is not measured. */
export function isRight(row: WorkloadRow, probability: unknown): boolean {
  return typeof probability === 'number' && Math.abs(probability - row.probability) <= 1e-4;
}

/** Settings with which batches are as large as the manifest says: what a machine measures at one start, it may not at the next. */
export const AS_DECLARED = { ONQUEUE_CALIBRATION_BUDGET_MS: '0' };
