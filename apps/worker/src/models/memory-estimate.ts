import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { WholeVersion } from './managed-version.ts';

/** Resident bytes of a runner before it has a model, about. */
const RUNNER_BYTES = 100 * 1024 * 1024;
/** A graph is read, optimized and packed for the machine: what is resident then is a small multiple of its file. */
const BYTES_PER_FILE_BYTE = 2;

/** What a runner of this version will need, about; only until one was started. */
export async function estimatedRunnerBytes({ folder, manifest }: WholeVersion): Promise<number> {
  const { size } = await stat(join(folder, manifest.artifact.file));
  return RUNNER_BYTES + BYTES_PER_FILE_BYTE * size;
}
