import { expect, test } from '@jest/globals';
import { BatchSizeLimit } from './batch-size-limit.ts';

const sizes = (limit: BatchSizeLimit, rows: number) => limit.parts(Array(rows).fill(0)).map(({ length }) => length);

test('cuts nothing until a batch has failed', () => {
  const limit = new BatchSizeLimit();
  limit.fitted(64);
  expect([limit.rows, sizes(limit, 500)]).toEqual([undefined, [500]]);
});

test('cuts later batches to what fitted', () => {
  const changes: (number | undefined)[] = [];
  const limit = new BatchSizeLimit({ onChange: (rows) => changes.push(rows) });
  limit.lower(24, 48);
  expect([sizes(limit, 24), sizes(limit, 64)]).toEqual([[24], [24, 24, 16]]);
  limit.lower(12, 24);
  limit.lower(16, 32);
  expect(sizes(limit, 24)).toEqual([12, 12]);
  expect(changes).toEqual([24, 12]);
});

test('tries twice as many rows after a hundred full batches, and any number once the old size fits again', () => {
  const limit = new BatchSizeLimit();
  limit.lower(16, 32);
  limit.lower(8, 16);
  const fill = (batches: number) => {
    for (let batch = 0; batch < batches; batch++) limit.fitted(limit.rows ?? 0);
  };
  for (let batch = 0; batch < 1000; batch++) limit.fitted(7);
  fill(99);
  expect(limit.rows).toBe(8);
  fill(1);
  expect(limit.rows).toBe(16);
  limit.lower(8, 16);
  fill(100);
  fill(100);
  expect(limit.rows).toBe(32);
  fill(100);
  expect(limit.rows).toBeUndefined();
});
