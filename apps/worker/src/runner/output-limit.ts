import { RowFailure, type RowResult } from '@onqueue/shared';

/** Characters of a text that count as much as a number. */
const TEXT_UNIT = 8;

/** The answers of a batch are too large together, though each one might be sent by itself. */
export class BatchOutputError extends Error {
  override readonly name = 'BatchOutputError';
}

/**
 * Holds answers to a number of values: the supervisor and Redis keep them in memory, and a graph of a hundred bytes can
 * answer with gigabytes. A row that has more fails alone.
 *
 * @throws BatchOutputError when the rows have more together: fewer of them at a time do not.
 */
export function limitOutputs(results: readonly RowResult[], maxValues: number): RowResult[] {
  let total = 0;
  return results.map((result) => {
    if (result.status !== 'succeeded') return result;
    const values = countValues(result.output, maxValues);
    if (values > maxValues) return { status: 'failed', error: tooLarge(maxValues).toRowError() };
    total += values;
    if (total > maxValues) throw new BatchOutputError(`The answers of the batch have more than ${maxValues} values.`);
    return result;
  });
}

function tooLarge(maxValues: number): RowFailure {
  return new RowFailure(
    'output_too_large',
    `The answer has more than ${maxValues} values (ONQUEUE_MODEL_MAX_OUTPUT_VALUES).`,
  );
}

/** Does not go on beyond `most`. */
function countValues(value: unknown, most: number): number {
  if (typeof value === 'string') return 1 + Math.floor(value.length / TEXT_UNIT);
  if (typeof value !== 'object' || value === null) return 1;
  let count = 1;
  for (const member of Array.isArray(value) ? value : Object.values(value)) {
    count += countValues(member, most - count);
    if (count > most) return count;
  }
  return count;
}
