import { expect, test } from '@jest/globals';
import { median, percentile, spread } from './statistics.ts';

test('the median is the middle value, whatever the order', () => {
  expect(median([9, 1, 5])).toBe(5);
});

test('the median of an even number of values is the mean of the middle two', () => {
  expect(median([4, 1, 3, 2])).toBe(2.5);
});

test('a percentile is the value at the nearest rank', () => {
  const values = [15, 20, 35, 40, 50];
  expect([5, 30, 40, 50, 100].map((p) => percentile(values, p))).toEqual([15, 20, 20, 35, 50]);
});

test('the 99th of 200 values leaves two above it', () => {
  const values = Array.from({ length: 200 }, (_, index) => index + 1);
  expect(percentile(values, 99)).toBe(198);
});

test('percentiles sort by number, not by text', () => {
  expect(percentile([100, 20, 3], 100)).toBe(100);
});

test('the spread is the least and the greatest value', () => {
  expect(spread([3, -1, 2])).toEqual([-1, 3]);
});

test('nothing can be said about no values', () => {
  expect(() => median([])).toThrow(RangeError);
  expect(() => percentile([], 50)).toThrow(RangeError);
  expect(() => percentile([1], 101)).toThrow(RangeError);
});

test('the values that were handed in keep their order', () => {
  const values = [3, 1, 2];
  median(values);
  expect(values).toEqual([3, 1, 2]);
});
