import { z } from 'zod';
import { FLOAT32_MAX } from './tensor-value.ts';

/** A string has at most so many characters, unless its field says less. */
const MAX_STRING_LENGTH = 10_000;
const MAX_CATEGORIES = 10_000;

const base = { name: z.string().min(1), description: z.string().optional(), unit: z.string().optional() };

/** `fill` is what null stands for, `default` what a field stands for that a row lacks; without them neither is accepted. */
const standIns = <T extends z.ZodType>(value: T) => ({ fill: value.optional(), default: value.optional() });

/** JSON has no NaN; of float32 tensors only. */
const numberStandIn = z.union([z.number().min(-FLOAT32_MAX).max(FLOAT32_MAX), z.literal('NaN')]);
const range = { minimum: z.number().optional(), maximum: z.number().optional() };

/** A category by its name, or a position that is none of any category. */
const categoryStandIn = z.union([z.string(), z.number().int()]);

export const tabularField = z.discriminatedUnion('type', [
  z.strictObject({ ...base, type: z.literal('number'), ...range, ...standIns(numberStandIn) }),
  z.strictObject({ ...base, type: z.literal('integer'), ...range, ...standIns(numberStandIn) }),
  z.strictObject({
    ...base,
    type: z.literal('string'),
    enum: z.array(z.string()).min(1).optional(),
    max_length: z.number().int().positive().optional(),
    ...standIns(z.string().max(MAX_STRING_LENGTH)),
  }),
  /** 1 for true, 0 for false. */
  z.strictObject({ ...base, type: z.literal('boolean'), ...standIns(z.boolean()) }),
  /**
   * A word that becomes its position in `categories`: the number (`index`), or a 1 among zeros (`one_hot`). What a row says
   * beyond the categories is refused, or stands for what `unknown` says. A number written there, or as a stand-in, is a
   * position; -1 is no category's, of which one-hot is zeros throughout.
   */
  z
    .strictObject({
      ...base,
      type: z.literal('category'),
      categories: z.array(z.string().max(MAX_STRING_LENGTH)).min(1).max(MAX_CATEGORIES),
      encode: z.enum(['index', 'one_hot']),
      unknown: categoryStandIn.optional(),
      ...standIns(categoryStandIn),
    })
    .refine(({ categories }) => new Set(categories).size === categories.length, 'two categories have one name')
    .refine(
      (field) => [field.unknown, field.fill, field.default].every((value) => isPosition(value, field)),
      'unknown, fill and default are a category, or a position: any with index; -1, or one of a category, with one_hot',
    ),
]);
export type TabularField = z.infer<typeof tabularField>;
export type CategoryField = Extract<TabularField, { type: 'category' }>;

/** A row of named fields. */
export const tabularRow = z.strictObject({
  fields: z
    .array(tabularField)
    .min(1)
    .refine((fields) => new Set(fields.map(({ name }) => name)).size === fields.length, 'two fields have one name'),
});

/** Each field is fed as a column `[batch, 1]` of its own, a one-hot one as wide as it has categories. */
export const columnsPreprocess = z.strictObject({ type: z.literal('columns') });

/** Several fields side by side in one input, in the order given; an input that is not named here is a column as above. */
export const packPreprocess = z.strictObject({
  type: z.literal('pack'),
  inputs: z
    .array(z.strictObject({ input: z.string().min(1), fields: z.array(z.string()).min(1) }))
    .min(1)
    .refine((inputs) => new Set(inputs.map(({ input }) => input)).size === inputs.length, 'an input is named twice'),
});

export const tabularPreprocess = z.discriminatedUnion('type', [columnsPreprocess, packPreprocess]);

/** How many numbers or strings a field becomes. */
export function fieldWidth(field: TabularField): number {
  return field.type === 'category' && field.encode === 'one_hot' ? field.categories.length : 1;
}

/** What a field may be in a row, for JSON Schema and validation alike. */
export function fieldSchema(field: TabularField): z.ZodType {
  const description = [field.description, field.unit && `Unit: ${field.unit}.`].filter(Boolean).join(' ');
  const value = valueSchema(field);
  const nullable = field.fill === undefined ? value : value.nullable();
  const described = description ? nullable.describe(description) : nullable;
  if (field.default === undefined) return described;
  // Only told: what is stored is the row as it was sent, and the runner knows the default.
  return described.meta({ ...described.meta(), default: field.default }).optional();
}

function valueSchema(field: TabularField): z.ZodType {
  if (field.type === 'boolean') return z.boolean();
  if (field.type === 'category') {
    return field.unknown === undefined ? oneOf(field.categories) : z.string().max(MAX_STRING_LENGTH);
  }
  if (field.type === 'string') {
    return field.enum ? oneOf(field.enum) : z.string().max(field.max_length ?? MAX_STRING_LENGTH);
  }
  const number = field.type === 'integer' ? z.number().int() : z.number();
  return number.min(field.minimum ?? -FLOAT32_MAX).max(field.maximum ?? FLOAT32_MAX);
}

/** A fault lists the words, unless they are too many to read. */
function oneOf(words: readonly string[]) {
  const error = words.length > 50 ? `is not one of the ${words.length} words of the field` : undefined;
  return z.enum(words as [string, ...string[]], error === undefined ? {} : { error });
}

function isPosition(
  value: string | number | undefined,
  { categories, encode }: { categories: readonly string[]; encode: 'index' | 'one_hot' },
): boolean {
  if (typeof value === 'string') return categories.includes(value);
  return value === undefined || encode === 'index' || (value >= -1 && value < categories.length);
}
