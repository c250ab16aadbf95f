import { expect, test } from '@jest/globals';
import type { ClaimedJob } from '../ports.ts';
import type { RowResult } from '../row-result.ts';
import { allResults, errorOfAll, withKept } from './kept-results.ts';

const inputs = [{ n: 0 }, { n: 1 }, { n: 2 }];
const job = { inputs } as unknown as ClaimedJob;
const good = (score: number): RowResult => ({ status: 'succeeded', output: { score } });
const bad: RowResult = { status: 'failed', error: { code: 'invalid_row', detail: 'no' } };
const kept = (results: unknown) => JSON.stringify({ run: 1, results });

test('the rows without an answer are scored, and their results put in among the others', () => {
  const claimed = withKept(job, kept([bad, good(0.1234567890123456), bad]));
  expect(claimed.inputs).toEqual([{ n: 0 }, { n: 2 }]);
  expect(allResults(claimed, [good(7), bad])).toEqual([good(7), { ...good(0.1234567890123456), run: 1 }, bad]);
  expect(errorOfAll(claimed, { code: 'invalid_row', detail: 'Row 1 of 2 failed: no', row: 1 })).toEqual({
    code: 'invalid_row',
    detail: 'Row 2 of 3 failed: no',
    row: 2,
  });
});

test('an answer stays that of the run that made it', () => {
  const claimed = withKept(job, JSON.stringify({ run: 4, results: [{ ...good(1), run: 2 }, good(2), bad] }));
  expect(allResults(claimed, [good(3)])).toEqual([{ ...good(1), run: 2 }, { ...good(2), run: 4 }, good(3)]);
});

test.each([
  ['nothing', ''],
  ['results that are elsewhere', kept({ blob: 'r1' })],
  ['an answer to every row', kept([good(1), good(2), good(3)])],
])('with %s kept the whole job is scored', (_, text) => {
  const claimed = withKept(job, text);
  expect(claimed.inputs).toEqual(inputs);
  expect(allResults(claimed, [bad])).toEqual([bad]);
  expect(errorOfAll(claimed, { code: 'x', detail: 'Row 0 of 3', row: 0 })).toEqual({
    code: 'x',
    detail: 'Row 0 of 3',
    row: 0,
  });
});
