import { describe, expect, test } from '@jest/globals';
import { type RowDeclaration, rowJsonSchema, rowSchema } from './row-schema.ts';

const tabular: RowDeclaration = {
  kind: 'tabular',
  row: {
    fields: [
      { name: 'amount', type: 'number', minimum: 0, maximum: 100, unit: 'EUR', description: 'What was paid.' },
      { name: 'hour', type: 'integer', minimum: 0, maximum: 23 },
      { name: 'category', type: 'string', enum: ['grocery', 'fuel'] },
      { name: 'free', type: 'number' },
    ],
  },
};
const row = { amount: 12.5, hour: 3, category: 'fuel', free: -1e30 };

const image: RowDeclaration = {
  kind: 'image',
  row: {
    pixels: { length: 2, minimum: 0, maximum: 16 },
    image: { formats: ['png', 'jpeg'], max_bytes: 30, max_pixels: 100 },
  },
};

const accepts = (declaration: RowDeclaration, value: unknown) => rowSchema(declaration).safeParse(value).success;

describe('rowSchema of named fields', () => {
  test('accepts a row at its bounds', () => {
    expect(accepts(tabular, row)).toBe(true);
    expect(accepts(tabular, { ...row, amount: 0, hour: 0 })).toBe(true);
    expect(accepts(tabular, { ...row, amount: 100, hour: 23 })).toBe(true);
  });

  test.each([
    ['a missing field', { ...row, amount: undefined }],
    ['an extra field', { ...row, extra: 1 }],
    ['a number as text', { ...row, amount: '12.5' }],
    ['too little', { ...row, amount: -0.001 }],
    ['too much', { ...row, amount: 100.001 }],
    ['a fraction for an integer', { ...row, hour: 1.5 }],
    ['an unknown category', { ...row, category: 'toys' }],
    ['NaN', { ...row, free: Number.NaN }],
    ['what JSON.parse makes of 1e400', { ...row, free: JSON.parse('1e400') }],
    ['more than float32 holds', { ...row, free: 3.5e38 }],
    ['null', { ...row, free: null }],
    ['no object', [row]],
  ])('refuses %s', (_, value) => expect(accepts(tabular, value)).toBe(false));

  test('is told as JSON Schema', () => {
    expect(rowJsonSchema(tabular)).toEqual({
      type: 'object',
      additionalProperties: false,
      required: ['amount', 'hour', 'category', 'free'],
      properties: {
        amount: { type: 'number', minimum: 0, maximum: 100, description: 'What was paid. Unit: EUR.' },
        hour: { type: 'integer', minimum: 0, maximum: 23 },
        category: { type: 'string', enum: ['grocery', 'fuel'] },
        free: { type: 'number', minimum: -3.4028234663852886e38, maximum: 3.4028234663852886e38 },
      },
    });
  });
});

describe('rowSchema of images', () => {
  test('accepts pixels or an image', () => {
    expect(accepts(image, { pixels: [0, 16] })).toBe(true);
    expect(accepts(image, { image: 'aGVsbG8=' })).toBe(true);
  });

  test.each([
    ['too few pixels', { pixels: [0] }],
    ['too many pixels', { pixels: [0, 1, 2] }],
    ['a pixel out of range', { pixels: [0, 17] }],
    ['both', { pixels: [0, 1], image: 'aGVsbG8=' }],
    ['neither', {}],
    ['more base64 than the bytes allowed', { image: 'a'.repeat(105) }],
  ])('refuses %s', (_, value) => expect(accepts(image, value)).toBe(false));

  test('names the formats that it takes', () => {
    expect(JSON.stringify(rowJsonSchema(image))).toContain(
      'Base64 or data URL of a PNG or JPEG image of at most 30 bytes.',
    );
  });
});

describe('rowSchema of tensors', () => {
  const tensors: RowDeclaration = {
    kind: 'tensor',
    row: {
      tensors: [
        { name: 'ids', dtype: 'int64', shape: [-1], max_length: 3, description: 'Token ids.' },
        { name: 'box', dtype: 'float32', shape: [2, -1] },
      ],
    },
  };
  const good = { ids: [1, '2', '9223372036854775807'], box: [[0.5], [1]] };

  test('accepts a row at its bounds', () => expect(accepts(tensors, good)).toBe(true));

  test('takes NaN and infinity only for a tensor that allows them', () => {
    const [ids, box] = tensors.kind === 'tensor' ? tensors.row.tensors : [];
    if (!ids || !box) throw new Error('no tensors');
    const open: RowDeclaration = { kind: 'tensor', row: { tensors: [ids, { ...box, allow_non_finite: true }] } };
    const row = { ...good, box: [['NaN'], ['-Infinity']] };
    expect([accepts(tensors, row), accepts(open, row), accepts(open, { ...row, box: [['x'], [1]] })]).toEqual([
      false,
      true,
      false,
    ]);
    expect(JSON.stringify(rowJsonSchema(open))).toContain('"enum":["NaN","Infinity","-Infinity"]');
  });

  test.each([
    ['a missing tensor', { ids: [1] }],
    ['an extra one', { ...good, extra: [1] }],
    ['one that is too long', { ...good, ids: [1, 2, 3, 4] }],
    ['one without elements', { ...good, ids: [] }],
    ['a fraction for an integer', { ...good, ids: [0.5] }],
    ['rows of several lengths', { ...good, box: [[1], [1, 2]] }],
    ['another size than is fixed', { ...good, box: [[1]] }],
    ['more than float32 holds', { ...good, box: [[3.5e38], [1]] }],
    ['a number for an array', { ...good, ids: 1 }],
  ])('refuses %s', (_, value) => expect(accepts(tensors, value)).toBe(false));

  test('tells one fault of a tensor, with its place', () => {
    const { error } = rowSchema(tensors).safeParse({ ids: Array(3).fill('x'), box: [[1], ['y']] });
    expect(error?.issues.map(({ path }) => path)).toEqual([
      ['ids', 0],
      ['box', 1, 0],
    ]);
  });

  test('is told as JSON Schema', () => {
    expect(rowJsonSchema(tensors)).toMatchObject({
      type: 'object',
      required: ['ids', 'box'],
      properties: {
        ids: {
          type: 'array',
          items: { anyOf: [{ type: 'integer' }, { type: 'string' }] },
          minItems: 1,
          maxItems: 3,
          description: 'Token ids.',
        },
        box: {
          type: 'array',
          minItems: 2,
          maxItems: 2,
          items: { type: 'array', items: { type: 'number' }, minItems: 1 },
        },
      },
    });
  });
});
