import { type ModelManifest, RowFailure } from '@onqueue/shared';
import type { Tensors } from '../inference-engine.ts';
import { ModelLoadError } from '../model-load-error.ts';
import type { RowKind } from './row-kind.ts';
import { type EncodedText, TextEncoder } from './text-encoder.ts';

type TextManifest = Extract<ModelManifest, { kind: 'text' }>;
/** What an input of the graph is filled with. */
type Part = 'ids' | 'mask' | 'types';

/** Rows of one text or two, as token ids with their mask, filled up to the longest row of the batch. */
export async function textRows(manifest: TextManifest, folder: string): Promise<RowKind> {
  const inputs = inputsOf(manifest);
  const encoder = await TextEncoder.open({ folder, ...manifest.preprocess });
  return { prepare: async (rows) => prepare(rows, { manifest, inputs, encoder }) };
}

interface TextInput {
  name: string;
  part: Part;
  /** Of a graph that takes one length only. */
  fixedLength: number | undefined;
}

function inputsOf({ inputs, preprocess }: TextManifest): TextInput[] {
  const { ids_input: ids, mask_input: mask, types_input: types, max_length: maxLength } = preprocess;
  const parts: Record<string, Part> = { [types]: 'types', [mask]: 'mask', [ids]: 'ids' };
  if (!inputs.some(({ name }) => name === ids)) {
    throw new ModelLoadError(
      `No input "${ids}" takes the tokens; \`ids_input\` of the preprocessing names another one.`,
    );
  }
  return inputs.map(({ name, dtype, shape }) => {
    const part = parts[name];
    if (!part) throw new ModelLoadError(`Input "${name}" is filled with nothing that text has.`);
    const [batch, length, ...more] = shape;
    if (dtype !== 'int64' || batch !== -1 || length === undefined || more.length > 0) {
      throw new ModelLoadError(`Input "${name}" must be int64 of [-1, -1], or of [-1, length].`);
    }
    if (length !== -1 && length !== maxLength) {
      throw new ModelLoadError(`Input "${name}" takes ${length} tokens, max_length is ${maxLength}.`);
    }
    return { name, part, fixedLength: length === -1 ? undefined : length };
  });
}

function prepare(
  rows: readonly unknown[],
  { manifest, inputs, encoder }: { manifest: TextManifest; inputs: readonly TextInput[]; encoder: TextEncoder },
) {
  const joined: number[] = [];
  const encoded: EncodedText[] = [];
  const failures = new Map<number, RowFailure>();
  for (const [index, row] of rows.entries()) {
    const text = encode(row, manifest, encoder);
    if (text instanceof RowFailure) {
      failures.set(index, text);
      continue;
    }
    joined.push(index);
    encoded.push(text);
  }
  const longest = encoded.reduce((most, { ids }) => Math.max(most, ids.length), 1);
  const feeds: Tensors = {};
  for (const { name, part, fixedLength = longest } of inputs) {
    feeds[name] = filled(encoded, { part, length: fixedLength, padId: manifest.preprocess.pad_id });
  }
  const lengths = encoded.map(({ ids }) => [ids.length]);
  return { feeds, joined, failures, lengths: new Map(inputs.map(({ name }) => [name, lengths])) };
}

function filled(
  encoded: readonly EncodedText[],
  { part, length, padId }: { part: Part; length: number; padId: number },
): Tensors[string] {
  const data = new BigInt64Array(encoded.length * length);
  if (part === 'ids' && padId !== 0) data.fill(BigInt(padId));
  for (const [row, { ids, types }] of encoded.entries()) {
    const start = row * length;
    if (part === 'mask') data.fill(1n, start, start + ids.length);
    else for (const [index, value] of (part === 'ids' ? ids : types).entries()) data[start + index] = BigInt(value);
  }
  return { dtype: 'int64', data, dims: [encoded.length, length] };
}

function encode(row: unknown, { row: declared, preprocess }: TextManifest, encoder: TextEncoder) {
  if (typeof row !== 'object' || row === null) return new RowFailure('invalid_row', 'The row is not an object.');
  const { text, text_pair: pair } = row as { text?: unknown; text_pair?: unknown };
  // Bounds were checked when the job was accepted; what is read back may have been written by another version.
  if (!isText(text, declared.max_characters)) return notText('text', declared.max_characters);
  const isPairFit = pair === undefined ? declared.pair !== 'required' : isText(pair, declared.max_characters);
  if (!isPairFit) return notText('text_pair', declared.max_characters);
  if (pair !== undefined && !declared.pair) {
    return new RowFailure('invalid_row', 'The model takes one text.', { pointer: '/text_pair' });
  }
  const { max_length: maxLength, too_long: tooLong } = preprocess;
  const { encoded, tokens } = encoder.encode(text, pair as string | undefined);
  if (tokens > maxLength && tooLong === 'refuse') {
    const field = pair === undefined ? 'Field "text" has' : 'Fields "text" and "text_pair" have';
    const detail = `${field} ${tokens} tokens, with the special ones; the model takes ${maxLength}.`;
    return new RowFailure('text_too_long', detail, { pointer: '/text' });
  }
  if (encoded.ids.length > 0) return encoded;
  return new RowFailure('invalid_row', 'Field "text" has no tokens: there is nothing to compute.', {
    pointer: '/text',
  });
}

function isText(value: unknown, maxCharacters: number): value is string {
  return typeof value === 'string' && value.length <= maxCharacters;
}

function notText(field: 'text' | 'text_pair', maxCharacters: number): RowFailure {
  const detail = `Field "${field}" is not a string of at most ${maxCharacters} characters.`;
  return new RowFailure('invalid_row', detail, { pointer: `/${field}` });
}
