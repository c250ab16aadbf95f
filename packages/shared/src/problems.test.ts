import { describe, expect, test } from '@jest/globals';
import { jsonPointer, Problem } from './problems.ts';

const long = 'k'.repeat(16_000_000);

describe('Problem', () => {
  test('quotes no more of a request than a person reads', () => {
    const problem = new Problem('invalid_request', long, {
      errors: [{ pointer: jsonPointer([long, long]), detail: long }],
    });
    const { detail, errors } = problem.toDocument('req');
    expect(detail).toBe(`${'k'.repeat(499)}…`);
    expect(errors).toEqual([{ pointer: `/${'k'.repeat(198)}…`, detail: `${'k'.repeat(199)}…` }]);
  });

  test('cuts between characters, and leaves alone what is short', () => {
    expect(new Problem('not_found', `${'k'.repeat(498)}😀😀`).message).toBe(`${'k'.repeat(498)}…`);
    expect(new Problem('not_found', 'k'.repeat(500)).message).toBe('k'.repeat(500));
  });
});

test('a pointer escapes as RFC 6901 says', () => {
  expect(jsonPointer(['inputs', 0, 'a/b~c'])).toBe('/inputs/0/a~1b~0c');
});
