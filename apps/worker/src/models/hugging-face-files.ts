import { join } from 'node:path';
import type { TensorSpec } from '@onqueue/shared';
import { z } from 'zod';
import { readTextFile } from './regular-file.ts';

/** What Hugging Face's tools write beside a graph, as far as it matters for serving. */

export const CONFIG = 'config.json';
export const TOKENIZER = 'tokenizer.json';

const MAX_CONFIG_BYTES = 8 * 1024 * 1024;
/** What is assumed where no file says anything: as most encoders have it. */
const DEFAULT_MAX_LENGTH = 512;
/** Their positions are counted from behind the id of the padding. */
const SHIFTED_POSITIONS = [
  'roberta',
  'xlm-roberta',
  'xlm-roberta-xl',
  'camembert',
  'mpnet',
  'longformer',
  'data2vec-text',
];

/** Why an export cannot be served as it is; `file` is absolute. */
export class ExportError extends Error {
  readonly file: string;
  readonly pointer: string | undefined;

  constructor(file: string, message: string, pointer?: string) {
    super(message);
    this.file = file;
    this.pointer = pointer;
  }
}

const exportConfig = z.looseObject({
  model_type: z.string().optional(),
  architectures: z.array(z.string()).nullish(),
  problem_type: z.string().nullish(),
  id2label: z.record(z.string(), z.string()).nullish(),
  max_position_embeddings: z.number().int().nullish(),
  pad_token_id: z.number().int().nullish(),
});
export type ExportConfig = z.infer<typeof exportConfig>;

const tokenizerConfig = z.looseObject({ model_max_length: z.number().nullish() });
const sentenceConfig = z.looseObject({ max_seq_length: z.number().int().nullish() });
const poolingConfig = z.looseObject({
  pooling_mode_cls_token: z.boolean().default(false),
  pooling_mode_max_tokens: z.boolean().default(false),
});
const modules = z.array(z.looseObject({ type: z.string() }));

/** `config.json`; undefined when there is none. @throws ExportError */
export function readExportConfig(folder: string): Promise<ExportConfig | undefined> {
  return read(folder, CONFIG, exportConfig);
}

/** Tokens of a row: the least that anything in the folder says. */
export async function maxLengthOf(
  folder: string,
  settings: ExportConfig,
  inputs: readonly TensorSpec[],
): Promise<number> {
  const fixed = inputs.map(({ shape }) => shape[1] ?? -1).filter((size) => size > 0);
  const { model_type: type = '', max_position_embeddings: positions, pad_token_id: padId } = settings;
  const shift = SHIFTED_POSITIONS.includes(type) ? (padId ?? 1) + 1 : 0;
  const { model_max_length: ofTokenizer } = (await read(folder, 'tokenizer_config.json', tokenizerConfig)) ?? {};
  const { max_seq_length: ofSentence } = (await read(folder, 'sentence_bert_config.json', sentenceConfig)) ?? {};
  const limits = [...fixed, positions && positions - shift, ofTokenizer, ofSentence];
  // A tokenizer without a limit writes 10^30.
  const known = limits.filter((limit): limit is number => typeof limit === 'number' && limit > 0 && limit <= 131_072);
  return known.length > 0 ? Math.min(...known) : DEFAULT_MAX_LENGTH;
}

/** What Sentence Transformers wrote beside the model, or the mean. */
export async function poolingOf(folder: string): Promise<'mean' | 'cls' | 'max'> {
  const pooling = await read(folder, join('1_Pooling', CONFIG), poolingConfig);
  if (pooling?.pooling_mode_cls_token) return 'cls';
  return pooling?.pooling_mode_max_tokens ? 'max' : 'mean';
}

export async function isNormalized(folder: string): Promise<boolean> {
  const parts = await read(folder, 'modules.json', modules);
  return parts?.some(({ type }) => type.endsWith('Normalize')) ?? false;
}

/** Undefined when there is no such file. */
async function read<T extends z.ZodType>(folder: string, name: string, schema: T): Promise<z.infer<T> | undefined> {
  const file = join(folder, name);
  const text = await readTextFile(file, { maxBytes: MAX_CONFIG_BYTES }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
    throw new ExportError(file, `cannot be read: ${error.message}`);
  });
  if (text === undefined) return undefined;
  try {
    return schema.parse(JSON.parse(text));
  } catch (error) {
    const [issue] = error instanceof z.ZodError ? error.issues : [];
    const pointer = issue && `/${issue.path.join('/')}`;
    throw new ExportError(file, issue ? issue.message : `is not JSON: ${(error as Error).message}`, pointer);
  }
}
