import { z } from 'zod';
import { MAX_FAULTS } from './bounded-object.ts';
import { declaredFile } from './declared-file.ts';

/**
 * The schema of a custom row: a part of JSON Schema 2020-12 that the API can check within bounds, whoever wrote it. References
 * and regular expressions are left out, since a small schema of these makes work without an end; what a row needs beyond the
 * rest is checked by the module of the model.
 */
const MAX_DEPTH = 16;
const MAX_SUBSCHEMAS = 1000;
const MAX_ENUM = 1000;

const size = z.number().int().min(0);
const scalar = z.union([z.string().max(1000), z.number(), z.boolean(), z.null()]);
const typeName = z.enum(['object', 'array', 'string', 'number', 'integer', 'boolean', 'null']);

export type JsonSchema = {
  type?: JsonType | JsonType[] | undefined;
  properties?: Record<string, JsonSchema> | undefined;
  required?: string[] | undefined;
  additionalProperties?: boolean | undefined;
  minProperties?: number | undefined;
  maxProperties?: number | undefined;
  items?: JsonSchema | undefined;
  minItems?: number | undefined;
  maxItems?: number | undefined;
  minLength?: number | undefined;
  maxLength?: number | undefined;
  minimum?: number | undefined;
  maximum?: number | undefined;
  exclusiveMinimum?: number | undefined;
  exclusiveMaximum?: number | undefined;
  enum?: Scalar[] | undefined;
  const?: Scalar | undefined;
  anyOf?: JsonSchema[] | undefined;
  title?: string | undefined;
  description?: string | undefined;
  default?: unknown;
  examples?: unknown[] | undefined;
};
type JsonType = z.infer<typeof typeName>;
type Scalar = z.infer<typeof scalar>;

const jsonSchema: z.ZodType<JsonSchema> = z.lazy(() =>
  z.strictObject({
    type: z.union([typeName, z.array(typeName).min(1)]).optional(),
    properties: z.record(z.string(), jsonSchema).optional(),
    required: z.array(z.string()).optional(),
    additionalProperties: z.boolean().optional(),
    minProperties: size.optional(),
    maxProperties: size.optional(),
    items: jsonSchema.optional(),
    minItems: size.optional(),
    maxItems: size.optional(),
    minLength: size.optional(),
    maxLength: size.optional(),
    minimum: z.number().optional(),
    maximum: z.number().optional(),
    exclusiveMinimum: z.number().optional(),
    exclusiveMaximum: z.number().optional(),
    enum: z.array(scalar).min(1).max(MAX_ENUM).optional(),
    const: scalar.optional(),
    anyOf: z.array(jsonSchema).min(1).max(16).optional(),
    title: z.string().optional(),
    description: z.string().optional(),
    default: z.unknown().optional(),
    examples: z.array(z.unknown()).optional(),
  }),
);

/** A row that only the module of the model can read; `schema` is of an object. */
export const customRow = z.strictObject({
  schema: z
    .unknown()
    // Before the lazy schema goes down into it.
    .refine((value) => subschemas(value) <= MAX_SUBSCHEMAS, `at most ${MAX_SUBSCHEMAS} schemas, ${MAX_DEPTH} deep`)
    .pipe(jsonSchema)
    .refine(({ type }) => type === 'object', { message: 'a row is an object', path: ['type'] }),
});
export type CustomRow = z.infer<typeof customRow>;

/** The exported `preprocess(row)` gives the tensors of a row, which are filled up and stacked as those of `tensor` rows. */
export const modulePreprocess = z.strictObject({ type: z.literal('module'), ...declaredFile.shape });

/** The rows of a schema, as one zod type. */
export function customRowSchema({ schema }: CustomRow): z.ZodType<Record<string, unknown>> {
  return z.unknown().superRefine((value, context) => {
    for (const { path, message } of jsonFaults(value, schema)) {
      context.addIssue({ code: 'custom', path: [...path], message });
    }
  }) as unknown as z.ZodType<Record<string, unknown>>;
}

type Fault = { path: readonly (string | number)[]; message: string };

/**
 * What is wrong with a value, the first twenty faults: nothing is looked at after them, so that a body full of faults costs
 * no more than one without.
 */
export function jsonFaults(value: unknown, schema: JsonSchema): Fault[] {
  const faults: Fault[] = [];
  check(value, schema, { path: [], tell: (fault) => faults.push(fault) < MAX_FAULTS });
  return faults;
}

/** `tell` is false when no more faults are wanted. */
type Visit = { path: readonly (string | number)[]; tell: (fault: Fault) => boolean };

