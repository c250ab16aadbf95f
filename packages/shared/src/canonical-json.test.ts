import { describe, expect, test } from '@jest/globals';
import { canonicalJson, canonicalSha256 } from './canonical-json.ts';

describe('canonicalJson', () => {
  test('is the same for equal values whatever the order of keys', () => {
    expect(canonicalJson({ b: [1, { d: null, c: 'x' }], a: undefined })).toBe('{"b":[1,{"c":"x","d":null}]}');
    expect(canonicalSha256({ a: 1, b: 2 })).toBe(canonicalSha256({ b: 2, a: 1 }));
    expect(canonicalSha256([1, 2])).not.toBe(canonicalSha256([2, 1]));
  });
});
