import { expect, test } from '@jest/globals';
import { customRow, type JsonSchema, jsonFaults } from '@onqueue/shared';
import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';

const size = fc.option(fc.integer({ min: 0, max: 3 }), { nil: undefined });
const bound = fc.option(fc.integer({ min: -2, max: 2 }), { nil: undefined });
const scalar = fc.constantFrom<(string | number | boolean | null)[]>('', 'a', 0, 1, 1.5, true, null);
const key = fc.constantFrom('a', 'b', 'c');
const TYPES = ['object', 'array', 'string', 'number', 'integer', 'boolean', 'null'] as const;

const leaf = {
  type: fc.oneof(fc.constantFrom(...TYPES), fc.uniqueArray(fc.constantFrom(...TYPES), { minLength: 1, maxLength: 3 })),
  required: fc.uniqueArray(key, { maxLength: 2 }),
  additionalProperties: fc.boolean(),
  minProperties: size,
  maxProperties: size,
  minItems: size,
  maxItems: size,
  minLength: size,
  maxLength: size,
  minimum: bound,
  maximum: bound,
  exclusiveMinimum: bound,
  exclusiveMaximum: bound,
  enum: fc.uniqueArray(scalar, { minLength: 1, maxLength: 4 }),
  const: scalar,
};

/** Schemas of the words that a manifest may use, three deep. */
const anySchema = [1, 2].reduce((inner) => schemaOf(inner), schemaOf(fc.constant({})));

function schemaOf(inner: fc.Arbitrary<JsonSchema>): fc.Arbitrary<JsonSchema> {
  const parts = {
    properties: fc.dictionary(key, inner, { maxKeys: 2 }),
    items: inner,
    anyOf: fc.array(inner, { minLength: 1, maxLength: 2 }),
  };
  // Few words at once: of all of them together hardly any value is valid.
  return fc
    .tuple(
      fc.subarray(Object.keys(leaf) as (keyof typeof leaf)[], { maxLength: 4 }),
      fc.record(leaf),
      fc.record(parts, { requiredKeys: [] }),
    )
    .map(([words, values, nested]) => {
      const chosen = Object.fromEntries(words.map((word) => [word, values[word]]));
      return JSON.parse(JSON.stringify({ ...chosen, ...nested })) as JsonSchema;
    });
}

const { value: anyValue } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    scalar,
    fc.constantFrom<unknown>('abcd', '😀', -3, 2 ** 60),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(key, tie('value'), { maxKeys: 3 }),
  ),
}));

test('a custom row is valid exactly when Ajv says so', () => {
  const ajv = new Ajv2020({ strict: false });
  let valid = 0;
  fc.assert(
    fc.property(anySchema, anyValue, (inner, value) => {
      const schema = { type: 'object', properties: { row: inner } } as const;
      fc.pre(customRow.safeParse({ schema }).success);
      const row = { row: value };
      const expected = ajv.validate(schema, row);
      valid += Number(expected);
      expect(jsonFaults(row, schema as JsonSchema).length === 0).toBe(expected);
    }),
    { numRuns: 600 },
  );
  // Of a comparison that only ever sees refusals there is nothing to learn.
  expect(valid).toBeGreaterThan(50);
});
