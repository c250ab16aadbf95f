import { expect, test } from '@jest/globals';
import { rowJsonSchema, rowSchema } from './row-schema.ts';
import { guessedTokens, textRow } from './text-row.ts';

const declarationOf = (row: object = {}) => ({ kind: 'text' as const, row: textRow.parse(row) });
const issuesOf = (row: unknown, declared: object = {}) =>
  rowSchema(declarationOf(declared))
    .safeParse(row)
    .error?.issues.map(({ path }) => path.join('/'));

test('a row has a text, and a second one only where the model takes it', () => {
  expect(issuesOf({ text: 'a' })).toBeUndefined();
  expect(issuesOf({ text: 'a', text_pair: 'b' })).toEqual(['']);
  expect(issuesOf({ text: 'a', text_pair: 'b' }, { pair: 'optional' })).toBeUndefined();
  expect(issuesOf({ text: 'a' }, { pair: 'optional' })).toBeUndefined();
  expect(issuesOf({ text: 'a' }, { pair: 'required' })).toEqual(['text_pair']);
});

test('texts have at least one character and at most those of the manifest', () => {
  expect(issuesOf({ text: '' })).toEqual(['text']);
  expect(issuesOf({ text: 'abc' }, { max_characters: 3 })).toBeUndefined();
  expect(issuesOf({ text: 'abcd' }, { max_characters: 3 })).toEqual(['text']);
  expect(issuesOf({ text: 7 })).toEqual(['text']);
});

test('a stranger learns the same from the JSON schema', () => {
  expect(rowJsonSchema(declarationOf({ max_characters: 3, pair: 'optional', description: 'A tweet.' }))).toEqual({
    type: 'object',
    additionalProperties: false,
    required: ['text'],
    properties: {
      text: { type: 'string', minLength: 1, maxLength: 3, description: 'A tweet.' },
      text_pair: { type: 'string', minLength: 1, maxLength: 3 },
    },
  });
});

test('tokens are guessed by bytes, up to what the model reads', () => {
  const declared = textRow.parse({ bytes_per_token: 3 });
  expect(guessedTokens({ text: 'abcdef' }, declared, 100)).toBe(2);
  expect(guessedTokens({ text: '你好' }, declared, 100)).toBe(2);
  expect(guessedTokens({ text: 'abc', text_pair: 'abcd' }, declared, 100)).toBe(3);
  expect(guessedTokens({ text: 'a'.repeat(900) }, declared, 100)).toBe(100);
  expect(guessedTokens(null, declared, 100)).toBe(0);
});
