import { z } from 'zod';
import { boundedObject } from './bounded-object.ts';
import { customRowSchema } from './custom-row.ts';
import type { ModelManifest } from './model-manifest.ts';
import { fieldSchema, type TabularField } from './tabular-row.ts';
import { type RowTensor, tensorFault, tensorSchema } from './tensor-row.ts';
import { TEXT_FIELDS, textRowSchema } from './text-row.ts';

/** The part of a manifest that decides what a row may be; descriptors carry it to the API. */
export type RowDeclaration =
  | Pick<Extract<ModelManifest, { kind: 'tabular' }>, 'kind' | 'row'>
  | Pick<Extract<ModelManifest, { kind: 'image' }>, 'kind' | 'row'>
  | Pick<Extract<ModelManifest, { kind: 'tensor' }>, 'kind' | 'row'>
  | Pick<Extract<ModelManifest, { kind: 'text' }>, 'kind' | 'row'>
  | Pick<Extract<ModelManifest, { kind: 'custom' }>, 'kind' | 'row'>;

type PlainDeclaration = Exclude<RowDeclaration, { kind: 'custom' }>;

/** A zod schema for one row of the model; unknown fields are refused, numbers are finite in float32. */
export function rowSchema(declaration: RowDeclaration): z.ZodType<Record<string, unknown>> {
  if (declaration.kind === 'custom') return customRowSchema(declaration.row);
  const schema =
    declaration.kind === 'tensor'
      ? tensorRowSchema(declaration.row.tensors, checkedTensor)
      : plainRowSchema(declaration);
  return boundedObject(schema, namesOf(declaration));
}

/** The same schema as JSON Schema 2020-12, for `GET /models/:name`. */
export function rowJsonSchema(declaration: RowDeclaration): Record<string, unknown> {
  if (declaration.kind === 'custom') return { ...declaration.row.schema };
  const { $schema: _, ...schema } = z.toJSONSchema(plainRowSchema(declaration)) as Record<string, unknown>;
  return schema;
}

function namesOf(declaration: PlainDeclaration): string[] {
  if (declaration.kind === 'tabular') return declaration.row.fields.map(({ name }) => name);
  if (declaration.kind === 'tensor') return declaration.row.tensors.map(({ name }) => name);
  if (declaration.kind === 'text') return [...TEXT_FIELDS];
  return Object.keys(declaration.row);
}

function plainRowSchema(declaration: PlainDeclaration): z.ZodType<Record<string, unknown>> {
  if (declaration.kind === 'tabular') return tabularRowSchema(declaration.row.fields);
  if (declaration.kind === 'tensor') return tensorRowSchema(declaration.row.tensors, tensorSchema);
  if (declaration.kind === 'text') return textRowSchema(declaration.row);
  return imageRowSchema(declaration.row);
}

function tensorRowSchema(tensors: readonly RowTensor[], schemaOf: (tensor: RowTensor) => z.ZodType) {
  return z.strictObject(Object.fromEntries(tensors.map((tensor) => [tensor.name, schemaOf(tensor)])));
}

function checkedTensor(tensor: RowTensor): z.ZodType {
  return z.unknown().superRefine((value, context) => {
    const fault = tensorFault(value, tensor);
    if (fault) context.addIssue({ code: 'custom', ...fault });
  });
}

function tabularRowSchema(fields: readonly TabularField[]) {
  return z.strictObject(Object.fromEntries(fields.map((field) => [field.name, fieldSchema(field)])));
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
