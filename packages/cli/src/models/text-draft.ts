import { dirname, join } from 'node:path';
import { type ModelManifest, postprocess, type TensorSpec, textPreprocess, textRow } from '@onqueue/shared';
import { answerOfExport, ExportError, fileSha256, maxLengthOf, readExportConfig } from '@onqueue/worker/model-tools';
import { CliError } from '../cli-error.ts';
import type { AnswerChoice } from './answer-choice.ts';
import type { Trial } from './model-trial.ts';
import { TOKENIZER } from './row-kind-choice.ts';

type TextManifest = Extract<ModelManifest, { kind: 'text' }>;

/** Of several lengths, and scripts that tokenizers are seldom made for. */
export const TEXT_ROWS: readonly { text: string }[] = [
  { text: 'This is an example.' },
  { text: 'Models are served in minutes, with the tokenizer of their training.' },
  { text: 'no' },
  { text: 'Straße, café, 42 €: 你好' },
  {
    text: 'A text of more words than the others have, so that rows of a batch are filled up to it, one after another.',
  },
];

/** What of a manifest makes texts of its rows; `tokenizer.json` is to be copied beside it. */
export async function textSection(
  file: string,
  inputs: readonly TensorSpec[],
): Promise<Pick<TextManifest, 'kind' | 'row' | 'preprocess'>> {
  const folder = dirname(file);
  const settings = (await told(readExportConfig(folder))) ?? {};
  return {
    kind: 'text',
    row: textRow.parse({ pair: 'optional' }),
    preprocess: textPreprocess.parse({
      type: 'tokenize',
      tokenizer: { file: TOKENIZER, sha256: await fileSha256(join(folder, TOKENIZER)) },
      max_length: await told(maxLengthOf(folder, settings, inputs)),
      too_long: 'truncate',
      pad_id: settings.pad_token_id ?? 0,
    }),
  };
}

/** By the files of Hugging Face beside the model, where they tell. */
export async function answerOfFiles(file: string, { layout }: Trial): Promise<AnswerChoice | undefined> {
  const folder = dirname(file);
  const settings = (await told(readExportConfig(folder))) ?? {};
  try {
    const answer = await answerOfExport({ folder, path: file, settings, outputs: layout.outputs });
    const reason = 'as the files of Hugging Face beside the model say';
    return { outputs: answer.outputs, postprocess: postprocess.parse(answer.postprocess), reason };
  } catch (error) {
    // Another task, or no config: what the graph shows has to do.
    if (error instanceof ExportError && error.pointer === undefined) return undefined;
    throw asCliError(error);
  }
}

/** Why rows cannot be texts although the graph takes tokens; undefined when they can. */
export function whyNoTexts({ layout, lengthOf }: Trial, answer: AnswerChoice): string | undefined {
  if (layout.batch !== 'free') return 'its batch is not free';
  const { postprocess: how } = answer;
  if (how.type === 'raw' && how.outputs.some(({ output }) => lengthOf[output])) {
    return 'its answer is as long as its tokens, and would keep what was computed from padding';
  }
  return undefined;
}

function told<T>(reading: Promise<T>): Promise<T> {
  return reading.catch((error: unknown) => {
    throw asCliError(error);
  });
}

function asCliError(error: unknown): unknown {
  if (!(error instanceof ExportError)) return error;
  return new CliError(`${error.file}${error.pointer ? `#${error.pointer}` : ''}: ${error.message}`, { cause: error });
}
