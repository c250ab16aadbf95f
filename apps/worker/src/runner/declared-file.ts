import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { DeclaredFile } from '@onqueue/shared';
import { ModelLoadError } from './model-load-error.ts';

/** Labels and modules are read as a whole; none that anybody wrote comes near. */
const MAX_BYTES = 16 * 1024 * 1024;

/**
 * The bytes of a file that the manifest declares, which are those whose digest was compared: the file may change meanwhile.
 * @throws ModelLoadError
 */
export async function readDeclaredFile(folder: string, declared: DeclaredFile): Promise<Buffer> {
  const path = join(folder, declared.file);
  const bytes = await bytesOf(path).catch((error: Error) => {
    throw error instanceof ModelLoadError ? error : new ModelLoadError(`${path} cannot be read: ${error.message}`);
  });
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  if (sha256 === declared.sha256) return bytes;
  throw new ModelLoadError(`${path} has the SHA-256 ${sha256}, the manifest says ${declared.sha256}.`);
}

async function bytesOf(path: string): Promise<Buffer> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    if (size > MAX_BYTES) throw new ModelLoadError(`${path} has ${size} bytes, of at most ${MAX_BYTES}.`);
    return await file.readFile();
  } finally {
    await file.close();
  }
}
