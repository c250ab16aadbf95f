import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { type ModelManifest, modelManifest, type Postprocess, type TensorSpec, tensorDtype } from '@onqueue/shared';
import { z } from 'zod';
import { type OnnxModel, readOnnxModel } from '../onnx/onnx-model.ts';
import { ONNX_LIMITS } from '../onnx/onnx-scan.ts';
import type { OnnxValue } from '../onnx/onnx-type.ts';
import { fileSha256 } from './artifact.ts';
import { readTextFile } from './regular-file.ts';

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

const GRAPHS = ['model.onnx', join('onnx', 'model.onnx')];
const CONFIG = 'config.json';
const TOKENIZER = 'tokenizer.json';
const GOLDEN = 'golden.jsonl';

const config = z.looseObject({
  model_type: z.string().optional(),
  architectures: z.array(z.string()).nullish(),
  problem_type: z.string().nullish(),
  id2label: z.record(z.string(), z.string()).nullish(),
  max_position_embeddings: z.number().int().nullish(),
  pad_token_id: z.number().int().nullish(),
});
const tokenizerConfig = z.looseObject({ model_max_length: z.number().nullish() });
const sentenceConfig = z.looseObject({ max_seq_length: z.number().int().nullish() });
const poolingConfig = z.looseObject({
  pooling_mode_cls_token: z.boolean().default(false),
  pooling_mode_max_tokens: z.boolean().default(false),
});
const modules = z.array(z.looseObject({ type: z.string() }));
type ExportConfig = z.infer<typeof config>;

/** What is assumed where the export says nothing: as most encoders have it. */
const DEFAULT_MAX_LENGTH = 512;
const MAX_BATCH_SIZE = 32;
const MAX_CONFIG_BYTES = 8 * 1024 * 1024;
/** Of what is read before a runner has the file, in the process that serves the other models too. */
const LIMITS = { ...ONNX_LIMITS, maxNodes: 50_000, maxValues: 500_000, maxTextBytes: 32 * 1024 * 1024 };
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

/**
 * The manifest of a folder that Hugging Face Optimum wrote: `model.onnx`, `config.json` and `tokenizer.json`, as they are. A sequence classifier
 * answers with the labels of its config; anything else whose output is the states of its tokens, or one vector, is an embedding.
 * It has no golden rows unless a `golden.jsonl` was put beside it.
 *
 * @returns undefined when the folder is no such export.
 * @throws ExportError when it is one, and cannot be served like this.
 */
