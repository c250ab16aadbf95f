import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Cleanup } from '../cleanup.ts';

/** A model repository for the models that a bench writes; gone when the bench ends. */
export async function temporaryModelsDir(cleanup: Cleanup): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'onqueue-bench-models-'));
  cleanup.add(() => rm(dir, { recursive: true, force: true }));
  return dir;
}
