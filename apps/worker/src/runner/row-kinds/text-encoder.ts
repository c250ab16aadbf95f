import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { Tokenizer } from '@huggingface/tokenizers';
import type { DeclaredFile, TextPreprocess } from '@onqueue/shared';
import { readTextFile } from '../../models/regular-file.ts';
import { ModelLoadError } from '../model-load-error.ts';

type TextEncoderOptions = Pick<TextPreprocess, 'max_length' | 'add_special_tokens'> & {
  /** Of the version; the tokenizer is in it. */
  folder: string;
  tokenizer: DeclaredFile;
};

/** The largest known ones, of 250,000 tokens, have 20 MB. */
const MAX_TOKENIZER_BYTES = 128 * 1024 * 1024;

/** No padding: what is not there is for the batch to fill. */
export interface EncodedText {
  ids: readonly number[];
  /** 0 for the first text and 1 for the second, as the tokenizer says. */
  types: readonly number[];
}

/** From a text, or two, to at most `max_length` tokens, as Hugging Face's own library makes them of the same `tokenizer.json`. */
export class TextEncoder {
  readonly #tokenizer: Tokenizer;
  readonly #maxLength: number;
  readonly #addsSpecialTokens: boolean;
  readonly #hasTypes: boolean;
  readonly #unknownId: number | undefined;
  /** How many there are around one text and around two. */
  readonly #specialTokens: { single: number; pair: number };

  private constructor(tokenizer: Tokenizer, { max_length, add_special_tokens }: TextEncoderOptions) {
    this.#tokenizer = tokenizer;
    this.#maxLength = max_length;
    this.#addsSpecialTokens = add_special_tokens;
    // RoBERTa's has one type for both texts; the library counts as BERT does.
    this.#hasTypes = !JSON.stringify(tokenizer.post_processor?.config ?? {}).includes('"RobertaProcessing"');
    this.#unknownId = tokenizer.model?.unk_token_id;
    this.#specialTokens = {
      single: this.#withSpecialTokens([], undefined).ids.length,
      pair: this.#withSpecialTokens([], []).ids.length,
    };
    const { single, pair } = this.#specialTokens;
    if (Math.max(single, pair) >= max_length) {
      throw new ModelLoadError(`max_length is ${max_length}, and ${Math.max(single, pair)} tokens are special ones.`);
    }
  }

  /** @throws ModelLoadError when the file is another than the manifest says, or none that can be used. */
  static async open(options: TextEncoderOptions): Promise<TextEncoder> {
    const { folder, tokenizer: declared } = options;
    const path = join(folder, declared.file);
    const content = await readTextFile(path, { maxBytes: MAX_TOKENIZER_BYTES }).catch((cause: Error) => {
      throw new ModelLoadError(`The tokenizer ${path} cannot be read: ${cause.message}`, { cause });
    });
    const sha256 = createHash('sha256').update(content).digest('hex');
    if (sha256 !== declared.sha256) {
      throw new ModelLoadError(`${path} has the SHA-256 ${sha256}, the manifest says ${declared.sha256}.`);
    }
    let tokenizer: Tokenizer;
    try {
      // Without a tokenizer_config.json, as the library that training used: all that encoding needs is in the one file.
      tokenizer = new Tokenizer(JSON.parse(content), {});
    } catch (cause) {
      throw new ModelLoadError(`${path} is no tokenizer that can be used: ${(cause as Error).message}`, { cause });
    }
    return new TextEncoder(tokenizer, options);
  }

  /** `tokens`: how many there are before anything is cut. */
  encode(text: string, pair?: string): { encoded: EncodedText; tokens: number } {
    const first = this.#tokensOf(text);
    const second = pair === undefined ? undefined : this.#tokensOf(pair);
    const special = second ? this.#specialTokens.pair : this.#specialTokens.single;
    const [firstLength, secondLength] = keptLengths(first.length, second?.length ?? 0, this.#maxLength - special);
    const encoded = this.#withSpecialTokens(first.slice(0, firstLength), second?.slice(0, secondLength));
    return { encoded, tokens: first.length + (second?.length ?? 0) + special };
  }

  #tokensOf(text: string): string[] {
    return this.#tokenizer.tokenize(text, { add_special_tokens: false });
  }

  #withSpecialTokens(first: string[], second: string[] | undefined): EncodedText {
    const { post_processor: processor } = this.#tokenizer;
    const processed = processor?.post_process(first, second ?? null, this.#addsSpecialTokens);
    const tokens = processed?.tokens ?? [...first, ...(second ?? [])];
    const ids: number[] = [];
    const types: number[] = [];
    for (const [index, token] of tokens.entries()) {
      const id = this.#tokenizer.token_to_id(token) ?? this.#unknownId;
      if (id === undefined) continue;
      ids.push(id);
      types.push((this.#hasTypes && processed?.token_type_ids?.[index]) || 0);
    }
    return { ids, types };
  }
}

/** What is kept of two texts, by the rule `longest_first` of Hugging Face: the longer one is cut until both are alike. */
function keptLengths(first: number, second: number, most: number): [number, number] {
  if (first + second <= most) return [first, second];
  const shorter = Math.min(first, second);
  const longer = shorter > most ? shorter : Math.max(shorter, most - shorter);
  const kept: [number, number] =
    shorter + longer > most ? [Math.floor(most / 2), Math.ceil(most / 2)] : [shorter, longer];
  return first > second ? [kept[1], kept[0]] : kept;
}
