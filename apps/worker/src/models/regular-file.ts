import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';

/** What a model's folder names as a file is none, or is larger than may be read. */
class FileRefusedError extends Error {
  override readonly name = 'FileRefusedError';
}

/**
 * Opens a file for reading. A model's folder may hold anything: a pipe or a device, which would make the first read
 * wait or go on for ever, is refused before that.
 */
export async function openRegularFile(path: string): Promise<{ file: FileHandle; size: number }> {
  // Without waiting for somebody at the other end of a pipe.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stats = await file.stat();
    if (!stats.isFile()) throw new FileRefusedError(`${path} is not a file.`);
    return { file, size: stats.size };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Reads a text, which is held in memory: of a file beyond `maxBytes` nothing is read. */
export async function readTextFile(path: string, { maxBytes }: { maxBytes: number }): Promise<string> {
  const { file, size } = await openRegularFile(path);
  try {
    if (size > maxBytes) throw new FileRefusedError(`${path} has ${size} bytes, more than ${maxBytes}.`);
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}
