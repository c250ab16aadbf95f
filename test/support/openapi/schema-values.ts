import fc from 'fast-check';
import type { Schema } from './api-document.ts';

/** Values that a schema of the document allows, mostly: what the schema leaves open is any JSON. */
export interface SchemaValues {
  /** Of `#/components/schemas`. */
  components: Record<string, Schema>;
  /** Members of these names have one of these values half of the time: names of models, ids that exist. */
  known: Readonly<Record<string, readonly unknown[]>>;
}

const MAX_DEPTH = 6;

export function valuesOf(schema: Schema, context: SchemaValues, depth = 0): fc.Arbitrary<unknown> {
  if (depth > MAX_DEPTH) return fc.constant(null);
  const next = (part: unknown) => valuesOf(part as Schema, context, depth + 1);
  const { $ref, enum: choices, anyOf, oneOf, allOf, type } = schema;
  if (typeof $ref === 'string') return next(context.components[$ref.replace('#/components/schemas/', '')] ?? {});
  if ('const' in schema) return fc.constant(schema.const);
  if (Array.isArray(choices)) return fc.constantFrom(...choices);
  const alternatives = anyOf ?? oneOf;
  if (Array.isArray(alternatives) && alternatives.length > 0) return fc.oneof(...alternatives.map(next));
  if (Array.isArray(allOf))
    return fc.tuple(...allOf.map(next)).map((parts) => Object.assign({}, ...(parts as object[])));
  switch (Array.isArray(type) ? type[0] : type) {
    case 'object':
      return objects(schema, context, depth);
    case 'array': {
      const {
        minItems = 0,
        maxItems = 5,
        items = {},
      } = schema as { minItems?: number; maxItems?: number; items?: Schema };
      return fc.array(next(items), { minLength: minItems, maxLength: Math.max(minItems, Math.min(maxItems, 5)) });
    }
    case 'string':
      return strings(schema as StringSchema);
    case 'integer':
    case 'number':
      return numbers(schema as NumberSchema);
    case 'boolean':
      return fc.boolean();
    case 'null':
      return fc.constant(null);
    default:
      return fc.jsonValue({ maxDepth: 2 });
  }
}

function objects(schema: Schema, context: SchemaValues, depth: number): fc.Arbitrary<unknown> {
  const { properties = {}, required = [] } = schema as { properties?: Record<string, Schema>; required?: string[] };
  const members = Object.fromEntries(
    Object.entries(properties).map(([name, member]) => {
      const any = valuesOf(member, context, depth + 1);
      const known = context.known[name];
      return [name, known ? fc.oneof(fc.constantFrom(...known), any) : any];
    }),
  );
  const named = fc.record(members, { requiredKeys: required.filter((name) => name in members) });
  const { additionalProperties: more } = schema;
  if (more === undefined || more === false) return named;
  const others = valuesOf(more === true ? {} : (more as Schema), context, depth + 1);
  return fc.tuple(fc.dictionary(fc.string({ maxLength: 20 }), others, { maxKeys: 4 }), named).map(([free, fixed]) => ({
    ...free,
    ...(fixed as object),
  }));
}

type StringSchema = { minLength?: number; maxLength?: number; pattern?: string; format?: string };

function strings({ minLength = 0, maxLength = 40, pattern, format }: StringSchema): fc.Arbitrary<string> {
  if (format === 'date-time') return fc.date({ noInvalidDate: true }).map((date) => date.toISOString());
  if (format === 'uri') return fc.webUrl();
  if (pattern !== undefined) return fc.stringMatching(new RegExp(pattern)).map((text) => text.slice(0, 200));
  return fc.string({ minLength, maxLength: Math.max(minLength, Math.min(maxLength, 40)), unit: 'grapheme' });
}

type NumberSchema = { type: string; minimum?: number; maximum?: number };

function numbers({ type, minimum = -1e6, maximum = 1e6 }: NumberSchema): fc.Arbitrary<number> {
  const [min, max] = [Math.max(minimum, -1e9), Math.min(maximum, 1e9)];
  if (type === 'integer') return fc.integer({ min: Math.ceil(min), max: Math.floor(max) });
  return fc.double({ min, max, noNaN: true });
}
