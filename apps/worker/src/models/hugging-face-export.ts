import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { type ModelManifest, modelManifest, type TensorSpec, tensorDtype } from '@onqueue/shared';
import type { GraphReader, OutlinedValue } from '../onnx/graph-outline.ts';
import { fileSha256 } from './artifact.ts';
import { answerOfExport } from './hugging-face-answer.ts';
import { CONFIG, ExportError, maxLengthOf, readExportConfig, TOKENIZER } from './hugging-face-files.ts';

const GRAPHS = ['model.onnx', join('onnx', 'model.onnx')];
const GOLDEN = 'golden.jsonl';
const MAX_BATCH_SIZE = 32;

/**
 * The manifest of a folder that Hugging Face Optimum wrote: `model.onnx`, `config.json` and `tokenizer.json`, as they are.
 * It has no golden rows unless a `golden.jsonl` was put beside it.
 *
 * @returns undefined when the folder is no such export.
 * @throws ExportError when it is one, and cannot be served like this.
 */
export async function manifestOfExport(
  place: { folder: string; name: string; version: string },
  readGraph: GraphReader,
): Promise<ModelManifest | undefined> {
  const { folder, name, version } = place;
  const has = (file: string) =>
    access(join(folder, file)).then(
      () => true,
      () => false,
    );
  const present = await Promise.all(GRAPHS.map(has));
  const file = GRAPHS[present.indexOf(true)];
  if (file === undefined || !(await has(CONFIG)) || !(await has(TOKENIZER))) return undefined;

  const settings = await readExportConfig(folder);
  if (!settings) throw new ExportError(join(folder, CONFIG), 'was taken away');
  const path = join(folder, file);
  const graph = await readGraph(path).catch((error: Error) => {
    throw new ExportError(path, error.message);
  });
  const inputs = graph.inputs.map((value) => specOf(value, path));
  const answer = await answerOfExport({
    folder,
    path,
    settings,
    outputs: graph.outputs.map((value) => specOf(value, path)),
  });
  const parsed = modelManifest.safeParse({
    schema_version: 1,
    name,
    version,
    description: `A text model (${settings.model_type ?? 'of an unnamed type'}), served as Hugging Face Optimum exported it.`,
    kind: 'text',
    artifact: { file, sha256: await fileSha256(path) },
    inputs,
    ...answer,
    row: { pair: 'optional' },
    example: { text: 'This is an example.' },
    preprocess: {
      type: 'tokenize',
      tokenizer: { file: TOKENIZER, sha256: await fileSha256(join(folder, TOKENIZER)) },
      max_length: await maxLengthOf(folder, settings, inputs),
      too_long: 'truncate',
      pad_id: settings.pad_token_id ?? 0,
    },
    batching: { max_batch_size: MAX_BATCH_SIZE },
    ...((await has(GOLDEN)) ? { golden: { file: GOLDEN, tolerance: 1e-3 } } : {}),
  });
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new ExportError(path, `has no manifest: ${issue?.message} (${issue?.path.join('/')}); write a model.json`);
}

function specOf({ name, type, dtype, dims }: OutlinedValue, path: string): TensorSpec {
  const known = tensorDtype.safeParse(dtype);
  if (type !== 'tensor' || !known.success || !dims) {
    throw new ExportError(path, `has "${name}", a ${type} of ${dtype}, which no manifest has a word for`);
  }
  if (typeof dims[0] === 'number') {
    throw new ExportError(
      path,
      `was exported for batches of ${dims[0]}: "${name}" needs a first dimension that may vary`,
    );
  }
  return { name, dtype: known.data, shape: dims.map((size) => size ?? -1) };
}
