import { expect, test } from '@jest/globals';
import { elementFault, type TensorDtype } from '@onqueue/shared';
import { allocateTensor, elementReader, rowsOf, withCopiesOfLastRow } from './tensor-data.ts';

const EXTREMES: [TensorDtype, unknown[]][] = [
  ['float32', [0.5, -3.4028234663852886e38, 3.4028234663852886e38]],
  ['float64', [0.1, -1.7976931348623157e308, 5e-324]],
  ['float16', [0.5, -65504, 65504]],
  ['int8', [-128, 127]],
  ['int16', [-32768, 32767]],
  ['int32', [-2147483648, 2147483647]],
  ['int64', ['-9223372036854775808', '9223372036854775807', -9007199254740991, 9007199254740991, 0]],
  ['uint8', [0, 255]],
  ['uint16', [0, 65535]],
  ['uint32', [0, 4294967295]],
  ['uint64', ['18446744073709551615', 9007199254740991, 0]],
  ['bool', [true, false]],
  ['string', ['', 'Grüße']],
];

test.each(EXTREMES)('%s holds its extremes, and gives them back as JSON had them', (dtype, values) => {
  const { tensor, set } = allocateTensor(dtype, [values.length]);
  for (const [index, value] of values.entries()) {
    expect(elementFault(value, dtype)).toBeUndefined();
    set(index, value);
  }
  const read = elementReader(tensor);
  expect(values.map((_, index) => read(index))).toEqual(values);
});

test.each<[TensorDtype, unknown[]]>([
  ['float32', [3.5e38, Number.NaN, '1', null]],
  ['float64', [JSON.parse('1e400'), true]],
  ['float16', [65505]],
  ['int8', [-129, 128, 0.5]],
  ['int16', [32768]],
  ['int32', [2147483648]],
  [
    'int64',
    [9007199254740992, '9223372036854775808', '-9223372036854775809', '1.5', '', '0x10', 1.5, '9'.repeat(1000)],
  ],
  ['uint8', [-1, 256]],
  ['uint16', [65536]],
  ['uint32', [4294967296]],
  ['uint64', [-1, '-1', '18446744073709551616']],
  ['bool', [0, 1, 'true']],
  ['string', [1, 'x'.repeat(10_001)]],
])('%s refuses what it cannot hold', (dtype, values) => {
  for (const value of values) expect(elementFault(value, dtype)).toMatch(/^is /);
});

test('a long integer that JSON has rounded is told what to do', () => {
  expect(elementFault(2 ** 53, 'int64')).toContain('as strings of digits');
});

test('NaN and infinity are values where they are allowed', () => {
  const { tensor, set } = allocateTensor('float32', [3]);
  for (const [index, name] of ['NaN', 'Infinity', '-Infinity'].entries()) {
    expect(elementFault(name, 'float32')).toBeDefined();
    expect(elementFault(name, 'float32', true)).toBeUndefined();
    set(index, name);
  }
  expect(tensor.data).toEqual(Float32Array.of(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY));
});

test.each<TensorDtype>(['float32', 'int64', 'string', 'bool'])('rows of %s are cut out and repeated', (dtype) => {
  const { tensor, set } = allocateTensor(dtype, [3, 2]);
  for (let index = 0; index < 6; index++) set(index, dtype === 'bool' ? index % 2 === 0 : String(index));
  const element = (of: typeof tensor) => {
    const read = elementReader(of);
    return Array.from({ length: of.data.length }, (_, index) => read(index));
  };
  const all = element(tensor);
  expect([rowsOf(tensor, 1, 1).dims, element(rowsOf(tensor, 1, 1))]).toEqual([[1, 2], all.slice(2, 4)]);
  const filled = withCopiesOfLastRow(tensor, 5);
  expect([filled.dims, element(filled)]).toEqual([
    [5, 2],
    [...all, ...all.slice(4), ...all.slice(4)],
  ]);
});
