import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Takes a model's artifact away, so that no runner can load it any more; `mend` puts it back. */
export async function breakArtifact(modelsDir: string, name: string): Promise<{ mend(): Promise<void> }> {
  const file = join(modelsDir, name, '1', 'model.onnx');
  await rename(file, `${file}.whole`);
  await writeFile(file, 'no graph');
  return { mend: () => rename(`${file}.whole`, file) };
}
