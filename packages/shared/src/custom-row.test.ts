import { describe, expect, test } from '@jest/globals';
import { customRow, customRowSchema, type JsonSchema, jsonFaults } from './custom-row.ts';

const schema: JsonSchema = {
  type: 'object',
  required: ['a', 'list'],
  additionalProperties: false,
  properties: {
    a: { type: 'integer', minimum: 0, exclusiveMaximum: 10 },
    list: { type: 'array', minItems: 1, maxItems: 3, items: { type: ['string', 'null'], maxLength: 2 } },
    either: { anyOf: [{ const: 1 }, { type: 'object', required: ['x'] }] },
    word: { enum: ['x', 'y', 5] },
  },
};
const good = { a: 1, list: ['x'] };

test.each<[string, unknown]>([
  ['a row', good],
  ['all at their bounds', { a: 0, list: ['ab', null, '😀😀'], either: 1, word: 5 }],
  ['the other alternative', { ...good, either: { x: 0, y: 0 } }],
])('accepts %s', (_, value) => expect(jsonFaults(value, schema)).toEqual([]));

test.each<[string, unknown, string, string]>([
  ['no object', [good], '', 'is not of type object'],
  ['a missing field', { list: ['x'] }, 'a', 'this field is required'],
  ['an extra one', { ...good, b: 1 }, 'b', 'unknown field'],
  ['what every object has', { ...good, toString: 1 }, 'toString', 'unknown field'],
  ['a fraction', { ...good, a: 0.5 }, 'a', 'is not of type integer'],
  ['too little', { ...good, a: -1 }, 'a', 'is less than 0'],
  ['too much', { ...good, a: 10 }, 'a', 'is not less than 10'],
  ['too many elements', { ...good, list: ['', '', '', ''] }, 'list', 'has more than 3 elements'],
  ['none', { ...good, list: [] }, 'list', 'has less than 1 elements'],
  ['a long string', { ...good, list: ['x', 'abc'] }, 'list/1', 'has more than 2 characters'],
  ['another type in a list', { ...good, list: [1] }, 'list/0', 'is not of type string or null'],
  ['no alternative', { ...good, either: { y: 0 } }, 'either', 'matches no alternative of anyOf'],
  ['another word', { ...good, word: 'z' }, 'word', 'is not one of "x", "y", 5'],
])('refuses %s, and says where', (_, value, path, message) => {
  expect(jsonFaults(value, schema).map((fault) => [fault.path.join('/'), fault.message])).toEqual([[path, message]]);
});

test('looks at nothing after the twentieth fault', () => {
  let read = 0;
  const list = new Proxy(Array(100_000).fill(1), {
    get(target, key, receiver) {
      if (typeof key === 'string' && /^\d+$/.test(key)) read++;
      return Reflect.get(target, key, receiver);
    },
  });
  const strings: JsonSchema = { type: 'array', items: { type: 'string' } };
  expect(jsonFaults(list, strings)).toHaveLength(20);
  expect(read).toBe(20);
  const row = Object.fromEntries(Array.from({ length: 1000 }, (_, index) => [`k${index}`, 1]));
  expect(customRowSchema({ schema }).safeParse({ ...good, ...row }).error?.issues).toHaveLength(20);
});

describe('the schema of a manifest', () => {
  test('is accepted', () => expect(customRow.parse({ schema })).toEqual({ schema }));

  const nested = (depth: number): JsonSchema => (depth === 0 ? {} : { type: 'array', items: nested(depth - 1) });
  test.each<[string, unknown]>([
    ['refers to another', { type: 'object', properties: { a: { $ref: 'https://example.com/schema.json' } } }],
    ['has a regular expression', { type: 'object', properties: { a: { type: 'string', pattern: '^(a+)+$' } } }],
    ['is of no object', { type: 'array' }],
    ['says no type', { properties: {} }],
    ['has a word that is none', { type: 'object', propertise: {} }],
    ['is too deep', { type: 'object', properties: { a: nested(16) } }],
    [
      'is too large',
      { type: 'object', properties: Object.fromEntries(Array.from({ length: 1000 }, (_, index) => [`k${index}`, {}])) },
    ],
    ['is none', true],
  ])('is refused where it %s', (_, wrong) => expect(customRow.safeParse({ schema: wrong }).success).toBe(false));
});
