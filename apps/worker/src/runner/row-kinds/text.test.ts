import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';
import { type ModelManifest, textPreprocess, textRow } from '@onqueue/shared';
import { ModelLoadError } from '../model-load-error.ts';
import { textRows } from './text.ts';

type TextManifest = Extract<ModelManifest, { kind: 'text' }>;

const folder = fileURLToPath(new URL('../../../../../test/fixtures/hugging-face/classifier', import.meta.url));
const sha256 = createHash('sha256')
  .update(await readFile(join(folder, 'tokenizer.json')))
  .digest('hex');
const NAMES = ['input_ids', 'attention_mask', 'token_type_ids'];

function manifestOf(change: { row?: object; preprocess?: object; names?: readonly string[]; shape?: number[] } = {}) {
  const { row, preprocess, names = NAMES, shape = [-1, -1] } = change;
  return {
    kind: 'text',
    inputs: names.map((name) => ({ name, dtype: 'int64', shape })),
    row: textRow.parse({ pair: 'optional', ...row }),
    preprocess: textPreprocess.parse({
      type: 'tokenize',
      tokenizer: { file: 'tokenizer.json', sha256 },
      max_length: 8,
      too_long: 'truncate',
      ...preprocess,
    }),
  } as unknown as TextManifest;
}

const int64 = (rows: readonly (readonly number[])[]) => ({
  dtype: 'int64',
  data: BigInt64Array.from(rows.flat().map(BigInt)),
  dims: [rows.length, rows[0]?.length],
});

test('rows are filled up to the longest of their batch, and the mask tells what is theirs', async () => {
  const kind = await textRows(manifestOf({ preprocess: { pad_id: 9 } }), folder);
  const { feeds, joined, lengths } = await kind.prepare([{ text: '.' }, { text: ',', text_pair: '.' }]);
  const [dot, comma] = [(await kind.prepare([{ text: '.' }])).feeds, (await kind.prepare([{ text: ',' }])).feeds].map(
    ({ input_ids: ids }) => Number(ids?.data[1]),
  ) as [number, number];
  expect(joined).toEqual([0, 1]);
  expect(feeds).toEqual({
    input_ids: int64([
      [2, dot, 3, 9, 9],
      [2, comma, 3, dot, 3],
    ]),
    attention_mask: int64([
      [1, 1, 1, 0, 0],
      [1, 1, 1, 1, 1],
    ]),
    token_type_ids: int64([
      [0, 0, 0, 0, 0],
      [0, 0, 0, 1, 1],
    ]),
  });
  expect(lengths?.get('input_ids')).toEqual([[3], [5]]);
});

test('only the inputs that the graph has are filled, under the names that it gives them', async () => {
  const manifest = manifestOf({ names: ['words'], preprocess: { ids_input: 'words' } });
  const { feeds } = await (await textRows(manifest, folder)).prepare([{ text: '.' }]);
  expect(Object.keys(feeds)).toEqual(['words']);
});

test('a graph of one length has its rows filled up to it', async () => {
  const { feeds } = await (await textRows(manifestOf({ shape: [-1, 8] }), folder)).prepare([{ text: '.' }]);
  expect(feeds.attention_mask).toEqual(int64([[1, 1, 1, 0, 0, 0, 0, 0]]));
});

test('a text that is too long is cut, or refused with both lengths', async () => {
  const rows = [{ text: '. '.repeat(7) }, { text: '.' }, { text: '. . .', text_pair: '. . .' }];
  const cut = await (await textRows(manifestOf(), folder)).prepare(rows);
  expect([cut.joined, cut.feeds.input_ids?.dims]).toEqual([
    [0, 1, 2],
    [3, 8],
  ]);
  const refusing = await textRows(manifestOf({ preprocess: { too_long: 'refuse' } }), folder);
  const { joined, failures, feeds } = await refusing.prepare(rows);
  expect([joined, feeds.input_ids?.dims]).toEqual([[1], [1, 3]]);
  expect([...failures].map(([index, failure]) => [index, failure.toRowError()])).toEqual([
    [
      0,
      {
        code: 'text_too_long',
        detail: 'Field "text" has 9 tokens, with the special ones; the model takes 8.',
        pointer: '/text',
      },
    ],
    [2, expect.objectContaining({ detail: expect.stringMatching(/"text" and "text_pair" have 9 tokens/) })],
  ]);
});

test('what is no text stays out of the batch, and harms no other row', async () => {
  const kind = await textRows(manifestOf({ row: { pair: undefined, max_characters: 5 } }), folder);
  const { joined, failures } = await kind.prepare([
    null,
    {},
    { text: 7 },
    { text: 'longer' },
    { text: 'a', text_pair: 'b' },
    { text: '.' },
  ]);
  expect(joined).toEqual([5]);
  const errors = [...failures.values()].map((failure) => failure.toRowError());
  expect(errors.map(({ pointer }) => pointer)).toEqual([undefined, '/text', '/text', '/text', '/text_pair']);
  expect(new Set(errors.map(({ code }) => code))).toEqual(new Set(['invalid_row']));
  const paired = await textRows(manifestOf({ row: { pair: 'required' } }), folder);
  expect([...(await paired.prepare([{ text: '.' }])).failures.values()][0]?.pointer).toBe('/text_pair');
});

test('a text without tokens is refused where there are no special ones', async () => {
  const kind = await textRows(manifestOf({ preprocess: { add_special_tokens: false } }), folder);
  const { failures } = await kind.prepare([{ text: '   ' }]);
  expect(failures.get(0)?.toRowError()).toMatchObject({ code: 'invalid_row', pointer: '/text' });
});

test.each([
  ['no input for the tokens', { names: ['attention_mask'] }],
  ['an input that nothing fills', { names: ['input_ids', 'position_ids'] }],
  ['another rank', { shape: [-1, -1, 4] }],
  ['another length than max_length', { shape: [-1, 16] }],
])('refuses a manifest with %s', async (_, change) => {
  await expect(textRows(manifestOf(change), folder)).rejects.toThrow(ModelLoadError);
});
