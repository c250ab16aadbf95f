import { expect, test } from '@jest/globals';
import { z } from 'zod';
import { rowFaults } from './row-validation.ts';

function counted(schema: z.ZodType) {
  let rows = 0;
  const safeParse: z.ZodType['safeParse'] = (row) => {
    rows++;
    return schema.safeParse(row);
  };
  return { schema: { safeParse }, rows: () => rows };
}

const pathOf = (index: number) => ['inputs', index];

test('looks at every row of a job that is right', () => {
  const { schema, rows } = counted(z.strictObject({ n: z.number() }));
  expect(rowFaults(Array(50).fill({ n: 1 }), schema, pathOf)).toEqual([]);
  expect(rows()).toBe(50);
});

test('looks at no row after the twentieth fault', () => {
  const { schema, rows } = counted(z.strictObject({ n: z.number() }));
  expect(rowFaults(Array(1000).fill({}), schema, pathOf)).toHaveLength(20);
  expect(rows()).toBe(20);
});

test('makes no more of a row than twenty faults', () => {
  const { schema, rows } = counted(z.array(z.number()));
  expect(rowFaults(Array(1000).fill(Array(500).fill('x')), schema, pathOf)).toHaveLength(20);
  expect(rows()).toBe(1);
});
