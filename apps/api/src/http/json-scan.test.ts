import { describe, expect, test } from '@jest/globals';
import { scanJson } from './json-scan.ts';

const scan = (text: string, limits = { maxDepth: 4, maxNodes: 10, maxKeys: 5 }) =>
  scanJson(Buffer.from(text), limits).passed;

describe('scanJson', () => {
  test('lets the deepest allowed nesting through and stops one more', () => {
    expect(scan('[[[[]]]]')).toBeNull();
    expect(scan('[[[[[]]]]]')).toBe('depth');
    expect(scan('{"a":{"a":{"a":{"a":{}}}}}')).toBe('depth');
  });

  test('counts depth, not brackets that have closed', () => {
    expect(scan('[[],[],[],[]]')).toBeNull();
  });

  test('lets as many values through as allowed and stops one more', () => {
    // One for the array, one for the first element, one per comma.
    expect(scan('[1,2,3,4,5,6,7,8,9]')).toBeNull();
    expect(scan('[1,2,3,4,5,6,7,8,9,10]')).toBe('nodes');
  });

  test('lets as many keys through as allowed, of all objects together, and stops one more', () => {
    expect(scan('[{"a":1,"b":2},{"a":1,"b":2,"c":":"}]')).toBeNull();
    expect(scan('[{"a":1,"b":2},{"a":1,"b":2,"c":3,"d":4}]')).toBe('keys');
  });

  test('looks at no bracket inside a string, however it is escaped', () => {
    expect(scan('"[[[[[[[["')).toBeNull();
    expect(scan('["\\"[[[[[[[[", "\\\\"]')).toBeNull();
    expect(scan('["\\\\", [[[[]]]]]')).toBe('depth');
    expect(scan('"never closed [[[[[[')).toBeNull();
  });

  test('refuses a million brackets without reading them all', () => {
    expect(scanJson(Buffer.alloc(1_000_000, '['), { maxDepth: 32, maxNodes: 1e9, maxKeys: 1e9 }).passed).toBe('depth');
  });
});