/** False when no more faults are wanted. */
function check(value: unknown, schema: JsonSchema, visit: Visit): boolean {
  const { path, tell } = visit;
  const types = schema.type === undefined ? undefined : [schema.type].flat();
  if (types && !types.some((type) => isOfType(value, type))) {
    return tell({ path, message: `is not of type ${types.join(' or ')}` });
  }
  for (const allowed of [schema.enum, schema.const === undefined ? undefined : [schema.const]]) {
    if (allowed && !allowed.includes(value as Scalar)) {
      return tell({ path, message: `is not one of ${shown(allowed)}` });
    }
  }
  if (schema.anyOf && !schema.anyOf.some((option) => isValid(value, option))) {
    return tell({ path, message: 'matches no alternative of anyOf' });
  }
  if (typeof value === 'number') return bounds(value, schema, visit);
  if (typeof value === 'string') return length(value, schema, visit);
  if (Array.isArray(value)) return checkArray(value, schema, visit);
  return typeof value === 'object' && value !== null ? checkObject(value, schema, visit) : true;
}

function isValid(value: unknown, schema: JsonSchema): boolean {
  return check(value, schema, { path: [], tell: () => false });
}

function isOfType(value: unknown, type: JsonType): boolean {
  if (type === 'null') return value === null;
  if (type === 'array') return Array.isArray(value);
  if (type === 'object') return typeof value === 'object' && value !== null && !Array.isArray(value);
  if (type === 'integer') return Number.isInteger(value);
  return typeof value === type && (type !== 'number' || Number.isFinite(value));
}

function bounds(value: number, schema: JsonSchema, { path, tell }: Visit): boolean {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum } = schema;
  const problem =
    (minimum !== undefined && value < minimum && `is less than ${minimum}`) ||
    (maximum !== undefined && value > maximum && `is more than ${maximum}`) ||
    (exclusiveMinimum !== undefined && value <= exclusiveMinimum && `is not more than ${exclusiveMinimum}`) ||
    (exclusiveMaximum !== undefined && value >= exclusiveMaximum && `is not less than ${exclusiveMaximum}`);
  return problem ? tell({ path, message: problem }) : true;
}

function length(value: string, { minLength = 0, maxLength }: JsonSchema, { path, tell }: Visit): boolean {
  if (minLength === 0 && maxLength === undefined) return true;
  // JSON Schema counts code points; a string has at least half as many as code units.
  const points = value.length > 2 * (maxLength ?? value.length) ? value.length : [...value].length;
  if (points < minLength) return tell({ path, message: `has less than ${minLength} characters` });
  return (
    maxLength === undefined || points <= maxLength || tell({ path, message: `has more than ${maxLength} characters` })
  );
}

function checkArray(value: readonly unknown[], schema: JsonSchema, { path, tell }: Visit): boolean {
  const { minItems = 0, maxItems = Number.POSITIVE_INFINITY, items } = schema;
  if (value.length < minItems) return tell({ path, message: `has less than ${minItems} elements` });
  if (value.length > maxItems) return tell({ path, message: `has more than ${maxItems} elements` });
  return !items || value.every((item, index) => check(item, items, { path: [...path, index], tell }));
}

function checkObject(value: object, schema: JsonSchema, { path, tell }: Visit): boolean {
  const { properties = {}, required = [], additionalProperties = true, minProperties = 0, maxProperties } = schema;
  const keys = Object.keys(value);
  if (keys.length < minProperties) return tell({ path, message: `has less than ${minProperties} members` });
  if (maxProperties !== undefined && keys.length > maxProperties) {
    return tell({ path, message: `has more than ${maxProperties} members` });
  }
  for (const key of required) {
    if (!Object.hasOwn(value, key) && !tell({ path: [...path, key], message: 'this field is required' })) return false;
  }
  return keys.every((key) => {
    const at = { path: [...path, key], tell };
    if (Object.hasOwn(properties, key)) {
      return check((value as Record<string, unknown>)[key], properties[key] as JsonSchema, at);
    }
    return additionalProperties || tell({ path: at.path, message: 'unknown field' });
  });
}

function shown(values: readonly Scalar[]): string {
  const [first, ...rest] = values.slice(0, 10).map((value) => JSON.stringify(value));
  return [first, ...rest].join(', ') + (values.length > 10 ? ', …' : '');
}

/** How many schemas there are in one, infinitely many when it is too deep. */
function subschemas(value: unknown, depth = 1): number {
  if (depth > MAX_DEPTH) return Number.POSITIVE_INFINITY;
  if (typeof value !== 'object' || value === null) return 0;
  const { properties, items, anyOf } = value as { properties?: unknown; items?: unknown; anyOf?: unknown };
  const parts = [
    ...Object.values(typeof properties === 'object' && properties !== null ? properties : {}),
    ...(Array.isArray(anyOf) ? anyOf : []),
    items,
  ];
  return parts.reduce<number>((sum, part) => sum + subschemas(part, depth + 1), 1);
}
