import { copyFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { ModelManifest } from '@onqueue/shared';
import { CliError } from '../cli-error.ts';
import type { AnswerChoice } from './answer-choice.ts';
import { areColumns, asColumns, columnsSection } from './columns.ts';
import { imageSection } from './image-draft.ts';
import type { Trial } from './model-trial.ts';
import type { Row } from './option-values.ts';
import { type PictureShape, type RowKindName, TOKENIZER } from './row-kind-choice.ts';
import { syntheticImageRows } from './synthetic-images.ts';
import { answerOfFiles, TEXT_ROWS, textSection, whyNoTexts } from './text-draft.ts';

export interface RowDraftOptions {
  file: string;
  staging: string;
  kind: RowKindName | undefined;
  /** Whether the kind was asked for: then nothing else takes its place. */
  isAsked: boolean;
  picture: PictureShape | undefined;
  rows: readonly Row[] | undefined;
  /** Where labels were given, nothing beside the model says more. */
  hasLabels: boolean;
  trial: Trial;
  choice: AnswerChoice;
  notes: string[];
}

/** What rows are, some of them, and what their answers are. */
export interface RowDraft {
  section: Pick<ModelManifest, 'kind' | 'row' | 'preprocess'>;
  rows: readonly Row[];
  answer: AnswerChoice;
}

/** @throws CliError when the model turns out not to have rows of the kind that was asked for. */
export async function draftRows(options: RowDraftOptions): Promise<RowDraft> {
  const { kind, trial, choice, picture } = options;
  if (kind === 'text') {
    const texts = await textRows(options);
    if (texts) return texts;
  }
  if (kind === 'image' && picture) {
    if (!hasBatchInFront(trial)) throw new CliError('--kind image needs a batch, and this graph has none in front.');
    return { section: imageSection(picture), rows: options.rows ?? syntheticImageRows(3), answer: choice };
  }
  if (kind === 'tabular' && !areColumns(trial)) {
    throw new CliError('--kind tabular needs inputs that are a column each, [batch, 1] of float32, int64 or string.');
  }
  if (kind !== 'tensor' && areColumns(trial)) {
    return { section: columnsSection(trial), rows: trial.rows.map(asColumns), answer: choice };
  }
  const section = { kind: 'tensor', row: { tensors: trial.tensors }, preprocess: { type: 'pad' } } as const;
  return { section, rows: trial.rows, answer: choice };
}

/** A picture is a row of a batch. */
export function hasBatchInFront({ layout }: Trial): boolean {
  return layout.inputs.every(({ batch_axis: axis }) => axis === undefined);
}

/** Undefined when rows of tensors have to do. */
async function textRows(options: RowDraftOptions): Promise<RowDraft | undefined> {
  const { file, staging, isAsked, hasLabels, rows, trial, choice, notes } = options;
  const answer = (hasLabels ? undefined : await answerOfFiles(file, trial)) ?? choice;
  const reason = whyNoTexts(trial, answer);
  if (reason) {
    if (isAsked) throw new CliError(`The model cannot have rows of text: ${reason}.`);
    notes.push(`A ${TOKENIZER} lies beside the model, but rows are token ids all the same: ${reason}.`);
    return undefined;
  }
  await copyFile(join(dirname(file), TOKENIZER), join(staging, TOKENIZER));
  return { section: await textSection(file, trial.layout.inputs), rows: rows ?? TEXT_ROWS, answer };
}
