import { scanModelRepository } from '@onqueue/worker/model-tools';
import { CliError } from '../cli-error.ts';
import { tableText } from '../table-text.ts';

export interface ListedVersion {
  folder: string;
  name?: string;
  version?: string;
  kind?: string;
  description?: string;
  artifact_sha256?: string;
  max_batch_size?: number;
  /** Why it cannot be served, if that can be seen without loading it. */
  error?: string;
}

export async function listModels(modelsDir: string): Promise<ListedVersion[]> {
  const entries = await scanModelRepository({ modelsDir }).catch((cause: Error) => {
    throw new CliError(`The model repository ${modelsDir} cannot be read: ${cause.message}`, { cause });
  });
  return entries.map(({ folder, manifest, error }) => {
    if (!manifest) return { folder, error: error.message };
    const { name, version, kind, description, artifact, batching } = manifest;
    const { sha256: artifact_sha256 } = artifact;
    return { folder, name, version, kind, description, artifact_sha256, max_batch_size: batching.max_batch_size };
  });
}

export function listText(versions: readonly ListedVersion[]): string {
  if (versions.length === 0) return 'There is no model yet: onqueue models add <file> --name <name>';
  const rows = versions.map(({ folder, name, version, kind, description, error }) =>
    error === undefined ? [`${name}/${version}`, kind ?? '', description ?? ''] : [folder, 'broken', error],
  );
  return tableText(rows);
}