export async function manifestOfExport(place: {
  folder: string;
  name: string;
  version: string;
}): Promise<ModelManifest | undefined> {
  const { folder, name, version } = place;
  const has = (file: string) =>
    access(join(folder, file)).then(
      () => true,
      () => false,
    );
  const present = await Promise.all(GRAPHS.map(has));
  const file = GRAPHS[present.indexOf(true)];
  if (file === undefined || !(await has(CONFIG)) || !(await has(TOKENIZER))) return undefined;

  const settings = await read(folder, CONFIG, config);
  if (!settings) throw new ExportError(join(folder, CONFIG), 'was taken away');
  const path = join(folder, file);
  const graph = await readOnnxModel(path, LIMITS).catch((error: Error) => {
    throw new ExportError(path, error.message);
  });
  const [inputs, outputs] = [graphInputs(graph), graph.outputs].map((values) => values.map((v) => specOf(v, path)));
  const parsed = modelManifest.safeParse({
    schema_version: 1,
    name,
    version,
    description: `A text model (${settings.model_type ?? 'of an unnamed type'}), served as Hugging Face Optimum exported it.`,
    kind: 'text',
    artifact: { file, sha256: await fileSha256(path) },
    inputs,
    outputs,
    row: { pair: 'optional' },
    example: { text: 'This is an example.' },
    preprocess: {
      type: 'tokenize',
      tokenizer: { file: TOKENIZER, sha256: await fileSha256(join(folder, TOKENIZER)) },
      max_length: await maxLengthOf(folder, settings, inputs ?? []),
      too_long: 'truncate',
      pad_id: settings.pad_token_id ?? 0,
    },
    postprocess: await postprocessOf({ folder, path, settings, outputs: outputs ?? [] }),
    batching: { max_batch_size: MAX_BATCH_SIZE },
    ...((await has(GOLDEN)) ? { golden: { file: GOLDEN, tolerance: 1e-3 } } : {}),
  });
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new ExportError(path, `has no manifest: ${issue?.message} (${issue?.path.join('/')}); write a model.json`);
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

/** Without the inputs that have a default. */
function graphInputs({ inputs, initializers }: OnnxModel): OnnxValue[] {
  const defaults = new Set(initializers);
  return inputs.filter(({ name }) => !defaults.has(name));
}

function specOf({ name, type, elemType, dims }: OnnxValue, path: string): TensorSpec {
  const dtype = tensorDtype.safeParse(elemType);
  if (type !== 'tensor' || !dtype.success || !dims) {
    throw new ExportError(path, `has "${name}", a ${type} of ${elemType}, which no manifest has a word for`);
  }
  if (typeof dims[0] === 'number') {
    throw new ExportError(
      path,
      `was exported for batches of ${dims[0]}: "${name}" needs a first dimension that may vary`,
    );
  }
  return { name, dtype: dtype.data, shape: dims.map((size) => (typeof size === 'number' ? size : -1)) };
}

/** The least that anything in the folder says. */
async function maxLengthOf(folder: string, settings: ExportConfig, inputs: readonly TensorSpec[]): Promise<number> {
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

async function postprocessOf(graph: {
  folder: string;
  path: string;
  settings: ExportConfig;
  outputs: readonly TensorSpec[];
}): Promise<z.input<typeof modelManifest>['postprocess']> {
  const { folder, path, settings, outputs } = graph;
  if (settings.architectures?.some((name) => name.endsWith('ForSequenceClassification'))) return classifierOf(graph);
  const vector = outputs.find(({ name, shape }) => name === 'sentence_embedding' && shape.length === 2);
  if (vector) return { type: 'embed', output: vector.name, pooling: 'none', normalize: await isNormalized(folder) };
  const states = outputs.find(
    ({ name, shape }) => ['last_hidden_state', 'token_embeddings'].includes(name) && shape.length === 3,
  );
  if (states) {
    const pooling = await poolingOf(folder);
    return { type: 'embed', output: states.name, pooling, normalize: await isNormalized(folder) };
  }
  const names = outputs.map(({ name }) => `"${name}"`).join(', ');
  throw new ExportError(
    path,
    `is neither a sequence classifier nor an encoder, by its outputs ${names}; write a model.json`,
  );
}

function classifierOf({ folder, path, settings, outputs }: Parameters<typeof postprocessOf>[0]): Postprocess {
  const file = join(folder, CONFIG);
  const logits = outputs.find(({ name }) => name === 'logits') ?? outputs[0];
  if (logits?.shape.length !== 2) throw new ExportError(path, 'has no output of logits, [-1, labels]');
  if (settings.problem_type === 'multi_label_classification') {
    throw new ExportError(file, 'several labels may hold at once; write a model.json', '/problem_type');
  }
  if (logits.shape[1] === 1) return { type: 'score', output: logits.name, field: 'score' };
  const byIndex = settings.id2label ?? {};
  const labels = Object.keys(byIndex).map((_, index) => byIndex[index]);
  if (labels.length < 2 || labels.includes(undefined)) {
    throw new ExportError(file, 'does not name the labels 0, 1, … of the classifier', '/id2label');
  }
  if (new Set(labels).size !== labels.length) throw new ExportError(file, 'gives two labels one name', '/id2label');
  if (logits.shape[1] !== -1 && logits.shape[1] !== labels.length) {
    throw new ExportError(file, `names ${labels.length} labels for ${logits.shape[1]} logits`, '/id2label');
  }
  // An export may leave the number of logits open; a classifier has one a label.
  logits.shape[1] = labels.length;
  return { type: 'classify', output: logits.name, activation: 'softmax', labels: labels as string[] };
}

/** What Sentence Transformers wrote beside the model, or the mean. */
async function poolingOf(folder: string): Promise<'mean' | 'cls' | 'max'> {
  const pooling = await read(folder, join('1_Pooling', CONFIG), poolingConfig);
  if (pooling?.pooling_mode_cls_token) return 'cls';
  return pooling?.pooling_mode_max_tokens ? 'max' : 'mean';
}

async function isNormalized(folder: string): Promise<boolean> {
  const parts = await read(folder, 'modules.json', modules);
  return parts?.some(({ type }) => type.endsWith('Normalize')) ?? false;
}
