import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeCrashModel, writeLinearModel, writeLookupModel, writeSlowModel } from './tiny-models.ts';

/** A model repository for one test file: `linear`, `slow`, `crash` and `lookup`, version 1 each. */
export async function writeTestModels(): Promise<{ dir: string; remove(): Promise<void> }> {
  const dir = await mkdtemp(join(tmpdir(), 'onqueue-models-'));
  const version = '1';
  await Promise.all([
    writeLinearModel({ dir, name: 'linear', version }),
    writeSlowModel({ dir, name: 'slow', version, batching: { max_batch_size: 4 } }),
    writeCrashModel({ dir, name: 'crash', version, batching: { max_batch_size: 8 } }),
    writeLookupModel({ dir, name: 'lookup', version, batching: { max_batch_size: 16 } }),
  ]);
  return { dir, remove: () => rm(dir, { recursive: true, force: true }) };
}
