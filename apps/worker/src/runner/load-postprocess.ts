import type { ModelManifest } from '@onqueue/shared';
import { loadModelModule } from './model-module.ts';
import { withLabels } from './postprocess/labels-file.ts';
import { type BatchPostprocess, batchPostprocess } from './postprocess.ts';

/** The postprocessing of a manifest, with the files that it names. @throws ModelLoadError */
export async function loadPostprocess(manifest: ModelManifest, folder: string): Promise<BatchPostprocess> {
  const { postprocess } = manifest;
  const module = postprocess.type === 'module' ? await loadModelModule(postprocess, folder) : undefined;
  return batchPostprocess(await withLabels(manifest, folder), module);
}
