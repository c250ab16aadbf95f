import type { ModelManifest } from '@onqueue/shared';
import type { AnswerChoice } from './answer-choice.ts';
import { IMAGE_COMMENTS } from './image-draft.ts';
import type { DraftComments } from './manifest-draft.ts';
import type { Trial } from './model-trial.ts';

/** What a person has to know of each part of a draft, and may want to change. */
export function draftComments(made: {
  manifest: ModelManifest;
  trial: Trial;
  choice: AnswerChoice;
  isSynthetic: boolean;
}): DraftComments {
  const { manifest, trial, choice, isSynthetic } = made;
  return {
    schema_version: [
      'A draft of `onqueue models add`. All fields: docs/guides/models.md. Check it with `onqueue models check`.',
    ],
    inputs: [
      'As the graph has them. -1 may vary; the first dimension is the batch unless batch_axis says another, or null for none.',
      ...BATCH[trial.layout.batch],
    ],
    row: [ROW[manifest.kind]],
    preprocess: PREPROCESS[manifest.kind] ?? [],
    example: Object.keys(manifest.example).length === 0 ? ['Left empty: a row is too long to be read.'] : [],
    postprocess: [
      `${choice.postprocess.type}: ${choice.reason}.`,
      ...(choice.postprocess.type === 'raw'
        ? ['For a classifier: {"type": "classify", "output": …, "activation": "softmax" or "none", "labels": […]}.']
        : []),
    ],
    batching: ['The hard limit. How large batches really are is measured when the version is loaded.'],
    golden: isSynthetic
      ? [
          'The rows are made up: they prove that answers stay the same, not that they are right.',
          'Replace them by rows from training, with the outputs that training computed.',
        ]
      : ['The rows were given, the outputs are those of this machine: compare them with those of training.'],
  };
}

const ROW: Record<ModelManifest['kind'], string> = {
  tabular:
    'One field for each input. Add minimum, maximum, enum, unit and description: the API refuses rows that break them.',
  tensor: 'One tensor for each input, without the batch. Add a description, and max_length where a dimension may vary.',
  text: 'One text, or two where the model compares them. Longer ones than max_characters are refused.',
  image: 'One picture, within these limits, which hold before it is decoded.',
  custom: 'As the schema says.',
};

const PREPROCESS: Partial<Record<ModelManifest['kind'], readonly string[]>> = {
  text: ['By the tokenizer.json that lay beside the model. Longer texts are cut; "refuse" fails them.'],
  image: IMAGE_COMMENTS,
};

const BATCH: Record<Trial['layout']['batch'], string[]> = {
  free: [],
  fixed: ['The batch is fixed by the graph: runs are filled up to it.'],
  row_by_row: ['Rows are run one by one.'],
};
