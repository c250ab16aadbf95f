import { z } from 'zod';
import { declaredFile } from './declared-file.ts';

/** A row is `{text}`, with `{text_pair}` where the model compares two. What the API checks is characters: it has no tokenizer. */
export const textRow = z.strictObject({
  /** UTF-16 units of each text: the bound on what a row costs to tokenize, so it has one in any case. */
  max_characters: z.number().int().positive().max(1_000_000).default(10_000),
  /** Whether rows have a `text_pair`; none of them unless given. */
  pair: z.enum(['required', 'optional']).optional(),
  description: z.string().optional(),
  /** UTF-8 bytes of a token, on average: how long a row will be is guessed by it when batches are formed, and nothing else. */
  bytes_per_token: z.number().positive().default(4),
});
export type TextRow = z.infer<typeof textRow>;

/** Tokenize → cut or refuse → special tokens → fill up behind the tokens, to the longest of the batch. */
export const textPreprocess = z.strictObject({
  type: z.literal('tokenize'),
  /** A `tokenizer.json` of Hugging Face; what it says of truncation and padding is not read. */
  tokenizer: declaredFile,
  /** Tokens of a row with the special ones. */
  max_length: z.number().int().positive().max(131_072),
  /** What happens to a longer one. */
  too_long: z.enum(['truncate', 'refuse']),
  add_special_tokens: z.boolean().default(true),
  pad_id: z.number().int().min(0).default(0),
  /** Names of the inputs that are filled; those that the graph lacks are left out. */
  ids_input: z.string().default('input_ids'),
  mask_input: z.string().default('attention_mask'),
  types_input: z.string().default('token_type_ids'),
});
export type TextPreprocess = z.infer<typeof textPreprocess>;

/** The fields of a row, the second one only of a pair. */
export const TEXT_FIELDS = ['text', 'text_pair'] as const;

export function textRowSchema({ max_characters, pair, description }: TextRow): z.ZodType<Record<string, unknown>> {
  const text = z.string().min(1).max(max_characters);
  const first = { text: description ? text.describe(description) : text };
  if (pair === 'required') return z.strictObject({ ...first, text_pair: text });
  return pair === 'optional' ? z.strictObject({ ...first, text_pair: text.optional() }) : z.strictObject(first);
}

/**
 * About how many tokens a row will have. The tokenizer is in the runner, and tokenizing each row twice would cost the process that
 * all rows pass; bytes are counted in no time, and follow tokens across scripts where characters do not: a character of
 * Chinese is a token of three bytes, a word of English one of four or five. A guess that is wrong costs padding and nothing else.
 */
export function guessedTokens(row: unknown, { bytes_per_token }: TextRow, maxLength: number): number {
  if (typeof row !== 'object' || row === null) return 0;
  const fields = row as Record<string, unknown>;
  let bytes = 0;
  for (const field of TEXT_FIELDS) {
    const text = fields[field];
    if (typeof text === 'string') bytes += Buffer.byteLength(text);
  }
  return Math.min(maxLength, Math.ceil(bytes / bytes_per_token));
}
