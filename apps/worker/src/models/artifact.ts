import { createHash } from 'node:crypto';
import { pipeline } from 'node:stream/promises';
import { openRegularFile } from './regular-file.ts';

/** SHA-256 of a file, lower-case hex; reads it in pieces, an artifact may be larger than the memory to spare. */
export async function fileSha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  const { file } = await openRegularFile(path);
  await pipeline(file.createReadStream({ highWaterMark: 1024 * 1024 }), hash);
  return hash.digest('hex');
}
