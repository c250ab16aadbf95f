import { expect, test } from '@jest/globals';
import { pictureOf } from './row-kind-choice.ts';

const input = (shape: (number | string)[], dtype = 'float32') => [{ name: 'x', dtype, shape }];

test.each<[string, Parameters<typeof input>, object]>([
  ['channels first', [['n', 3, 32, 48]], { layout: 'NCHW', channels: 3, height: 32, width: 48 }],
  ['channels last', [[1, 32, 48, 3]], { layout: 'NHWC', channels: 3, height: 32, width: 48 }],
  ['grey', [['', 1, 8, 8]], { layout: 'NCHW', channels: 1, height: 8, width: 8 }],
  ['bytes', [['', 8, 9, 1], 'uint8'], { layout: 'NHWC', channels: 1, height: 8, width: 9, dtype: 'uint8' }],
])('a picture with %s', (_, args, shape) => {
  expect(pictureOf(input(...args))).toMatchObject({ input: 'x', ...shape });
});

test.each<[string, Parameters<typeof input>]>([
  ['other numbers of channels', [['n', 4, 32, 32]]],
  ['sides of less than 8', [['n', 3, 7, 32]]],
  ['a size that may vary', [['n', 3, 'height', 'width']]],
  ['another rank', [['n', 3, 32]]],
  ['whole numbers', [['n', 3, 32, 32], 'int64']],
])('none with %s', (_, args) => {
  expect(pictureOf(input(...args))).toBeUndefined();
});

test('none when there is a second input', () => {
  const [picture] = input(['n', 3, 32, 32]);
  expect(pictureOf([picture, picture].flatMap((tensor) => tensor ?? []))).toBeUndefined();
});
