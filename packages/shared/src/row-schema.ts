import { z } from 'zod';
import { boundedObject } from './bounded-object.ts';
import type { ModelManifest, TabularField } from './model-manifest.ts';

/** The part of a manifest that decides what a row may be; descriptors carry it to the API. */
export type RowDeclaration =
  | Pick<Extract<ModelManifest, { kind: 'tabular' }>, 'kind' | 'row'>
  | Pick<Extract<ModelManifest, { kind: 'image' }>, 'kind' | 'row'>;

/** The largest finite float32: a larger number would reach the model as infinity. */
const FLOAT32_MAX = 3.4028234663852886e38;

/** A zod schema for one row of the model; unknown fields are refused, numbers are finite in float32. */
export function rowSchema(declaration: RowDeclaration): z.ZodType<Record<string, unknown>> {
  const names =
    declaration.kind === 'tabular' ? declaration.row.fields.map(({ name }) => name) : Object.keys(declaration.row);
  return boundedObject(plainRowSchema(declaration), names);
}

/** The same schema as JSON Schema 2020-12, for `GET /models/:name`. */
export function rowJsonSchema(declaration: RowDeclaration): Record<string, unknown> {
  const { $schema: _, ...schema } = z.toJSONSchema(plainRowSchema(declaration)) as Record<string, unknown>;
  return schema;
}

function plainRowSchema(declaration: RowDeclaration): z.ZodType<Record<string, unknown>> {
  return declaration.kind === 'tabular' ? tabularRowSchema(declaration.row.fields) : imageRowSchema(declaration.row);
}

function tabularRowSchema(fields: readonly TabularField[]) {
  return z.strictObject(Object.fromEntries(fields.map((field) => [field.name, fieldSchema(field)])));
}

function fieldSchema(field: TabularField): z.ZodType {
  const description = [field.description, field.unit && `Unit: ${field.unit}.`].filter(Boolean).join(' ');
  const schema = bareFieldSchema(field);
  return description ? schema.describe(description) : schema;
}

function bareFieldSchema(field: TabularField): z.ZodType {
  if (field.type === 'string') {
    return field.enum ? z.enum(field.enum as [string, ...string[]]) : z.string().max(field.max_length ?? 10_000);
  }
  const number = field.type === 'integer' ? z.number().int() : z.number();
  return number.min(field.minimum ?? -FLOAT32_MAX).max(field.maximum ?? FLOAT32_MAX);
}

function imageRowSchema({ pixels, image }: Extract<ModelManifest, { kind: 'image' }>['row']) {
  // Base64 writes 3 bytes as 4 characters; the rest is room for `data:image/…;base64,`.
  const maxCharacters = Math.ceil(image.max_bytes / 3) * 4 + 64;
  const encoded = z.strictObject({
    image: z
      .string()
      .min(1)
      .max(maxCharacters)
      .describe(
        `Base64 or data URL of a ${image.formats.map((format) => format.toUpperCase()).join(' or ')} image of at most ${image.max_bytes} bytes.`,
      ),
  });
  if (!pixels) return encoded;
  const raw = z.strictObject({
    pixels: z
      .array(z.number().min(pixels.minimum).max(pixels.maximum))
      .length(pixels.length)
      .describe('Row-major pixels.'),
  });
  return z.union([raw, encoded]);
}
