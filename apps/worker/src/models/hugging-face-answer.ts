import { join } from 'node:path';
import type { modelManifest, TensorSpec } from '@onqueue/shared';
import type { z } from 'zod';
import { CONFIG, type ExportConfig, ExportError, isNormalized, poolingOf } from './hugging-face-files.ts';

interface ExportedOutputs {
  /** With the files beside the graph. */
  folder: string;
  /** Of the graph, for messages. */
  path: string;
  settings: ExportConfig;
  outputs: readonly TensorSpec[];
}

/** How outputs become an answer, and what is known of their shapes by then. */
interface ExportedAnswer {
  postprocess: z.input<typeof modelManifest>['postprocess'];
  outputs: TensorSpec[];
}

/**
 * The labels of its config for a sequence classifier, one or several at once as the config says; an embedding for what gives the states of
 * its tokens, or one vector. @throws ExportError for everything else.
 */
export async function answerOfExport(graph: ExportedOutputs): Promise<ExportedAnswer> {
  const { folder, path, settings } = graph;
  if (settings.architectures?.some((name) => name.endsWith('ForSequenceClassification'))) return classifierOf(graph);
  const outputs = [...graph.outputs];
  const vector = outputs.find(({ name, shape }) => name === 'sentence_embedding' && shape.length === 2);
  if (vector) {
    const normalize = await isNormalized(folder);
    return { postprocess: { type: 'embed', output: vector.name, pooling: 'none', normalize }, outputs };
  }
  const states = outputs.find(
    ({ name, shape }) => ['last_hidden_state', 'token_embeddings'].includes(name) && shape.length === 3,
  );
  if (states) {
    const [pooling, normalize] = [await poolingOf(folder), await isNormalized(folder)];
    return { postprocess: { type: 'embed', output: states.name, pooling, normalize }, outputs };
  }
  const names = outputs.map(({ name }) => `"${name}"`).join(', ');
  throw new ExportError(
    path,
    `is neither a sequence classifier nor an encoder, by its outputs ${names}; write a model.json`,
  );
}

function classifierOf({ folder, path, settings, outputs }: ExportedOutputs): ExportedAnswer {
  const logits = outputs.find(({ name }) => name === 'logits') ?? outputs[0];
  if (logits?.shape.length !== 2) throw new ExportError(path, 'has no output of logits, [-1, labels]');
  const { name: output } = logits;
  const isMultilabel = settings.problem_type === 'multi_label_classification';
  if (logits.shape[1] === 1 && !isMultilabel) {
    return { postprocess: { type: 'score', output, field: 'score' }, outputs: [...outputs] };
  }
  const labels = labelsOf(join(folder, CONFIG), {
    settings,
    least: isMultilabel ? 1 : 2,
    width: logits.shape[1] ?? -1,
  });
  return {
    postprocess: isMultilabel
      ? { type: 'multilabel', output, activation: 'sigmoid', labels }
      : { type: 'classify', output, activation: 'softmax', labels },
    // An export may leave the number of logits open; a classifier has one a label.
    outputs: outputs.map((spec) => (spec === logits ? { ...spec, shape: [-1, labels.length] } : spec)),
  };
}

function labelsOf(
  file: string,
  { settings, least, width }: { settings: ExportConfig; least: number; width: number },
): string[] {
  const byIndex = settings.id2label ?? {};
  const labels = Object.keys(byIndex).flatMap((_, index) => byIndex[index] ?? []);
  if (labels.length < least || labels.length < Object.keys(byIndex).length) {
    throw new ExportError(file, 'does not name the labels 0, 1, … of the classifier', '/id2label');
  }
  if (new Set(labels).size !== labels.length) throw new ExportError(file, 'gives two labels one name', '/id2label');
  if (width !== -1 && width !== labels.length) {
    throw new ExportError(file, `names ${labels.length} labels for ${width} logits`, '/id2label');
  }
  return labels;
}
