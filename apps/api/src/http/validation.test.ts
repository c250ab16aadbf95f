import { describe, expect, test } from '@jest/globals';
import { Problem } from '@onqueue/shared';
import { z } from 'zod';
import { problemErrors, validate } from './validation.ts';

const schema = z.strictObject({
  kind: z.enum(['a', 'b']),
  items: z.array(z.strictObject({ n: z.number() })).max(30),
});

function errorsOf(value: unknown) {
  try {
    validate(schema, value, 'The thing');
  } catch (error) {
    if (error instanceof Problem) return error.errors;
    throw error;
  }
  return undefined;
}

describe('validate', () => {
  test('returns what the schema parsed', () => {
    expect(validate(schema, { kind: 'a', items: [{ n: 1 }] }, 'The thing')).toEqual({ kind: 'a', items: [{ n: 1 }] });
  });

  test('points at wrong types, missing fields and unknown fields', () => {
    expect(errorsOf({ items: [{ n: 'x', m: 1 }, {}] })).toEqual([
      { pointer: '/kind', detail: 'this field is required' },
      { pointer: '/items/0/n', detail: 'invalid input: expected number, received string' },
      { pointer: '/items/0/m', detail: 'unknown field' },
      { pointer: '/items/1/n', detail: 'this field is required' },
    ]);
  });

  test('escapes pointers as RFC 6901 says', () => {
    expect(errorsOf({ kind: 'a', items: [], 'a/b~c': 1 })).toEqual([{ pointer: '/a~1b~0c', detail: 'unknown field' }]);
  });

  test('tells at most 20 faults', () => {
    expect(errorsOf({ kind: 'a', items: Array.from({ length: 30 }, () => ({})) })).toHaveLength(20);
  });

  test('explains a union by the alternative that is nearest', () => {
    const union = z.union([z.strictObject({ pixels: z.array(z.number()) }), z.strictObject({ image: z.string() })]);
    const { error } = union.safeParse({ image: 5 });
    expect(problemErrors(error?.issues ?? [], { image: 5 }, ['input'])).toEqual([
      { pointer: '/input/image', detail: 'invalid input: expected string, received number' },
    ]);
  });
});
