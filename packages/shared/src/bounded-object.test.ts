import { expect, test } from '@jest/globals';
import { z } from 'zod';
import { boundedObject, MAX_FAULTS } from './bounded-object.ts';

function counted() {
  let looks = 0;
  const inner = z.custom<unknown>(() => {
    looks++;
    return true;
  });
  return { schema: boundedObject(z.object({ a: inner }), ['a']), looks: () => looks };
}

const strangers = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, n) => [`k${n}`, n]));

test('hands what is of a sane size to the schema', () => {
  const { schema, looks } = counted();
  expect(schema.safeParse({ a: 1, ...strangers(MAX_FAULTS) })).toMatchObject({ success: true });
  expect(schema.safeParse('text')).toMatchObject({ success: false });
  expect(looks()).toBe(1);
});

test('refuses far too many members by the first strangers, and spares the schema', () => {
  const { schema, looks } = counted();
  const { error } = schema.safeParse({ a: 1, ...strangers(100_000) });
  expect(error?.issues.map(({ path }) => path)).toEqual(Object.keys(strangers(MAX_FAULTS)).map((key) => [key]));
  expect(looks()).toBe(0);
});
