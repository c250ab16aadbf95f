import { access } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CliError } from '../cli-error.ts';
import type { GraphTensor } from './graph-tensor.ts';
import type { Row } from './option-values.ts';

/** What `--kind` may say. `custom` rows need code, which nobody can guess. */
export const ROW_KINDS = ['tensor', 'tabular', 'text', 'image'] as const;
export type RowKindName = (typeof ROW_KINDS)[number];

export const TOKENIZER = 'tokenizer.json';

/** The smallest side of what is taken for a picture: smaller ones are windows of signals, or filters. */
const LEAST_SIDE = 8;

export interface PictureShape {
  input: string;
  width: number;
  height: number;
  channels: 1 | 3;
  layout: 'NCHW' | 'NHWC';
  dtype: 'float32' | 'uint8';
}

/**
 * The kind of rows as far as it is known before the model is run: what was asked for; else `text`, when a tokenizer lies beside the file and the graph
 * takes token ids. Undefined: a run will tell. @throws CliError when the graph cannot have rows of what was asked for.
 */
export async function chooseRowKind(options: {
  file: string;
  kind: RowKindName | undefined;
  inputs: readonly GraphTensor[];
  rows: readonly Row[] | undefined;
}): Promise<RowKindName | undefined> {
  const { file, kind, inputs, rows } = options;
  const hasTokenizer = await access(join(dirname(file), TOKENIZER)).then(
    () => true,
    () => false,
  );
  if (kind === 'image' && !pictureOf(inputs)) {
    throw new CliError(
      '--kind image needs one input of float32 or uint8, [batch, channels, height, width] or with the channels last, of 1 or 3 channels and a fixed size.',
    );
  }
  if (kind === 'text') {
    if (!hasTokenizer) throw new CliError(`--kind text needs the ${TOKENIZER} of the model beside ${file}.`);
    if (!takesTokens(inputs))
      throw new CliError('--kind text needs an int64 input "input_ids", and no others than masks.');
  }
  if (kind) return kind;
  // Rows that were given as tensors are to stay that.
  const areTexts = rows === undefined || rows.every((row) => typeof row.text === 'string');
  return hasTokenizer && takesTokens(inputs) && areTexts ? 'text' : undefined;
}

const TOKEN_INPUTS = ['input_ids', 'attention_mask', 'token_type_ids'];

function takesTokens(inputs: readonly GraphTensor[]): boolean {
  const areTokens = inputs.every(
    ({ name, dtype, shape }) =>
      TOKEN_INPUTS.includes(name) && dtype === 'int64' && shape.length === 2 && typeof shape[0] === 'string',
  );
  return areTokens && inputs.some(({ name }) => name === 'input_ids');
}

/** How the one input would take a picture; undefined when it cannot. */
export function pictureOf(inputs: readonly GraphTensor[]): PictureShape | undefined {
  const [input, ...others] = inputs;
  if (!input || others.length > 0 || input.shape.length !== 4) return undefined;
  const { name, dtype } = input;
  if (dtype !== 'float32' && dtype !== 'uint8') return undefined;
  const [a = 0, b = 0, c = 0] = input.shape.slice(1).map((size) => (typeof size === 'number' ? size : 0));
  const readings = [
    { layout: 'NCHW', channels: a, height: b, width: c },
    { layout: 'NHWC', channels: c, height: a, width: b },
  ] as const;
  for (const { layout, channels, height, width } of readings) {
    if ((channels !== 1 && channels !== 3) || Math.min(height, width) < LEAST_SIDE) continue;
    return { input: name, width, height, channels, layout, dtype };
  }
  return undefined;
}
