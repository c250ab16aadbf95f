import type { ModelManifest } from '@onqueue/shared';
import { z } from 'zod';
import { readDeclaredFile } from '../declared-file.ts';
import { ModelLoadError } from '../model-load-error.ts';

const labelList = z.array(z.string()).min(1);

/** The manifest with the labels of its `labels_file`, if it has one, in `labels`. @throws ModelLoadError */
export async function withLabels(manifest: ModelManifest, folder: string): Promise<ModelManifest> {
  const { postprocess } = manifest;
  if (!('labels_file' in postprocess) || !postprocess.labels_file) return manifest;
  const { file } = postprocess.labels_file;
  const text = (await readDeclaredFile(folder, postprocess.labels_file)).toString('utf8').replace(/^\uFEFF/, '');
  const labels = file.endsWith('.json') ? jsonLabels(text, file) : lines(text);
  if (labels.length === 0) throw new ModelLoadError(`${file} has no labels.`);
  return { ...manifest, postprocess: { ...postprocess, labels } };
}

function lines(text: string): string[] {
  const all = text.split(/\r?\n/);
  // The end of the last line begins no label; an empty line elsewhere is one, or the others would change their places.
  return all.at(-1) === '' ? all.slice(0, -1) : all;
}

function jsonLabels(text: string, file: string): string[] {
  try {
    return labelList.parse(JSON.parse(text));
  } catch (cause) {
    throw new ModelLoadError(`${file} is not a JSON array of strings.`, { cause });
  }
}
