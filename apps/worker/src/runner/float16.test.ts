import { expect, test } from '@jest/globals';
import { float16Bits, float16Value } from './float16.ts';

test('every half is read and written as the same bits', () => {
  for (let bits = 0; bits < 0x1_0000; bits++) {
    const value = float16Value(bits);
    if (Number.isNaN(value)) expect(Number.isNaN(float16Value(float16Bits(value)))).toBe(true);
    else if (float16Bits(value) !== bits) throw new Error(`${bits} is ${value}, and becomes ${float16Bits(value)}`);
  }
});

test.each([
  [1, 0x3c00],
  [-2, 0xc000],
  [65_504, 0x7bff],
  [2 ** -24, 0x0001],
  [Number.POSITIVE_INFINITY, 0x7c00],
  [-0, 0x8000],
])('%d is 0x%s', (value, bits) => {
  expect(float16Bits(value)).toBe(bits);
  expect(float16Value(bits)).toBe(value);
});

test.each([
  // Between two halves, the nearest; halfway, the one whose last bit is 0.
  [1 + 2 ** -11, 1],
  [1 + 3 * 2 ** -11, 1 + 2 ** -9],
  [1 + 2 ** -11 + 2 ** -20, 1 + 2 ** -10],
  [0.1, 0.0999755859375],
  [65_519, 65_504],
  [65_520, Number.POSITIVE_INFINITY],
  // Below the smallest normal half.
  [2 ** -25, 0],
  [2 ** -24 * 1.5, 2 ** -23],
  [2 ** -14 - 2 ** -26, 2 ** -14],
])('%d is rounded to %d', (value, half) => {
  expect(float16Value(float16Bits(value))).toBe(half);
  expect(float16Value(float16Bits(-value))).toBe(-half);
});
