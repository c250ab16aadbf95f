import { expect, test } from '@jest/globals';
import { fieldWidth, type ModelManifest, type RowFailure, rowSchema, tabularField } from '@onqueue/shared';
import fc from 'fast-check';
import { tabularColumns } from './tabular-columns.ts';

const manifest = {
  kind: 'tabular',
  inputs: [
    { name: 'amount', dtype: 'float32', shape: [-1, 1] },
    { name: 'hour', dtype: 'int64', shape: [-1, 1] },
    { name: 'a/b', dtype: 'string', shape: [-1, 1] },
  ],
  row: {
    fields: [
      { name: 'amount', type: 'number' },
      { name: 'hour', type: 'integer' },
      { name: 'a/b', type: 'string' },
    ],
  },
  preprocess: { type: 'columns' },
} as unknown as Extract<ModelManifest, { kind: 'tabular' }>;

test('every field becomes a column of its own', async () => {
  const { feeds, joined } = await tabularColumns(manifest).prepare([
    { amount: 0.1, hour: 23, 'a/b': 'x' },
    { amount: -5, hour: -1, 'a/b': '' },
  ]);
  expect(joined).toEqual([0, 1]);
  expect(feeds).toEqual({
    amount: { dtype: 'float32', data: Float32Array.of(0.1, -5), dims: [2, 1] },
    hour: { dtype: 'int64', data: BigInt64Array.of(23n, -1n), dims: [2, 1] },
    'a/b': { dtype: 'string', data: ['x', ''], dims: [2, 1] },
  });
});

test('a row without a value for every tensor stays out of the batch, and says which', async () => {
  const good = { amount: 1, hour: 2, 'a/b': 'x' };
  const bad: [unknown, string | undefined][] = [
    [null, undefined],
    ['text', undefined],
    [{ ...good, amount: '1' }, '/amount'],
    [{ ...good, amount: 1e39 }, '/amount'],
    [{ ...good, amount: Number.NaN }, '/amount'],
    [{ ...good, hour: 1.5 }, '/hour'],
    [{ ...good, hour: 2 ** 53 }, '/hour'],
    [{ amount: 1, hour: 2 }, '/a~1b'],
  ];
  const rows = bad.flatMap(([row]) => [row, good]);
  const { feeds, joined, failures } = await tabularColumns(manifest).prepare(rows);
  expect(joined).toEqual(bad.map((_, index) => 2 * index + 1));
  expect(feeds.hour).toEqual({ dtype: 'int64', data: new BigInt64Array(bad.length).fill(2n), dims: [bad.length, 1] });
  expect(feeds['a/b']?.data).toHaveLength(bad.length);
  const told = [...failures.values()].map(({ code, pointer }: RowFailure) => ({ code, pointer }));
  expect(told).toEqual(bad.map(([, pointer]) => ({ code: 'invalid_row', pointer })));
});

test.each([
  [{ inputs: manifest.inputs.slice(1) }, 'Field "amount" has no input'],
  [{ row: { fields: manifest.row.fields.slice(1) } }, 'Input "amount" has no field'],
  [{ inputs: [{ name: 'amount', dtype: 'float32', shape: [-1, 2] }] }, 'shape [-1, 1]'],
  [{ inputs: [{ name: 'amount', dtype: 'string', shape: [-1, 1] }] }, 'is of type number, input "amount" of string'],
])('a manifest whose fields and inputs do not fit is refused: %#', (change, message) => {
  expect(() => tabularColumns({ ...manifest, ...change } as typeof manifest)).toThrow(message);
});

const kinds = {
  ...manifest,
  inputs: [
    { name: 'X', dtype: 'float32', shape: [-1, 7] },
    { name: 'shop', dtype: 'int64', shape: [-1] },
  ],
  row: {
    fields: [
      { name: 'amount', type: 'number', fill: 'NaN', default: -1.5 },
      { name: 'count', type: 'integer', fill: 0 },
      { name: 'is_new', type: 'boolean', default: true },
      {
        name: 'color',
        type: 'category',
        categories: ['red', 'green', 'blue'],
        encode: 'one_hot',
        unknown: -1,
        fill: 'blue',
      },
      { name: 'size', type: 'category', categories: ['s', 'm', 'l'], encode: 'index', default: 'm' },
      { name: 'shop', type: 'category', categories: ['a', 'b'], encode: 'index', unknown: 9, fill: -1 },
    ],
  },
  preprocess: { type: 'pack', inputs: [{ input: 'X', fields: ['size', 'amount', 'color', 'is_new', 'count'] }] },
} as unknown as typeof manifest;
const full = { amount: 2.5, count: 3, is_new: false, color: 'green', size: 'l', shop: 'b' };

