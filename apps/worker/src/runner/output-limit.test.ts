import { expect, test } from '@jest/globals';
import type { RowResult } from '@onqueue/shared';
import { BatchOutputError, limitOutputs } from './output-limit.ts';

const answer = (output: Record<string, unknown>): RowResult => ({ status: 'succeeded', output });
const numbers = (count: number) => answer({ score: Array(count).fill(0.5) });

test('an answer may have as many values as the limit says: numbers, and the lists and objects around them', () => {
  const rows = [numbers(8)];
  expect(limitOutputs(rows, 10)).toEqual(rows);
  expect(limitOutputs(rows, 9)).toEqual([
    {
      status: 'failed',
      error: {
        code: 'output_too_large',
        detail: 'The answer has more than 9 values (ONQUEUE_MODEL_MAX_OUTPUT_VALUES).',
      },
    },
  ]);
});

test('a text counts by its length', () => {
  expect(limitOutputs([answer({ text: 'x'.repeat(79) })], 11)).toMatchObject([{ status: 'succeeded' }]);
  expect(limitOutputs([answer({ text: 'x'.repeat(80) })], 11)).toMatchObject([{ status: 'failed' }]);
});

test('a row that has too many fails alone', () => {
  const failed: RowResult = { status: 'failed', error: { code: 'invalid_row', detail: 'No.' } };
  expect(limitOutputs([numbers(1), numbers(100), failed, numbers(2)], 10)).toMatchObject([
    { status: 'succeeded' },
    { status: 'failed', error: { code: 'output_too_large' } },
    failed,
    { status: 'succeeded' },
  ]);
});

test('rows that have too many together are for smaller batches', () => {
  expect(() => limitOutputs([numbers(3), numbers(3), numbers(3)], 10)).toThrow(BatchOutputError);
});
