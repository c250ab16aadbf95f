import { expect, test } from '@jest/globals';
import { fallbacks, mayAnswer } from './fallback.ts';

const answer = { type: 'static', output: { label: 'unknown' } };
const cached = { type: 'cached_result', max_age_s: 60 };
const other = { type: 'model', name: 'simple' };
const unavailable = { type: 'unavailable' };

test.each([[[]], [[cached, other, answer]], [[other, cached, unavailable]], [[unavailable]], [[answer]]])(
  '%j is a list of fallbacks',
  (list) => {
    expect(fallbacks.safeParse(list).success).toBe(true);
  },
);

test.each([
  ['something after a static answer', [answer, other]],
  ['something after unavailable', [unavailable, cached]],
  ['a cache without an age', [{ type: 'cached_result' }]],
  ['a cache that keeps for ever', [{ ...cached, max_age_s: 1e9 }]],
  ['a model whose name is none', [{ type: 'model', name: '../etc' }]],
  ['a kind that is none', [{ type: 'guess' }]],
  ['nine of them', Array(9).fill(other)],
])('refuses %s', (_, list) => {
  expect(fallbacks.safeParse(list).success).toBe(false);
});

test('a list may answer unless all it says is unavailable', () => {
  expect(mayAnswer([other, unavailable])).toBe(true);
  expect(mayAnswer([unavailable])).toBe(false);
  expect(mayAnswer([])).toBe(false);
  expect(mayAnswer(undefined)).toBe(false);
});