test('several fields are packed into one input in the order given, with null, missing fields and unknown categories as declared', async () => {
  const rows = [
    full,
    { ...full, amount: null, count: null, color: null, shop: null },
    { count: 1, color: 'mauve', shop: 'z' },
  ];
  const { feeds, joined } = await tabularColumns(kinds).prepare(rows);
  expect(joined).toEqual([0, 1, 2]);
  expect(feeds).toEqual({
    X: {
      dtype: 'float32',
      data: Float32Array.of(2, 2.5, 0, 1, 0, 0, 3, 2, Number.NaN, 0, 0, 1, 0, 0, 1, -1.5, 0, 0, 0, 1, 1),
      dims: [3, 7],
    },
    shop: { dtype: 'int64', data: BigInt64Array.of(1n, -1n, 9n), dims: [3] },
  });
});

test('a one-hot field that goes its way into a failing row leaves nothing in the next one', async () => {
  const { feeds } = await tabularColumns(kinds).prepare([{ ...full, color: 'red', count: 'x' }, full]);
  expect(Array.from((feeds.X?.data ?? []) as Float32Array)).toEqual([2, 2.5, 0, 1, 0, 0, 3]);
});

test.each([
  ['null where it has no meaning', { is_new: null }, '/is_new', 'Field "is_new" is null.'],
  ['a field that has no default', { count: undefined }, '/count', 'Field "count" is missing.'],
  ['a category that is none', { size: 'xl' }, '/size', 'Field "size" is none of its categories.'],
  ['a category that is no string', { color: 1 }, '/color', 'Field "color" is not a string.'],
  ['a number for a boolean', { is_new: 1 }, '/is_new', 'Field "is_new" is not true or false.'],
  [
    'what every object has',
    { size: undefined, toString: 'm', count: undefined },
    '/count',
    'Field "count" is missing.',
  ],
])('refuses %s', async (_, change, pointer, message) => {
  const { failures } = await tabularColumns(kinds).prepare([{ ...full, ...change }]);
  expect(failures.get(0)).toMatchObject({ code: 'invalid_row', pointer, message });
});

test.each([
  ['a NaN into int64', { dtype: 'int64' }, { type: 'integer', fill: 'NaN' }, 'stands for NaN'],
  ['a fraction into int64', { dtype: 'int64' }, { type: 'integer', default: 0.5 }, 'stands for 0.5'],
  [
    'strings for a category',
    { dtype: 'string' },
    { type: 'category', categories: ['a'], encode: 'index' },
    'of type category',
  ],
  ['a one-hot of another width', {}, { type: 'category', categories: ['a', 'b'], encode: 'one_hot' }, 'shape [-1, 2]'],
])('a manifest is refused that puts %s', (_, input, field, message) => {
  const change = {
    inputs: [{ name: 'f', dtype: 'float32', shape: [-1, 1], ...input }],
    row: { fields: [{ name: 'f', ...field }] },
  };
  expect(() => tabularColumns({ ...manifest, ...change } as unknown as typeof manifest)).toThrow(message);
});

test.each([
  ['an input that is not there', { input: 'Y', fields: ['amount'] }, 'packs "Y", which is no input'],
  ['a field that is not there', { input: 'X', fields: ['nope'] }, 'has no field "nope"'],
])('a manifest is refused that packs %s', (_, pack, message) => {
  const inputs = [...(kinds.preprocess as { inputs: unknown[] }).inputs, pack].slice(pack.input === 'X' ? 1 : 0);
  const change = { preprocess: { type: 'pack', inputs } };
  expect(() => tabularColumns({ ...kinds, ...change } as typeof manifest)).toThrow(message);
});

/** Fields of every kind, with and without each of their stand-ins. */
const anyField = fc
  .record({
    name: fc.constantFrom('f', '__proto__x', 'a/b'),
    type: fc.constantFrom('number', 'integer', 'boolean', 'category', 'string'),
    standIns: fc.subarray(['fill', 'default', 'unknown']),
    encode: fc.constantFrom('index', 'one_hot'),
  })
  .map(({ name, type, standIns, encode }) => {
    const value = { number: 'NaN', integer: 1, boolean: true, category: -1, string: 'x' }[type];
    const chosen = standIns.filter((key) => key !== 'unknown' || type === 'category');
    const own = type === 'category' ? { categories: ['a', 'b'], encode } : {};
    return { name, type, ...own, ...Object.fromEntries(chosen.map((key) => [key, value])) };
  });
const anyValue = fc.oneof(
  fc.constantFrom(undefined, null, true, 0, 1.5, 2 ** 53, 3.5e38, '', 'a', 'z', Number.NaN),
  fc.anything({ maxDepth: 1 }),
);

test('what the API accepts for a field is what the runner reads, and nothing else', async () => {
  await fc.assert(
    fc.asyncProperty(anyField, anyValue, async (plain, value) => {
      const field = tabularField.parse(plain);
      const inputs = [
        { name: field.name, dtype: field.type === 'string' ? 'string' : 'float32', shape: [-1, fieldWidth(field)] },
      ];
      const model = { ...manifest, inputs, row: { fields: [field] } } as unknown as typeof manifest;
      const row = value === undefined ? {} : { [field.name]: value };
      const { joined } = await tabularColumns(model).prepare([row]);
      expect(joined).toHaveLength(Number(rowSchema(model).safeParse(row).success));
    }),
    { numRuns: 2000 },
  );
});
