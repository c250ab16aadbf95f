import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ModelLoadError } from '../model-load-error.ts';
import { TextEncoder } from './text-encoder.ts';

/** Made by Python's library. */
interface ParityCase {
  text: string;
  pair: string | null;
  max_length: number;
  ids: number[];
  types: number[];
}

const fixture = fileURLToPath(new URL('../../../../../test/fixtures/hugging-face/tokenizers.json', import.meta.url));
const kinds: Record<string, { tokenizer: unknown; cases: ParityCase[] }> = JSON.parse(await readFile(fixture, 'utf8'));

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'onqueue-tokenizer-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function encoderOf(content: string, maxLength = 512): Promise<TextEncoder> {
  await writeFile(join(folder, 'tokenizer.json'), content);
  const sha256 = createHash('sha256').update(content).digest('hex');
  const tokenizer = { file: 'tokenizer.json', sha256 };
  return TextEncoder.open({ folder, tokenizer, max_length: maxLength, add_special_tokens: true });
}

describe.each(Object.entries(kinds))('a tokenizer of %s', (_kind, { tokenizer, cases }) => {
  test.each([512, 24, 11])('makes the tokens of Python of texts and pairs, cut to %d', async (maxLength) => {
    const encoder = await encoderOf(JSON.stringify(tokenizer), maxLength);
    const ofLength = cases.filter((one) => one.max_length === maxLength);
    for (const { text, pair, ids, types } of ofLength) {
      expect({ text, pair, ...encoder.encode(text, pair ?? undefined).encoded }).toEqual({ text, pair, ids, types });
    }
    expect(ofLength.length).toBeGreaterThan(10);
  });
});

test('tells how many tokens there are before anything is cut', async () => {
  const encoder = await encoderOf(JSON.stringify(kinds.wordpiece?.tokenizer), 4);
  expect(encoder.encode('. . .').tokens).toBe(5);
  expect(encoder.encode('. . .', '.').tokens).toBe(7);
});

test('a tokenizer that is another file, no JSON, or of no known kind is refused', async () => {
  const declared = { file: 'tokenizer.json', sha256: 'a'.repeat(64) };
  await writeFile(join(folder, 'tokenizer.json'), '{}');
  const open = (tokenizer: typeof declared) =>
    TextEncoder.open({ folder, tokenizer, max_length: 8, add_special_tokens: true });
  await expect(open(declared)).rejects.toThrow(/has the SHA-256 44136fa.*, the manifest says aaa/);
  await expect(open({ ...declared, file: 'none.json' })).rejects.toThrow('cannot be read');
  await expect(encoderOf('not JSON')).rejects.toThrow(ModelLoadError);
  await expect(encoderOf('{"model": {"type": "Telepathy"}}')).rejects.toThrow('is no tokenizer that can be used');
});

test('special tokens that leave no room for text are refused', async () => {
  const content = JSON.stringify(kinds.wordpiece?.tokenizer);
  await expect(encoderOf(content, 3)).rejects.toThrow('max_length is 3, and 3 tokens are special ones.');
});
