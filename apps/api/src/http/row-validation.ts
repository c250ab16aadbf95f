import { MAX_FAULTS, type ProblemError } from '@onqueue/shared';
import type { z } from 'zod';
import { problemErrors } from './validation.ts';

/** What is wrong with rows, in their order; rows after the one that fills the list are not looked at. */
export function rowFaults(
  rows: readonly unknown[],
  schema: Pick<z.ZodType, 'safeParse'>,
  pathOf: (index: number) => PropertyKey[],
): ProblemError[] {
  const faults: ProblemError[] = [];
  for (const [index, row] of rows.entries()) {
    const { error } = schema.safeParse(row);
    if (error) faults.push(...problemErrors(error.issues, row, pathOf(index)));
    if (faults.length >= MAX_FAULTS) break;
  }
  return faults;
}
