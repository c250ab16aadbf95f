import { join } from 'node:path';
import type { ModelManifest } from '@onqueue/shared';
import { z } from 'zod';
import { readTextFile } from './regular-file.ts';

/**
 * Rows with the output that training computed for them, one JSON object a line: what proves, at every load, that this
 * process reads rows as training did.
 */
const goldenRow = z.object({
  input: z.unknown(),
  output: z.record(z.string(), z.unknown()),
  /** Of this row; that of the manifest unless given. */
  tolerance: z.number().nonnegative().optional(),
});
/** `line` is its place in the file, from 1 on. */
export type GoldenRow = z.infer<typeof goldenRow> & { line: number };

/** All are held in memory, by the runner and by its supervisor. */
const GOLDEN_BYTES = 64 * 1024 * 1024;

/** Rejects, naming the line, when a line is not a golden row, and when there is none at all. */
export async function readGoldenRows(path: string): Promise<GoldenRow[]> {
  const lines = (await readTextFile(path, { maxBytes: GOLDEN_BYTES })).split('\n');
  const rows = lines.flatMap((line, index) => (line.trim() === '' ? [] : [parseLine(path, line, index + 1)]));
  if (rows.length === 0) throw new Error(`${path} has no golden rows.`);
  return rows;
}

/** Rows to run when nothing is compared: the golden ones, or the example of a version that has none. */
export async function readTrialRows(folder: string, { golden, example }: ModelManifest): Promise<unknown[]> {
  if (!golden) return [example];
  return (await readGoldenRows(join(folder, golden.file))).map(({ input }) => input);
}

/** Where two outputs differ the most; `pointer` is a JSON pointer into the output. */
export type Difference = { difference: number; pointer: string; expected: unknown; actual: unknown };

/**
 * The largest absolute difference between two numbers at the same place. What is no number has to be equal, or the
 * difference is infinite; members that only `actual` has are not compared.
 */
export function worstDifference(actual: unknown, expected: unknown, pointer = ''): Difference {
  const here = (difference: number) => ({ difference, pointer: pointer || '/', expected, actual });
  if (typeof expected === 'number' && typeof actual === 'number') {
    const difference = Math.abs(actual - expected);
    return here(Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference);
  }
  if (isRecord(expected) && isRecord(actual)) {
    if (Array.isArray(expected) && (!Array.isArray(actual) || actual.length !== expected.length)) {
      return here(Number.POSITIVE_INFINITY);
    }
    return Object.entries(expected)
      .map(([key, member]) => worstDifference(actual[key], member, `${pointer}/${escaped(key)}`))
      .reduce((worst, next) => (next.difference > worst.difference ? next : worst), here(0));
  }
  return here(Object.is(actual, expected) ? 0 : Number.POSITIVE_INFINITY);
}

function parseLine(path: string, text: string, line: number): GoldenRow {
  try {
    return { ...goldenRow.parse(JSON.parse(text)), line };
  } catch (cause) {
    throw new Error(`${path}:${line} is not a golden row, {"input": …, "output": …}.`, { cause });
  }
}

function escaped(key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1');
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
